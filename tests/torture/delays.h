/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * delays.h - how long answers took: a histogram with an error of at most 4 %,
 * from 1 us to an hour. Threads: one, or a lock outside.
 */
#ifndef WEIR_TESTS_TORTURE_DELAYS_H
#define WEIR_TESTS_TORTURE_DELAYS_H

#include <stdint.h>

#define DELAYS_STEPS   16 /* between two powers of two */
#define DELAYS_BUCKETS (32 * DELAYS_STEPS)

struct delays {
	uint64_t n, max_us;
	uint64_t count[DELAYS_BUCKETS];
};

static inline unsigned delays_bucket(uint64_t us)
{
	unsigned log2 = us ? 63 - (unsigned)__builtin_clzll(us) : 0;
	uint64_t rest = log2 >= 4 ? us >> (log2 - 4) : us << (4 - log2); /* 16 to 31 */
	unsigned i = log2 * DELAYS_STEPS + (unsigned)(rest & (DELAYS_STEPS - 1));

	return i < DELAYS_BUCKETS ? i : DELAYS_BUCKETS - 1;
}

static inline void delays_add(struct delays *d, uint64_t us)
{
	d->n++;
	d->count[delays_bucket(us)]++;
	if (us > d->max_us)
		d->max_us = us;
}

/* The upper end of the bucket that the share falls into, 0 without any. */
static inline uint64_t delays_quantile_us(const struct delays *d, double share)
{
	uint64_t wanted = (uint64_t)((double)d->n * share), seen = 0;

	for (unsigned i = 0; i < DELAYS_BUCKETS && d->n; i++) {
		seen += d->count[i];
		if (seen > wanted || seen == d->n)
			return ((uint64_t)(DELAYS_STEPS + i % DELAYS_STEPS + 1)
				<< i / DELAYS_STEPS) /
			       DELAYS_STEPS;
	}
	return 0;
}

#endif /* WEIR_TESTS_TORTURE_DELAYS_H */
