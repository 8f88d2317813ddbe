/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * parse_link.h - from the start of a frame to its IP header.
 *
 * The stages before parse_network(), with parse.h's rules: parse_link() reads Ethernet and the
 * first VLAN tags, parse_shim() what else may stand there: more VLAN tags, LLC/SNAP, MPLS,
 * PPPoE, MACsec without encryption, NSH, 802.1ah, FabricPath, VN-tag, HSR. A program that
 * begins at IP needs neither.
 */
#ifndef WEIR_BPF_PARSE_LINK_H
#define WEIR_BPF_PARSE_LINK_H

#include "bpf/parse.h"

#define PARSE_MAX_VLANS	 2
#define PARSE_MAX_SHIMS	 5 /* each more VLAN tag is one, a stack of MPLS labels too */
#define PARSE_MAX_LABELS 8

struct parse_vlan {
	__be16 tci;
	__be16 proto;
};

static __always_inline bool parse_is_vlan(__be16 proto)
{
	return proto == bpf_htons(ETH_P_8021Q) || proto == bpf_htons(ETH_P_8021AD) ||
	       proto == bpf_htons(ETH_P_QINQ1);
}

/*
 * Ethertypes of what may stand between the link and IP, beside linux/if_ether.h's.
 * 802.3 has a length there instead: LLC follows.
 */
#define PARSE_P_LLC_MAX	    1500
#define PARSE_P_CISCO_META  0x8909
#define PARSE_P_NSH	    0x894f /* RFC 8300 */
#define PARSE_P_ETAG	    0x893f /* 802.1BR */
#define PARSE_P_VNTAG	    0x8926
#define PARSE_P_FABRIC_PATH 0x8903
#define PARSE_P_BACKBONE    0x88e7 /* 802.1ah */
#define PARSE_P_REDUNDANCY  0x892f /* HSR, IEC 62439-3 */
#define PARSE_P_ARISTA	    0xd28b

/* Nearly always false. */
static __always_inline bool parse_has_shim(const struct packet *p)
{
	return p->ethertype != bpf_htons(ETH_P_IP) && p->ethertype != bpf_htons(ETH_P_IPV6);
}

static __always_inline void parse_advance(struct packet *p, __u32 bytes, __u16 ethertype)
{
	p->offset += bytes;
	p->ethertype = bpf_htons(ethertype);
}

/* An Ethernet frame behind skip bytes. */
static __always_inline void parse_frame(const struct parse_input *in, const __u8 *at, __u32 skip,
					struct packet *p)
{
	const __u8 *frame = at + skip;

	if ((const void *)(frame + ETH_HLEN) <= in->end)
		parse_advance(p, skip + ETH_HLEN, frame[12] << 8 | frame[13]);
}

/* LLC: SNAP (RFC 1042, also 802.1H's), or IP itself. */
static __always_inline void parse_llc(const __u8 *at, struct packet *p)
{
	if (at[0] == 0xaa && at[1] == 0xaa && at[2] == 3 && !at[3] && !at[4] &&
	    (!at[5] || at[5] == 0xf8))
		parse_advance(p, 8, at[6] << 8 | at[7]);
	else if (at[0] == 0x06 && at[1] == 0x06 && at[2] == 3)
		parse_advance(p, 3, ETH_P_IP);
}

static __always_inline bool parse_is_known(__u16 ethertype)
{
	return ethertype == ETH_P_IP || ethertype == ETH_P_IPV6 || ethertype == ETH_P_ARP ||
	       ethertype == ETH_P_8021Q || ethertype == ETH_P_8021AD;
}

/* A label stack (RFC 3032); then IP by its version, or a frame behind a control word (RFC 4448). */
static __always_inline enum parse_result parse_mpls(const struct parse_input *in, struct packet *p)
{
	const __u8 *entry = in->start + p->offset, *inner;

	for (int i = 0; i < PARSE_MAX_LABELS; i++, entry += 4) {
		if ((const void *)(entry + 5) > in->end)
			return PARSE_TRUNCATED;
		p->offset += 4;
		if (!(entry[2] & 1))
			continue;
		inner = entry + 4;
		if (*inner >> 4 == 4)
			parse_advance(p, 0, ETH_P_IP);
		else if (*inner >> 4 == 6)
			parse_advance(p, 0, ETH_P_IPV6);
		else if (!*inner && (const void *)(inner + 18) <= in->end &&
			 parse_is_known(inner[16] << 8 | inner[17]))
			parse_frame(in, inner, 4, p);
		return PARSE_OK;
	}
	return PARSE_TOO_DEEP;
}

/* A PPP protocol number (RFC 1332, 5072, 3032). */
static __always_inline __u16 parse_ppp_payload(__u16 proto, __u16 otherwise)
{
	return proto == 0x0021	 ? ETH_P_IP
	       : proto == 0x0057 ? ETH_P_IPV6
	       : proto == 0x0281 ? ETH_P_MPLS_UC
				 : otherwise;
}

/* PPPoE session (RFC 2516 4) and the PPP protocol number, of one byte if that is odd. at: 8 bytes
 */
static __always_inline void parse_pppoe(const __u8 *at, struct packet *p)
{
	__u32 n = at[6] & 1 ? 1 : 2;
	__u16 next = parse_ppp_payload(n == 1 ? at[6] : at[6] << 8 | at[7], ETH_P_PPP_SES);

	if (next == ETH_P_PPP_SES)
		return;
	p->rest = (at[4] << 8 | at[5]) - n; /* behind it the frame may be padded */
	parse_advance(p, 6 + n, next);
}

/* MACsec (802.1AE): nothing of what is encrypted, but the tag may only vouch for the packet. */
static __always_inline void parse_macsec(const struct parse_input *in, const __u8 *at,
					 struct packet *p)
{
	const __u8 *next = at + (at[0] & 0x20 ? 14 : 6);

	if (!(at[0] & 0x8c) && (const void *)(next + 2) <= in->end)
		parse_advance(p, next - at + 2, next[0] << 8 | next[1]);
}

static __always_inline void parse_nsh(const struct parse_input *in, const __u8 *at,
				      struct packet *p)
{
	__u32 len = (at[1] & 0x3f) * 4;

	switch (at[3]) {
	case 1:
		return parse_advance(p, len, ETH_P_IP);
	case 2:
		return parse_advance(p, len, ETH_P_IPV6);
	case 3:
		return parse_frame(in, at, len, p);
	case 5:
		return parse_advance(p, len, ETH_P_MPLS_UC);
	}
}

/* A time stamp of 64 or 48 bits. */
static __always_inline void parse_arista(const struct parse_input *in, const __u8 *at,
					 struct packet *p)
{
	const __u8 *next = at + (at[3] & 0x20 ? 10 : 12);

	if (at[1] == 1 && (const void *)(next + 2) <= in->end)
		parse_advance(p, next - at + 2, next[0] << 8 | next[1]);
}

/*
 * One header between the link and IP, at p->offset. If it is none that we know,
 * or what is in it is none, p stays as it is.
 */
static __always_inline enum parse_result parse_one_shim(const struct parse_input *in,
							struct packet *p)
{
	const __u8 *at = in->start + p->offset;
	__u16 ethertype = bpf_ntohs(p->ethertype);

	if (p->offset > PARSE_MAX_OFFSET)
		return PARSE_TOO_DEEP;
	if (ethertype == ETH_P_MPLS_UC || ethertype == ETH_P_MPLS_MC)
		return parse_mpls(in, p);
	if (parse_is_vlan(p->ethertype)) {
		if ((const void *)(at + sizeof(struct parse_vlan)) > in->end)
			return PARSE_TRUNCATED;
		if (!p->key.vlan)
			p->key.vlan = (at[0] << 8 | at[1]) & 0xfff;
		parse_advance(p, sizeof(struct parse_vlan), at[2] << 8 | at[3]);
		return PARSE_OK;
	}
	if ((const void *)(at + 8) > in->end)
		return PARSE_OK; /* too short for any other */
	if (ethertype && ethertype <= PARSE_P_LLC_MAX)
		parse_llc(at, p);
	else if (ethertype == ETH_P_PPP_SES)
		parse_pppoe(at, p);
	else if (ethertype == ETH_P_MACSEC)
		parse_macsec(in, at, p);
	else if (ethertype == PARSE_P_NSH)
		parse_nsh(in, at, p);
	else if (ethertype == PARSE_P_FABRIC_PATH)
		parse_frame(in, at, 2, p);
	else if (ethertype == PARSE_P_BACKBONE)
		parse_frame(in, at, 4, p);
	else if (ethertype == PARSE_P_VNTAG || ethertype == PARSE_P_REDUNDANCY)
		parse_advance(p, 6, at[4] << 8 | at[5]);
	else if (ethertype == PARSE_P_CISCO_META || ethertype == PARSE_P_ETAG)
		parse_advance(p, 8, at[6] << 8 | at[7]);
	else if (ethertype == PARSE_P_ARISTA)
		parse_arista(in, at, p);
	return PARSE_OK;
}

/* What may stand between the link and IP, if parse_has_shim(). */
static __always_inline enum parse_result parse_shim(const struct parse_input *in, struct packet *p)
{
	enum parse_result res;
	__u32 offset;

	for (int i = 0; i < PARSE_MAX_SHIMS; i++) {
		offset = p->offset;
		res = parse_one_shim(in, p);
		if (res || !parse_has_shim(p) || p->offset == offset)
			return res;
	}
	return parse_is_vlan(p->ethertype) ? PARSE_TOO_DEEP : PARSE_OK;
}

/* Ethernet and its first VLAN tags at p->offset. key.vlan is set if the NIC took a tag off. */
static __always_inline enum parse_result parse_link(const struct parse_input *in, struct packet *p)
{
	const struct ethhdr *eth = in->start + p->offset;
	const struct parse_vlan *tag = (const void *)(eth + 1);

	if ((const void *)tag > in->end)
		return PARSE_TRUNCATED;
	p->ethertype = eth->h_proto;
	p->offset += sizeof(*eth);

#pragma unroll
	for (int i = 0; i < PARSE_MAX_VLANS; i++) {
		if (!parse_is_vlan(p->ethertype))
			return PARSE_OK;
		if ((const void *)(tag + 1) > in->end)
			return PARSE_TRUNCATED;
		if (!p->key.vlan)
			p->key.vlan = bpf_ntohs(tag->tci) & 0xfff;
		p->ethertype = tag->proto;
		p->offset += sizeof(*tag);
		tag++;
	}
	return PARSE_OK;
}

#endif /* WEIR_BPF_PARSE_LINK_H */
