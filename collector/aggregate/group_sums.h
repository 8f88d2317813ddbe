/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * group_sums.h - what terms add up to, of each group: a row of 64-bit slots, and
 * lists and sets for what a slot cannot hold. For aggregate.c.
 *
 * Threads: each has sums of its own, joined at last. Errors: -ENOMEM, -EOVERFLOW.
 */
#ifndef WEIR_COLLECTOR_AGGREGATE_GROUP_SUMS_H
#define WEIR_COLLECTOR_AGGREGATE_GROUP_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/aggregate/distinct_set.h"
#include "collector/aggregate/group_key.h"
#include "collector/aggregate/group_table.h"
#include "collector/aggregate/term_plan.h"
#include "collector/aggregate/value_list.h"

struct group_sums {
	const struct term_plan *plan;
	uint64_t *slots; /* plan->n of each group */
	size_t n_groups, max_groups;
	struct value_list *lists;  /* one of each term, most empty */
	struct distinct_set *sets; /* likewise */
	uint64_t high;		   /* or of all sums */
};

/* seed: of hash_seed(), the same for all that are joined. */
int group_sums_init(struct group_sums *s, const struct term_plan *plan, uint64_t seed);
void group_sums_done(struct group_sums *s);
/* Slots of zeros up to n_groups. */
int group_sums_reserve(struct group_sums *s, size_t n_groups);
/* Adds other, whose values are moved. */
int group_sums_join(struct group_sums *s, struct group_sums *other, struct group_values *values);
/* How many things are in sets, with those that are there twice. */
size_t group_sums_in_sets(const struct group_sums *s);
/* What sets have twice goes: of one part below DISTINCT_PARTS, so that threads may share them. */
int group_sums_settle(struct group_sums *s, size_t part);
/* Fills slots of sets, which are settled. */
int group_sums_finish(struct group_sums *s);

static inline uint64_t *group_sums_of(const struct group_sums *s, size_t group)
{
	return s->slots + group * s->plan->n;
}

/* Joins one slot into another. */
void group_sums_join_slot(struct group_sums *s, size_t term, struct group_values *values,
			  uint64_t *slot, uint64_t other);

#endif /* WEIR_COLLECTOR_AGGREGATE_GROUP_SUMS_H */
