/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * peer_group.h - who an address belongs to, coarsely, as one number: what
 * rollups sum by in place of the address.
 *
 *	above 0		the host of the fleet that owns it: its id
 *	0		none of the others: public addresses, mostly
 *	below 0		a private IPv4 /24 (RFC 1918, RFC 6598, RFC 3927, loopback):
 *			its first 24 bits
 *	from -2^24 down	a unique local IPv6 /64 (RFC 4193): 2^24 + its bits 7 to 63
 *
 * The table rollup_hour has it whole, rollup_minute its sign.
 */
#ifndef WEIR_COLLECTOR_ROLLUP_PEER_GROUP_H
#define WEIR_COLLECTOR_ROLLUP_PEER_GROUP_H

#include <stdint.h>

/* owner: the host's id, or 0 for none. */
int64_t peer_group(uint32_t owner, const uint8_t addr[16]);

#endif /* WEIR_COLLECTOR_ROLLUP_PEER_GROUP_H */
