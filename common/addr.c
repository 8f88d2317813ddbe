/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "common/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define V4_PREFIX_LEN 96

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

/* Same names as the view flows in sql/. */
static const struct {
	uint8_t number;
	const char *name;
} protocols[] = {
	{0, "hopopt"},	{1, "icmp"},  {2, "igmp"},  {4, "ipip"},   {6, "tcp"},
	{17, "udp"},	{41, "ipv6"}, {47, "gre"},  {50, "esp"},   {51, "ah"},
	{58, "icmpv6"}, {89, "ospf"}, {103, "pim"}, {112, "vrrp"}, {132, "sctp"},
};
#define N_PROTOCOLS (sizeof(protocols) / sizeof(protocols[0]))

bool addr_is_v4(const uint8_t addr[16])
{
	return memcmp(addr, v4_mapped, sizeof(v4_mapped)) == 0;
}

bool addr_is_loopback(const uint8_t addr[16])
{
	static const uint8_t v6[16] = {[15] = 1};

	return addr_is_v4(addr) ? addr[12] == 127 : memcmp(addr, v6, sizeof(v6)) == 0;
}

bool addr_is_of_host(const uint8_t addr[16])
{
	static const uint8_t none[16];

	if (addr_is_loopback(addr) || memcmp(addr, none, sizeof(none)) == 0)
		return false;
	if (addr_is_v4(addr)) /* 0/8, 169.254/16, 224/3 */
		return addr[12] != 0 && addr[12] < 224 && !(addr[12] == 169 && addr[13] == 254);
	return addr[0] != 0xff && !(addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80);
}

const char *addr_format(const uint8_t addr[16], char ret[ADDR_TEXT_MAX])
{
	/* Cannot fail: the family is known and the buffer long enough. */
	if (addr_is_v4(addr))
		(void)inet_ntop(AF_INET, addr + sizeof(v4_mapped), ret, ADDR_TEXT_MAX);
	else
		(void)inet_ntop(AF_INET6, addr, ret, ADDR_TEXT_MAX);
	return ret;
}

int addr_parse(const char *text, uint8_t ret[16])
{
	uint8_t v4[4];

	if (inet_pton(AF_INET6, text, ret) == 1)
		return 0;
	if (inet_pton(AF_INET, text, v4) != 1)
		return -EINVAL;
	memcpy(ret, v4_mapped, sizeof(v4_mapped));
	memcpy(ret + sizeof(v4_mapped), v4, sizeof(v4));
	return 0;
}

/* Decimal digits only, at most three of them and at most max. */
static int parse_small(const char *text, unsigned max, unsigned *ret)
{
	size_t digits = strspn(text, "0123456789");
	unsigned value = 0;

	if (digits == 0 || digits > 3 || text[digits] != '\0')
		return -EINVAL;
	for (size_t i = 0; i < digits; i++)
		value = value * 10 + (unsigned)(text[i] - '0');
	if (value > max)
		return -EINVAL;
	*ret = value;
	return 0;
}

static void clear_host_bits(struct addr_prefix *p)
{
	for (unsigned bit = p->len; bit < 128; bit++)
		p->addr[bit / 8] &= (uint8_t) ~(0x80u >> bit % 8);
}

int addr_parse_prefix(const char *text, struct addr_prefix *ret)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	bool v6 = memchr(text, ':', len);
	unsigned base = v6 ? 0 : V4_PREFIX_LEN, bits = 128 - base;
	struct addr_prefix prefix;
	char addr[ADDR_TEXT_MAX];

	if (len >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, len);
	addr[len] = '\0';
	if (addr_parse(addr, prefix.addr) < 0)
		return -EINVAL;
	if (slash && parse_small(slash + 1, bits, &bits) < 0)
		return -EINVAL;
	prefix.len = base + bits;
	clear_host_bits(&prefix);
	*ret = prefix;
	return 0;
}

bool addr_in_prefix(const uint8_t addr[16], const struct addr_prefix *prefix)
{
	unsigned bytes = prefix->len / 8, rest = prefix->len % 8;

	if (memcmp(addr, prefix->addr, bytes) != 0)
		return false;
	return rest == 0 || (addr[bytes] ^ prefix->addr[bytes]) >> (8 - rest) == 0;
}

const char *proto_name(uint8_t proto)
{
	for (size_t i = 0; i < N_PROTOCOLS; i++)
		if (protocols[i].number == proto)
			return protocols[i].name;
	return NULL;
}

int proto_parse(const char *text, uint8_t *ret)
{
	unsigned number;

	for (size_t i = 0; i < N_PROTOCOLS; i++) {
		if (strcasecmp(protocols[i].name, text) == 0) {
			*ret = protocols[i].number;
			return 0;
		}
	}
	if (parse_small(text, UINT8_MAX, &number) < 0)
		return -EINVAL;
	*ret = (uint8_t)number;
	return 0;
}
