// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* scan_match.c - which rows of a segment or fresh block match, at the least cost. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/scan_private.h"

/*
 * Rows are picked if they are no more than one of so many: decoding one of them by itself
 * takes as long as that many in a row.
 */
#define FEW_ONE_OF 8

/* --- conditions ----------------------------------------------------------------------- */

/* Those that must all hold; to ret unless it is NULL. Returns how many. */
static size_t list_conditions(const struct predicate *p, struct scan_condition *ret)
{
	size_t n = 0;

	if (p->kind == PREDICATE_TRUE)
		return 0;
	if (p->kind == PREDICATE_ALL) {
		for (size_t i = 0; i < p->n_children; i++)
			n += list_conditions(&p->children[i], ret ? ret + n : NULL);
		return n;
	}
	if (ret) {
		*ret = (struct scan_condition){.predicate = p};
		predicate_columns(p, &ret->columns);
		flow_parts_needed(&ret->columns, ret->parts);
	}
	return 1;
}

int scan_test_make(const struct predicate *p, struct scan_test *ret)
{
	size_t n = p ? list_conditions(p, NULL) : 0;

	if (n == 0)
		return 0;
	ret->conditions = calloc(n, sizeof(*ret->conditions));
	if (!ret->conditions)
		return -ENOMEM;
	ret->n = list_conditions(p, ret->conditions);
	return 0;
}

void scan_test_done(struct scan_test *t)
{
	free(t->conditions);
	*t = (struct scan_test){0};
}

/* --- rows ------------------------------------------------------------------------------- */

static int grow(void *at, size_t *max, size_t wanted)
{
	void **memory = at, *bigger;

	if (wanted <= *max)
		return 0;
	bigger = realloc(*memory, wanted);
	if (!bigger)
		return -ENOMEM;
	*memory = bigger;
	*max = wanted;
	return 0;
}

/* match[0 .. n_rows) is then in the scratch. */
static int match_rows(const struct predicate *p, const struct flow_block *b, struct scan_memory *m)
{
	int err = grow(&m->scratch, &m->max_scratch, b->n_rows + predicate_scratch_bytes(p, b));

	if (!err)
		predicate_match(p, b, m->scratch, m->scratch + b->n_rows);
	return err;
}

/*
 * Rows of a segment are in the order of their hosts: leaves those before the
 * first and behind the last row of a wanted host undecoded. Returns 1, 0 if
 * there are none or the segment is damaged, or an error.
 */
static int narrow_rows(struct scan *s, struct scan_memory *m)
{
	struct flow_columns host = {{0}};
	const uint8_t *first, *last;
	struct flow_block b;
	int err;

	flow_columns_add(&host, FLOW_COLUMN_host_id);
	err = scan_block_decode(s, m, &host, &b);
	if (err <= 0)
		return err;
	err = match_rows(s->of_hosts, &b, m);
	first = err ? NULL : memchr(m->scratch, 1, b.n_rows);
	last = first ? memrchr(m->scratch, 1, b.n_rows) : NULL;
	flow_block_done(&b);
	if (err)
		return err;
	if (!first) {
		scan_block_note_skipped(s);
		return 0;
	}
	m->rows.first = (size_t)(first - m->scratch);
	m->rows.n = (size_t)(last - first) + 1;
	return 1;
}

static void select_all(struct scan_rows *rows)
{
	for (size_t i = 0; i < rows->block.n_rows; i++)
		rows->owner->selected[i] = (uint32_t)i;
	rows->selected = rows->owner->selected;
	rows->n_selected = rows->block.n_rows;
}

/* Leaves the selected rows in the block, and no others. */
static int pick_rows(struct scan_rows *rows)
{
	struct scan_memory *m = rows->owner;
	size_t n = rows->n_selected;
	int err = 0;

	if (!rows->numbers)
		err = grow(&m->picked, &m->max_picked, n * sizeof(*m->picked));
	if (err)
		return err;
	for (size_t k = 0; k < n; k++) /* in their place, if some were picked before */
		m->picked[k] = scan_row_number(rows, rows->selected[k]);
	flow_block_keep(&rows->block, rows->selected, n);
	m->rows = (struct column_rows){.n = n, .picked = m->picked};
	rows->numbers = m->picked;
	select_all(rows);
	return 0;
}

/* Of the selected rows, those that match. */
static int keep_matching(const struct predicate *p, struct scan_rows *rows)
{
	struct scan_memory *m = rows->owner;
	size_t n = 0;
	int err = match_rows(p, &rows->block, m);

	for (size_t k = 0; !err && k < rows->n_selected; k++) {
		m->selected[n] = m->selected[k];
		n += m->scratch[m->selected[k]];
	}
	rows->n_selected = n;
	return err;
}

/* Returns 1, 0 if no row is left or the block is damaged, or an error. */
static int try_condition(struct scan *s, const struct scan_condition *c, struct scan_rows *rows)
{
	int err = 0;

	/* Only of those that are still in. */
	if (c->predicate->kind == PREDICATE_COMMUNITY_ID)
		err = pick_rows(rows);
	if (!err)
		err = scan_block_add(s, rows, &c->columns);
	if (err > 0)
		err = keep_matching(c->predicate, rows);
	else
		return err;
	if (!err && rows->n_selected && rows->n_selected <= rows->block.n_rows / FEW_ONE_OF)
		err = pick_rows(rows);
	return err ? err : rows->n_selected > 0;
}

/* --- one condition after another ---------------------------------------------------------- */

/* Bytes to decode; the Community ID, a hash of each row, comes last. */
static size_t bytes_of(const struct scan_condition *c, const struct flow_parts *parts)
{
	size_t bytes = 0;

	if (c->predicate->kind == PREDICATE_COMMUNITY_ID)
		return SIZE_MAX;
	for (unsigned p = 0; p < FLOW_N_PARTS; p++)
		bytes += c->parts[p] ? parts->part[p].len : 0;
	return bytes;
}

static int by_bytes(const void *a, const void *b)
{
	const struct scan_cost *first = a, *second = b;

	return (first->bytes > second->bytes) - (first->bytes < second->bytes);
}

/* Returns as try_condition(). */
static int try_conditions(struct scan *s, const struct scan_test *test, struct scan_rows *rows)
{
	struct scan_memory *m = rows->owner;
	int err = grow(&m->costs, &m->max_costs, test->n * sizeof(*m->costs));

	if (err)
		return err;
	for (size_t i = 0; i < test->n; i++)
		m->costs[i] = (struct scan_cost){bytes_of(&test->conditions[i], &m->parts), i};
	if (test->n > 1)
		qsort(m->costs, test->n, sizeof(*m->costs), by_bytes);
	err = 1;
	for (size_t i = 0; err > 0 && i < test->n; i++)
		err = try_condition(s, &test->conditions[m->costs[i].condition], rows);
	return err;
}

/* Whether it takes no more than the number of rows. */
static bool is_bare(const struct scan *s)
{
	struct flow_columns none = {{0}};

	return !s->predicate && memcmp(&s->wanted, &none, sizeof(none)) == 0;
}

int scan_match_item(struct scan *s, const struct catalog_item *item, struct scan_rows *rows)
{
	struct scan_memory *m = rows->owner;
	int err = 1;

	m->item = *item;
	m->rows = (struct column_rows){.n = item->n_rows};
	m->opened = !is_bare(s);
	m->id_differences = false;
	if (m->opened)
		err = scan_block_open(s, m);
	if (err > 0 && s->dictionaries_first)
		err = scan_block_try_dictionaries(s, m);
	if (err > 0 && s->of_hosts && item->several_hosts)
		err = narrow_rows(s, m);
	if (err <= 0)
		return err;
	rows->block = (struct flow_block){.n_rows = m->rows.n};
	rows->first = m->rows.first;
	rows->numbers = NULL;
	err = grow(&m->selected, &m->max_selected, (m->rows.n + 1) * sizeof(*m->selected));
	if (err)
		return err;
	select_all(rows);
	err = try_conditions(s, item->within ? &s->within : &s->whole, rows);
	return err > 0 ? scan_block_add(s, rows, &s->wanted) : err;
}
