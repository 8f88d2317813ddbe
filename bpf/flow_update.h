/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_update.h - what one packet changes in its flow's entry.
 *
 * No BPF helper and no map, so it also compiles natively for unit tests.
 * struct flow_entry says what may happen on several CPUs at once.
 */
#ifndef WEIR_BPF_FLOW_UPDATE_H
#define WEIR_BPF_FLOW_UPDATE_H

#include "bpf/flow_abi.h"
#include "bpf/parse.h"

/*
 * A segment that fills a gap this soon after the gap appeared came out of
 * order; later it was sent again (a lost packet needs a round trip and more).
 * 3 ms is tshark's bound where it knows no round-trip time.
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
};

enum flow_update_result {
	FLOW_COUNTED,
	FLOW_ELSEWHERE, /* this packet is counted at another interface or hook */
	FLOW_FROZEN,	/* not counted in this entry: it is being reaped */
};

static __always_inline void flow_set(struct flow_entry *e, __u32 bits)
{
	if ((e->state & bits) != bits)
		__sync_fetch_and_or(&e->state, bits);
}

static __always_inline void flow_count_retrans(struct flow_half *half, const struct packet *p,
					       __u32 packets)
{
	__sync_fetch_and_add(&half->retrans_pkts, packets);
	__sync_fetch_and_add(&half->retrans_bytes, p->rest);
}

/*
 * Data below seq_end. Returns true if it is late (out of order), false if it
 * was sent again, and shrinks the gap that it falls into.
 */
static __always_inline bool flow_fills_hole(struct flow_half *half, __u32 seq, __u32 end,
					    __u64 now_ns)
{
	bool late;

	if (!half->hole_ns || (__s32)(seq - half->hole_start) < 0 ||
	    (__s32)(half->hole_end - end) < 0)
		return false;
	late = now_ns - half->hole_ns < REORDER_NS;
	if (seq == half->hole_start)
		half->hole_start = end;
	else
		half->hole_end = seq;
	if (half->hole_start == half->hole_end)
		half->hole_ns = 0;
	return late;
}

/* Follows the sequence numbers of one direction (RFC 9293 3.4). */
static __always_inline void flow_sequence(struct flow_entry *e, struct flow_half *half,
					  const struct packet *p, const struct flow_seen *seen)
{
	__u32 known = p->dir ? FLOW_SEQ_B : FLOW_SEQ_A;
	__u32 seq = p->tcp_seq, end;
	__s32 ahead;

	end = seq + p->rest + !!(p->tcp_flags & TCP_SYN) + !!(p->tcp_flags & TCP_FIN);
	if (end == seq || p->tcp_flags & TCP_RST)
		return;
	if (!(e->state & known)) {
		flow_set(e, known);
		half->seq_end = end;
		half->hole_ns = 0;
		return;
	}

	ahead = (__s32)(seq - half->seq_end);
	if (ahead == 0) { /* nearly always */
		half->seq_end = end;
		return;
	}
	if (p->tcp_flags & TCP_SYN && (ahead > 0 || ahead < -SYN_REPEAT_BYTES)) {
		half->seq_end = end; /* the same ends open another connection */
		half->hole_ns = 0;
		return;
	}
	if (ahead > 0) {
		half->hole_start = half->seq_end;
		half->hole_end = seq;
		half->hole_ns = seen->now_ns;
		half->seq_end = end;
		return;
	}
	if (ahead == -1 && end - seq <= 1 && !(p->tcp_flags & (TCP_SYN | TCP_FIN)))
		return; /* keep-alive or window probe (RFC 9293 3.8.4, 3.8.6.1) */
	if (!flow_fills_hole(half, seq, end, seen->now_ns))
		flow_count_retrans(half, p, seen->packets);
	if ((__s32)(end - half->seq_end) > 0)
		half->seq_end = end;
}

static __always_inline __u32 flow_us(__u64 from_ns, __u64 to_ns)
{
	__u64 us = to_ns > from_ns ? (to_ns - from_ns) / 1000 : 0;

	if (us > 0xffffffff)
		us = 0xffffffff;
	return us ? us : 1;
}

static __always_inline bool flow_closed(const struct flow_entry *e)
{
	__u32 both = FLOW_CLOSING_A | FLOW_CLOSING_B;

	return e->state & FLOW_RESET || (e->state & both) == both;
}

/* Who opened the connection, and how long each half of the handshake took. */
static __always_inline void flow_handshake(struct flow_entry *e, const struct packet *p,
					   __u64 now_ns)
{
	__u16 flags = p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST);

	if (flags == TCP_SYN) {
		if (flow_closed(e)) /* the ports are used again before we let go of the flow */
			__sync_fetch_and_and(&e->state, FLOW_REAPED);
		if (!(e->state & FLOW_SYN_SEEN)) {
			flow_set(e, FLOW_SYN_SEEN);
			e->initiator = p->dir;
			e->synack_ns = 0;
		}
		if (e->initiator == p->dir)
			e->syn_ns = now_ns; /* the latest: what a SYN-ACK answers */
	} else if (flags == (TCP_SYN | TCP_ACK)) {
		if (!(e->state & FLOW_SYN_SEEN)) {
			flow_set(e, FLOW_SYN_SEEN);
			e->initiator = !p->dir;
		}
		if (e->initiator != p->dir)
			e->synack_ns = now_ns;
	} else if (flags == TCP_ACK && !(e->state & FLOW_HANDSHAKE_DONE) && e->synack_ns &&
		   e->syn_ns && e->initiator == p->dir) {
		e->rtt_server_us = flow_us(e->syn_ns, e->synack_ns);
		e->rtt_client_us = flow_us(e->synack_ns, now_ns);
		flow_set(e, FLOW_HANDSHAKE_DONE);
	}
}

static __always_inline void flow_tcp(struct flow_entry *e, struct flow_half *half,
				     const struct packet *p, const struct flow_seen *seen)
{
	if ((half->tcp_flags & p->tcp_flags) != p->tcp_flags)
		__sync_fetch_and_or(&half->tcp_flags, p->tcp_flags);
	if (p->tcp_flags & TCP_SYN || !(e->state & FLOW_HANDSHAKE_DONE))
		flow_handshake(e, p, seen->now_ns);
	flow_sequence(e, half, p, seen);
	if (p->tcp_flags & TCP_FIN)
		flow_set(e, p->dir ? FLOW_CLOSING_B : FLOW_CLOSING_A);
	if (p->tcp_flags & TCP_RST)
		flow_set(e, FLOW_RESET);
}

static __always_inline enum flow_update_result
flow_update(struct flow_entry *e, const struct packet *p, const struct flow_seen *seen)
{
	struct flow_half *half = p->dir ? &e->half[1] : &e->half[0];

	if (e->state & FLOW_REAPED)
		return FLOW_FROZEN;
	if (half->iface != seen->iface) {
		if (half->last_ns &&
		    (__s64)(seen->now_ns - half->last_ns) < (__s64)FLOW_TAKEOVER_NS)
			return FLOW_ELSEWHERE;
		half->iface = seen->iface;
	}
	__sync_fetch_and_add(&half->packets, seen->packets);
	__sync_fetch_and_add(&half->bytes, seen->bytes);
	half->last_ns = seen->now_ns;
	if (p->key.proto == IPPROTO_TCP)
		flow_tcp(e, half, p, seen);
	return FLOW_COUNTED;
}

#endif /* WEIR_BPF_FLOW_UPDATE_H */
