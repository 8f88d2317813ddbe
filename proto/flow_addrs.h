/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_addrs.h - many addresses in few bytes: a dictionary in the order of its
 * addresses. For flow_encode.c and flow_decode.c.
 *
 *	offset size
 *	     0    1  FLOW_ADDRS_SORTED, which column_encode_bytes() never writes
 *	     1    v  how many are IPv4, and how many IPv6, two varints
 *	     v       three columns of column.h, each behind its length, a varint; one of
 *	             no numbers is not there:
 *	             IPv4: each less the one before
 *	             IPv6: the upper 64 bits, each less that before
 *	             IPv6: the lower 64 bits
 *
 * Differences wrap, so that any order can be kept; in a rising one they are small.
 */
#ifndef WEIR_PROTO_FLOW_ADDRS_H
#define WEIR_PROTO_FLOW_ADDRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/column.h"

#define FLOW_ADDRS_SORTED 16

/* A number by which IPv4 comes before IPv6, and each in its order, /64 by /64. */
uint64_t flow_addrs_key(const uint8_t addr[16]);

/* At most so many bytes. */
static inline size_t flow_addrs_bound(size_t n)
{
	return 64 + 2 * column_bound(n);
}

/*
 * Writes n addresses, at most column_codec_max_rows(), of which those of IPv4 come
 * first; 0: they do not.
 */
size_t flow_addrs_encode(struct column_codec *c, uint8_t (*addrs)[16], size_t n,
			 enum column_effort effort, uint8_t *out);

static inline bool flow_addrs_is_sorted(const uint8_t *data, size_t len)
{
	return len && data[0] == FLOW_ADDRS_SORTED;
}

/* How many there are; false if that is above max, or what the codec takes, or it is no head. */
bool flow_addrs_count(const struct column_codec *c, const uint8_t *data, size_t len, size_t max,
		      size_t *ret);
/* ret: as many as flow_addrs_count() says. */
bool flow_addrs_decode(struct column_codec *c, const uint8_t *data, size_t len, uint8_t (*ret)[16]);

#endif /* WEIR_PROTO_FLOW_ADDRS_H */
