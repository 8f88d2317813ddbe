/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tunnel.h - where the inner packet of a tunnel begins.
 *
 * Same rules as parse.h: no BPF helper, offsets, nothing guessed. Up to
 * TUNNEL_MAX_LEVELS are opened, one tunnel_open() each: a flow is known by the
 * innermost packet and the tunnel around that.
 *
 *	IPIP, 6in4, ...  protocols 4 and 41            RFC 2003, 4213, 2473
 *	GRE              protocol 47, version 0        RFC 2784, 2890; NVGRE's TEB too
 *	PPTP             GRE version 1, PPP in it      RFC 2637; a call id for each direction
 *	ERSPAN I - III   in GRE                        draft-foschiano-erspan-03
 *	VXLAN            UDP to 4789, 8472             RFC 7348
 *	Geneve           UDP to 6081                   RFC 8926
 *	GTP-U            UDP to or from 2152, G-PDU    3GPP TS 29.281; each direction
 *	                 has a TEID of its own, so it is not part of the flow
 *	Teredo           UDP to or from 3544           RFC 4380
 */
#ifndef WEIR_BPF_TUNNEL_H
#define WEIR_BPF_TUNNEL_H

#include "bpf/parse.h"

#define TUNNEL_MAX_LEVELS   3
#define TUNNEL_ID_MASK	    0xffffff
#define TUNNEL_HEADER_BYTES 8 /* the least that each of the UDP tunnels and GRE may need */

#define TUNNEL_GTP_MAX_EXT 2

/* Instead of an ethertype, until tunnel_look() has found it. */
#define TUNNEL_ANY_IP 0xffff /* the IP header's version tells */
#define TUNNEL_PPP    0xfffe /* the PPP header tells */

#ifndef ETH_P_ERSPAN
#define ETH_P_ERSPAN 0x88be
#endif
#ifndef ETH_P_ERSPAN2
#define ETH_P_ERSPAN2 0x22eb /* type III */
#endif
#define TUNNEL_P_PPTP 0x880b

static __always_inline bool tunnel_port(__u16 port)
{
	return port == 4789 || port == 8472 || port == 6081 || port == 2152 || port == 3544;
}

/* Cheap: false for nearly every packet. */
static __always_inline bool tunnel_possible(const struct packet *p)
{
	switch (p->key.proto) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
	case IPPROTO_GRE:
		return p->fragment != PARSE_LATER_FRAGMENT;
	case IPPROTO_UDP:
		return p->fragment != PARSE_LATER_FRAGMENT && p->rest > TUNNEL_HEADER_BYTES &&
		       (tunnel_port(bpf_ntohs(p->key.port_a)) ||
			tunnel_port(bpf_ntohs(p->key.port_b)));
	default:
		return false;
	}
}

static __always_inline __u32 tunnel_id(enum flow_tunnel kind, __u32 id)
{
	return (__u32)kind << 24 | (id & TUNNEL_ID_MASK);
}

static __always_inline __u32 tunnel_be32(const __u8 *at)
{
	return (__u32)at[0] << 24 | (__u32)at[1] << 16 | (__u32)at[2] << 8 | at[3];
}

/* inner: where to go on; ethertype 0 stands for an Ethernet header. */
static __always_inline bool tunnel_enter(struct packet *inner, enum flow_tunnel kind, __u32 id,
					 __u32 header_len, __be16 ethertype)
{
	inner->key.tunnel = tunnel_id(kind, id);
	inner->offset += header_len;
	inner->ethertype = ethertype;
	return true;
}

static __always_inline bool tunnel_payload(struct packet *inner, enum flow_tunnel kind, __u32 id,
					   __u32 header_len, __u32 ethertype)
{
	switch (ethertype) {
	case ETH_P_IP:
	case ETH_P_IPV6:
		return tunnel_enter(inner, kind, id, header_len, bpf_htons(ethertype));
	case ETH_P_TEB:
		return tunnel_enter(inner, kind, id, header_len, 0);
	default:
		return false;
	}
}

/* PPTP: the key is there always, sequence and acknowledgement number may be. */
static __always_inline bool tunnel_pptp(const __u8 *at, struct packet *inner)
{
	__u32 len = 8 + (at[0] & 0x10 ? 4 : 0) + (at[1] & 0x80 ? 4 : 0);

	return (at[1] & 7) == 1 && tunnel_enter(inner, FLOW_TUNNEL_GRE, 0, len, TUNNEL_PPP);
}

/*
 * II comes with a sequence number and has a header of 8 bytes, I neither; III
 * has 12 bytes, and 8 more if the last bit of them says so.
 */
static __always_inline bool tunnel_erspan(const struct parse_input *in, struct packet *inner,
					  __u32 gre_len, bool sequence, __u32 proto)
{
	const __u8 *at = in->start + inner->offset + gre_len;
	__u32 len = sequence ? 8 : 0;

	if (proto == ETH_P_ERSPAN2) {
		if ((const void *)(at + 12) > in->end)
			return false;
		len = at[11] & 1 ? 20 : 12;
	}
	return tunnel_enter(inner, FLOW_TUNNEL_ERSPAN, 0, gre_len + len, 0);
}

static __always_inline bool tunnel_gre(const struct parse_input *in, const __u8 *at,
				       struct packet *inner)
{
	__u32 flags = at[0], proto = at[2] << 8 | at[3], len = 4, id = 0;

	if (proto == TUNNEL_P_PPTP)
		return tunnel_pptp(at, inner);
	if (at[1] & 7)
		return false;
	if (flags & 0x80)
		len += 4; /* checksum */
	if (flags & 0x20) {
		if (len == 4)
			id = tunnel_be32(at + 4); /* the key; behind a checksum it is not read */
		len += 4;
	}
	if (flags & 0x10)
		len += 4; /* sequence number */
	if (proto == ETH_P_ERSPAN || proto == ETH_P_ERSPAN2)
		return tunnel_erspan(in, inner, len, flags & 0x10, proto);
	return tunnel_payload(inner, FLOW_TUNNEL_GRE, id, len, proto);
}

/* Skips extension headers (29.281 5.2.1); inner->offset is at the type of the first. */
static __always_inline bool tunnel_gtp_extensions(const struct parse_input *in,
						  struct packet *inner)
{
	for (int i = 0; i <= TUNNEL_GTP_MAX_EXT; i++) {
		const __u8 *type = in->start + inner->offset;

		if (inner->offset > PARSE_MAX_OFFSET || (const void *)(type + 2) > in->end)
			return false;
		if (!type[0]) {
			inner->offset++;
			return true;
		}
		if (!type[1]) /* the length, in 4 bytes, from there to the next type */
			return false;
		inner->offset += type[1] * 4;
	}
	return false;
}

static __always_inline bool tunnel_gtpu(const struct parse_input *in, const __u8 *at,
					struct packet *inner)
{
	__u32 len = 8 + (at[0] & 7 ? 4 : 0);
	bool extended = at[0] & 4;

	if ((at[0] & 0xf0) != 0x30 || at[1] != 0xff)
		return false;
	(void)tunnel_enter(inner, FLOW_TUNNEL_GTPU, 0, len - extended, TUNNEL_ANY_IP);
	return !extended || tunnel_gtp_extensions(in, inner);
}

/* An authentication and an origin indication may come first (RFC 4380 5.1.1). */
static __always_inline bool tunnel_teredo(const struct parse_input *in, const __u8 *at,
					  struct packet *inner)
{
	if (at[0] == 0 && at[1] == 1) {
		inner->offset +=
			4 + at[2] + at[3] + 8 + 1; /* client id, value, nonce, confirmation */
		at = in->start + inner->offset;
		if (inner->offset > PARSE_MAX_OFFSET ||
		    (const void *)(at + TUNNEL_HEADER_BYTES) > in->end)
			return false;
	}
	return tunnel_enter(inner, FLOW_TUNNEL_TEREDO, 0, at[0] == 0 && at[1] == 0 ? 8 : 0,
			    bpf_htons(ETH_P_IPV6));
}

static __always_inline bool tunnel_udp(const struct parse_input *in, const __u8 *at, __u16 sport,
				       __u16 dport, struct packet *inner)
{
	if (dport == 4789 || dport == 8472)
		return at[0] & 0x08 &&
		       tunnel_enter(inner, FLOW_TUNNEL_VXLAN, tunnel_be32(at + 4) >> 8, 8, 0);
	if (dport == 6081)
		return !(at[0] & 0xc0) &&
		       tunnel_payload(inner, FLOW_TUNNEL_GENEVE, tunnel_be32(at + 4) >> 8,
				      8 + (at[0] & 0x3f) * 4, at[2] << 8 | at[3]);
	if (dport == 2152 || sport == 2152)
		return tunnel_gtpu(in, at, inner);
	if (dport == 3544 || sport == 3544)
		return tunnel_teredo(in, at, inner);
	return false;
}

/* PPP in PPTP: address and control may be left out, and the zero before the protocol. */
static __always_inline bool tunnel_ppp(const __u8 *at, struct packet *inner)
{
	__u32 skip = at[0] == 0xff && at[1] == 0x03 ? 2 : 0;
	__u8 proto;

	if (skip)
		at += 2;
	skip += at[0] ? 1 : 2;
	proto = at[0] ? at[0] : at[1];
	inner->offset += skip;
	inner->ethertype = proto == 0x57 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	return proto == 0x21 || proto == 0x57;
}

/* GTP-U and PPTP do not say what they carry: the first bytes of that do. */
static __always_inline bool tunnel_look(const struct parse_input *in, struct packet *inner)
{
	const __u8 *at = in->start + inner->offset;

	if (inner->ethertype != TUNNEL_ANY_IP && inner->ethertype != TUNNEL_PPP)
		return true;
	if (inner->offset > PARSE_MAX_OFFSET || (const void *)(at + 4) > in->end)
		return false;
	if (inner->ethertype == TUNNEL_PPP)
		return tunnel_ppp(at, inner);
	inner->ethertype = *at >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	return true;
}

/*
 * Looks behind the headers of outer. False: inner is of no use. True: inner is set up for
 * parse_link() (ethertype 0) or parse_network(); if those fail, the packet is outer's.
 */
static __always_inline bool tunnel_open(const struct parse_input *in, const struct packet *outer,
					struct packet *inner)
{
	const __u8 *at = in->start + outer->offset;
	__u16 port_a = bpf_ntohs(outer->key.port_a), port_b = bpf_ntohs(outer->key.port_b);

	if (outer->offset > PARSE_MAX_OFFSET || (const void *)(at + TUNNEL_HEADER_BYTES) > in->end)
		return false;
	*inner = (struct packet){.offset = outer->offset};
	inner->key.vlan = outer->key.vlan;
	switch (outer->key.proto) {
	case IPPROTO_IPIP:
		return tunnel_enter(inner, FLOW_TUNNEL_IPIP, 0, 0, bpf_htons(ETH_P_IP));
	case IPPROTO_IPV6:
		return tunnel_enter(inner, FLOW_TUNNEL_IPIP, 0, 0, bpf_htons(ETH_P_IPV6));
	case IPPROTO_GRE:
		return tunnel_gre(in, at, inner) && tunnel_look(in, inner);
	case IPPROTO_UDP:
		return tunnel_udp(in, at, outer->dir ? port_b : port_a,
				  outer->dir ? port_a : port_b, inner) &&
		       tunnel_look(in, inner);
	default:
		return false;
	}
}

#endif /* WEIR_BPF_TUNNEL_H */
