/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * value_list.h - the values of each group, for exact quantiles.
 *
 * Threads: none of its own. Memory: 8 bytes a value that fits in 32 bits, else
 * 12, and as much again while a list grows.
 * Errors: -ENOMEM; -EOVERFLOW: more than 2^32 values.
 */
#ifndef WEIR_COLLECTOR_AGGREGATE_VALUE_LIST_H
#define WEIR_COLLECTOR_AGGREGATE_VALUE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct value_list {
	bool wide;		   /* 64 bits; else 32 */
	size_t n, max, max_groups; /* max: of the values */
	uint32_t *groups;
	void *values;
	uint32_t *starts; /* once grouped: where the values of each group begin, n_groups + 1 */
	size_t n_groups;
};

/* A zeroed list is empty, with wide as set. */
void value_list_done(struct value_list *l);

/* Appends those with a mark; marks NULL: all. */
int value_list_add(struct value_list *l, const uint32_t *groups, const uint64_t *values,
		   const uint8_t *marks, size_t n);
/* Appends all of other, whose group g is map[g]; map NULL: g. */
int value_list_join(struct value_list *l, const struct value_list *other, const uint32_t *map);

/* Brings the values of each group together. Nothing is added from then on. */
int value_list_group(struct value_list *l, size_t n_groups);

static inline size_t value_list_count(const struct value_list *l, size_t group)
{
	return l->starts[group + 1] - l->starts[group];
}

/* The value at that rank, from 0, of a group that has as many. */
uint64_t value_list_at(struct value_list *l, size_t group, size_t rank);
/* Copies the values of a group. */
void value_list_copy(const struct value_list *l, size_t group, uint64_t *ret);

#endif /* WEIR_COLLECTOR_AGGREGATE_VALUE_LIST_H */
