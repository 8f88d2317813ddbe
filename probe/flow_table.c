// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/flow_table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "probe/iface.h"
#include "probe/siphash.h"

#define FLOW_ID_MASK ((1ull << 53) - 1)

struct counts {
	uint64_t packets, bytes, retrans_pkts, retrans_bytes;
};

/* What was last reported of the flow in a slot; all zero: nothing yet. */
struct reported {
	struct counts half[2];
	uint64_t at_ns;
	uint64_t handshake_ns; /* syn_ns of the handshake that was reported, 0: none */
};

struct flow_table {
	struct flow_table_config config;
	struct reported *reported; /* config.n_slots of them */
};

int flow_table_new(const struct flow_table_config *config, struct flow_table **ret)
{
	struct flow_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->config = *config;
	t->reported = calloc(config->n_slots, sizeof(*t->reported));
	if (!t->reported) {
		free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void flow_table_free(struct flow_table *t)
{
	if (!t)
		return;
	free(t->reported);
	free(t);
}

/* --- when ------------------------------------------------------------------- */

/* A slot that was opened a moment ago may not have its first packet yet. */
static uint64_t last_ns(const struct flow_slot *s)
{
	uint64_t last = s->first_ns;

	for (int i = 0; i < 2; i++)
		if (s->half[i].last_ns > last)
			last = s->half[i].last_ns;
	return last;
}

/* The kernel stamps packets while we look: "later than now" is no time ago. */
static uint64_t since(uint64_t then_ns, const struct flow_now *now)
{
	return now->mono_ns > then_ns ? now->mono_ns - then_ns : 0;
}

static bool is_closed(const struct flow_slot *s)
{
	return (s->state & FLOW_CLOSING_A && s->state & FLOW_CLOSING_B) ||
	       s->state & (FLOW_RESET_A | FLOW_RESET_B);
}

enum flow_end_reason flow_table_due(const struct flow_table *t, const struct flow_view *v,
				    const struct flow_now *now)
{
	const struct flow_table_config *c = &t->config;
	const struct reported *before = &t->reported[v->index];
	const struct flow_slot *s = v->slot;
	uint64_t silent_ns = since(last_ns(s), now);

	if (is_closed(s) && silent_ns >= FLOW_CLOSED_GRACE_NS)
		return FLOW_END_DETECTED;
	if (silent_ns >= (s->key.proto == IPPROTO_TCP ? c->tcp_idle_ns : c->idle_ns))
		return FLOW_END_IDLE;
	if (since(before->at_ns ? before->at_ns : s->first_ns, now) < c->active_ns)
		return FLOW_END_NONE;
	if (s->half[0].packets == before->half[0].packets &&
	    s->half[1].packets == before->half[1].packets)
		return FLOW_END_NONE;
	return FLOW_END_ACTIVE;
}

/* --- the record -------------------------------------------------------------- */

static uint64_t flow_id(const struct flow_table *t, const struct flow_key *key, uint64_t first_ns)
{
	struct siphash_key seed = {t->config.epoch, first_ns};
	uint64_t id = siphash(&seed, key, sizeof(*key)) & FLOW_ID_MASK;

	return id ? id : 1;
}

/* Both ports of an ICMP key are the id of a query or the code of the rest: flow_abi.h. */
static bool is_icmp_query(const struct flow_key *key)
{
	uint8_t type = key->icmp_type;

	if (key->proto == IPPROTO_ICMPV6)
		return type == 128;
	return type == 8 || type == 13 || type == 15 || type == 17;
}

static void set_ends(struct flow_record *r, const struct flow_key *key, unsigned src)
{
	uint16_t port_a = ntohs(key->port_a), port_b = ntohs(key->port_b);

	memcpy(r->src_addr, src ? key->addr_b : key->addr_a, sizeof(r->src_addr));
	memcpy(r->dst_addr, src ? key->addr_a : key->addr_b, sizeof(r->dst_addr));
	r->proto = key->proto;
	r->vlan = key->vlan;
	if (key->proto != IPPROTO_ICMP && key->proto != IPPROTO_ICMPV6) {
		r->src_port = src ? port_b : port_a;
		r->dst_port = src ? port_a : port_b;
		return;
	}
	r->icmp_type = key->icmp_type;
	if (is_icmp_query(key))
		r->icmp_id = port_a;
	else
		r->icmp_code = (uint8_t)port_a;
}

/* The place where the src half is counted tells; else the other half's, turned round. */
static void set_place(const struct flow_table *t, struct flow_record *r, const struct flow_slot *e,
		      unsigned src)
{
	const struct flow_half *half = &e->half[src];
	bool egress;

	if (half->last_ns) {
		egress = half->iface & 1;
	} else {
		half = &e->half[!src];
		egress = !(half->iface & 1);
	}
	r->direction = egress ? FLOW_DIRECTION_EGRESS : FLOW_DIRECTION_INGRESS;
	if (e->state & FLOW_SYN_SEEN)
		r->role = egress ? FLOW_ROLE_CLIENT : FLOW_ROLE_SERVER;
	(void)strncpy(r->iface, iface_name(t->config.ifaces, half->iface >> 1),
		      sizeof(r->iface) - 1);
}

static struct counts counts_of(const struct flow_view *v, unsigned half)
{
	return (struct counts){
		.packets = v->slot->half[half].packets,
		.bytes = v->slot->half[half].bytes,
		.retrans_pkts = v->perf->half[half].retrans_pkts,
		.retrans_bytes = v->perf->half[half].retrans_bytes,
	};
}

static void set_counts(struct flow_record *r, const struct counts now[2],
		       const struct counts before[2], unsigned src)
{
	const struct counts *fwd = &now[src], *rev = &now[!src];

	r->packets = fwd->packets - before[src].packets;
	r->bytes = fwd->bytes - before[src].bytes;
	r->rev_packets = rev->packets - before[!src].packets;
	r->rev_bytes = rev->bytes - before[!src].bytes;
	r->total_packets = fwd->packets;
	r->total_bytes = fwd->bytes;
	r->rev_total_packets = rev->packets;
	r->rev_total_bytes = rev->bytes;
	r->retrans_pkts = fwd->retrans_pkts - before[src].retrans_pkts;
	r->retrans_bytes = fwd->retrans_bytes - before[src].retrans_bytes;
	r->rev_retrans_pkts = rev->retrans_pkts - before[!src].retrans_pkts;
	r->rev_retrans_bytes = rev->retrans_bytes - before[!src].retrans_bytes;
}

static void set_handshake(struct flow_record *r, const struct flow_slot *s, struct reported *before)
{
	if (!(s->state & FLOW_HANDSHAKE_DONE) || s->syn_ns == before->handshake_ns)
		return;
	before->handshake_ns = s->syn_ns;
	r->rtt_server_us = s->rtt_server_us;
	r->rtt_client_us = s->rtt_client_us;
	r->rtt_us = s->rtt_server_us + s->rtt_client_us;
}

void flow_table_report(struct flow_table *t, const struct flow_view *v, const struct flow_now *now,
		       enum flow_end_reason reason, struct flow_record *ret)
{
	const struct counts counts[2] = {counts_of(v, 0), counts_of(v, 1)};
	struct reported *before = &t->reported[v->index];
	const struct flow_slot *s = v->slot;
	unsigned src = s->initiator & 1;
	struct flow_record r = {
		.flow_id = flow_id(t, &s->key, s->first_ns),
		.start_ns = s->first_ns + now->real_offset_ns,
		.end_ns = last_ns(s) + now->real_offset_ns,
		.end_reason = (uint8_t)reason,
		.tcp_flags = (uint16_t)s->half[src].tcp_flags,
		.rev_tcp_flags = (uint16_t)s->half[!src].tcp_flags,
	};

	set_ends(&r, &s->key, src);
	set_place(t, &r, s, src);
	set_counts(&r, counts, before->half, src);
	set_handshake(&r, s, before);
	memcpy(before->half, counts, sizeof(counts));
	before->at_ns = now->mono_ns;
	if (reason != FLOW_END_ACTIVE)
		*before = (struct reported){0};
	*ret = r;
}
