// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/radix.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DIGIT_BITS 11
#define N_DIGITS   6 /* 66 bits */
#define RADIX	   (1u << DIGIT_BITS)

struct item {
	uint64_t key;
	uint32_t row;
};

static unsigned digit_of(uint64_t key, unsigned digit)
{
	return (unsigned)(key >> digit * DIGIT_BITS) & (RADIX - 1);
}

/* Counts of every digit, in one pass. */
static void count_digits(const uint64_t *keys, size_t n, uint32_t counts[N_DIGITS][RADIX])
{
	memset(counts, 0, sizeof(uint32_t) * N_DIGITS * RADIX);
	for (size_t i = 0; i < n; i++)
		for (unsigned d = 0; d < N_DIGITS; d++)
			counts[d][digit_of(keys[i], d)]++;
}

static void scatter(const struct item *from, struct item *to, size_t n, unsigned digit,
		    uint32_t counts[RADIX])
{
	uint32_t at = 0;

	for (unsigned i = 0; i < RADIX; i++) {
		uint32_t count = counts[i];

		counts[i] = at;
		at += count;
	}
	for (size_t i = 0; i < n; i++)
		to[counts[digit_of(from[i].key, digit)]++] = from[i];
}

int radix_order(const uint64_t *keys, size_t n, uint32_t *ret)
{
	uint32_t(*counts)[RADIX] = malloc(N_DIGITS * sizeof(*counts));
	struct item *items = malloc(2 * n * sizeof(*items)), *from = items, *to;

	if (!counts || !items) {
		free(counts);
		free(items);
		return -ENOMEM;
	}
	to = items + n;
	count_digits(keys, n, counts);
	for (size_t i = 0; i < n; i++)
		items[i] = (struct item){keys[i], (uint32_t)i};
	for (unsigned d = 0; d < N_DIGITS && n; d++) {
		struct item *other = from;

		if (counts[d][digit_of(keys[0], d)] == n)
			continue;
		scatter(from, to, n, d, counts[d]);
		from = to;
		to = other;
	}
	for (size_t i = 0; i < n; i++)
		ret[i] = from[i].row;
	free(counts);
	free(items);
	return 0;
}
