// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/aggregate/group_sums.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/flowstore/huge_memory.h"

#define MIN_GROUPS 1024

/* Beyond it a sum is no number of SQL. Each addend is below 2^57, so none gets past it unseen. */
#define SUM_TOO_LARGE (UINT64_C(1) << 63)

static size_t row_bytes(const struct group_sums *s)
{
	return (s->plan && s->plan->n ? s->plan->n : 1) * sizeof(*s->slots);
}

int group_sums_init(struct group_sums *s, const struct term_plan *plan, uint64_t seed)
{
	*s = (struct group_sums){
		.plan = plan,
		.lists = calloc(plan->n + 1, sizeof(*s->lists)),
		.sets = calloc(plan->n + 1, sizeof(*s->sets)),
	};
	if (!s->lists || !s->sets)
		return -ENOMEM;
	for (size_t i = 0; i < plan->n; i++) {
		const struct term *t = &plan->terms[i];

		s->sets[i].seed = seed;
		s->lists[i].wide =
			t->n_columns > 1 ||
			(t->n_columns && flow_column_info[t->columns[0]].kind == FLOW_U64);
	}
	return 0;
}

void group_sums_done(struct group_sums *s)
{
	for (size_t i = 0; s->plan && i < s->plan->n; i++) {
		if (s->lists)
			value_list_done(&s->lists[i]);
		if (s->sets)
			distinct_set_done(&s->sets[i]);
	}
	free(s->lists);
	free(s->sets);
	huge_free(s->slots, s->max_groups * row_bytes(s));
}

int group_sums_reserve(struct group_sums *s, size_t n_groups)
{
	size_t max = s->max_groups ? s->max_groups : MIN_GROUPS;
	uint64_t *slots;

	if (n_groups > s->max_groups) {
		while (max < n_groups)
			max *= 2;
		slots = huge_grow(s->slots, s->max_groups * row_bytes(s), max * row_bytes(s));
		if (!slots)
			return -ENOMEM;
		s->slots = slots;
		s->max_groups = max;
	}
	if (n_groups > s->n_groups)
		s->n_groups = n_groups;
	return 0;
}

/* --- joining ------------------------------------------------------------------------------ */

void group_sums_join_slot(struct group_sums *s, size_t term, struct group_values *values,
			  uint64_t *slot, uint64_t other)
{
	const struct term *t = &s->plan->terms[term];
	struct group_key key;

	switch (t->kind) {
	case TERM_SUM:
	case TERM_COUNT:
	case TERM_FLOWS:
	case TERM_DISTINCT:
		*slot += other;
		s->high |= *slot;
		break;
	case TERM_MIN:
	case TERM_MAX:
		*slot = other > *slot ? other : *slot;
		break;
	case TERM_MAX_TEXT:
		key = term_key(t);
		if (group_key_compare(values, &key, (uint32_t)other, (uint32_t)*slot) > 0)
			*slot = other;
		break;
	case TERM_VALUES:
		break;
	}
}

/* Where the group is in the second number of a pair. */
static unsigned group_shift(const struct term *t)
{
	return t->kind == TERM_FLOWS ? 32 : 0;
}

int group_sums_join(struct group_sums *s, struct group_sums *other, struct group_values *values)
{
	size_t n = s->plan->n;
	int err = group_sums_reserve(s, other->n_groups);

	s->high |= other->high;
	for (size_t g = 0; !err && g < other->n_groups; g++)
		for (size_t i = 0; i < n; i++)
			group_sums_join_slot(s, i, values, &group_sums_of(s, g)[i],
					     group_sums_of(other, g)[i]);
	for (size_t i = 0; !err && i < n; i++) {
		err = value_list_join(&s->lists[i], &other->lists[i]);
		if (!err)
			err = distinct_set_join(&s->sets[i], &other->sets[i]);
	}
	return err;
}

/* --- the end --------------------------------------------------------------------------------- */

size_t group_sums_in_sets(const struct group_sums *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->plan->n; i++)
		for (size_t p = 0; s->sets[i].parts && p < DISTINCT_PARTS; p++)
			n += s->sets[i].parts[p].n;
	return n;
}

int group_sums_settle(struct group_sums *s, size_t part)
{
	int err = 0;

	for (size_t i = 0; !err && i < s->plan->n; i++)
		err = distinct_set_settle(&s->sets[i], part);
	return err;
}

/* Each pair counts in the slot of its group. */
static void count_set(struct group_sums *s, size_t slot)
{
	struct distinct_set *set = &s->sets[slot];
	unsigned shift = group_shift(&s->plan->terms[slot]);

	for (size_t p = 0; set->parts && p < DISTINCT_PARTS; p++)
		for (size_t i = 0; i < set->parts[p].n; i++)
			group_sums_of(s, set->parts[p].pairs[i].b >> shift)[slot]++;
}

int group_sums_finish(struct group_sums *s)
{
	if (s->high & SUM_TOO_LARGE)
		return -EOVERFLOW;
	for (size_t i = 0; i < s->plan->n; i++)
		count_set(s, i);
	return 0;
}
