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

#define NIL	     UINT32_MAX
#define FLOW_ID_MASK ((1ull << 53) - 1)

struct counts {
	uint64_t packets, bytes, retrans_pkts, retrans_bytes;
};

/* What was last reported of a flow. */
struct item {
	struct flow_key key;
	uint32_t next_free;
	struct counts half[2];
	uint64_t reported_ns;
	uint64_t handshake_ns; /* syn_ns of the handshake that was reported, 0: none */
};

/*
 * Open addressing with linear probing over slots, at most half full; items are
 * dense, so that only the pages of flows in use are touched.
 */
struct flow_table {
	struct flow_table_config config;
	struct siphash_key seed;
	struct item *items; /* config.max_flows of them */
	uint32_t *slots;    /* index into items, or NIL */
	size_t mask;	    /* number of slots - 1 */
	size_t count;
	uint32_t n_used;    /* items below were used once */
	uint32_t free_head; /* of those that are free again */
};

int flow_table_new(const struct flow_table_config *config, struct flow_table **ret)
{
	struct flow_table *t;
	size_t n_slots = 2;

	if (config->max_flows == 0 || config->max_flows > FLOW_TABLE_MAX)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->config = *config;
	t->seed = (struct siphash_key){config->epoch, 1};
	while (n_slots < config->max_flows * 2)
		n_slots *= 2;
	t->mask = n_slots - 1;
	t->free_head = NIL;
	t->items = calloc(config->max_flows, sizeof(*t->items));
	t->slots = malloc(n_slots * sizeof(*t->slots));
	if (!t->items || !t->slots) {
		flow_table_free(t);
		return -ENOMEM;
	}
	memset(t->slots, 0xff, n_slots * sizeof(*t->slots)); /* NIL */
	*ret = t;
	return 0;
}

void flow_table_free(struct flow_table *t)
{
	if (!t)
		return;
	free(t->slots);
	free(t->items);
	free(t);
}

size_t flow_table_count(const struct flow_table *t)
{
	return t->count;
}

/* --- the table ------------------------------------------------------------- */

static size_t home_of(const struct flow_table *t, const struct flow_key *key)
{
	return siphash(&t->seed, key, sizeof(*key)) & t->mask;
}

/* The slot of the key, or the empty one where it would go. */
static size_t slot_of(const struct flow_table *t, const struct flow_key *key)
{
	size_t slot = home_of(t, key);

	while (t->slots[slot] != NIL &&
	       memcmp(&t->items[t->slots[slot]].key, key, sizeof(*key)) != 0)
		slot = (slot + 1) & t->mask;
	return slot;
}

static struct item *lookup(const struct flow_table *t, const struct flow_key *key)
{
	uint32_t i = t->slots[slot_of(t, key)];

	return i == NIL ? NULL : &t->items[i];
}

/* The item of the key, made if need be. NULL when full. */
static struct item *remember(struct flow_table *t, const struct flow_key *key)
{
	size_t slot = slot_of(t, key);
	uint32_t i = t->slots[slot];

	if (i != NIL)
		return &t->items[i];
	if (t->free_head != NIL) {
		i = t->free_head;
		t->free_head = t->items[i].next_free;
	} else if (t->n_used < t->config.max_flows) {
		i = t->n_used++;
	} else {
		return NULL;
	}
	t->items[i] = (struct item){.key = *key};
	t->slots[slot] = i;
	t->count++;
	return &t->items[i];
}

/* Closes the gap at slot: moves up what probing would no longer find (Knuth 6.4, R). */
static void close_gap(struct flow_table *t, size_t gap)
{
	size_t slot = gap;

	for (;;) {
		size_t home;

		t->slots[gap] = NIL;
		do {
			slot = (slot + 1) & t->mask;
			if (t->slots[slot] == NIL)
				return;
			home = home_of(t, &t->items[t->slots[slot]].key);
		} while (((slot - home) & t->mask) < ((slot - gap) & t->mask));
		t->slots[gap] = t->slots[slot];
		gap = slot;
	}
}

static void forget(struct flow_table *t, const struct flow_key *key)
{
	size_t slot = slot_of(t, key);
	uint32_t i = t->slots[slot];

	if (i == NIL)
		return;
	close_gap(t, slot);
	t->items[i].next_free = t->free_head;
	t->free_head = i;
	t->count--;
}

/* --- when ------------------------------------------------------------------- */

static uint64_t last_ns(const struct flow_entry *e)
{
	uint64_t a = e->half[0].last_ns, b = e->half[1].last_ns;

	return a > b ? a : b;
}

/* The kernel stamps packets while we look: "later than now" is no time ago. */
static uint64_t since(uint64_t then_ns, const struct flow_now *now)
{
	return now->mono_ns > then_ns ? now->mono_ns - then_ns : 0;
}

static bool is_closed(const struct flow_entry *e)
{
	return (e->state & FLOW_CLOSING_A && e->state & FLOW_CLOSING_B) || e->state & FLOW_RESET;
}

enum flow_end_reason flow_table_due(const struct flow_table *t, const struct flow_key *key,
				    const struct flow_entry *e, const struct flow_now *now)
{
	uint64_t silent_ns = since(last_ns(e), now);
	uint64_t packets = e->half[0].packets + e->half[1].packets;
	const struct item *item;

	if (is_closed(e) && silent_ns >= FLOW_CLOSED_GRACE_NS)
		return FLOW_END_DETECTED;
	if (silent_ns >= (key->proto == IPPROTO_TCP ? t->config.tcp_idle_ns : t->config.idle_ns))
		return FLOW_END_IDLE;
	if (since(e->first_ns, now) < t->config.active_ns)
		return FLOW_END_NONE;
	item = lookup(t, key);
	if (!item)
		return FLOW_END_ACTIVE;
	if (since(item->reported_ns, now) < t->config.active_ns ||
	    packets == item->half[0].packets + item->half[1].packets)
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
static void set_place(const struct flow_table *t, struct flow_record *r, const struct flow_entry *e,
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

static struct counts counts_of(const struct flow_half *half)
{
	return (struct counts){half->packets, half->bytes, half->retrans_pkts, half->retrans_bytes};
}

static void set_counts(struct flow_record *r, const struct flow_entry *e, unsigned src,
		       const struct item *before)
{
	struct counts fwd = counts_of(&e->half[src]), rev = counts_of(&e->half[!src]);
	const struct counts *fwd0 = &before->half[src], *rev0 = &before->half[!src];

	r->packets = fwd.packets - fwd0->packets;
	r->bytes = fwd.bytes - fwd0->bytes;
	r->rev_packets = rev.packets - rev0->packets;
	r->rev_bytes = rev.bytes - rev0->bytes;
	r->total_packets = fwd.packets;
	r->total_bytes = fwd.bytes;
	r->rev_total_packets = rev.packets;
	r->rev_total_bytes = rev.bytes;
	r->retrans_pkts = fwd.retrans_pkts - fwd0->retrans_pkts;
	r->retrans_bytes = fwd.retrans_bytes - fwd0->retrans_bytes;
	r->rev_retrans_pkts = rev.retrans_pkts - rev0->retrans_pkts;
	r->rev_retrans_bytes = rev.retrans_bytes - rev0->retrans_bytes;
	r->tcp_flags = e->half[src].tcp_flags;
	r->rev_tcp_flags = e->half[!src].tcp_flags;
	if (e->state & FLOW_HANDSHAKE_DONE && e->syn_ns != before->handshake_ns) {
		r->rtt_server_us = e->rtt_server_us;
		r->rtt_client_us = e->rtt_client_us;
		r->rtt_us = e->rtt_server_us + e->rtt_client_us;
	}
}

int flow_table_report(struct flow_table *t, const struct flow_key *key, const struct flow_entry *e,
		      const struct flow_now *now, enum flow_end_reason reason,
		      struct flow_record *ret)
{
	static const struct item nothing = {0};
	bool goes_on = reason == FLOW_END_ACTIVE;
	struct item *item = goes_on ? remember(t, key) : lookup(t, key);
	unsigned src = e->initiator & 1;
	struct flow_record r = {0};

	if (goes_on && !item)
		return -ENOSPC;
	r.flow_id = flow_id(t, key, e->first_ns);
	r.start_ns = e->first_ns + now->real_offset_ns;
	r.end_ns = last_ns(e) + now->real_offset_ns;
	r.end_reason = (uint8_t)reason;
	set_ends(&r, key, src);
	set_place(t, &r, e, src);
	set_counts(&r, e, src, item ? item : &nothing);

	if (goes_on) {
		item->half[0] = counts_of(&e->half[0]);
		item->half[1] = counts_of(&e->half[1]);
		item->reported_ns = now->mono_ns;
		item->handshake_ns =
			e->state & FLOW_HANDSHAKE_DONE ? e->syn_ns : item->handshake_ns;
	} else if (item) {
		forget(t, key);
	}
	*ret = r;
	return 0;
}
