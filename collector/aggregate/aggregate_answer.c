// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* aggregate_answer.c - the values of groups, and which come first. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "collector/aggregate/aggregate_private.h"
#include "common/cleanup.h"

static struct aggregate_value null_value(void)
{
	return (struct aggregate_value){.type = AGGREGATE_NULL};
}

static struct aggregate_value int_value(uint64_t n)
{
	return (struct aggregate_value){.type = AGGREGATE_INT, .integer = (int64_t)n};
}

static struct aggregate_value real_value(double x)
{
	return (struct aggregate_value){.type = AGGREGATE_REAL, .real = x};
}

/* --- groups that are none: all, or the others ------------------------------------------- */

static bool within(const struct aggregate *a, uint32_t group, uint32_t which)
{
	return which == AGGREGATE_TOTAL || !a->selected || !a->selected[group];
}

/* Adds those of the values that count. */
static int add_values(const struct aggregate *a, const struct distinct_part *from, uint32_t which,
		      struct distinct_set *set)
{
	struct distinct_pair pairs[GROUP_BATCH];
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; !err && i < from->n; i++) {
		pairs[n] = (struct distinct_pair){from->pairs[i].a, 0};
		n += within(a, (uint32_t)from->pairs[i].b, which);
		if (n == GROUP_BATCH || i + 1 == from->n) {
			err = distinct_set_add(set, pairs, n);
			n = 0;
		}
	}
	return err;
}

/* How many different values the groups have together. */
static int count_distinct(struct aggregate *a, size_t term, uint32_t which, uint64_t *ret)
{
	const struct distinct_set *from = &a->sums.sets[term];
	struct distinct_set set = {0};
	int err = 0;

	for (size_t p = 0; !err && from->parts && p < DISTINCT_PARTS; p++)
		err = add_values(a, &from->parts[p], which, &set);
	for (size_t p = 0; !err && p < DISTINCT_PARTS; p++)
		err = distinct_set_settle(&set, p);
	*ret = 0; /* not what the slots of the groups come to */
	for (size_t p = 0; !err && set.parts && p < DISTINCT_PARTS; p++)
		*ret += set.parts[p].n;
	distinct_set_done(&set);
	return err;
}

static int join_slots(struct aggregate *a, uint32_t which, uint64_t *ret)
{
	int err = 0;

	for (size_t g = 0; g < a->table.n; g++)
		for (size_t i = 0; within(a, (uint32_t)g, which) && i < a->plan.n; i++)
			group_sums_join_slot(&a->sums, i, a->values, &ret[i],
					     group_sums_of(&a->sums, g)[i]);
	for (size_t i = 0; !err && i < a->plan.n; i++)
		if (a->plan.terms[i].kind == TERM_DISTINCT)
			err = count_distinct(a, i, which, &ret[i]);
	return err;
}

/* The slots of all or the others together; NULL: out of memory. */
static const uint64_t *joined_slots(struct aggregate *a, uint32_t which)
{
	uint64_t **kept = &a->sums_of[which == AGGREGATE_TOTAL];
	cleanup(free_p) uint64_t *slots = NULL;

	if (!*kept) {
		slots = calloc(a->plan.n + 1, sizeof(*slots));
		if (slots && join_slots(a, which, slots) == 0)
			*kept = take_ptr(slots);
	}
	return *kept;
}

static const uint64_t *slots_of(struct aggregate *a, uint32_t group)
{
	return group >= AGGREGATE_OTHER ? joined_slots(a, group) : group_sums_of(&a->sums, group);
}

/* --- quantiles --------------------------------------------------------------------------- */

static size_t rank_of(double q, size_t n)
{
	size_t rank = (size_t)ceil(q * (double)n);

	return rank ? rank - 1 : 0;
}

/* As quantile() of SQL has it, which keeps doubles. */
static struct aggregate_value quantile_value(uint64_t value)
{
	return int_value((uint64_t)(double)value);
}

static struct aggregate_value quantile(struct aggregate *a, uint32_t group, size_t term, double q)
{
	struct value_list *list = &a->sums.lists[term];
	const uint8_t *without = group == AGGREGATE_OTHER ? a->selected : NULL;
	size_t n;

	if (group < AGGREGATE_OTHER) {
		n = value_list_count(list, group);
		return n ? quantile_value(value_list_at(list, group, rank_of(q, n))) : null_value();
	}
	n = value_list_count_all(list, without);
	return n ? quantile_value(value_list_at_all(list, without, rank_of(q, n))) : null_value();
}

/* --- any measure ---------------------------------------------------------------------------- */

static struct aggregate_value percent(double part, double whole)
{
	return whole == 0 ? null_value() : real_value(100.0 * part / whole);
}

static struct aggregate_value max_text(struct aggregate *a, const struct term *t, uint64_t id)
{
	struct group_key key = term_key(t);
	char buffer[GROUP_KEY_TEXT_MAX];

	/* Texts are those of the table of values, words are constants: none is in buffer. */
	return group_key_value(a->values, &key, (uint32_t)id, buffer);
}

static struct aggregate_value of_two(struct aggregate *a, const struct measure *m,
				     const struct measure_terms *t, const uint64_t *slots)
{
	double value = (double)slots[t->value], of = 0;
	const uint64_t *all;

	if (m->kind == MEASURE_SHARE) {
		all = joined_slots(a, AGGREGATE_TOTAL);
		return all ? percent(value, (double)all[t->value]) : null_value();
	}
	if (t->of_count != NO_TERM && slots[t->of_count] == 0)
		return null_value();
	of = (double)slots[t->of];
	if (m->kind == MEASURE_DIFFERENCE)
		return (struct aggregate_value){.type = AGGREGATE_INT,
						.integer = (int64_t)slots[t->value] -
							   (int64_t)slots[t->of]};
	if (m->kind == MEASURE_CHANGE)
		return percent((double)((int64_t)slots[t->value] - (int64_t)slots[t->of]), of);
	return percent(value, of);
}

struct aggregate_value aggregate_value(struct aggregate *a, uint32_t group, size_t measure)
{
	const struct measure *m = &a->spec->measures[measure];
	const struct measure_terms *t = &a->plan.of_measure[measure];
	const uint64_t *slots = slots_of(a, group);

	if (!slots || (t->count != NO_TERM && slots[t->count] == 0))
		return null_value();
	switch (m->kind) {
	case MEASURE_SUM:
	case MEASURE_COUNT:
	case MEASURE_MATCHES:
	case MEASURE_DISTINCT:
	case MEASURE_FLOWS:
		return int_value(slots[t->value]);
	case MEASURE_AVG:
		return real_value((double)slots[t->value] / (double)slots[t->count]);
	case MEASURE_MIN:
		return int_value(~slots[t->value]);
	case MEASURE_MAX:
		return a->plan.terms[t->value].kind == TERM_MAX
			       ? int_value(slots[t->value])
			       : max_text(a, &a->plan.terms[t->value], slots[t->value]);
	case MEASURE_QUANTILE:
		return quantile(a, group, t->value, m->q);
	default:
		return of_two(a, m, t, slots);
	}
}

struct aggregate_value aggregate_key(const struct aggregate *a, uint32_t group, size_t key,
				     char buffer[GROUP_KEY_TEXT_MAX])
{
	return group_key_value(a->values, &a->spec->keys[key],
			       group_table_ids(&a->table, group)[key], buffer);
}

/* --- the first ones -----------------------------------------------------------------------------
 */

/* Rows of a group and the values that it is ordered by: of the first ones, and of one more. */
struct ranking {
	const struct aggregate *a;
	const struct aggregate_order *orders;
	size_t n_orders;
	uint32_t *groups;
	struct aggregate_value *values; /* n_orders of each */
};

static int compare_values(const struct aggregate_value *x, const struct aggregate_value *y)
{
	double a, b;

	if (x->type == AGGREGATE_NULL || y->type == AGGREGATE_NULL)
		return (x->type != AGGREGATE_NULL) - (y->type != AGGREGATE_NULL);
	if (x->type == AGGREGATE_TEXT && y->type == AGGREGATE_TEXT)
		return strcmp(x->text, y->text);
	if (x->type == AGGREGATE_INT && y->type == AGGREGATE_INT)
		return (x->integer > y->integer) - (x->integer < y->integer);
	a = x->type == AGGREGATE_INT ? (double)x->integer : x->real;
	b = y->type == AGGREGATE_INT ? (double)y->integer : y->real;
	return (a > b) - (a < b);
}

static struct aggregate_value without_sign(struct aggregate_value v)
{
	if (v.type == AGGREGATE_INT && v.integer < 0)
		v.integer = -v.integer;
	else if (v.type == AGGREGATE_REAL)
		v.real = fabs(v.real);
	return v;
}

static int compare_rows(const struct ranking *r, uint32_t x, uint32_t y)
{
	const struct aggregate *a = r->a;

	for (size_t i = 0; i < r->n_orders; i++) {
		int c = compare_values(&r->values[x * r->n_orders + i],
				       &r->values[y * r->n_orders + i]);

		if (c)
			return r->orders[i].rising ? c : -c;
	}
	for (size_t k = 0; k < a->spec->n_keys; k++) {
		int c = group_key_compare(a->values, &a->spec->keys[k],
					  group_table_ids(&a->table, r->groups[x])[k],
					  group_table_ids(&a->table, r->groups[y])[k]);

		if (c)
			return c;
	}
	return 0;
}

static int compare_for_sort(const void *x, const void *y, void *ranking)
{
	return compare_rows(ranking, *(const uint32_t *)x, *(const uint32_t *)y);
}

/* heap[0] comes last of all in it. */
static void sift_down(const struct ranking *r, uint32_t *heap, size_t n, size_t at)
{
	for (;;) {
		size_t child = 2 * at + 1;
		uint32_t x = heap[at];

		if (child >= n)
			return;
		if (child + 1 < n && compare_rows(r, heap[child + 1], heap[child]) > 0)
			child++;
		if (compare_rows(r, heap[child], x) <= 0)
			return;
		heap[at] = heap[child];
		heap[child] = x;
		at = child;
	}
}

/* The values of the group, into that row. */
static void put_row(struct aggregate *a, const struct ranking *r, size_t row, uint32_t group)
{
	r->groups[row] = group;
	for (size_t i = 0; i < r->n_orders; i++) {
		struct aggregate_value v = aggregate_value(a, group, r->orders[i].measure);

		r->values[row * r->n_orders + i] = r->orders[i].absolute ? without_sign(v) : v;
	}
}

/* The rows of the first limit of n groups, in their order. */
static void select_first(struct aggregate *a, const struct ranking *r, size_t n, uint32_t *rows,
			 size_t limit)
{
	size_t bytes = r->n_orders * sizeof(*r->values);

	for (size_t g = 0; g < limit; g++) {
		put_row(a, r, g, (uint32_t)g);
		rows[g] = (uint32_t)g;
	}
	if (limit < n)
		for (size_t i = limit / 2 + 1; i-- > 0;)
			sift_down(r, rows, limit, i);
	for (size_t g = limit; g < n; g++) {
		put_row(a, r, limit, (uint32_t)g);
		if (compare_rows(r, (uint32_t)limit, rows[0]) >= 0)
			continue;
		r->groups[rows[0]] = (uint32_t)g;
		memcpy(&r->values[rows[0] * r->n_orders], &r->values[limit * r->n_orders], bytes);
		sift_down(r, rows, limit, 0);
	}
	qsort_r(rows, limit, sizeof(*rows), compare_for_sort, (void *)r);
}

int aggregate_select(struct aggregate *a, const struct aggregate_order *orders, size_t n_orders,
		     uint64_t limit, uint32_t **ret, size_t *ret_n)
{
	size_t n = a->table.n, n_first = limit && limit < n ? limit : n;
	cleanup(free_p) struct aggregate_value *values =
		calloc((n_first + 1) * n_orders + 1, sizeof(*values));
	cleanup(free_p) uint32_t *groups = malloc((n_first + 1) * sizeof(*groups));
	cleanup(free_p) uint32_t *rows = malloc((n_first + 1) * sizeof(*rows));
	struct ranking r = {a, orders, n_orders, groups, values};

	free(a->selected);
	free(a->sums_of[0]);
	a->sums_of[0] = NULL;
	a->selected = calloc(n + 1, 1);
	if (!values || !groups || !rows || !a->selected)
		return -ENOMEM;
	select_first(a, &r, n, rows, n_first);
	for (size_t i = 0; i < n_first; i++) {
		rows[i] = groups[rows[i]];
		a->selected[rows[i]] = 1;
	}
	*ret = take_ptr(rows);
	*ret_n = n_first;
	return 0;
}
