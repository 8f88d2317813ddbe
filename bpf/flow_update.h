/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_update.h - what one packet changes in its flow.
 *
 * No BPF helper and no map, so it also compiles natively for unit tests.
 * struct flow_slot says what may happen on several CPUs at once.
 *
 * TCP: one RTT sample in flight per direction (Karn and Partridge 1987): taken
 * from payload to the acknowledgement that covers it, given up when the
 * direction sends something again, unless a timestamp (RFC 7323) tells which of
 * the two was acknowledged.
 */
#ifndef WEIR_BPF_FLOW_UPDATE_H
#define WEIR_BPF_FLOW_UPDATE_H

#include "bpf/flow_abi.h"
#include "bpf/parse.h"

/*
 * A segment that fills a gap within a round trip (the handshake's) after the gap
 * appeared came out of order; later it was sent again, since the sender learns
 * of a loss no sooner. This is the bound where no handshake was seen.
 */
#define REORDER_NS 3000000ull

/* Further behind than this, a SYN opens another connection instead of repeating the first. */
#define SYN_REPEAT_BYTES (1 << 20)

/* What the hook knows of a packet beside its headers. */
struct flow_seen {
	__u64 now_ns;
	__u64 bytes;   /* on the wire */
	__u32 packets; /* on the wire */
	__u32 iface;   /* as flow_half.iface */
	__u8 cpu;      /* FLOW_CPU() */
};

enum flow_update_result {
	FLOW_COUNTED,
	FLOW_ELSEWHERE, /* this packet is counted at another interface or hook */
};

/* A packet's flow, seen from its direction. */
struct flow_side {
	struct flow_slot *slot;
	struct flow_half *half, *other;
	struct flow_perf_half *perf, *other_perf;
	struct flow_lane *lane, *other_lane;
	__u8 sampling; /* the bit of this direction */
};

static __always_inline void flow_set(struct flow_slot *s, __u32 bits)
{
	if ((s->state & bits) != bits)
		__sync_fetch_and_or(&s->state, bits);
}

static __always_inline __u32 flow_us(__u64 from_ns, __u64 to_ns)
{
	__u64 us = to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;

	if (us > 0xffffffff)
		us = 0xffffffff;
	return us ? us : 1;
}

static __always_inline __u32 flow_rtt_bucket(__u32 us)
{
	__u32 bucket = 0;

	us >>= 5;
	for (int i = 0; i < FLOW_RTT_BUCKETS - 1 && us; i++, us >>= 1)
		bucket++;
	return bucket;
}

static __always_inline void flow_rtt_sample(struct flow_perf_half *perf, __u32 us)
{
	__u32 bucket = flow_rtt_bucket(us) & (FLOW_RTT_BUCKETS - 1);

	perf->rtt_count++;
	perf->rtt_sum_us += us;
	if (!perf->rtt_min_us || us < perf->rtt_min_us)
		perf->rtt_min_us = us;
	if (us > perf->rtt_max_us)
		perf->rtt_max_us = us;
	perf->rtt_hist[bucket]++;
}

/* --- TCP --------------------------------------------------------------------- */

/* An acknowledgement from this side may end the other side's sample. */
static __always_inline void flow_tcp_ack(const struct flow_side *f, const struct packet *p,
					 const struct flow_seen *seen)
{
	struct flow_half *sender = f->other;
	bool covers;

	if (!(f->slot->sampling & ~f->sampling))
		return; /* nearly always: spares us the line of the other direction */
	if (!sender->sample_ns) {
		f->slot->sampling &= f->sampling;
		return;
	}
	covers = (__s32)(p->tcp_ack - sender->sample_seq) >= 0;
	if (sender->sample_ts && p->tcp_ts_echo)
		covers = covers && p->tcp_ts_echo == sender->sample_ts;
	if (covers)
		flow_rtt_sample(f->other_perf, flow_us(sender->sample_ns, seen->now_ns));
	if ((__s32)(p->tcp_ack - sender->sample_seq) >= 0) {
		sender->sample_ns = 0;
		f->slot->sampling &= f->sampling;
	}
}

/* The same acknowledgement again, with nothing else in it (RFC 5681 section 2). */
static __always_inline bool flow_tcp_is_dup_ack(const struct flow_side *f, const struct packet *p)
{
	return !p->rest && !(p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) &&
	       p->tcp_ack == f->half->ack && p->tcp_window == f->half->window && p->tcp_window &&
	       f->other->seq_end != p->tcp_ack && p->tcp_seq == f->half->seq_end;
}

static __always_inline void flow_count_retrans(const struct flow_side *f, const struct packet *p,
					       __u32 packets)
{
	__sync_fetch_and_add(&f->perf->retrans_pkts, packets);
	__sync_fetch_and_add(&f->perf->retrans_bytes, p->rest);
	if (!f->half->sample_ts)
		f->half->sample_ns = 0; /* Karn: which of the two will be acknowledged? */
}

/*
 * Data below seq_end. Returns true if it is late (out of order), false if it
 * was sent again, and shrinks the gap that it falls into.
 */
static __always_inline bool flow_fills_hole(struct flow_perf_half *perf, __u32 seq, __u32 end,
					    __u64 now_ns, __u64 reorder_ns)
{
	bool late;

	if (!perf->hole_ns || (__s32)(seq - perf->hole_start) < 0 ||
	    (__s32)(perf->hole_end - end) < 0)
		return false;
	late = now_ns - perf->hole_ns < reorder_ns;
	if (seq == perf->hole_start)
		perf->hole_start = end;
	else
		perf->hole_end = seq;
	if (perf->hole_start == perf->hole_end)
		perf->hole_ns = 0;
	return late;
}

static __always_inline __u64 flow_reorder_ns(const struct flow_slot *s)
{
	return s->state & FLOW_HANDSHAKE_DONE ? ((__u64)s->rtt_server_us + s->rtt_client_us) * 1000
					      : REORDER_NS;
}

/* Not the next byte: a gap, a repetition, something late, or another connection. */
static __always_inline void flow_tcp_odd_sequence(const struct flow_side *f, const struct packet *p,
						  const struct flow_seen *seen, __u32 end)
{
	__s32 ahead = (__s32)(p->tcp_seq - f->half->seq_end);

	if (p->tcp_flags & TCP_SYN && (ahead > 0 || ahead < -SYN_REPEAT_BYTES)) {
		f->half->seq_end = end; /* the same ends open another connection */
		f->perf->hole_ns = 0;
		return;
	}
	if (ahead > 0) {
		f->perf->hole_start = f->half->seq_end;
		f->perf->hole_end = p->tcp_seq;
		f->perf->hole_ns = seen->now_ns;
		f->half->seq_end = end;
		return;
	}
	if (ahead == -1 && end - p->tcp_seq <= 1 && !(p->tcp_flags & (TCP_SYN | TCP_FIN)))
		return; /* keep-alive or window probe (RFC 9293 3.8.4, 3.8.6.1) */
	if (flow_fills_hole(f->perf, p->tcp_seq, end, seen->now_ns, flow_reorder_ns(f->slot)))
		__sync_fetch_and_add(&f->perf->ooo_pkts, seen->packets);
	else
		flow_count_retrans(f, p, seen->packets);
	if ((__s32)(end - f->half->seq_end) > 0)
		f->half->seq_end = end;
}

/* Follows the sequence numbers of one direction (RFC 9293 3.4). */
static __always_inline void flow_tcp_sequence(const struct flow_side *f, const struct packet *p,
					      const struct flow_seen *seen)
{
	__u32 known = p->dir ? FLOW_SEQ_B : FLOW_SEQ_A;
	__u32 end = p->tcp_seq + p->rest + !!(p->tcp_flags & TCP_SYN) + !!(p->tcp_flags & TCP_FIN);

	if (end == p->tcp_seq || p->tcp_flags & TCP_RST)
		return;
	if (!(f->slot->state & known)) {
		flow_set(f->slot, known);
		f->half->seq_end = end;
		f->perf->hole_ns = 0;
	} else if (p->tcp_seq == f->half->seq_end) { /* nearly always */
		f->half->seq_end = end;
	} else {
		flow_tcp_odd_sequence(f, p, seen, end);
		return;
	}
	if (p->rest && (!f->half->sample_ns || !(f->slot->sampling & f->sampling))) {
		f->half->sample_seq = end;
		f->half->sample_ts = p->tcp_ts;
		f->half->sample_ns = seen->now_ns;
		f->slot->sampling |= f->sampling;
	}
}

static __always_inline bool flow_closed(const struct flow_slot *s)
{
	__u32 both = FLOW_CLOSING_A | FLOW_CLOSING_B;

	return s->state & (FLOW_RESET_A | FLOW_RESET_B) || (s->state & both) == both;
}

/*
 * A SYN that was refused may come again as it was, which is no other connection: the bit
 * that keeps the sequence number of its side.
 */
static __always_inline __u32 flow_refused_syn(const struct flow_slot *s, const struct packet *p)
{
	const struct flow_half *half = p->dir ? &s->half[1] : &s->half[0];

	return half->seq_end == p->tcp_seq + 1 ? (p->dir ? FLOW_SEQ_B : FLOW_SEQ_A) : 0;
}

/*
 * Who opened the connection, and how long each half of the handshake took: from
 * the last SYN to the first SYN-ACK behind it, from the last SYN-ACK to the ACK.
 */
static __always_inline void flow_tcp_handshake(struct flow_slot *s, const struct packet *p,
					       __u64 now_ns)
{
	__u16 flags = p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST);

	if (flags == TCP_SYN) {
		if (flow_closed(s)) /* the ports are used again before we let go of the flow */
			__sync_fetch_and_and(&s->state, FLOW_LIVE | flow_refused_syn(s, p));
		if (!(s->state & FLOW_SYN_SEEN)) {
			flow_set(s, FLOW_SYN_SEEN);
			s->initiator = p->dir;
			s->synack_ns = 0;
			s->rtt_server_us = 0;
		}
		if (s->initiator == p->dir)
			s->syn_ns = now_ns;
	} else if (flags == (TCP_SYN | TCP_ACK)) {
		if (!(s->state & FLOW_SYN_SEEN))
			s->initiator = !p->dir;
		flow_set(s, FLOW_SYN_SEEN | FLOW_SYNACK_SEEN);
		if (s->initiator == p->dir || s->state & FLOW_HANDSHAKE_DONE)
			return;
		if (s->syn_ns > s->synack_ns) /* else it is repeated */
			s->rtt_server_us = flow_us(s->syn_ns, now_ns);
		s->synack_ns = now_ns;
	} else if (flags == TCP_ACK && !(s->state & FLOW_HANDSHAKE_DONE) && s->rtt_server_us &&
		   s->initiator == p->dir) {
		s->rtt_client_us = flow_us(s->synack_ns, now_ns);
		flow_set(s, FLOW_HANDSHAKE_DONE);
	}
}

static __always_inline void flow_tcp_flags(const struct flow_side *f, const struct packet *p,
					   __u64 now_ns)
{
	if ((f->half->tcp_flags & p->tcp_flags) != p->tcp_flags)
		__sync_fetch_and_or(&f->half->tcp_flags, p->tcp_flags);
	if (p->tcp_flags & TCP_SYN ||
	    (f->slot->state & (FLOW_SYNACK_SEEN | FLOW_HANDSHAKE_DONE)) == FLOW_SYNACK_SEEN)
		flow_tcp_handshake(f->slot, p, now_ns);
	if (p->tcp_mss)
		f->half->mss = p->tcp_mss;
	if (p->tcp_flags & TCP_FIN)
		flow_set(f->slot, p->dir ? FLOW_CLOSING_B : FLOW_CLOSING_A);
	if (p->tcp_flags & TCP_RST)
		flow_set(f->slot, p->dir ? FLOW_RESET_B : FLOW_RESET_A);
}

static __always_inline void flow_tcp(const struct flow_side *f, const struct packet *p,
				     const struct flow_seen *seen)
{
	flow_tcp_flags(f, p, seen->now_ns);
	if (p->tcp_flags & TCP_ACK) {
		flow_tcp_ack(f, p, seen);
		if (flow_tcp_is_dup_ack(f, p))
			__sync_fetch_and_add(&f->perf->dup_acks, 1);
		f->half->ack = p->tcp_ack;
	}
	if (!p->tcp_window && !(p->tcp_flags & (TCP_SYN | TCP_RST | TCP_FIN)))
		__sync_fetch_and_add(&f->perf->zero_windows, 1);
	f->half->window = p->tcp_window;
	flow_tcp_sequence(f, p, seen);
}

/* --- all protocols ------------------------------------------------------------- */

#define ASKED_NS(asked_at) ((__u64)(asked_at) << 10)

static __always_inline bool flow_is_payload(const struct packet *p)
{
	return p->rest && p->fragment < PARSE_TINY_FRAGMENT &&
	       (p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP);
}

/*
 * Last byte asked to first byte answered, up to 73 minutes: when it was asked is
 * in units of 1,024 ns in 32 bits, in a line that the packet has touched anyway
 * (flow_count()).
 */
static __always_inline __u32 flow_asked_at(const struct flow_seen *seen)
{
	return seen->now_ns >> 10 | 1;
}

/* A payload of the other side. */
static __always_inline void flow_response(const struct flow_side *f, const struct flow_seen *seen)
{
	struct flow_slot *s = f->slot;
	__u32 asked_at = f->other->asked_at, us;

	f->other->asked_at = 0;
	if (s->state & FLOW_SPREAD) { /* whichever was later */
		__u32 lane_at = f->other_lane->asked_at;

		if (lane_at && (!asked_at || (__s32)(lane_at - asked_at) > 0))
			asked_at = lane_at;
		f->other_lane->asked_at = 0;
	}
	if (!asked_at)
		return;
	us = flow_us(0, ASKED_NS(flow_asked_at(seen) - asked_at));
	s->responses++;
	s->response_sum_us += us;
	if (us > s->response_max_us)
		s->response_max_us = us;
}

/* An echo request waits for the reply with its sequence number. */
static __always_inline void flow_echo(const struct flow_side *f, const struct packet *p,
				      __u64 now_ns)
{
	if (p->query == 1) {
		f->half->sample_seq = p->icmp_seq;
		f->half->sample_ns = now_ns;
	} else if (f->other->sample_ns && f->other->sample_seq == p->icmp_seq) {
		flow_rtt_sample(f->other_perf, flow_us(f->other->sample_ns, now_ns));
		f->other->sample_ns = 0;
	}
}

/* --- counting ------------------------------------------------------------------ */

/*
 * Whether this direction is counted where the packet is seen: a packet met again
 * elsewhere is not, unless the place has been silent. here is the lane of this
 * CPU; other, NULL if nobody has used it, the rest of the direction.
 */
static __always_inline bool flow_is_place(struct flow_lane *here, struct flow_lane *other,
					  const struct flow_seen *seen)
{
	__u64 last_ns = here->last_ns;
	bool known = here->last_ns;

	if (here->iface == seen->iface)
		return true;
	if (other && other->last_ns) {
		if (!known && other->iface == seen->iface) {
			here->iface = seen->iface;
			return true;
		}
		if (other->last_ns > last_ns)
			last_ns = other->last_ns;
	}
	if (last_ns && (__s64)(seen->now_ns - last_ns) < (__s64)FLOW_TAKEOVER_NS)
		return false;
	here->iface = seen->iface;
	if (other)
		other->iface = seen->iface;
	return true;
}

static __always_inline enum flow_update_result
flow_count(struct flow_lane *here, struct flow_lane *other, const struct flow_seen *seen, bool asks)
{
	if (here->iface != seen->iface && !flow_is_place(here, other, seen))
		return FLOW_ELSEWHERE;
	__sync_fetch_and_add(&here->packets, seen->packets);
	__sync_fetch_and_add(&here->bytes, seen->bytes);
	here->last_ns = seen->now_ns;
	if (asks)
		here->asked_at = flow_asked_at(seen);
	return FLOW_COUNTED;
}

/* On another CPU than the direction's: into its lane, which may become the home in time. */
static __always_inline enum flow_update_result flow_count_away(const struct flow_side *f,
							       const struct packet *p,
							       const struct flow_seen *seen,
							       bool asks)
{
	enum flow_update_result res;

	flow_set(f->slot, FLOW_SPREAD);
	res = flow_count(f->lane, (struct flow_lane *)f->half, seen, asks);
	if ((f->lane->packets & 0xff) < seen->packets &&
	    (__s64)(seen->now_ns - f->half->last_ns) > (__s64)FLOW_REHOME_NS)
		f->slot->home[p->dir & 1] = seen->cpu;
	return res;
}

static __always_inline enum flow_update_result flow_update(struct flow_slot *s,
							   struct flow_perf *perf,
							   const struct packet *p,
							   const struct flow_seen *seen)
{
	struct flow_side f = {
		.slot = s,
		.half = p->dir ? &s->half[1] : &s->half[0],
		.other = p->dir ? &s->half[0] : &s->half[1],
		.perf = p->dir ? &perf->half[1] : &perf->half[0],
		.other_perf = p->dir ? &perf->half[0] : &perf->half[1],
		.lane = p->dir ? &perf->lane[1] : &perf->lane[0],
		.other_lane = p->dir ? &perf->lane[0] : &perf->lane[1],
		.sampling = p->dir ? 2 : 1,
	};
	__u8 home = s->home[p->dir & 1];
	bool payload = flow_is_payload(p), asks = payload && p->dir == s->initiator;
	enum flow_update_result res;

	if (!home)
		home = s->home[p->dir & 1] = seen->cpu;
	if (home == seen->cpu)
		res = flow_count((struct flow_lane *)f.half, s->state & FLOW_SPREAD ? f.lane : NULL,
				 seen, asks);
	else
		res = flow_count_away(&f, p, seen, asks);
	if (res != FLOW_COUNTED)
		return res;
	if (p->ecn_ce)
		__sync_fetch_and_add(&f.perf->ce_pkts, seen->packets);
	if (p->fragment >= PARSE_TINY_FRAGMENT) {
		if (p->tcp_flags)
			__sync_fetch_and_or(&f.half->tcp_flags, p->tcp_flags);
		return FLOW_COUNTED;
	}
	if (p->key.proto == IPPROTO_TCP)
		flow_tcp(&f, p, seen);
	else if (p->query)
		flow_echo(&f, p, seen->now_ns);
	if (payload && p->dir != s->initiator)
		flow_response(&f, seen);
	return FLOW_COUNTED;
}

#endif /* WEIR_BPF_FLOW_UPDATE_H */
