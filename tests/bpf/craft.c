// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/bpf/craft.h"

#include <arpa/inet.h>
#include <assert.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <string.h>

static uint8_t *grow(struct craft *c, size_t n)
{
	uint8_t *at = c->data + c->len;

	assert(c->len + n <= CRAFT_MAX);
	memset(at, 0, n);
	c->len += n;
	return at;
}

static void put16(uint8_t *at, uint16_t v)
{
	at[0] = v >> 8;
	at[1] = v & 0xff;
}

static void put32(uint8_t *at, uint32_t v)
{
	put16(at, v >> 16);
	put16(at + 2, v & 0xffff);
}

void craft_eth(struct craft *c, uint16_t ethertype)
{
	memset(c, 0, sizeof(*c));
	put16(grow(c, ETH_HLEN) + 12, ethertype);
}

void craft_vlan(struct craft *c, uint16_t tpid, uint16_t id, uint16_t next)
{
	uint8_t *at = grow(c, 4);

	put16(at - 2, tpid);
	put16(at, id);
	put16(at + 2, next);
}

void craft_ipv4(struct craft *c, const char *src, const char *dst, uint8_t proto, uint16_t frag,
		size_t options)
{
	uint8_t *at = grow(c, sizeof(struct iphdr) + options);

	c->ip_at = at - c->data;
	c->v6 = false;
	at[0] = 0x40 | (5 + options / 4);
	put16(at + 6, frag);
	at[8] = 64;
	at[9] = proto;
	assert(inet_pton(AF_INET, src, at + 12) == 1 && inet_pton(AF_INET, dst, at + 16) == 1);
}

void craft_ipv6(struct craft *c, const char *src, const char *dst, uint8_t next)
{
	uint8_t *at = grow(c, sizeof(struct ipv6hdr));

	c->ip_at = at - c->data;
	c->v6 = true;
	at[0] = 0x60;
	at[6] = next;
	at[7] = 64;
	assert(inet_pton(AF_INET6, src, at + 8) == 1 && inet_pton(AF_INET6, dst, at + 24) == 1);
}

void craft_ext(struct craft *c, uint8_t next, uint16_t offset)
{
	uint8_t *at = grow(c, 8);

	at[0] = next;
	put16(at + 2, offset);
}

void craft_tcp(struct craft *c, const struct craft_tcp *tcp)
{
	size_t options = (tcp->mss ? 4 : 0) + (tcp->ts ? 12 : 0);
	uint8_t *at = grow(c, 20 + options);

	put16(at, tcp->sport);
	put16(at + 2, tcp->dport);
	put32(at + 4, tcp->seq);
	put32(at + 8, tcp->ack);
	put16(at + 12, (5 + options / 4) << 12 | tcp->flags);
	put16(at + 14, tcp->window);
	at += 20;
	if (tcp->mss) {
		put32(at, 0x02040000 | tcp->mss);
		at += 4;
	}
	if (tcp->ts) {
		put32(at, 0x0101080a);
		put32(at + 4, tcp->ts);
		put32(at + 8, tcp->ts_echo);
	}
	grow(c, tcp->payload);
}

void craft_udp(struct craft *c, uint16_t sport, uint16_t dport, size_t payload)
{
	uint8_t *at = grow(c, 8);

	put16(at, sport);
	put16(at + 2, dport);
	put16(at + 4, 8 + payload);
	grow(c, payload);
}

void craft_icmp(struct craft *c, uint8_t type, uint8_t code, uint16_t id)
{
	uint8_t *at = grow(c, 8);

	at[0] = type;
	at[1] = code;
	put16(at + 4, id);
}

void craft_bytes(struct craft *c, size_t n)
{
	grow(c, n);
}

void craft_end(struct craft *c)
{
	size_t len = c->len - c->ip_at;

	if (c->v6)
		put16(c->data + c->ip_at + 4, len - sizeof(struct ipv6hdr));
	else
		put16(c->data + c->ip_at + 2, len);
}

struct craft craft_tcp4(const char *src, const char *dst, const struct craft_tcp *tcp)
{
	struct craft c;

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, src, dst, IPPROTO_TCP, 0, 0);
	craft_tcp(&c, tcp);
	craft_end(&c);
	return c;
}
