/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* pick.h - numbers for property tests: the same in every run, from a seed. */
#ifndef WEIR_TESTS_UNIT_PICK_H
#define WEIR_TESTS_UNIT_PICK_H

#include <stddef.h>
#include <stdint.h>

/* splitmix64: the same numbers in every run. */
static inline uint64_t pick_any(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Up to max, of all magnitudes, the ends included. */
static inline uint64_t pick(uint64_t *seed, uint64_t max)
{
	uint64_t r = pick_any(seed);

	if (r % 16 == 0)
		return max;
	r = pick_any(seed) >> r % 64;
	return max == UINT64_MAX ? r : r % (max + 1);
}

static inline void pick_bytes(uint64_t *seed, uint8_t *ret, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ret[i] = (uint8_t)pick_any(seed);
}

#endif /* WEIR_TESTS_UNIT_PICK_H */
