// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* aggregate_terms.c - what the terms of a batch of rows come to, added to their groups. */
#include "collector/aggregate/aggregate_private.h"

/* Of as many rows as a batch has, the sum stays below 2^63. */
#define SMALL_VALUE ((UINT64_C(1) << 63) / GROUP_BATCH)

/* The rows of run r in the batch are [*from, *to). */
static void rows_of(const struct aggregate_batch *x, size_t r, size_t *from, size_t *to)
{
	*from = r ? x->ends[r - 1] - x->first : 0;
	*to = x->ends[r] - x->first;
}

static uint64_t *slot_of(const struct group_sums *s, const struct aggregate_batch *x, size_t r,
			 size_t slot)
{
	return group_sums_of(s, x->groups[r]) + slot;
}

/* --- numbers --------------------------------------------------------------------------- */

/* The values of the term, with 0 for those that it does not count. */
static void gather(struct aggregate_batch *x, const struct term *t, const uint8_t *mask)
{
	for (size_t c = 0; c < t->n_columns; c++) {
		union flow_array a = x->b->column[t->columns[c]];
		bool wide = flow_column_info[t->columns[c]].kind == FLOW_U64;

		if (c == 0 && wide)
			for (size_t i = 0; i < x->n; i++)
				x->values[i] = a.u64[x->rows[i]];
		else if (c == 0)
			for (size_t i = 0; i < x->n; i++)
				x->values[i] = a.u32[x->rows[i]];
		else if (wide)
			for (size_t i = 0; i < x->n; i++)
				x->values[i] += a.u64[x->rows[i]];
		else
			for (size_t i = 0; i < x->n; i++)
				x->values[i] += a.u32[x->rows[i]];
	}
	for (size_t i = 0; mask && i < x->n; i++)
		x->values[i] &= 0 - (uint64_t)mask[x->rows[i]];
}

/* Values become sums of those before: a run's is a difference, however long it is. */
static void add_small(struct group_sums *s, size_t slot, struct aggregate_batch *x)
{
	uint64_t sum = 0, before = 0, high = 0;

	for (size_t i = 0; i < x->n; i++)
		x->values[i] = sum += x->values[i];
	for (size_t r = 0; r < x->n_runs; r++) {
		uint64_t end = x->values[x->ends[r] - x->first - 1];

		high |= *slot_of(s, x, r, slot) += end - before;
		before = end;
	}
	s->high |= high;
}

/* Any: each sum is looked at, so that none wraps unseen. */
static void add_large(struct group_sums *s, size_t slot, const struct aggregate_batch *x)
{
	size_t from, to;

	for (size_t r = 0; r < x->n_runs; r++) {
		rows_of(x, r, &from, &to);
		for (size_t i = from; i < to; i++)
			s->high |= *slot_of(s, x, r, slot) += x->values[i];
	}
}

static void add_sum(struct group_sums *s, size_t slot, struct aggregate_batch *x)
{
	uint64_t any = 0;

	for (size_t i = 0; i < x->n; i++)
		any |= x->values[i];
	if (any < SMALL_VALUE)
		add_small(s, slot, x);
	else
		add_large(s, slot, x);
}

static void add_count(struct group_sums *s, size_t slot, struct aggregate_batch *x,
		      const uint8_t *mask)
{
	for (size_t i = 0; i < x->n; i++)
		x->values[i] = mask ? mask[x->rows[i]] : 1;
	add_small(s, slot, x);
}

static void add_max(struct group_sums *s, size_t slot, const struct aggregate_batch *x)
{
	size_t from, to;

	for (size_t r = 0; r < x->n_runs; r++) {
		uint64_t *at = slot_of(s, x, r, slot), max = *at;

		rows_of(x, r, &from, &to);
		for (size_t i = from; i < to; i++)
			max = x->values[i] > max ? x->values[i] : max;
		*at = max;
	}
}

static void add_min(struct group_sums *s, size_t slot, struct aggregate_batch *x,
		    const uint8_t *mask)
{
	for (size_t i = 0; i < x->n; i++)
		x->values[i] = mask && !mask[x->rows[i]] ? 0 : ~x->values[i];
	add_max(s, slot, x);
}

/* --- texts, lists, sets ------------------------------------------------------------------ */

static void add_max_text(struct aggregate_worker *w, size_t slot, const struct term *t,
			 const struct aggregate_batch *x, const uint32_t *ids, const uint8_t *mask)
{
	struct group_key key = term_key(t);
	size_t from, to;

	for (size_t r = 0; r < x->n_runs; r++) {
		uint64_t *at = slot_of(w->sums, x, r, slot);

		rows_of(x, r, &from, &to);
		for (size_t i = from; i < to; i++) {
			if (ids[i] == *at || (mask && !mask[x->rows[i]]))
				continue;
			if (group_key_compare(w->a->values, &key, ids[i], (uint32_t)*at) > 0)
				*at = ids[i];
		}
	}
}

static int add_values(struct group_sums *s, size_t list, struct aggregate_batch *x,
		      const uint8_t *mask)
{
	uint32_t counts[GROUP_BATCH];
	size_t from, to, n = 0;

	for (size_t r = 0; r < x->n_runs; r++) {
		size_t before = n;

		rows_of(x, r, &from, &to);
		for (size_t i = from; i < to; i++) {
			x->values[n] = x->values[i];
			n += !mask || mask[x->rows[i]];
		}
		counts[r] = (uint32_t)(n - before);
	}
	return value_list_add(&s->lists[list], x->groups, counts, x->n_runs, x->values);
}

/* Pairs of a batch on their way to a set; the same one often comes again at once. */
struct pairs {
	size_t n;
	struct distinct_pair pairs[GROUP_BATCH + 1];
};

/* Only what is looked at is set: all of it would take longer than a small batch. */
static void pairs_begin(struct pairs *p)
{
	p->n = 0;
	p->pairs[GROUP_BATCH] = (struct distinct_pair){0, 0}; /* before the first */
}

static void put_pair(struct pairs *to, struct distinct_pair p, bool counts)
{
	const struct distinct_pair *last = &to->pairs[to->n ? to->n - 1 : GROUP_BATCH];
	bool again = last->a == p.a && last->b == p.b && to->n;

	to->pairs[to->n] = p;
	to->n += counts && !again;
}

static int add_distinct(struct group_sums *s, size_t set, const struct aggregate_batch *x,
			const uint32_t *ids, const uint8_t *mask)
{
	struct pairs p;
	size_t from, to;

	pairs_begin(&p);
	for (size_t r = 0; r < x->n_runs; r++) {
		rows_of(x, r, &from, &to);
		for (size_t i = from; i < to; i++)
			put_pair(&p, (struct distinct_pair){ids[i], x->groups[r]},
				 ids[i] != 0 && (!mask || mask[x->rows[i]]));
	}
	return distinct_set_add(&s->sets[set], p.pairs, p.n);
}

/* The rows of flows that may have others, and their groups; the rest is in values as 1. */
static size_t part_flows(struct aggregate_batch *x, const uint8_t *single, const uint8_t *mask,
			 uint32_t *rows, uint32_t *groups)
{
	size_t from, to, n = 0;

	for (size_t r = 0; r < x->n_runs; r++) {
		rows_of(x, r, &from, &to);
		for (size_t i = from; i < to; i++) {
			uint32_t row = x->rows[i];
			bool counts = !mask || mask[row];

			rows[n] = row;
			groups[n] = x->groups[r];
			n += counts & !single[row];
			x->values[i] = counts & single[row];
		}
	}
	return n;
}

/* Records that are all of their flow are counted, of the others the set tells how many flows. */
static int add_flows(struct group_sums *s, size_t slot, struct aggregate_batch *x,
		     const uint8_t *single, const uint8_t *mask)
{
	const uint32_t *hosts = FLOW_COL_U32(x->b, host_id);
	uint32_t rows[GROUP_BATCH] = {0}, groups[GROUP_BATCH] = {0};
	uint64_t ids[GROUP_BATCH];
	size_t n = part_flows(x, single, mask, rows, groups);
	struct pairs p;

	add_small(s, slot, x);
	pairs_begin(&p);
	flow_block_ids(x->b, rows, n, ids);
	for (size_t i = 0; i < n; i++)
		put_pair(&p,
			 (struct distinct_pair){ids[i], (uint64_t)groups[i] << 32 | hosts[rows[i]]},
			 true);
	return distinct_set_add(&s->sets[slot], p.pairs, p.n);
}

/* --- any -------------------------------------------------------------------------------- */

int aggregate_add_term(struct aggregate_worker *w, size_t i, const struct term *t,
		       struct aggregate_batch *x)
{
	const uint8_t *mask = w->masked[i] ? w->masks[i] : NULL;

	switch (t->kind) {
	case TERM_COUNT:
		add_count(w->sums, i, x, mask);
		return 0;
	case TERM_MAX_TEXT:
		add_max_text(w, i, t, x, w->term_ids[i] + x->first, mask);
		return 0;
	case TERM_DISTINCT:
		return add_distinct(w->sums, i, x, w->term_ids[i] + x->first, mask);
	case TERM_FLOWS:
		return add_flows(w->sums, i, x, w->single, mask);
	case TERM_SUM:
		gather(x, t, mask);
		add_sum(w->sums, i, x);
		return 0;
	case TERM_MAX:
		gather(x, t, mask);
		add_max(w->sums, i, x);
		return 0;
	case TERM_MIN:
		gather(x, t, NULL);
		add_min(w->sums, i, x, mask);
		return 0;
	case TERM_VALUES:
		gather(x, t, NULL);
		return add_values(w->sums, i, x, mask);
	}
	return 0;
}
