/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* random_flows.h - records that a decoder must take: every column drawn within its range. */
#ifndef WEIR_TESTS_UNIT_RANDOM_FLOWS_H
#define WEIR_TESTS_UNIT_RANDOM_FLOWS_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "proto/flow_columns.h"

static inline uint64_t random_u64(uint64_t *rng)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	return *rng ^= *rng << 17;
}

/* Small numbers, zeros and the largest, so that every encoding is met. */
static inline uint64_t random_value(uint64_t *rng, uint64_t max)
{
	uint64_t value = random_u64(rng) >> random_u64(rng) % 64;

	switch (random_u64(rng) % 8) {
	case 0:
	case 1:
	case 2:
		return 0;
	case 3:
		return max;
	default:
		return max == UINT64_MAX ? value : value % (max + 1);
	}
}

static inline void random_addr(uint64_t *rng, uint8_t ret[16])
{
	uint64_t which = random_u64(rng) % 20;

	memset(ret, 0, 16);
	if (which < 12) {
		ret[10] = ret[11] = 0xff;
		ret[12] = 10;
		ret[15] = (uint8_t)which;
	} else if (which < 19) {
		ret[0] = 0x20;
		ret[15] = (uint8_t)random_u64(rng);
	}
}

static inline void random_hist(uint64_t *rng, uint32_t samples, uint16_t hist[RTT_BUCKETS])
{
	for (uint32_t i = 0; samples && i < RTT_BUCKETS; i++)
		hist[i] = random_u64(rng) % 3 ? 0 : (uint16_t)(random_u64(rng) % (samples + 1ull));
}

/* Times in whole ms, so that nothing of it is lost. */
static inline struct flow_record random_flow(uint64_t *rng)
{
	struct flow_record r = {0};

	r.start_ns = (1700000000000 + random_u64(rng) % 100000) * 1000000;
	r.end_ns = r.start_ns + random_value(rng, 1000000) * 1000000;
	random_addr(rng, r.src_addr);
	random_addr(rng, r.dst_addr);
#define RANDOM(name, max, has) r.name = (__typeof__(r.name))random_value(rng, max);
	FLOW_COLUMNS(RANDOM)
#undef RANDOM
#define RANDOM_TEXT(name, max, has)                                                                \
	if (random_u64(rng) % 2)                                                                   \
		(void)snprintf(r.name, max, "%s%u", #name, (unsigned)(random_u64(rng) % 5));
	FLOW_TEXTS(RANDOM_TEXT)
#undef RANDOM_TEXT
	r.flow_id += r.flow_id == 0;
	if (random_u64(rng) % 2)
		r.proto = random_u64(rng) % 2 ? IPPROTO_TCP : IPPROTO_ICMP;
	random_hist(rng, r.data_rtt_samples, r.data_rtt_hist);
	random_hist(rng, r.rev_data_rtt_samples, r.rev_data_rtt_hist);
	if (r.tunnel) {
		random_addr(rng, r.outer_src_addr);
		random_addr(rng, r.outer_dst_addr);
	}
	return r;
}

#endif /* WEIR_TESTS_UNIT_RANDOM_FLOWS_H */
