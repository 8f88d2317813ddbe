/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hash.h - for the tables of one question. seed: random, so that nobody outside
 * can choose values that collide.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_HASH_H
#define WEIR_COLLECTOR_FLOWSTORE_HASH_H

#include <stdint.h>
#include <sys/random.h>

static inline uint64_t hash_seed(void)
{
	uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);

	(void)getrandom(&seed, sizeof(seed), GRND_NONBLOCK); /* else: early in boot, a constant */
	return seed;
}

static inline uint64_t hash_pair(uint64_t seed, uint64_t a, uint64_t b)
{
	__extension__ unsigned __int128 p;

	p = (unsigned __int128)(a ^ seed) * (b ^ UINT64_C(0xd6e8feb86659fd93));
	a = (uint64_t)p ^ (uint64_t)(p >> 64) ^ a;
	p = (unsigned __int128)(a ^ seed) * UINT64_C(0x9e3779b97f4a7c15);
	return (uint64_t)p ^ (uint64_t)(p >> 64);
}

#endif /* WEIR_COLLECTOR_FLOWSTORE_HASH_H */
