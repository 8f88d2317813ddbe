/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tunnel.h - where the inner packet of a tunnel begins.
 *
 * Same rules as parse.h: no BPF helper, offsets, nothing guessed. Up to
 * TUNNEL_MAX_LEVELS are opened, one tunnel_open() each: a flow is known by the
 * innermost packet and the tunnel around that.
 *
 *	IPIP, 6in4, ...  protocols 4 and 41            RFC 2003, 4213, 2473
 *	Ethernet in IP   protocols 97 and 143          RFC 3378, 8986
 *	PIM register     protocol 103                  RFC 7761 4.9.3
 *	GRE              protocol 47, version 0        RFC 2784, 2890; NVGRE's TEB too
 *	PPTP             GRE version 1, PPP in it      RFC 2637; a call id for each direction
 *	ERSPAN I - III   in GRE                        draft-foschiano-erspan-03
 *	WCCP             in GRE, with or without a redirect header
 *	VXLAN            UDP to 4789, 8472             RFC 7348
 *	VXLAN-GPE        UDP to 4790                   draft-ietf-nvo3-vxlan-gpe
 *	Geneve           UDP to 6081                   RFC 8926
 *	GTP-U            UDP to or from 2152, G-PDU    3GPP TS 29.281; each direction
 *	                 has a TEID of its own, so it is not part of the flow
 *	Teredo           UDP to or from 3544           RFC 4380
 *	L2TP version 2   UDP to or from 1701, data     RFC 2661; ids for each direction
 *	LISP             UDP to 4341                   RFC 9300
 *	MPLS             UDP to 6635                   RFC 7510
 *	GRE in UDP       UDP to 4754                   RFC 8086
 *	AYIYA            UDP to or from 5072           draft-massar-v6ops-ayiya-02
 *
 * Between these and IP may stand what parse_shim() follows. Those without a kind in
 * enum flow_tunnel count as FLOW_TUNNEL_IPIP.
 */
#ifndef WEIR_BPF_TUNNEL_H
#define WEIR_BPF_TUNNEL_H

#include "bpf/parse_link.h"

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
#define TUNNEL_P_WCCP 0x883e

#define TUNNEL_PROTO_ETHERIP  97
#define TUNNEL_PROTO_ETHERNET 143

/* Of UDP. */
enum tunnel_port {
	TUNNEL_PORT_L2TP = 1701,
	TUNNEL_PORT_GTPU = 2152,
	TUNNEL_PORT_TEREDO = 3544,
	TUNNEL_PORT_LISP = 4341,
	TUNNEL_PORT_GRE = 4754,
	TUNNEL_PORT_VXLAN = 4789,
	TUNNEL_PORT_VXLAN_GPE = 4790,
	TUNNEL_PORT_AYIYA = 5072,
	TUNNEL_PORT_GENEVE = 6081,
	TUNNEL_PORT_MPLS = 6635,
	TUNNEL_PORT_VXLAN_LINUX = 8472,
};

static __always_inline bool tunnel_port(__u16 port)
{
	switch (port) {
	case TUNNEL_PORT_L2TP:
	case TUNNEL_PORT_GTPU:
	case TUNNEL_PORT_TEREDO:
	case TUNNEL_PORT_LISP:
	case TUNNEL_PORT_GRE:
	case TUNNEL_PORT_VXLAN:
	case TUNNEL_PORT_VXLAN_GPE:
	case TUNNEL_PORT_AYIYA:
	case TUNNEL_PORT_GENEVE:
	case TUNNEL_PORT_MPLS:
	case TUNNEL_PORT_VXLAN_LINUX:
		return true;
	default:
		return false;
	}
}

/* Cheap: false for nearly every packet. */
static __always_inline bool tunnel_possible(const struct packet *p)
{
	switch (p->key.proto) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
	case IPPROTO_GRE:
	case IPPROTO_PIM:
	case TUNNEL_PROTO_ETHERIP:
	case TUNNEL_PROTO_ETHERNET:
		return p->fragment < PARSE_TINY_FRAGMENT;
	case IPPROTO_UDP:
		return p->fragment < PARSE_TINY_FRAGMENT && p->rest > TUNNEL_HEADER_BYTES &&
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
	case ETH_P_MPLS_UC:
	case ETH_P_MPLS_MC:
	case PARSE_P_NSH:
	case PARSE_P_CISCO_META:
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

/* Version 2 has 4 bytes before the packet, version 1 none: IPv4 both. */
static __always_inline bool tunnel_wccp(const struct parse_input *in, struct packet *inner,
					__u32 gre_len)
{
	const __u8 *at = in->start + inner->offset + gre_len;

	if ((const void *)(at + 1) > in->end)
		return false;
	return tunnel_enter(inner, FLOW_TUNNEL_GRE, 0, gre_len + (*at >> 4 == 4 ? 0 : 4),
			    bpf_htons(ETH_P_IP));
}

static __always_inline bool tunnel_gre(const struct parse_input *in, const __u8 *at,
				       struct packet *inner)
{
	__u32 flags = at[0], proto = at[2] << 8 | at[3], len = 4, id = 0;

	if (proto == TUNNEL_P_PPTP && at[1] & 7)
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
	if (proto == TUNNEL_P_PPTP)
		return tunnel_enter(inner, FLOW_TUNNEL_GRE, id, len, TUNNEL_PPP);
	if (proto == TUNNEL_P_WCCP)
		return tunnel_wccp(in, inner, len);
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

/* Next protocol: IPv4, IPv6, Ethernet, NSH, MPLS. */
static __always_inline bool tunnel_vxlan_gpe(const __u8 *at, struct packet *inner)
{
	static const __u16 payload[] = {0,	   ETH_P_IP,	ETH_P_IPV6,
					ETH_P_TEB, PARSE_P_NSH, ETH_P_MPLS_UC};

	return at[0] & 0x08 && at[3] < 6 &&
	       tunnel_payload(inner, FLOW_TUNNEL_VXLAN, tunnel_be32(at + 4) >> 8, 8,
			      payload[at[3]]);
}

/* A data message: flags, and what of length, sequence and offset they announce. */
static __always_inline bool tunnel_l2tp(const struct parse_input *in, const __u8 *at,
					struct packet *inner)
{
	__u32 len = 6 + (at[0] & 0x40 ? 2 : 0) + (at[0] & 0x08 ? 4 : 0);
	const __u8 *offset = at + len;

	if (at[0] & 0x80 || (at[1] & 0x0f) != 2)
		return false;
	if (at[0] & 0x02) {
		if ((const void *)(offset + 2) > in->end)
			return false;
		len += 2 + (offset[0] << 8 | offset[1]);
	}
	return tunnel_enter(inner, FLOW_TUNNEL_IPIP, 0, len, TUNNEL_PPP);
}

/* No version, nor what it carries: but IP has to begin behind the 8 bytes. */
static __always_inline bool tunnel_lisp(struct packet *inner)
{
	return tunnel_enter(inner, FLOW_TUNNEL_IPIP, 0, 8, TUNNEL_ANY_IP);
}

/* Identity and signature are as long as they say; IPv6 by its number. */
static __always_inline bool tunnel_ayiya(const __u8 *at, struct packet *inner)
{
	__u32 len = 8 + (1u << (at[0] >> 4)) + (at[1] >> 4) * 4;

	return at[3] == IPPROTO_IPV6 &&
	       tunnel_enter(inner, FLOW_TUNNEL_IPIP, 0, len, bpf_htons(ETH_P_IPV6));
}

/* The bits of a register message: version 2, type 1. */
static __always_inline bool tunnel_pim(const __u8 *at, struct packet *inner)
{
	return at[0] == 0x21 && tunnel_enter(inner, FLOW_TUNNEL_IPIP, 0, 8, TUNNEL_ANY_IP);
}

static __always_inline bool tunnel_udp(const struct parse_input *in, const __u8 *at, __u16 sport,
				       __u16 dport, struct packet *inner)
{
	/* By RFC to these ports; some answer from them. */
	switch (tunnel_port(dport) ? dport : sport) {
	case TUNNEL_PORT_VXLAN:
	case TUNNEL_PORT_VXLAN_LINUX:
		return at[0] & 0x08 &&
		       tunnel_enter(inner, FLOW_TUNNEL_VXLAN, tunnel_be32(at + 4) >> 8, 8, 0);
	case TUNNEL_PORT_VXLAN_GPE:
		return tunnel_vxlan_gpe(at, inner);
	case TUNNEL_PORT_GENEVE:
		return !(at[0] & 0xc0) &&
		       tunnel_payload(inner, FLOW_TUNNEL_GENEVE, tunnel_be32(at + 4) >> 8,
				      8 + (at[0] & 0x3f) * 4, at[2] << 8 | at[3]);
	case TUNNEL_PORT_LISP:
		return tunnel_lisp(inner);
	case TUNNEL_PORT_MPLS:
		return tunnel_enter(inner, FLOW_TUNNEL_IPIP, 0, 0, bpf_htons(ETH_P_MPLS_UC));
	case TUNNEL_PORT_GRE:
		return tunnel_gre(in, at, inner);
	case TUNNEL_PORT_GTPU:
		return tunnel_gtpu(in, at, inner);
	case TUNNEL_PORT_TEREDO:
		return tunnel_teredo(in, at, inner);
	case TUNNEL_PORT_L2TP:
		return tunnel_l2tp(in, at, inner);
	case TUNNEL_PORT_AYIYA:
		return tunnel_ayiya(at, inner);
	}
	return false;
}

/* PPP in PPTP and L2TP: address and control may be left out, and the zero before the protocol. */
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

/* GTP-U, PPTP, LISP and others do not say what they carry: the first bytes of that do. */
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
	return *at >> 4 == 6 || *at >> 4 == 4;
}

/*
 * Looks behind the headers of outer. False: inner is of no use. True: inner is set up for
 * parse_link() (ethertype 0), parse_shim() or parse_network(); if those fail, the packet is
 * outer's.
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
	case IPPROTO_PIM:
		return tunnel_pim(at, inner) && tunnel_look(in, inner);
	case TUNNEL_PROTO_ETHERIP:
		return at[0] == 0x30 && tunnel_enter(inner, FLOW_TUNNEL_IPIP, 0, 2, 0);
	case TUNNEL_PROTO_ETHERNET:
		return tunnel_enter(inner, FLOW_TUNNEL_IPIP, 0, 0, 0);
	case IPPROTO_UDP:
		return tunnel_udp(in, at, outer->dir ? port_b : port_a,
				  outer->dir ? port_a : port_b, inner) &&
		       tunnel_look(in, inner);
	default:
		return false;
	}
}

#endif /* WEIR_BPF_TUNNEL_H */
