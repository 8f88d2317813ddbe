/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_id.h - the number that ties the records of one flow together.
 *
 * It is a hash of the flow's ends plus its start in ms, so that a block of
 * records need not keep it: 53 random bits would be a third of what a record
 * takes on disk. Whichever end is called src, the hash is the same. Any other
 * number may stand in a record, too; it then costs its bits.
 */
#ifndef WEIR_PROTO_FLOW_ID_H
#define WEIR_PROTO_FLOW_ID_H

#include <stdint.h>
#include <string.h>

#include "proto/flow_columns.h"

static inline uint64_t flow_id_mix(uint64_t x)
{
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	x ^= x >> 32;
	x *= UINT64_C(0xd6e8feb86659fd93);
	return x ^ x >> 32;
}

static inline uint64_t flow_id_addr(const uint8_t addr[16])
{
	uint64_t half[2];

	memcpy(half, addr, sizeof(half));
	return flow_id_mix(half[0] * UINT64_C(0x9e3779b97f4a7c15) + half[1]);
}

/* addr: of flow_id_addr(). */
static inline uint64_t flow_id_end(uint64_t addr, uint32_t port)
{
	return flow_id_mix(addr + port * UINT64_C(0xff51afd7ed558ccd));
}

/* Of two flow_id_end(), one by src and one by dst. 1 to FLOW_ID_MAX. */
static inline uint64_t flow_id_of(uint64_t end, uint64_t other_end, uint32_t proto,
				  uint32_t icmp_id, uint32_t vlan, uint32_t tunnel_id,
				  uint64_t start_ms)
{
	uint64_t rest =
		(uint64_t)proto << 56 ^ (uint64_t)icmp_id << 40 ^ (uint64_t)vlan << 28 ^ tunnel_id;
	uint64_t id = (flow_id_mix((end + other_end) ^ rest) + start_ms) & FLOW_ID_MAX;

	return id ? id : 1;
}

#endif /* WEIR_PROTO_FLOW_ID_H */
