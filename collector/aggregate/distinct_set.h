/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * distinct_set.h - different pairs of 64-bit numbers, each kept once.
 *
 * Threads: none of its own. Memory: 32 to 64 bytes a pair. Errors: -ENOMEM.
 */
#ifndef WEIR_COLLECTOR_AGGREGATE_DISTINCT_SET_H
#define WEIR_COLLECTOR_AGGREGATE_DISTINCT_SET_H

#include <stddef.h>
#include <stdint.h>

struct distinct_pair {
	uint64_t a, b; /* a is not 0 */
};

struct distinct_set {
	struct distinct_pair *table; /* a is 0: empty */
	size_t n, size;
	uint64_t seed;
};

/* A zeroed set is empty. */
void distinct_set_done(struct distinct_set *s);
int distinct_set_add(struct distinct_set *s, const struct distinct_pair *pairs, size_t n);

#endif /* WEIR_COLLECTOR_AGGREGATE_DISTINCT_SET_H */
