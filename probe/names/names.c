// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/names/names.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "bpf/flow_abi.h"
#include "probe/names/dns.h"
#include "probe/names/dns_log.h"
#include "probe/names/hello.h"

enum named_kind { NAMED_NOTHING, NAMED_DNS, NAMED_HELLO };

struct named_flow {
	enum named_kind kind;
	uint32_t next_free;	    /* number of another one, plus one; 0: none */
	struct dns_stream *streams; /* DNS over TCP: one for each direction */
	union {
		struct dns_flow dns;
		struct hello hello;
	};
};

struct names {
	uint32_t n_slots;
	uint32_t *of_slot; /* number of its flow, plus one; 0: none */
	struct named_flow *flows;
	uint32_t n_flows; /* room for so many */
	uint32_t n_used;  /* those from here on have never been used */
	uint32_t free;	  /* first of the others that are free, plus one */
	struct dns_log *dns;
	struct hellos hellos;
	uint64_t counters[NAMES_COUNTER_MAX];
};

int names_new(uint32_t n_slots, struct names **ret)
{
	struct names *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->n_slots = n_slots;
	n->n_flows = n_slots / 2 ? n_slots / 2 : 1;
	n->hellos.counters = n->counters;
	n->of_slot = calloc(n_slots, sizeof(*n->of_slot));
	n->flows = calloc(n->n_flows, sizeof(*n->flows));
	if (!n->of_slot || !n->flows || dns_log_new(n->counters, &n->dns) != 0) {
		names_free(n);
		return -ENOMEM;
	}
	*ret = n;
	return 0;
}

/* --- the table -------------------------------------------------------------------- */

/* Number of the slot's flow, plus one; 0: none. */
static uint32_t find(const struct names *n, uint32_t slot)
{
	return slot < n->n_slots ? n->of_slot[slot] : 0;
}

/* The same for a new one; 0: no room. */
static uint32_t add(struct names *n, uint32_t slot, enum named_kind kind)
{
	uint32_t number = n->free;

	if (slot >= n->n_slots || (!number && n->n_used == n->n_flows)) {
		n->counters[NAMES_TABLE_FULL]++;
		return 0;
	}
	if (number)
		n->free = n->flows[number - 1].next_free;
	else
		number = ++n->n_used;
	n->flows[number - 1] = (struct named_flow){.kind = kind};
	n->of_slot[slot] = number;
	return number;
}

static void forget(struct names *n, struct named_flow *f)
{
	if (f->kind == NAMED_DNS)
		dns_log_forget(n->dns, &f->dns);
	else if (f->kind == NAMED_HELLO)
		hello_forget(&n->hellos, &f->hello);
	free(f->streams);
	*f = (struct named_flow){0};
}

static void end(struct names *n, uint32_t slot)
{
	uint32_t number = n->of_slot[slot];

	forget(n, &n->flows[number - 1]);
	n->flows[number - 1].next_free = n->free;
	n->free = number;
	n->of_slot[slot] = 0;
}

void names_free(struct names *n)
{
	if (!n)
		return;
	for (uint32_t i = 0; i < n->n_used; i++)
		forget(n, &n->flows[i]);
	dns_log_free(n->dns);
	free(n->flows);
	free(n->of_slot);
	free(n);
}

/* --- payloads --------------------------------------------------------------------- */

struct dns_source {
	struct names *names;
	struct named_flow *flow;
	const struct flow_payload *payload;
};

static void on_dns_message(const uint8_t *msg, size_t len, void *arg)
{
	const struct dns_source *src = arg;
	struct names *n = src->names;
	struct dns_message m;

	if (dns_parse(msg, len, &m) != 0) {
		n->counters[NAMES_DNS_MALFORMED]++;
		return;
	}
	n->counters[NAMES_DNS_MALFORMED] += m.damaged;
	dns_log_message(n->dns, &src->flow->dns, src->payload->dir, src->payload->now_ns, &m);
}

static void consume_dns(struct names *n, struct named_flow *f, const struct flow_payload *p)
{
	struct dns_source src = {n, f, p};

	if (p->key.proto != IPPROTO_TCP) {
		on_dns_message(p->data, p->len, &src);
		return;
	}
	if (!f->streams)
		f->streams = calloc(2, sizeof(*f->streams));
	if (f->streams)
		dns_stream_feed(&f->streams[p->dir & 1], p->tcp_seq, p->data, p->len, p->whole,
				on_dns_message, &src);
	else
		n->counters[NAMES_TABLE_FULL]++;
}

void names_consume(struct names *n, const struct flow_payload *p)
{
	enum named_kind kind = p->kind == PAYLOAD_DNS ? NAMED_DNS : NAMED_HELLO;
	uint32_t number = find(n, p->slot);
	struct named_flow *f;

	if (!number)
		number = add(n, p->slot, kind);
	if (!number)
		return;
	f = &n->flows[number - 1];
	if (f->kind != kind) /* cannot be: the kind follows from protocol and ports */
		return;
	if (p->kind == PAYLOAD_DNS)
		consume_dns(n, f, p);
	else if (p->kind == PAYLOAD_TLS)
		hello_tls(&n->hellos, &f->hello, p);
	else
		hello_quic(&n->hellos, &f->hello, p);
}

/* --- records ---------------------------------------------------------------------- */

void names_expire(struct names *n, uint64_t now_ns)
{
	dns_log_expire(n->dns, now_ns);
}

void names_fill(struct names *n, uint32_t slot, enum flow_end_reason reason,
		struct flow_record *ret)
{
	uint32_t number = find(n, slot);
	struct named_flow *f;

	if (!number)
		return;
	f = &n->flows[number - 1];
	if (f->kind == NAMED_DNS) {
		if (reason == FLOW_END_IDLE || reason == FLOW_END_DETECTED)
			dns_log_give_up(n->dns, &f->dns);
		dns_log_take(&f->dns, ret);
	} else {
		hello_tell(&f->hello, ret);
	}
	if (reason != FLOW_END_ACTIVE)
		end(n, slot);
}

const uint64_t *names_counters(const struct names *n)
{
	return n->counters;
}
