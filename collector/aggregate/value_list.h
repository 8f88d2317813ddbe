/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * value_list.h - the values of each group, for exact quantiles.
 *
 * Each group has a chain of chunks that grow with it, so that nothing is copied
 * when lists are joined, and nothing sorted before it is asked for.
 *
 * Threads: none of its own. Memory: 4 bytes a value that fits in 32 bits, else 8; at
 * least 24 a group, else 40. Errors: -ENOMEM.
 */
#ifndef WEIR_COLLECTOR_AGGREGATE_VALUE_LIST_H
#define WEIR_COLLECTOR_AGGREGATE_VALUE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/flowstore/slabs.h"

/* A zeroed list is empty, with wide as set. */
struct value_list {
	bool wide;		     /* 64 bits; else 32 */
	struct value_chunk **chains; /* by group: the last chunk; NULL: none */
	size_t n_groups, max_groups;
	struct slabs chunks;
};

void value_list_done(struct value_list *l);

/* Of each of n groups (one may come again) the next counts[] of the values. */
int value_list_add(struct value_list *l, const uint32_t *groups, const uint32_t *counts, size_t n,
		   const uint64_t *values);
/* Takes all from other. */
int value_list_join(struct value_list *l, struct value_list *other);

/* How many values a group has, or all groups but those that are marked; without NULL: all. */
size_t value_list_count(const struct value_list *l, size_t group);
size_t value_list_count_all(const struct value_list *l, const uint8_t *without);
/* The value at that rank, from 0, of as many as there are. */
uint64_t value_list_at(struct value_list *l, size_t group, size_t rank);
uint64_t value_list_at_all(const struct value_list *l, const uint8_t *without, size_t rank);

#endif /* WEIR_COLLECTOR_AGGREGATE_VALUE_LIST_H */
