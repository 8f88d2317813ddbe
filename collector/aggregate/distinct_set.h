/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * distinct_set.h - different pairs of 64-bit numbers, each kept once.
 *
 * Pairs are put down by their hash in one of DISTINCT_PARTS, one behind another;
 * what is there twice goes when a part is full, by a table that fits the cache. A
 * table of all would be waited for at every pair.
 *
 * Threads: none of its own; only distinct_set_settle() of different parts at once. Memory: 16 to 64
 * bytes a pair. Errors: -ENOMEM.
 */
#ifndef WEIR_COLLECTOR_AGGREGATE_DISTINCT_SET_H
#define WEIR_COLLECTOR_AGGREGATE_DISTINCT_SET_H

#include <stddef.h>
#include <stdint.h>

#define DISTINCT_PARTS 256

struct distinct_pair {
	uint64_t a, b;
};

/* A zeroed one is empty; with a seed of hash_seed() it can be joined to others with that one. */
struct distinct_set {
	struct distinct_part {
		struct distinct_pair *pairs;
		uint32_t n, n_once, max; /* the first n_once are there once */
	} * parts;			 /* NULL: nothing was added */
	struct distinct_places {
		uint32_t *at;
		size_t n;
	} places; /* of one part while it is looked through */
	uint64_t seed;
};

void distinct_set_done(struct distinct_set *s);
int distinct_set_add(struct distinct_set *s, const struct distinct_pair *pairs, size_t n);
/* Adds what is in other. */
int distinct_set_join(struct distinct_set *s, const struct distinct_set *other);
/* Until the next is added, each pair of that part is there once. */
int distinct_set_settle(struct distinct_set *s, size_t part);

#endif /* WEIR_COLLECTOR_AGGREGATE_DISTINCT_SET_H */
