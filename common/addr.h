/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * addr.h - IP addresses as 16 bytes: IPv6, or IPv4 mapped as ::ffff:a.b.c.d
 * (RFC 4291 2.5.5.2). Text is RFC 5952; mapped addresses print as dotted IPv4.
 */
#ifndef WEIR_COMMON_ADDR_H
#define WEIR_COMMON_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#define ADDR_TEXT_MAX 46 /* INET6_ADDRSTRLEN: text and its NUL */

struct addr_prefix {
	uint8_t addr[16]; /* host bits are zero */
	unsigned len;	  /* 0 to 128; a.b.c.d/24 has 96 + 24 */
};

bool addr_is_v4(const uint8_t addr[16]);
bool addr_is_loopback(const uint8_t addr[16]);
/* One that a host can have for itself: not loopback, link-local, multicast or unspecified. */
bool addr_is_of_host(const uint8_t addr[16]);

/* Writes the text of addr to ret and returns ret. */
const char *addr_format(const uint8_t addr[16], char ret[ADDR_TEXT_MAX]);

/* Reads an address. Returns -EINVAL when text is not one. */
int addr_parse(const char *text, uint8_t ret[16]);

/* Reads "addr" or "addr/len"; host bits are cleared. Returns -EINVAL. */
int addr_parse_prefix(const char *text, struct addr_prefix *ret);

bool addr_in_prefix(const uint8_t addr[16], const struct addr_prefix *prefix);

/* "tcp", "udp", "icmp", "icmpv6", ...; NULL when the number has no name here. */
const char *proto_name(uint8_t proto);

/* Number of a protocol name or decimal; -EINVAL. */
int proto_parse(const char *text, uint8_t *ret);

#endif /* WEIR_COMMON_ADDR_H */
