// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/datapath/flow_table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "probe/datapath/iface.h"
#include "proto/flow_id.h"

_Static_assert(RTT_BUCKETS == FLOW_RTT_BUCKETS, "histograms differ");
_Static_assert((int)FLOW_ENCAP_MAX == (int)FLOW_TUNNEL_MAX, "tunnels differ");
_Static_assert((int)FLOW_ENCAP_TEREDO == (int)FLOW_TUNNEL_TEREDO, "tunnels differ");

/* What the kernel counts in one direction, as wide as it does: differences wrap with it. */
struct counts {
	uint64_t packets, bytes, retrans_bytes, rtt_sum_us;
	uint32_t retrans_pkts, ooo_pkts, dup_acks, zero_windows, ce_pkts, rtt_count;
	uint16_t rtt_hist[RTT_BUCKETS];
};

/* What was last reported of the flow in a slot; all zero: nothing yet. */
struct reported {
	struct counts half[2];
	uint64_t response_sum_us;
	uint32_t responses, icmp_errors;
	uint64_t handshake_ns; /* syn_ns of the handshake that was reported, 0: none */
};

struct flow_table {
	struct flow_table_config config;
	struct reported *reported; /* config.n_slots of them */
	uint64_t *reported_ns;	   /* when, 0: never */
	uint64_t *next_ns;	   /* an open flow is not due before that; in every pass */
};

int flow_table_new(const struct flow_table_config *config, struct flow_table **ret)
{
	struct flow_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->config = *config;
	t->reported = calloc(config->n_slots, sizeof(*t->reported));
	t->reported_ns = calloc(config->n_slots, sizeof(*t->reported_ns));
	t->next_ns = calloc(config->n_slots, sizeof(*t->next_ns));
	if (!t->reported || !t->reported_ns || !t->next_ns) {
		flow_table_free(t);
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
	free(t->reported_ns);
	free(t->next_ns);
	free(t);
}

void flow_slot_read(const struct flow_slot *slot, const struct flow_perf *perf,
		    struct flow_slot *ret)
{
	*ret = *slot;
	if (!(ret->state & FLOW_SPREAD))
		return;
	for (int i = 0; i < 2; i++) {
		struct flow_lane lane = perf->lane[i];
		struct flow_half *half = &ret->half[i];

		half->packets += lane.packets;
		half->bytes += lane.bytes;
		if (lane.last_ns <= half->last_ns)
			continue;
		half->last_ns = lane.last_ns;
		half->iface = lane.iface;
	}
}

size_t flow_table_reported_bytes(void)
{
	return sizeof(struct reported);
}

void *flow_table_reported(struct flow_table *t, uint32_t index)
{
	return &t->reported[index];
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

/* The same of a slot as the programs have it. */
static uint64_t live_last_ns(const struct flow_view *v)
{
	uint64_t last = last_ns(v->slot);

	for (int i = 0; v->slot->state & FLOW_SPREAD && i < 2; i++)
		if (v->perf->lane[i].last_ns > last)
			last = v->perf->lane[i].last_ns;
	return last;
}

static bool has_news(const struct flow_view *v, const struct reported *before)
{
	for (int i = 0; i < 2; i++) {
		uint64_t packets = v->slot->half[i].packets;

		if (v->slot->state & FLOW_SPREAD)
			packets += v->perf->lane[i].packets;
		if (packets != before->half[i].packets)
			return true;
	}
	return false;
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

static uint64_t idle_ns(const struct flow_table_config *c, uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return c->tcp_idle_ns;
	case IPPROTO_UDP:
		return c->udp_idle_ns;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return c->icmp_idle_ns;
	default:
		return c->idle_ns;
	}
}

/* a + b, or the end of time. */
static uint64_t later(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

enum flow_end_reason flow_table_due(struct flow_table *t, const struct flow_view *v,
				    const struct flow_now *now)
{
	const struct flow_table_config *c = &t->config;
	const struct flow_slot *s = v->slot;
	uint64_t last, idle_at, report_at;
	bool closed = is_closed(s);

	if (!closed && now->mono_ns < t->next_ns[v->index])
		return FLOW_END_NONE;
	last = live_last_ns(v);
	if (closed && since(last, now) >= FLOW_CLOSED_GRACE_NS)
		return FLOW_END_DETECTED;
	idle_at = later(last, idle_ns(c, s->key.proto));
	if (now->mono_ns >= idle_at)
		return FLOW_END_IDLE;
	report_at = later(t->reported_ns[v->index] ? t->reported_ns[v->index] : s->first_ns,
			  c->active_ns);
	if (now->mono_ns >= report_at && has_news(v, &t->reported[v->index]))
		return FLOW_END_ACTIVE;
	t->next_ns[v->index] = idle_at < report_at ? idle_at : report_at;
	return FLOW_END_NONE;
}

/* --- the record -------------------------------------------------------------- */

/*
 * By the kernel's clock and the table's epoch: the same in each record, whatever
 * the wall clock does, and after a restart of the probe. A block of records finds
 * it to be what proto/flow_id.h makes of them, plus one number for all.
 */
static uint64_t flow_id(const struct flow_table *t, const struct flow_record *r, uint64_t first_ns)
{
	return flow_id_of(flow_id_end(flow_id_addr(r->src_addr), r->src_port),
			  flow_id_end(flow_id_addr(r->dst_addr), r->dst_port), r->proto, r->icmp_id,
			  r->vlan, r->tunnel_id, first_ns / 1000000 + t->config.epoch);
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
	const struct flow_perf_half *perf = &v->perf->half[half];
	struct counts c = {
		.packets = v->slot->half[half].packets,
		.bytes = v->slot->half[half].bytes,
		.retrans_bytes = perf->retrans_bytes,
		.rtt_sum_us = perf->rtt_sum_us,
		.retrans_pkts = perf->retrans_pkts,
		.ooo_pkts = perf->ooo_pkts,
		.dup_acks = perf->dup_acks,
		.zero_windows = perf->zero_windows,
		.ce_pkts = perf->ce_pkts,
		.rtt_count = perf->rtt_count,
	};

	memcpy(c.rtt_hist, perf->rtt_hist, sizeof(c.rtt_hist));
	return c;
}

static struct counts since_then(const struct counts *now, const struct counts *then)
{
	struct counts c = {
		.packets = now->packets - then->packets,
		.bytes = now->bytes - then->bytes,
		.retrans_bytes = now->retrans_bytes - then->retrans_bytes,
		.rtt_sum_us = now->rtt_sum_us - then->rtt_sum_us,
		.retrans_pkts = now->retrans_pkts - then->retrans_pkts,
		.ooo_pkts = now->ooo_pkts - then->ooo_pkts,
		.dup_acks = now->dup_acks - then->dup_acks,
		.zero_windows = now->zero_windows - then->zero_windows,
		.ce_pkts = now->ce_pkts - then->ce_pkts,
		.rtt_count = now->rtt_count - then->rtt_count,
	};

	for (size_t i = 0; i < RTT_BUCKETS; i++)
		c.rtt_hist[i] = (uint16_t)(now->rtt_hist[i] - then->rtt_hist[i]);
	return c;
}

/* Times of this interval. */
struct summary {
	uint32_t n, min_us, avg_us, max_us;
};

/*
 * The programs go on while we read one field after the other. Whatever we meet
 * between them, min <= avg <= max; where there are no times, all is 0.
 */
static struct summary summarise(uint32_t n, uint64_t sum_us, uint32_t min_us, uint32_t max_us)
{
	uint32_t avg_us;

	if (n == 0)
		return (struct summary){0};
	avg_us = (uint32_t)(sum_us / n);
	return (struct summary){
		.n = n,
		.min_us = min_us && min_us < avg_us ? min_us : avg_us,
		.avg_us = avg_us,
		.max_us = max_us > avg_us ? max_us : avg_us,
	};
}

static void set_totals(struct flow_record *r, const struct flow_half *fwd,
		       const struct flow_half *rev)
{
	r->total_packets = fwd->packets;
	r->total_bytes = fwd->bytes;
	r->rev_total_packets = rev->packets;
	r->rev_total_bytes = rev->bytes;
	r->tcp_flags = (uint16_t)fwd->tcp_flags;
	r->rev_tcp_flags = (uint16_t)rev->tcp_flags;
	r->mss = fwd->mss;
	r->rev_mss = rev->mss;
}

static void set_counts(struct flow_record *r, const struct counts *fwd, const struct counts *rev)
{
	r->packets = fwd->packets;
	r->bytes = fwd->bytes;
	r->rev_packets = rev->packets;
	r->rev_bytes = rev->bytes;
	r->retrans_pkts = fwd->retrans_pkts;
	r->retrans_bytes = fwd->retrans_bytes;
	r->rev_retrans_pkts = rev->retrans_pkts;
	r->rev_retrans_bytes = rev->retrans_bytes;
	r->ooo_pkts = fwd->ooo_pkts;
	r->rev_ooo_pkts = rev->ooo_pkts;
	r->dup_acks = fwd->dup_acks;
	r->rev_dup_acks = rev->dup_acks;
	r->zero_windows = fwd->zero_windows;
	r->rev_zero_windows = rev->zero_windows;
	r->ce_pkts = fwd->ce_pkts;
	r->rev_ce_pkts = rev->ce_pkts;
}

static struct summary rtt_of(const struct counts *c, const struct flow_perf_half *perf)
{
	return summarise(c->rtt_count, c->rtt_sum_us, perf->rtt_min_us, perf->rtt_max_us);
}

static void set_data_rtt(struct flow_record *r, const struct counts *fwd, const struct counts *rev,
			 const struct flow_perf *perf, unsigned src)
{
	struct summary a = rtt_of(fwd, &perf->half[src]), b = rtt_of(rev, &perf->half[!src]);

	r->data_rtt_samples = a.n;
	r->data_rtt_min_us = a.min_us;
	r->data_rtt_avg_us = a.avg_us;
	r->data_rtt_max_us = a.max_us;
	r->rev_data_rtt_samples = b.n;
	r->rev_data_rtt_min_us = b.min_us;
	r->rev_data_rtt_avg_us = b.avg_us;
	r->rev_data_rtt_max_us = b.max_us;
	memcpy(r->data_rtt_hist, fwd->rtt_hist, sizeof(r->data_rtt_hist));
	memcpy(r->rev_data_rtt_hist, rev->rtt_hist, sizeof(r->rev_data_rtt_hist));
}

static void set_responses(struct flow_record *r, const struct flow_slot *s, struct reported *before)
{
	struct summary times =
		summarise(s->responses - before->responses,
			  s->response_sum_us - before->response_sum_us, 0, s->response_max_us);

	r->responses = times.n;
	r->response_avg_us = times.avg_us;
	r->response_max_us = times.max_us;
	before->responses = s->responses;
	before->response_sum_us = s->response_sum_us;
}

static void set_icmp_errors(struct flow_record *r, const struct flow_slot *s,
			    struct reported *before)
{
	r->icmp_errors = s->icmp_errors - before->icmp_errors;
	before->icmp_errors = s->icmp_errors;
	if (r->icmp_errors == 0)
		return;
	r->icmp_error_type = (uint8_t)(s->icmp_error >> 8);
	r->icmp_error_code = (uint8_t)s->icmp_error;
}

/* The outer addresses are those of the first packet, which src sent, but for a SYN-ACK. */
static void set_tunnel(struct flow_record *r, const struct flow_view *v)
{
	const struct flow_slot *s = v->slot;
	const struct flow_outer *outer = &v->perf->outer;
	bool turned = s->state & FLOW_SYNACK_SEEN && !s->syn_ns;

	if (s->key.tunnel == 0)
		return;
	r->tunnel = (uint8_t)(s->key.tunnel >> 24);
	r->tunnel_id = s->key.tunnel & 0xffffff;
	memcpy(r->outer_src_addr, turned ? outer->dst_addr : outer->src_addr,
	       sizeof(r->outer_src_addr));
	memcpy(r->outer_dst_addr, turned ? outer->src_addr : outer->dst_addr,
	       sizeof(r->outer_dst_addr));
}

/* enum flow_verdict has the rules. */
static bool was_established(const struct flow_slot *s, unsigned src)
{
	const struct flow_half *from = &s->half[src], *to = &s->half[!src];

	if (!(s->state & FLOW_SYN_SEEN) || s->state & FLOW_HANDSHAKE_DONE)
		return true;
	if (to->packets == 0)
		return from->tcp_flags & TH_ACK;
	if (from->packets == 0)
		return to->tcp_flags & (TH_PUSH | TH_FIN);
	return s->syn_ns == 0 && from->tcp_flags & TH_ACK;
}

static enum flow_verdict verdict_of(const struct flow_slot *s, unsigned src,
				    enum flow_end_reason reason)
{
	if (s->key.proto != IPPROTO_TCP)
		return FLOW_VERDICT_NONE;
	if (was_established(s, src)) {
		if (s->state & FLOW_CLOSING_A && s->state & FLOW_CLOSING_B)
			return FLOW_VERDICT_CLOSED;
		if (s->state & (FLOW_RESET_A | FLOW_RESET_B))
			return FLOW_VERDICT_RESET;
		return reason == FLOW_END_IDLE ? FLOW_VERDICT_TIMED_OUT : FLOW_VERDICT_ESTABLISHED;
	}
	if (s->state & FLOW_SYNACK_SEEN)
		return FLOW_VERDICT_HALF_OPEN;
	if (s->state & (src ? FLOW_RESET_A : FLOW_RESET_B))
		return FLOW_VERDICT_REFUSED;
	return FLOW_VERDICT_SYN_UNANSWERED;
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
	const struct flow_slot *s = v->slot;
	struct reported *before = &t->reported[v->index];
	const struct counts counts[2] = {counts_of(v, 0), counts_of(v, 1)};
	unsigned src = s->initiator & 1;
	struct counts fwd = since_then(&counts[src], &before->half[src]);
	struct counts rev = since_then(&counts[!src], &before->half[!src]);
	struct flow_record r = {
		.start_ns = s->first_ns + now->real_offset_ns,
		.end_ns = last_ns(s) + now->real_offset_ns,
		.end_reason = (uint8_t)reason,
		.verdict = (uint8_t)verdict_of(s, src, reason),
	};

	set_ends(&r, &s->key, src);
	set_place(t, &r, s, src);
	set_totals(&r, &s->half[src], &s->half[!src]);
	set_counts(&r, &fwd, &rev);
	set_data_rtt(&r, &fwd, &rev, v->perf, src);
	set_handshake(&r, s, before);
	set_responses(&r, s, before);
	set_icmp_errors(&r, s, before);
	set_tunnel(&r, v);
	r.flow_id = flow_id(t, &r, s->first_ns);
	memcpy(before->half, counts, sizeof(counts));
	t->reported_ns[v->index] = now->mono_ns;
	if (reason != FLOW_END_ACTIVE) {
		*before = (struct reported){0};
		t->reported_ns[v->index] = t->next_ns[v->index] = 0;
	}
	*ret = r;
}
