/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * payload.h - which payloads user space is to see. No BPF helper: head is the
 * first PAYLOAD_HEAD bytes of the payload, zero where it is shorter.
 *
 *	DNS   everything to or from port 53 (RFC 1035), UDP and TCP
 *	TLS   a handshake record that begins with a ClientHello (RFC 8446 4.1.2),
 *	      and the segments up to its end
 *	QUIC  a long header of type Initial (RFC 9000 17.2.2, RFC 9369); which versions
 *	      can be read is for user space to say
 */
#ifndef WEIR_BPF_PAYLOAD_H
#define WEIR_BPF_PAYLOAD_H

#include "bpf/flow_abi.h"
#include "bpf/parse.h"

#define PAYLOAD_HEAD   6    /* bytes */
#define QUIC_MIN_BYTES 1200 /* RFC 9000 14.1 */

static __always_inline bool payload_is_dns(const struct packet *p)
{
	return p->key.port_a == bpf_htons(53) || p->key.port_b == bpf_htons(53);
}

/* A TLS record of type handshake whose first message is a ClientHello. */
static __always_inline bool payload_starts_hello(const __u8 head[PAYLOAD_HEAD])
{
	return head[0] == 22 && head[1] == 3 && head[2] <= 4 && head[5] == 1;
}

static __always_inline bool payload_is_quic(const struct packet *p, const __u8 head[PAYLOAD_HEAD])
{
	__u32 version = (__u32)head[1] << 24 | head[2] << 16 | head[3] << 8 | head[4];

	return p->rest >= QUIC_MIN_BYTES && version &&
	       (head[0] & 0xf0) == (version == 0x6b3343cf ? 0xd0 : 0xc0);
}

/* Cheap: whether the head has to be looked at. packets: of this direction, on this CPU. */
static __always_inline bool payload_possible(const struct packet *p, const struct flow_slot *s,
					     __u64 packets)
{
	if (!p->rest || p->fragment == PARSE_LATER_FRAGMENT)
		return false;
	if (payload_is_dns(p))
		return p->key.proto == IPPROTO_UDP || p->key.proto == IPPROTO_TCP;
	if (p->key.proto == IPPROTO_UDP)
		return p->rest >= QUIC_MIN_BYTES && packets <= 4;
	/* The first data of a connection, or the rest of a hello. */
	return p->key.proto == IPPROTO_TCP && (s->state & FLOW_HELLO || packets <= 6);
}

/* The kind, or -1. Follows a ClientHello over its segments. */
static __always_inline int payload_kind(const struct packet *p, struct flow_slot *s,
					const __u8 head[PAYLOAD_HEAD])
{
	if (payload_is_dns(p))
		return PAYLOAD_DNS;
	if (p->key.proto == IPPROTO_UDP)
		return payload_is_quic(p, head) ? PAYLOAD_QUIC : -1;
	if (payload_starts_hello(head)) {
		s->hello_end = p->tcp_seq + 5 + (head[3] << 8 | head[4]);
		__sync_fetch_and_or(&s->state, FLOW_HELLO);
		return PAYLOAD_TLS;
	}
	if (!(s->state & FLOW_HELLO) || p->dir != s->initiator)
		return -1;
	if ((__s32)(s->hello_end - p->tcp_seq) > 0)
		return PAYLOAD_TLS;
	__sync_fetch_and_and(&s->state, ~FLOW_HELLO);
	return -1;
}

#endif /* WEIR_BPF_PAYLOAD_H */
