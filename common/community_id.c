/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "common/community_id.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "common/addr.h"

#define ADDR_BYTES   16
#define SEED_BYTES   2
#define SHA1_BLOCK   64
#define SHA1_BYTES   20
#define LENGTH_BYTES 8

/* --- SHA-1 (FIPS 180-4 6.1.2), of what fits one block ------------------------- */

static uint32_t rotate(uint32_t word, unsigned bits)
{
	return word << bits | word >> (32 - bits);
}

static uint32_t get_be32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put_be32(uint8_t *at, uint32_t word)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(word >> (24 - 8 * i));
}

static void schedule(const uint8_t block[SHA1_BLOCK], uint32_t ret[80])
{
	for (size_t t = 0; t < 16; t++)
		ret[t] = get_be32(block + 4 * t);
	for (size_t t = 16; t < 80; t++)
		ret[t] = rotate(ret[t - 3] ^ ret[t - 8] ^ ret[t - 14] ^ ret[t - 16], 1);
}

/* Twenty of the eighty steps; f is their function of b, c and d. */
#define ROUNDS(from, k, f)                                                                         \
	for (size_t t = (from); t < (from) + 20; t++) {                                            \
		uint32_t next = rotate(a, 5) + (f) + e + (k) + w[t];                               \
                                                                                                   \
		e = d;                                                                             \
		d = c;                                                                             \
		c = rotate(b, 30);                                                                 \
		b = a;                                                                             \
		a = next;                                                                          \
	}

static void sha1_block(const uint8_t block[SHA1_BLOCK], uint8_t ret[SHA1_BYTES])
{
	static const uint32_t start[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476,
					  0xc3d2e1f0};
	uint32_t a = start[0], b = start[1], c = start[2], d = start[3], e = start[4];
	uint32_t w[80];

	schedule(block, w);
	ROUNDS(0, 0x5a827999, (b & c) | (~b & d))
	ROUNDS(20, 0x6ed9eba1, b ^ c ^ d)
	ROUNDS(40, 0x8f1bbcdc, (b & c) | (b & d) | (c & d))
	ROUNDS(60, 0xca62c1d6, b ^ c ^ d)
	put_be32(ret, start[0] + a);
	put_be32(ret + 4, start[1] + b);
	put_be32(ret + 8, start[2] + c);
	put_be32(ret + 12, start[3] + d);
	put_be32(ret + 16, start[4] + e);
}

/* --- what is hashed ----------------------------------------------------------- */

struct end {
	const uint8_t *addr;
	uint16_t port;
};

/*
 * The type that answers an ICMP type, or is answered by it; -1 if there is
 * none, and the message goes one way only.
 */
static int counterpart(uint8_t proto, uint16_t type)
{
	static const struct {
		uint8_t proto, asks, answers;
	} pairs[] = {
		{IPPROTO_ICMP, 8, 0},	    /* echo */
		{IPPROTO_ICMP, 13, 14},	    /* timestamp */
		{IPPROTO_ICMP, 15, 16},	    /* information */
		{IPPROTO_ICMP, 10, 9},	    /* router solicitation, advertisement */
		{IPPROTO_ICMP, 17, 18},	    /* address mask */
		{IPPROTO_ICMPV6, 128, 129}, /* echo */
		{IPPROTO_ICMPV6, 133, 134}, /* router solicitation, advertisement */
		{IPPROTO_ICMPV6, 135, 136}, /* neighbour solicitation, advertisement */
		{IPPROTO_ICMPV6, 130, 131}, /* multicast listener query, report */
		{IPPROTO_ICMPV6, 139, 140}, /* node information */
		{IPPROTO_ICMPV6, 144, 145}, /* home agent address discovery */
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		if (pairs[i].proto == proto && pairs[i].asks == type)
			return pairs[i].answers;
		if (pairs[i].proto == proto && pairs[i].answers == type)
			return pairs[i].asks;
	}
	return -1;
}

static bool is_icmp(uint8_t proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

static bool has_ports(uint8_t proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
	       is_icmp(proto);
}

/* Whether a is hashed after b. */
static bool is_after(const struct end *a, const struct end *b)
{
	int order = memcmp(a->addr, b->addr, ADDR_BYTES);

	return order > 0 || (order == 0 && a->port > b->port);
}

static uint8_t *put_addr(uint8_t *at, const uint8_t addr[ADDR_BYTES], bool v4)
{
	size_t len = v4 ? 4 : ADDR_BYTES;

	memcpy(at, addr + ADDR_BYTES - len, len);
	return at + len;
}

static uint8_t *put_port(uint8_t *at, uint16_t port)
{
	at[0] = (uint8_t)(port >> 8);
	at[1] = (uint8_t)port;
	return at + 2;
}

/* Seed, addresses, protocol, a zero and ports: 40 bytes at most, padded as SHA-1 wants it. */
static void make_block(const struct end *first, const struct end *second, uint8_t proto,
		       uint8_t ret[SHA1_BLOCK])
{
	bool v4 = addr_is_v4(first->addr) && addr_is_v4(second->addr);
	uint8_t *at = ret + SEED_BYTES;

	memset(ret, 0, SHA1_BLOCK);
	at = put_addr(at, first->addr, v4);
	at = put_addr(at, second->addr, v4);
	*at = proto;
	at += 2;
	if (has_ports(proto)) {
		at = put_port(at, first->port);
		at = put_port(at, second->port);
	}
	*at = 0x80;
	put_be32(ret + SHA1_BLOCK - LENGTH_BYTES / 2, (uint32_t)(8 * (at - ret)));
}

/* --- base64 (RFC 4648 section 4) ------------------------------------------------ */

static void encode(const uint8_t digest[SHA1_BYTES], char *ret)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789+/";
	uint8_t padded[SHA1_BYTES + 1] = {0};

	memcpy(padded, digest, SHA1_BYTES);
	for (size_t i = 0; i < sizeof(padded); i += 3) {
		uint32_t bits =
			(uint32_t)padded[i] << 16 | (uint32_t)padded[i + 1] << 8 | padded[i + 2];

		for (int shift = 18; shift >= 0; shift -= 6)
			*ret++ = letters[bits >> shift & 63];
	}
	ret[-1] = '='; /* 20 bytes are one short of a multiple of three */
	*ret = '\0';
}

const char *community_id(const uint8_t src_addr[16], const uint8_t dst_addr[16], uint8_t proto,
			 uint16_t src_part, uint16_t dst_part, char ret[COMMUNITY_ID_MAX])
{
	struct end src = {src_addr, src_part}, dst = {dst_addr, dst_part};
	int answer = is_icmp(proto) ? counterpart(proto, src_part) : -1;
	uint8_t block[SHA1_BLOCK], digest[SHA1_BYTES];
	bool one_way = is_icmp(proto) && answer < 0;

	if (answer >= 0)
		dst.port = (uint16_t)answer;
	if (!one_way && is_after(&src, &dst))
		make_block(&dst, &src, proto, block);
	else
		make_block(&src, &dst, proto, block);
	sha1_block(block, digest);
	ret[0] = '1'; /* version */
	ret[1] = ':';
	encode(digest, ret + 2);
	return ret;
}
