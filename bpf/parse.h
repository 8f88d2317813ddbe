/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * parse.h - from packet bytes to a flow key.
 *
 * No BPF helper and no map: the same header is compiled into the BPF programs
 * and natively into unit tests and fuzzers. Nothing is guessed: a link or IP header
 * that is cut off, impossible or too deep gives the reason instead of a key. Behind a
 * good IP header the key is its protocol and addresses, and the ports if they can be
 * read; packet.damage tells what is wrong with the rest.
 *
 * Follows: IPv4 with options and AH; IPv6 with up to PARSE_MAX_EXT extension headers;
 * TCP, UDP, UDP-Lite, SCTP, DCCP (ports), ICMP and ICMPv6; other protocols by number.
 * A fragment after the first has no ports. bpf/parse_link.h reads what stands before IP,
 * bpf/tunnel.h looks inside tunnels.
 *
 * Stages, one after the other: parse_link(), if parse_has_shim() parse_shim(),
 * parse_network(), for IPv6 with extension headers parse_extensions(),
 * parse_transport(). What one finds for the next is in struct packet, by offset and
 * not by pointer, so that a BPF program can put a stage into a function of its own:
 * the verifier's work is then their sum, not their product.
 */
#ifndef WEIR_BPF_PARSE_H
#define WEIR_BPF_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>

#include "bpf/flow_abi.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#define PARSE_MAX_EXT	 6
#define PARSE_MAX_OFFSET 0x2fff /* of a header from the start: keeps the verifier's sums small */

/* TCP header bits, host order of the 16 bits at offset 12 (RFC 9293 3.1). */
#define TCP_FIN	       0x001
#define TCP_SYN	       0x002
#define TCP_RST	       0x004
#define TCP_ACK	       0x010
#define TCP_FLAGS_MASK 0x1ff

enum parse_result {
	PARSE_OK,
	PARSE_NOT_IP,
	PARSE_TRUNCATED,
	PARSE_BAD_HEADER,
	PARSE_TOO_DEEP,
};

struct packet {
	/* Ends as the packet names them until parse_transport() has put them in order. */
	struct flow_key key __attribute__((aligned(8)));
	__u32 offset; /* of the next header; at last of the transport's payload */
	__u32 rest;   /* bytes that the headers so far announce behind offset */
	__be16 ethertype;
	__u8 fragment; /* enum parse_fragment */
	__u8 ecn_ce;   /* RFC 3168: congestion experienced */
	__u32 fragment_id;
	__u8 dir;   /* 0: sent by end a of the key, 1: by end b */
	__u8 query; /* ICMP queries: 1 request, 2 reply, which tells the initiator */
	__u16 icmp_seq;
	/* TCP, host order. The timestamps are 0 without the option. */
	__u16 tcp_flags;
	__u16 tcp_window;
	__u32 tcp_seq;
	__u32 tcp_ack;
	__u32 tcp_ts;
	__u32 tcp_ts_echo;
	__u16 tcp_mss; /* of a SYN */
	__u8 damage;   /* enum parse_damage */
	__u8 zero;
};

/* What is wrong behind a good IP header. With any of it fragment is PARSE_TINY_FRAGMENT. */
enum parse_damage {
	PARSE_SOUND,
	PARSE_CUT, /* the capture or the packet ends inside an extension or transport header */
	PARSE_BAD, /* a length in it is impossible */
};

enum parse_fragment {
	PARSE_WHOLE,
	PARSE_FIRST_FRAGMENT,
	PARSE_TINY_FRAGMENT,  /* the first, but it ends inside the TCP header: only ports and flags;
				 damaged */
	PARSE_LATER_FRAGMENT, /* no transport header in it */
};

/* The bytes of a frame that may be read, from its first header on. */
struct parse_input {
	const void *start;
	const void *end;
	__u32 wire_len; /* length of the frame, also of what may not be read; 0: unknown */
};

struct parse_ports {
	__be16 source, dest;
};

struct parse_tcp {
	__be16 source, dest;
	__be32 seq, ack;
	__be16 offset_flags;
	__be16 window;
	__be16 check, urg;
};

struct parse_udp {
	__be16 source, dest;
	__be16 len, check;
};

struct parse_icmp {
	__u8 type, code;
	__be16 check;
	__be16 id, seq;
};

/* IPv6 extension header; offset and id are a fragment header's (RFC 8200 4.2, 4.5). */
struct parse_ext {
	__u8 next, len;
	__be16 offset;
	__be32 id;
};

static __always_inline void parse_map_v4(__u8 dst[16], __be32 v4)
{
	__u64 *word = (__u64 *)dst; /* the key is 8-aligned */

	/* As it is read again: a load of two smaller stores would wait for both. */
	word[0] = 0;
	word[1] = bpf_cpu_to_be64(0xffff00000000ull | bpf_ntohl(v4));
}

static __always_inline enum parse_fragment parse_fragment_of(__be16 offset, __be16 more)
{
	return offset ? PARSE_LATER_FRAGMENT : more ? PARSE_FIRST_FRAGMENT : PARSE_WHOLE;
}

/* The most that an IP packet here can have: what is announced before it, or the frame's end. */
static __always_inline __u32 parse_room(const struct parse_input *in, const struct packet *p)
{
	if (p->rest)
		return p->rest;
	return in->wire_len > p->offset ? in->wire_len - p->offset : 0xffffffff;
}

static __always_inline enum parse_result parse_ipv4(const struct parse_input *in, const void *at,
						    struct packet *p)
{
	const struct iphdr *ip = at;
	__u32 header_len, total, room = parse_room(in, p);

	if ((const void *)(ip + 1) > in->end)
		return PARSE_TRUNCATED;
	header_len = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (!total || total > room) /* 0: BIG TCP, or left to the NIC by segmentation offload */
		total = room;
	if (ip->version != 4 || header_len < sizeof(*ip) || total < header_len)
		return PARSE_BAD_HEADER;

	p->key.proto = ip->protocol;
	p->ecn_ce = (ip->tos & 3) == 3;
	p->fragment = parse_fragment_of(ip->frag_off & bpf_htons(0x1fff),
					ip->frag_off & bpf_htons(0x2000));
	p->fragment_id = ip->id;
	p->offset += header_len;
	p->rest = total - header_len;
	parse_map_v4(p->key.addr_a, ip->saddr);
	parse_map_v4(p->key.addr_b, ip->daddr);
	return PARSE_OK;
}

/* Extension headers that stand before a transport (RFC 8200 4.1, RFC 4302), one bit each. */
#define PARSE_EXT_BITS                                                                             \
	(1ull << IPPROTO_HOPOPTS | 1ull << IPPROTO_ROUTING | 1ull << IPPROTO_FRAGMENT |            \
	 1ull << IPPROTO_AH | 1ull << IPPROTO_DSTOPTS)

static __always_inline bool parse_is_ext(__u8 next)
{
	return next < 64 && PARSE_EXT_BITS >> next & 1;
}

/* Whether parse_extensions() has to come before parse_transport(). IPv4 knows only AH. */
static __always_inline bool parse_has_extensions(const struct packet *p)
{
	return p->key.proto == IPPROTO_AH ||
	       (p->ethertype == bpf_htons(ETH_P_IPV6) && parse_is_ext(p->key.proto));
}

/* Behind a good IP header: what was read so far is the key. */
static __always_inline enum parse_result parse_damaged(struct packet *p, enum parse_damage damage)
{
	p->damage = damage;
	p->fragment = PARSE_TINY_FRAGMENT;
	p->rest = 0;
	return PARSE_OK;
}

/* AH vouches for what we follow; a protocol that we know only by its number stays AH's. */
static __always_inline bool parse_is_followed(const struct packet *p)
{
	switch (p->key.proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_GRE:
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
		return true;
	default:
		return p->key.proto == IPPROTO_ICMPV6 && p->ethertype == bpf_htons(ETH_P_IPV6);
	}
}

static __always_inline enum parse_result parse_extensions(const struct parse_input *in,
							  struct packet *p)
{
	const void *at = in->start + p->offset;
	bool authenticated = false;

	if (p->offset > PARSE_MAX_OFFSET)
		return PARSE_TOO_DEEP;
	for (int i = 0; i < PARSE_MAX_EXT; i++) {
		const struct parse_ext *ext = at; /* 8 bytes: the least that each has */
		__u32 ext_len;

		if (p->fragment == PARSE_LATER_FRAGMENT || !parse_is_ext(p->key.proto))
			break;
		if ((const void *)(ext + 1) > in->end)
			return parse_damaged(p, PARSE_CUT);
		ext_len = (ext->len + 1) * 8;
		if (p->key.proto == IPPROTO_AH) {
			ext_len = (ext->len + 2) * 4; /* RFC 4302 2.2 */
			authenticated = true;
		} else if (p->key.proto == IPPROTO_FRAGMENT) {
			ext_len = sizeof(*ext);
			p->fragment = parse_fragment_of(ext->offset & bpf_htons(0xfff8),
							ext->offset & bpf_htons(1));
			p->fragment_id = ext->id;
		}
		if (ext_len > p->rest)
			return parse_damaged(p, PARSE_BAD);
		p->key.proto = ext->next;
		p->rest -= ext_len;
		p->offset += ext_len;
		at += ext_len;
	}
	if (p->fragment != PARSE_LATER_FRAGMENT && parse_is_ext(p->key.proto))
		return PARSE_TOO_DEEP;
	if (authenticated && !parse_is_followed(p))
		p->key.proto = IPPROTO_AH;
	return PARSE_OK;
}

static __always_inline enum parse_result parse_ipv6(const struct parse_input *in, const void *at,
						    struct packet *p)
{
	const struct ipv6hdr *ip = at;
	__u32 room = parse_room(in, p);

	if ((const void *)(ip + 1) > in->end)
		return PARSE_TRUNCATED;
	if (ip->version != 6)
		return PARSE_BAD_HEADER;
	p->ecn_ce = (ip->flow_lbl[0] >> 4 & 3) == 3;
	p->key.proto = ip->nexthdr;
	p->offset += sizeof(*ip);
	p->rest = bpf_ntohs(ip->payload_len);
	room = room > sizeof(*ip) ? room - sizeof(*ip) : 0;
	if (!p->rest || p->rest > room) /* 0: jumbogram (RFC 2675), BIG TCP */
		p->rest = room;
	__builtin_memcpy(p->key.addr_a, &ip->saddr, 16);
	__builtin_memcpy(p->key.addr_b, &ip->daddr, 16);
	return PARSE_OK;
}

/* The IP header at p->offset, as p->ethertype announces it. */
static __always_inline enum parse_result parse_network(const struct parse_input *in,
						       struct packet *p)
{
	const void *at = in->start + p->offset;

	if (p->offset > PARSE_MAX_OFFSET)
		return PARSE_TOO_DEEP;
	if (p->ethertype == bpf_htons(ETH_P_IP))
		return parse_ipv4(in, at, p);
	if (p->ethertype == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(in, at, p);
	return PARSE_NOT_IP;
}

/* Queries and their replies share a flow, known by the identifier (RFC 792, RFC 4443). */
static __always_inline void parse_icmp_key(const struct parse_icmp *icmp, struct packet *p)
{
	bool v6 = p->key.proto == IPPROTO_ICMPV6;
	__u8 type = icmp->type;

	if (v6 && (type == 128 || type == 129))
		p->query = type - 127;
	else if (!v6 && (type == 8 || type == 0))
		p->query = type ? 1 : 2;
	else if (!v6 && type >= 13 && type <= 18)
		p->query = type & 1 ? 1 : 2;

	if (p->query) {
		p->key.icmp_type = p->query == 1 ? type : v6 || type ? type - 1 : 8;
		p->key.port_a = p->key.port_b = icmp->id;
	} else {
		p->key.icmp_type = type;
		p->key.port_a = p->key.port_b = bpf_htons(icmp->code);
	}
	p->icmp_seq = bpf_ntohs(icmp->seq);
	p->offset += sizeof(*icmp);
}

static __always_inline enum parse_result
parse_ports_of(const struct parse_input *in, const struct parse_ports *ports, struct packet *p)
{
	if ((const void *)(ports + 1) > in->end)
		return parse_damaged(p, PARSE_CUT);
	if (p->rest < sizeof(*ports))
		return parse_damaged(p, PARSE_BAD);
	p->key.port_a = ports->source;
	p->key.port_b = ports->dest;
	if (p->key.proto == IPPROTO_UDP) {
		p->offset += sizeof(struct parse_udp);
		p->rest =
			p->rest > sizeof(struct parse_udp) ? p->rest - sizeof(struct parse_udp) : 0;
	}
	return PARSE_OK;
}

/*
 * The options that we use where everybody puts them: the timestamp first and
 * aligned (RFC 7323 appendix A), the maximum segment size first in a SYN.
 */
static __always_inline void parse_tcp_options(const struct parse_input *in,
					      const struct parse_tcp *tcp, __u32 header_len,
					      struct packet *p)
{
	const __be32 *option = (const void *)(tcp + 1);

	if (p->tcp_flags & TCP_SYN && header_len > sizeof(*tcp) &&
	    (const void *)(option + 1) <= in->end &&
	    (option[0] & bpf_htonl(0xffff0000)) == bpf_htonl(0x02040000))
		p->tcp_mss = bpf_ntohl(option[0]) & 0xffff;
	if (header_len < sizeof(*tcp) + 12 || (const void *)(option + 3) > in->end)
		return;
	if (option[0] == bpf_htonl(0x0101080a)) {
		p->tcp_ts = bpf_ntohl(option[1]);
		p->tcp_ts_echo = bpf_ntohl(option[2]);
	}
}

/* The flags, if they are in the packet, can be read, and the length beside them may be. */
static __always_inline void parse_tcp_flags(const struct parse_input *in,
					    const struct parse_tcp *tcp, struct packet *p)
{
	if (p->rest >= 14 && (const void *)&tcp->window <= in->end &&
	    bpf_ntohs(tcp->offset_flags) >> 12 >= sizeof(*tcp) / 4)
		p->tcp_flags = bpf_ntohs(tcp->offset_flags) & TCP_FLAGS_MASK;
}

/* Only the ports and the flags, as far as they can be read. */
static __always_inline enum parse_result parse_tcp_damaged(const struct parse_input *in,
							   const struct parse_tcp *tcp,
							   struct packet *p,
							   enum parse_damage damage)
{
	parse_tcp_flags(in, tcp, p);
	(void)parse_ports_of(in, (const void *)tcp, p);
	return parse_damaged(p, p->damage ? p->damage : damage);
}

static __always_inline enum parse_result parse_tcp(const struct parse_input *in,
						   const struct parse_tcp *tcp, struct packet *p)
{
	__u32 header_len;
	__u16 offset_flags;

	if (p->fragment == PARSE_FIRST_FRAGMENT && p->rest < sizeof(*tcp)) {
		p->fragment = PARSE_TINY_FRAGMENT; /* RFC 1858 section 3 */
		parse_tcp_flags(in, tcp, p);
		return parse_ports_of(in, (const void *)tcp, p);
	}
	if ((const void *)(tcp + 1) > in->end)
		return parse_tcp_damaged(in, tcp, p, PARSE_CUT);
	offset_flags = bpf_ntohs(tcp->offset_flags);
	header_len = (offset_flags >> 12) * 4;
	if (header_len < sizeof(*tcp) || header_len > p->rest)
		return parse_tcp_damaged(in, tcp, p, PARSE_BAD);

	p->key.port_a = tcp->source;
	p->key.port_b = tcp->dest;
	p->tcp_flags = offset_flags & TCP_FLAGS_MASK;
	p->tcp_window = bpf_ntohs(tcp->window);
	p->tcp_seq = bpf_ntohl(tcp->seq);
	p->tcp_ack = bpf_ntohl(tcp->ack);
	parse_tcp_options(in, tcp, header_len, p);
	p->offset += header_len;
	p->rest -= header_len;
	return PARSE_OK;
}

static __always_inline bool parse_is_v4(const struct flow_key *key)
{
	const __u32 *word = (const __u32 *)key->addr_a;

	return !(word[0] | word[1]) && word[2] == bpf_htonl(0xffff);
}

static __always_inline enum parse_result parse_l4(const struct parse_input *in, const void *at,
						  struct packet *p)
{
	const struct parse_icmp *icmp = at;

	switch (p->key.proto) {
	case IPPROTO_TCP:
		return parse_tcp(in, at, p);
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		return parse_ports_of(in, at, p);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (parse_is_v4(&p->key) != (p->key.proto == IPPROTO_ICMP))
			return PARSE_OK; /* the other family's ICMP is just a number here */
		if ((const void *)(icmp + 1) > in->end)
			return parse_damaged(p, PARSE_CUT);
		parse_icmp_key(icmp, p);
		return PARSE_OK;
	default:
		return PARSE_OK;
	}
}

/* Big-endian halves of an address compare as numbers. */
static __always_inline int parse_compare(const __u64 *a, const __u64 *b)
{
	__u64 x = bpf_be64_to_cpu(a[0]), y = bpf_be64_to_cpu(b[0]);

	if (x == y) {
		x = bpf_be64_to_cpu(a[1]);
		y = bpf_be64_to_cpu(b[1]);
	}
	return x == y ? 0 : x > y ? 1 : -1;
}

/* Puts the ends in order; the packet's direction follows. */
static __always_inline void parse_sort(struct packet *p)
{
	__u64 *a = (__u64 *)p->key.addr_a, *b = (__u64 *)p->key.addr_b;
	__u16 sport = bpf_ntohs(p->key.port_a), dport = bpf_ntohs(p->key.port_b);
	int order = parse_compare(a, b);

	if (order)
		p->dir = order > 0;
	else if (sport != dport)
		p->dir = sport > dport;
	else
		p->dir = p->query == 2; /* a host that talks to itself */
	if (!p->dir)
		return;
	for (int i = 0; i < 2; i++) {
		__u64 word = a[i];

		a[i] = b[i];
		b[i] = word;
	}
	p->key.port_a = bpf_htons(dport);
	p->key.port_b = bpf_htons(sport);
}

/* The transport header at p->offset; completes the key. */
static __always_inline enum parse_result parse_transport(const struct parse_input *in,
							 struct packet *p)
{
	enum parse_result res = PARSE_OK;

	if (p->offset > PARSE_MAX_OFFSET)
		return PARSE_TOO_DEEP;
	if (p->fragment != PARSE_LATER_FRAGMENT)
		res = parse_l4(in, in->start + p->offset, p);
	if (!res)
		parse_sort(p);
	return res;
}

/* Errors quote the packet that they are about (RFC 792, RFC 4443). */
static __always_inline bool parse_is_icmp_error(const struct packet *p)
{
	__u8 type = p->key.icmp_type;

	if (p->query || p->fragment >= PARSE_TINY_FRAGMENT)
		return false;
	if (p->key.proto == IPPROTO_ICMP)
		return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
	return p->key.proto == IPPROTO_ICMPV6 && type >= 1 && type <= 4;
}

/*
 * The key of the packet that error quotes: its IP header and at least 8 bytes.
 * IPv6 extension headers in the quotation are not followed.
 */
static __always_inline enum parse_result
parse_quoted(const struct parse_input *in, const struct packet *error, struct packet *quoted)
{
	enum parse_result res;
	const void *at;

	quoted->offset = error->offset;
	quoted->key.vlan = error->key.vlan;
	quoted->key.tunnel = error->key.tunnel;
	quoted->ethertype =
		error->key.proto == IPPROTO_ICMP ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	res = parse_network(in, quoted);
	if (res)
		return res;
	at = in->start + quoted->offset;
	if (quoted->offset > PARSE_MAX_OFFSET)
		return PARSE_TOO_DEEP;
	res = quoted->key.proto == IPPROTO_TCP ? parse_ports_of(in, at, quoted)
					       : parse_l4(in, at, quoted);
	if (!res && quoted->damage)
		return PARSE_TRUNCATED;
	if (!res)
		parse_sort(quoted);
	return res;
}

#endif /* WEIR_BPF_PARSE_H */
