// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* aggregate_block.c - the rows of one block, added to their groups. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/aggregate/aggregate_private.h"

/* Rows of a block that are added together: what belongs to them stays in the cache. */
struct batch {
	const struct flow_block *b;
	size_t n;
	const uint32_t *rows;
	uint32_t groups[GROUP_BATCH];
	uint64_t values[GROUP_BATCH];
};

/* --- memory ---------------------------------------------------------------------------- */

void aggregate_worker_done(struct aggregate_worker *w)
{
	group_table_done(&w->own_table);
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

/*
 * The first and at once the last record of a flow: no other of it can be. Where a
 * record counts twice, it may come to one group twice, if its ends are one.
 */
static void mark_single(const struct aggregate_worker *w, const struct flow_block *b)
{
	const uint64_t *packets = FLOW_COL_U64(b, packets), *total = FLOW_COL_U64(b, total_packets);
	const uint64_t *rev = FLOW_COL_U64(b, rev_packets);
	const uint64_t *rev_total = FLOW_COL_U64(b, rev_total_packets);
	const uint32_t *end = FLOW_COL_U32(b, end_reason);

	for (size_t i = 0; i < b->n_rows; i++)
		w->single[i] = ((packets[i] ^ total[i]) | (rev[i] ^ rev_total[i])) == 0 &&
			       end[i] != FLOW_END_ACTIVE;
	if (w->a->spec->also)
		for (size_t i = 0; i < b->n_rows; i++)
			w->single[i] &=
				FLOW_COL_U32(b, src_addr)[i] != FLOW_COL_U32(b, dst_addr)[i];
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

/* --- terms of a batch ------------------------------------------------------------------------ */

/* The values of the term, with 0 for those that it does not count. */
static void gather(struct batch *x, const struct term *t, const uint8_t *mask)
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

static void add_sum(struct group_sums *s, size_t slot, const struct batch *x)
{
	uint64_t *slots = s->slots + slot, high = 0;
	size_t stride = s->plan->n;

	for (size_t i = 0; i < x->n; i++)
		high |= slots[x->groups[i] * stride] += x->values[i];
	s->high |= high;
}

static void add_count(struct group_sums *s, size_t slot, const struct batch *x, const uint8_t *mask)
{
	uint64_t *slots = s->slots + slot;
	size_t stride = s->plan->n;

	for (size_t i = 0; i < x->n; i++)
		slots[x->groups[i] * stride] += mask ? mask[x->rows[i]] : 1;
}

static void add_max(struct group_sums *s, size_t slot, const struct batch *x)
{
	uint64_t *slots = s->slots + slot;
	size_t stride = s->plan->n;

	for (size_t i = 0; i < x->n; i++) {
		uint64_t *to = &slots[x->groups[i] * stride];

		*to = x->values[i] > *to ? x->values[i] : *to;
	}
}

static void add_min(struct group_sums *s, size_t slot, struct batch *x, const uint8_t *mask)
{
	for (size_t i = 0; i < x->n; i++)
		x->values[i] = mask && !mask[x->rows[i]] ? 0 : ~x->values[i];
	add_max(s, slot, x);
}

static void add_max_text(struct aggregate_worker *w, size_t slot, const struct term *t,
			 const struct batch *x, const uint32_t *ids, const uint8_t *mask)
{
	struct group_key key = term_key(t);

	for (size_t i = 0; i < x->n; i++) {
		uint64_t *to = group_sums_of(w->sums, x->groups[i]) + slot;

		if (ids[i] == *to || (mask && !mask[x->rows[i]]))
			continue;
		if (group_key_compare(w->a->values, &key, ids[i], (uint32_t)*to) > 0)
			*to = ids[i];
	}
}

static int add_values(struct group_sums *s, size_t list, const struct batch *x, const uint8_t *mask)
{
	uint32_t groups[GROUP_BATCH];
	uint64_t values[GROUP_BATCH];
	size_t n = 0;

	if (!mask)
		return value_list_add(&s->lists[list], x->groups, x->values, x->n);
	for (size_t i = 0; i < x->n; i++) {
		groups[n] = x->groups[i];
		values[n] = x->values[i];
		n += mask[x->rows[i]];
	}
	return value_list_add(&s->lists[list], groups, values, n);
}

static int add_distinct(struct group_sums *s, size_t set, const struct batch *x,
			const uint32_t *ids, const uint8_t *mask)
{
	struct distinct_pair pairs[GROUP_BATCH];
	size_t n = 0;

	for (size_t i = 0; i < x->n; i++) {
		pairs[n] = (struct distinct_pair){ids[i], x->groups[i]};
		n += ids[i] != 0 && (!mask || mask[x->rows[i]]);
	}
	return distinct_set_add(&s->sets[set], pairs, n);
}

/* Records that are all of their flow are counted, of the others the set tells how many flows. */
static int add_flows(struct group_sums *s, size_t slot, const struct batch *x,
		     const uint8_t *single, const uint8_t *mask)
{
	const uint32_t *hosts = FLOW_COL_U32(x->b, host_id);
	struct distinct_pair pairs[GROUP_BATCH];
	uint32_t rows[GROUP_BATCH] = {0}, at[GROUP_BATCH] = {0}; /* at: in the batch */
	uint64_t ids[GROUP_BATCH];
	size_t n = 0, n_pairs = 0;

	for (size_t i = 0; i < x->n; i++) {
		uint32_t row = x->rows[i];
		bool counts = !mask || mask[row];

		rows[n] = row;
		at[n] = (uint32_t)i;
		n += counts & !single[row];
		group_sums_of(s, x->groups[i])[slot] += counts & single[row];
	}
	flow_block_ids(x->b, rows, n, ids);
	for (size_t i = 0; i < n; i++) {
		uint64_t group = x->groups[at[i]];
		struct distinct_pair p = {ids[i], group << 32 | hosts[rows[i]]};

		/* Records of one flow often follow each other. */
		pairs[n_pairs] = p;
		n_pairs += !(n_pairs && pairs[n_pairs - 1].a == p.a && pairs[n_pairs - 1].b == p.b);
	}
	return distinct_set_add(&s->sets[slot], pairs, n_pairs);
}

/* from: of the batch, in what the block's rows have ids in. */
static int add_term(struct aggregate_worker *w, size_t i, const struct term *t, struct batch *x,
		    size_t from)
{
	const uint8_t *mask = w->masked[i] ? w->masks[i] : NULL;

	switch (t->kind) {
	case TERM_COUNT:
		add_count(w->sums, i, x, mask);
		return 0;
	case TERM_MAX_TEXT:
		add_max_text(w, i, t, x, w->term_ids[i] + from, mask);
		return 0;
	case TERM_DISTINCT:
		return add_distinct(w->sums, i, x, w->term_ids[i] + from, mask);
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

/* --- batches ---------------------------------------------------------------------------------- */

/* Leaves out the rows of groups that are not there, also from their ids. */
static void keep_known(struct aggregate_worker *w, const struct term_plan *plan, struct batch *x,
		       uint32_t *rows, size_t from)
{
	size_t n = 0;

	for (size_t i = 0; i < x->n; i++) {
		if (x->groups[i] == GROUP_UNKNOWN)
			continue;
		x->groups[n] = x->groups[i];
		rows[from + n] = rows[from + i];
		for (size_t t = 0; t < plan->n; t++)
			if (w->term_ids[t])
				w->term_ids[t][from + n] = w->term_ids[t][from + i];
		n++;
	}
	x->n = n;
}

static int add_batch(struct aggregate_worker *w, const struct term_plan *plan, struct batch *x,
		     uint32_t *rows, size_t from)
{
	const uint32_t *ids[GROUP_MAX_KEYS];
	int err = 0;

	for (size_t k = 0; k < w->a->spec->n_keys; k++)
		ids[k] = w->key_ids[k] + from;
	if (w->in->known_groups) {
		group_table_find(w->table, ids, x->n, x->groups);
		keep_known(w, plan, x, rows, from);
	} else {
		err = group_table_add(w->table, ids, x->n, x->groups);
	}
	if (!err)
		err = group_sums_reserve(w->sums, w->table->n);
	if (err)
		return err;
	x->rows = rows + from;
	for (size_t i = 0; i < x->n; i++)
		__builtin_prefetch(group_sums_of(w->sums, x->groups[i]), 1);
	for (size_t i = 0; !err && i < plan->n; i++)
		if (plan->terms[i].pass == w->in->pass)
			err = add_term(w, i, &plan->terms[i], x, from);
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
	for (size_t i = 0; i < rows->n_selected; i++) {
		w->rows[n] = rows->selected[i];
		n += !where || w->single[rows->selected[i]];
	}
	*ret_n = n;
	return 0;
}

static int add_way(struct aggregate_worker *w, const struct aggregate_spec *spec,
		   const struct term_plan *plan, const struct scan_rows *rows)
{
	struct batch x = {.b = &rows->block};
	size_t n;
	int err = take_rows(w, spec->where, rows, &n);

	for (size_t k = 0; !err && k < spec->n_keys; k++)
		err = group_key_ids(w->a->values, &w->keys, &spec->keys[k], x.b, w->rows, n,
				    w->key_ids[k]);
	if (!err)
		err = prepare_terms(w, plan, x.b, w->rows, n);
	for (size_t from = 0; !err && from < n; from += GROUP_BATCH) {
		x.n = n - from < GROUP_BATCH ? n - from : GROUP_BATCH;
		err = add_batch(w, plan, &x, w->rows, from);
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
