// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* aggregate_block.c - the rows of one block, added to their groups. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/aggregate/aggregate_private.h"
#include "proto/vectors.h"

#define SLOTS_A_LINE 8 /* of the cache */

/* --- memory ---------------------------------------------------------------------------- */

void aggregate_worker_done(struct aggregate_worker *w)
{
	group_sums_done(&w->own_sums);
	group_key_memory_done(&w->keys);
	once_memory_free(w->once);
	for (size_t k = 0; k < GROUP_MAX_KEYS; k++)
		free(w->key_ids[k]);
	for (size_t i = 0; i < TERMS_MAX; i++) {
		free(w->term_ids[i]);
		free(w->masks[i]);
	}
	free(w->rows);
	free(w->ends);
	free(w->groups);
	free(w->single);
	free(w->scratch);
}

static bool has_ids(const struct term *t)
{
	return t->kind == TERM_DISTINCT || t->kind == TERM_MAX_TEXT;
}

static int resize(void *at, size_t bytes)
{
	void **memory = at;
	void *bigger = realloc(*memory, bytes);

	if (!bigger)
		return -ENOMEM;
	*memory = bigger;
	return 0;
}

static int reserve(struct aggregate_worker *w, size_t n_rows)
{
	const struct aggregate *a = w->a;
	int err;

	if (n_rows <= w->max_rows)
		return 0;
	err = resize(&w->rows, n_rows * sizeof(*w->rows));
	if (!err)
		err = resize(&w->ends, n_rows * sizeof(*w->ends));
	if (!err)
		err = resize(&w->groups, n_rows * sizeof(*w->groups));
	if (!err)
		err = resize(&w->single, n_rows);
	for (size_t k = 0; !err && k < a->spec->n_keys; k++)
		err = resize(&w->key_ids[k], n_rows * sizeof(*w->key_ids[k]));
	for (size_t i = 0; !err && i < a->plan.n; i++) {
		err = resize(&w->masks[i], n_rows);
		if (!err && has_ids(&a->plan.terms[i]))
			err = resize(&w->term_ids[i], n_rows * sizeof(*w->term_ids[i]));
	}
	if (!err)
		w->max_rows = n_rows;
	return err;
}

/* A predicate over the block. */
static int match(struct aggregate_worker *w, const struct predicate *p, const struct flow_block *b,
		 uint8_t *mask)
{
	size_t wanted = predicate_scratch_bytes(p, b);

	if (wanted > w->max_scratch) {
		if (resize(&w->scratch, wanted))
			return -ENOMEM;
		w->max_scratch = wanted;
	}
	predicate_match(p, b, mask, w->scratch);
	return 0;
}

/* --- masks: which rows of the block a term counts ------------------------------------------ */

static void and_mask(uint8_t *mask, const uint8_t *other, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mask[i] &= other[i];
}

static int make_mask(struct aggregate_worker *w, size_t i, const struct term *t,
		     const struct flow_block *b)
{
	uint8_t *mask = w->masks[i], *other = w->single; /* not in use yet */
	bool some = false;
	int err = 0;

	if (t->where) {
		err = match(w, t->where, b, mask);
		some = true;
	}
	for (size_t c = 0; !err && c < t->n_columns; c++) {
		bool nulls = flow_block_has_mask(b, t->columns[c], some ? other : mask);

		if (nulls && some)
			and_mask(mask, other, b->n_rows);
		some |= nulls;
	}
	w->masked[i] = some;
	return err;
}

/* Counts of the record and of the flow so far, both ways. */
struct flow_counts {
	const uint64_t *packets, *total, *rev, *rev_total;
};

static struct flow_counts counts_of(const struct flow_block *b)
{
	return (struct flow_counts){
		FLOW_COL_U64(b, packets),
		FLOW_COL_U64(b, total_packets),
		FLOW_COL_U64(b, rev_packets),
		FLOW_COL_U64(b, rev_total_packets),
	};
}

/* The first and at once the last record of a flow: no other of it can be. */
static inline bool is_whole(struct flow_counts c, const uint32_t *end, size_t i)
{
	uint64_t before = (c.packets[i] ^ c.total[i]) | (c.rev[i] ^ c.rev_total[i]);

	return (before == 0) & (end[i] != FLOW_END_ACTIVE);
}

VECTORS static void mark_whole(struct flow_counts c, const uint32_t *end, size_t n, uint8_t *ret)
{
	for (size_t i = 0; i < n; i++)
		ret[i] = is_whole(c, end, i);
}

/* Where a record counts twice, it may come to one group twice, if its ends are one. */
static bool has_two_ends(const struct flow_block *b, size_t i)
{
	return FLOW_COL_U32(b, src_addr)[i] != FLOW_COL_U32(b, dst_addr)[i];
}

static void mark_single(const struct aggregate_worker *w, const struct flow_block *b)
{
	mark_whole(counts_of(b), FLOW_COL_U32(b, end_reason), b->n_rows, w->single);
	if (w->a->spec->also)
		for (size_t i = 0; i < b->n_rows; i++)
			w->single[i] &= has_two_ends(b, i);
}

bool aggregate_has_parts(const struct aggregate *a, const struct scan_rows *rows)
{
	const struct flow_block *b = &rows->block;
	const struct flow_counts c = counts_of(b);

	for (size_t k = 0; k < rows->n_selected; k++) {
		uint32_t i = rows->selected[k];

		if (!is_whole(c, FLOW_COL_U32(b, end_reason), i) ||
		    (a->spec->also && !has_two_ends(b, i)))
			return true;
	}
	return false;
}

static int prepare_terms(struct aggregate_worker *w, const struct term_plan *plan,
			 const struct flow_block *b, const uint32_t *rows, size_t n)
{
	bool flows = false;
	int err = 0;

	for (size_t i = 0; !err && i < plan->n; i++) {
		const struct term *t = &plan->terms[i];

		if (t->pass != w->in->pass)
			continue;
		flows |= t->kind == TERM_FLOWS;
		err = make_mask(w, i, t, b);
		if (!err && has_ids(t)) {
			struct group_key key = term_key(t);

			err = group_key_ids(w->a->values, &w->keys, &key, b, rows, n,
					    w->term_ids[i]);
		}
	}
	if (!err && flows)
		mark_single(w, b);
	return err;
}

/* The selected rows that also satisfy where, into w->rows. */
static int take_rows(struct aggregate_worker *w, const struct predicate *where,
		     const struct scan_rows *rows, size_t *ret_n)
{
	size_t n = 0;
	int err = where ? match(w, where, &rows->block, w->single) : 0;

	if (err)
		return err;
	if (!where) {
		n = rows->n_selected;
		memcpy(w->rows, rows->selected, n * sizeof(*w->rows));
	}
	for (size_t i = 0; where && i < rows->n_selected; i++) {
		w->rows[n] = rows->selected[i];
		n += w->single[rows->selected[i]];
	}
	*ret_n = n;
	return 0;
}

/* --- runs: rows with the same keys, one behind the other ------------------------------------ */

static void mark_changes(union flow_array a, bool wide, const uint32_t *rows, size_t n,
			 uint8_t *ret)
{
	if (wide)
		for (size_t i = 1; i < n; i++)
			ret[i] |= a.u64[rows[i]] != a.u64[rows[i - 1]];
	else
		for (size_t i = 1; i < n; i++)
			ret[i] |= a.u32[rows[i]] != a.u32[rows[i - 1]];
}

/* Where a run begins, of which there is none longer than a batch. Returns how many there are. */
static size_t list_runs(const uint8_t *starts, size_t n, uint32_t *ret)
{
	size_t n_runs = 0, last = 0;

	for (size_t i = 0; i < n; i++) {
		bool start = starts[i] || i - last == GROUP_BATCH;

		ret[n_runs] = (uint32_t)i;
		n_runs += start;
		last = start ? i : last;
	}
	return n_runs;
}

/*
 * Parts the rows into runs. A key that has no value of its own beside its column's
 * is looked up once a run, any other for every row.
 */
static int make_runs(struct aggregate_worker *w, const struct aggregate_spec *spec,
		     const struct flow_block *b, const uint32_t *rows, size_t n)
{
	uint8_t *starts = w->single; /* not in use yet */
	int err = 0;

	memset(starts, 0, n);
	starts[0] = 1;
	for (size_t k = 0; !err && k < spec->n_keys; k++) {
		const struct group_key *key = &spec->keys[k];

		if (group_key_is_column(key)) {
			mark_changes(b->column[key->column],
				     flow_column_info[key->column].kind == FLOW_U64, rows, n,
				     starts);
			continue;
		}
		err = group_key_ids(w->a->values, &w->keys, key, b, rows, n, w->key_ids[k]);
		for (size_t i = 1; !err && i < n; i++)
			starts[i] |= w->key_ids[k][i] != w->key_ids[k][i - 1];
	}
	if (!err)
		w->n_runs = list_runs(starts, n, w->ends);
	return err;
}

/* Of each run, in the place of those of rows. w->ends is where it begins. */
static int ids_of_runs(struct aggregate_worker *w, const struct aggregate_spec *spec,
		       const struct flow_block *b, const uint32_t *rows)
{
	int err = 0;

	for (size_t r = 0; r < w->n_runs; r++)
		w->groups[r] = rows[w->ends[r]];
	for (size_t k = 0; !err && k < spec->n_keys; k++) {
		uint32_t *ids = w->key_ids[k];

		if (group_key_is_column(&spec->keys[k]))
			err = group_key_ids(w->a->values, &w->keys, &spec->keys[k], b, w->groups,
					    w->n_runs, ids);
		else
			for (size_t r = 0; r < w->n_runs; r++)
				ids[r] = ids[w->ends[r]];
	}
	return err;
}

static int find_groups(struct aggregate_worker *w)
{
	const uint32_t *ids[GROUP_MAX_KEYS];
	int err = 0;

	for (size_t from = 0; !err && from < w->n_runs; from += GROUP_BATCH) {
		size_t n = w->n_runs - from < GROUP_BATCH ? w->n_runs - from : GROUP_BATCH;

		for (size_t k = 0; k < w->a->spec->n_keys; k++)
			ids[k] = w->key_ids[k] + from;
		if (w->in->known_groups)
			group_table_find(&w->a->table, ids, n, w->groups + from);
		else
			err = group_table_add(&w->a->table, ids, n, w->groups + from);
	}
	return err ? err : group_sums_reserve(w->sums, group_table_count(&w->a->table));
}

/* Leaves out the runs of groups that are not there, and their rows. */
static void keep_known(struct aggregate_worker *w, size_t *n_rows)
{
	size_t n = 0, n_runs = 0, from = 0;

	for (size_t r = 0; r < w->n_runs; r++) {
		size_t len = w->ends[r] - from;

		if (w->groups[r] != GROUP_UNKNOWN) {
			memmove(w->rows + n, w->rows + from, len * sizeof(*w->rows));
			w->groups[n_runs] = w->groups[r];
			n += len;
			w->ends[n_runs++] = (uint32_t)n;
		}
		from += len;
	}
	w->n_runs = n_runs;
	*n_rows = n;
}

/* The groups of w->rows, by runs. */
static int group_rows(struct aggregate_worker *w, const struct aggregate_spec *spec,
		      const struct flow_block *b, size_t *n)
{
	int err = make_runs(w, spec, b, w->rows, *n);

	if (!err)
		err = ids_of_runs(w, spec, b, w->rows);
	if (!err)
		err = find_groups(w);
	if (err)
		return err;
	for (size_t r = 0; r < w->n_runs; r++) /* from where it begins to where it ends */
		w->ends[r] = r + 1 < w->n_runs ? w->ends[r + 1] : (uint32_t)*n;
	if (w->in->known_groups)
		keep_known(w, n);
	return 0;
}

/* --- batches ---------------------------------------------------------------------------------- */

/* As many runs from r on as fit. Returns the one behind them. */
static size_t take_batch(const struct aggregate_worker *w, size_t r, struct aggregate_batch *x)
{
	size_t first = r ? w->ends[r - 1] : 0, end = r;

	while (end < w->n_runs && w->ends[end] - first <= GROUP_BATCH)
		end++;
	x->first = first;
	x->n = w->ends[end - 1] - first;
	x->rows = w->rows + first;
	x->n_runs = end - r;
	x->groups = w->groups + r;
	x->ends = w->ends + r;
	return end;
}

static int add_batch(struct aggregate_worker *w, const struct term_plan *plan,
		     struct aggregate_batch *x)
{
	int err = 0;

	for (size_t r = 0; r < x->n_runs; r++)
		for (size_t i = 0; i < plan->n; i += SLOTS_A_LINE)
			__builtin_prefetch(group_sums_of(w->sums, x->groups[r]) + i, 1);
	for (size_t i = 0; !err && i < plan->n; i++)
		if (plan->terms[i].pass == w->in->pass)
			err = aggregate_add_term(w, i, &plan->terms[i], x);
	return err;
}

static int add_way(struct aggregate_worker *w, const struct aggregate_spec *spec,
		   const struct term_plan *plan, const struct scan_rows *rows)
{
	struct aggregate_batch x = {.b = &rows->block};
	size_t n;
	int err = take_rows(w, spec->where, rows, &n);

	if (err || n == 0)
		return err;
	err = group_rows(w, spec, x.b, &n);
	if (!err)
		err = prepare_terms(w, plan, x.b, w->rows, n);
	for (size_t r = 0; !err && r < w->n_runs;) {
		r = take_batch(w, r, &x);
		err = add_batch(w, plan, &x);
	}
	return err;
}

int aggregate_add_block(struct aggregate_worker *w, const struct scan_rows *rows)
{
	const struct aggregate *a = w->a;
	int err = reserve(w, rows->block.n_rows);

	if (!err)
		err = add_way(w, a->spec, &a->plan, rows);
	if (!err && a->spec->also)
		err = add_way(w, a->spec->also, &a->also, rows);
	return err;
}
