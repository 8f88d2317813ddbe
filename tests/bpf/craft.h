/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * craft.h - packets made byte by byte for the BPF tests.
 *
 * A packet grows from the outside in; lengths in IP headers are set by
 * craft_end(), checksums are left zero (the programs do not read them).
 */
#ifndef WEIR_TESTS_BPF_CRAFT_H
#define WEIR_TESTS_BPF_CRAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRAFT_MAX 2048

struct craft {
	uint8_t data[CRAFT_MAX];
	size_t len;
	size_t ip_at; /* offset of the IP header whose length craft_end() sets */
	bool v6;
};

struct craft_tcp {
	uint16_t sport, dport, flags;
	uint32_t seq, ack;
	size_t payload;
	uint16_t window;
	uint16_t mss;	      /* 0: no option */
	uint32_t ts, ts_echo; /* timestamps; ts 0: no option */
};

void craft_eth(struct craft *c, uint16_t ethertype);
/* Adds a tag after the Ethernet header or another tag; tpid goes before it. */
void craft_vlan(struct craft *c, uint16_t tpid, uint16_t id, uint16_t next);
/* frag: the 16 bits of flags and offset. options: bytes, a multiple of 4. */
void craft_ipv4(struct craft *c, const char *src, const char *dst, uint8_t proto, uint16_t frag,
		size_t options);
void craft_ipv6(struct craft *c, const char *src, const char *dst, uint8_t next);
/* An IPv6 extension header of 8 bytes; for a fragment header offset is its 16 bits. */
void craft_ext(struct craft *c, uint8_t next, uint16_t offset);
void craft_tcp(struct craft *c, const struct craft_tcp *tcp);
void craft_udp(struct craft *c, uint16_t sport, uint16_t dport, size_t payload);
void craft_icmp(struct craft *c, uint8_t type, uint8_t code, uint16_t id);
void craft_bytes(struct craft *c, size_t n);
void craft_end(struct craft *c);

/* Whole packets, Ethernet and IPv4. */
struct craft craft_tcp4(const char *src, const char *dst, const struct craft_tcp *tcp);

#endif /* WEIR_TESTS_BPF_CRAFT_H */
