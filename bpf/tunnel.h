/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tunnel.h - where the inner packet of a tunnel begins.
 *
 * Same rules as parse.h: no BPF helper, offsets, nothing guessed. One level is
 * opened: what is inside a tunnel inside a tunnel belongs to the first.
 *
 *	IPIP, 6in4, ...  protocols 4 and 41            RFC 2003, 4213, 2473
 *	GRE              protocol 47, version 0        RFC 2784, 2890; NVGRE's TEB too
 *	ERSPAN I, II     in GRE                        draft-foschiano-erspan-03
 *	VXLAN            UDP to 4789, 8472             RFC 7348
 *	Geneve           UDP to 6081                   RFC 8926
 *	GTP-U            UDP to or from 2152, G-PDU    3GPP TS 29.281
 *	Teredo           UDP to or from 3544           RFC 4380
 */
#ifndef WEIR_BPF_TUNNEL_H
#define WEIR_BPF_TUNNEL_H

#include "bpf/parse.h"

#define TUNNEL_ID_MASK	    0xffffff
#define TUNNEL_HEADER_BYTES 8 /* the least that each of the UDP tunnels and GRE may need */

#define TUNNEL_ANY_IP 0xffff /* instead of an ethertype: look at the version */

#ifndef ETH_P_ERSPAN
#define ETH_P_ERSPAN 0x88be
#endif

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

static __always_inline bool tunnel_gre(const __u8 *at, struct packet *inner)
{
	__u32 flags = at[0], proto = at[2] << 8 | at[3], len = 4, id = 0;

	if (at[1] & 7) /* version 1 is PPTP's */
		return false;
	if (flags & 0x80)
		len += 4; /* checksum */
	if (flags & 0x20) {
		if (len == 4)
			id = tunnel_be32(at + 4); /* the key; behind a checksum it is not read */
		len += 4;
	}
	if (flags & 0x10)
		len += 4;	   /* sequence number */
	if (proto == ETH_P_ERSPAN) /* II has a sequence number and a header of 8 bytes, I neither */
		return tunnel_enter(inner, FLOW_TUNNEL_ERSPAN, 0, len + (flags & 0x10 ? 8 : 0), 0);
	return tunnel_payload(inner, FLOW_TUNNEL_GRE, id, len, proto);
}

static __always_inline bool tunnel_gtpu(const __u8 *at, struct packet *inner)
{
	__u32 len = 8 + (at[0] & 7 ? 4 : 0);

	if ((at[0] & 0xf0) != 0x30 || at[1] != 0xff ||
	    at[0] & 4) /* extension headers: not followed */
		return false;
	return tunnel_enter(inner, FLOW_TUNNEL_GTPU, tunnel_be32(at + 4), len, TUNNEL_ANY_IP);
}

static __always_inline bool tunnel_udp(const __u8 *at, __u16 sport, __u16 dport,
				       struct packet *inner)
{
	if (dport == 4789 || dport == 8472)
		return at[0] & 0x08 &&
		       tunnel_enter(inner, FLOW_TUNNEL_VXLAN, tunnel_be32(at + 4) >> 8, 8, 0);
	if (dport == 6081)
		return !(at[0] & 0xc0) &&
		       tunnel_payload(inner, FLOW_TUNNEL_GENEVE, tunnel_be32(at + 4) >> 8,
				      8 + (at[0] & 0x3f) * 4, at[2] << 8 | at[3]);
	if (dport == 2152 || sport == 2152)
		return tunnel_gtpu(at, inner);
	if (dport == 3544 || sport == 3544) {
		/* An origin indication (RFC 4380 5.1.1) may come first. */
		__u32 len = at[0] == 0 && at[1] == 0 ? 8 : 0;

		return (len || at[0] >> 4 == 6) &&
		       tunnel_enter(inner, FLOW_TUNNEL_TEREDO, 0, len, bpf_htons(ETH_P_IPV6));
	}
	return false;
}

/* GTP-U does not say which IP it carries: its first nibble does. */
static __always_inline bool tunnel_ip_version(const struct parse_input *in, struct packet *inner)
{
	const __u8 *ip = in->start + inner->offset;

	if (inner->ethertype != TUNNEL_ANY_IP)
		return true;
	if (inner->offset > PARSE_MAX_OFFSET || (const void *)(ip + 1) > in->end)
		return false;
	inner->ethertype = *ip >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	return true;
}

/*
 * Looks behind the headers of outer. True: inner is set up for parse_link()
 * (ethertype 0) or parse_network(); if those fail, the packet is outer's.
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
		return tunnel_gre(at, inner);
	case IPPROTO_UDP:
		return tunnel_udp(at, outer->dir ? port_b : port_a, outer->dir ? port_a : port_b,
				  inner) &&
		       tunnel_ip_version(in, inner);
	default:
		return false;
	}
}

#endif /* WEIR_BPF_TUNNEL_H */
