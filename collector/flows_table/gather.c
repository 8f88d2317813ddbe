// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flows_table/gather.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flows_table/key_values.h"
#include "collector/flows_table/pile.h"
#include "collector/flows_table/rank.h"
#include "collector/flowstore/scan.h"
#include "common/cleanup.h"

#define FEW_ROWS 65536 /* up to so many are sorted as they come, without a second reading */

struct gather {
	sqlite3 *db;
	const struct predicate *predicate;
	const struct flow_columns *columns;
	const struct gather_key *keys;
	size_t n_keys;
	struct scan *first; /* open until the end: it holds the transaction */
	bool few;	    /* all rows are in the pile, sorted */
	struct scan_rows *rows;
	struct key_values values;
	/* Of the first key by code, which is 0: NULL, or 1 + number. */
	uint32_t *counts, *places;
	size_t n_codes, n_order, next;
	uint32_t *order;		  /* codes that have rows, as they come */
	size_t max_rows, max_few;	  /* of a part */
	uint32_t *ranks[GATHER_MAX_KEYS]; /* by number; NULL: numbers are in order */
	/* The part. */
	struct pile pile;
	uint8_t *masks[GATHER_MAX_KEYS];
};

DEFINE_CLEANUP(struct gather *, gather_close)

/* 0: NULL. */
static uint64_t rank_of_number(const struct gather *g, size_t k, uint64_t number)
{
	return g->ranks[k] ? g->ranks[k][number] : number + 1;
}

static uint64_t rank_of_code(const void *arg, uint32_t code)
{
	const struct gather *g = arg;
	uint64_t rank = code ? rank_of_number(g, 0, code - 1) : 0;

	return g->keys[0].falling ? ~rank : rank;
}

/* --- the first reading: how many rows each value of the first key has ------------------- */

/* Codes of the selected rows of a block. Returns -ENOMEM. */
static int make_codes(const struct gather *g, uint32_t *ret)
{
	const struct flow_block *b = &g->rows->block;
	const struct flows_column *column = g->keys[0].column;
	cleanup(free_p) uint8_t *mask = malloc(b->n_rows + 1);
	bool some;

	if (!mask)
		return -ENOMEM;
	some = flow_block_has_mask(b, column->column, mask);
	for (size_t k = 0; k < g->rows->n_selected; k++) {
		uint32_t i = g->rows->selected[k];

		ret[k] = some && !mask[i]
				 ? 0
				 : (uint32_t)key_values_number(&g->values, column, b, i, true) + 1;
	}
	return 0;
}

static int count_codes(struct gather *g, uint32_t *codes)
{
	size_t most = 0, n = g->rows->n_selected;

	for (size_t k = 0; k < n; k++)
		most = codes[k] > most ? codes[k] : most;
	if (most >= g->n_codes) {
		size_t max = 2 * most + 64;
		uint32_t *counts = realloc(g->counts, max * sizeof(*counts));

		if (!counts)
			return -ENOMEM;
		memset(counts + g->n_codes, 0, (max - g->n_codes) * sizeof(*counts));
		g->counts = counts;
		g->n_codes = max;
	}
	for (size_t k = 0; k < n; k++)
		g->counts[codes[k]]++;
	return 0;
}

static struct flow_columns key_columns(const struct gather *g)
{
	struct flow_columns columns = {{0}};

	for (size_t k = 0; k < g->n_keys; k++)
		flows_column_needs(g->keys[k].column, &columns);
	return columns;
}

/* What is there, until the scan ends: numbers its values, and calls back with the codes. */
static int read_blocks(struct gather *g, struct scan *scan, const struct flow_columns *columns,
		       int (*each)(struct gather *, uint32_t *codes))
{
	cleanup(free_p) uint32_t *codes = malloc(FLOW_BLOCK_MAX_ROWS * sizeof(*codes));
	int err = 0, found;

	if (!codes)
		return -ENOMEM;
	while (!err && (found = scan_next(scan, &g->rows)) != 0) {
		if (found < 0)
			return found;
		err = key_values_take(&g->values, g->rows, columns);
		if (!err)
			err = make_codes(g, codes);
		if (!err)
			err = each(g, codes);
	}
	return err;
}

static int make_all_ranks(struct gather *g)
{
	int err = 0;

	for (size_t k = 0; !err && k < g->n_keys; k++)
		err = key_values_rank(&g->values, g->keys[k].column, &g->ranks[k]);
	return err;
}

static int make_order(struct gather *g)
{
	cleanup(free_p) uint32_t *spare = malloc((g->n_codes + 1) * sizeof(*spare));

	g->order = malloc((g->n_codes + 1) * sizeof(*g->order));
	g->places = malloc((g->n_codes + 1) * sizeof(*g->places));
	if (!spare || !g->order || !g->places)
		return -ENOMEM;
	for (size_t c = 0; c < g->n_codes; c++)
		if (g->counts[c])
			g->order[g->n_order++] = (uint32_t)c;
	return rank_sort(g->order, g->n_order, spare, rank_of_code, g);
}

/* --- a part ------------------------------------------------------------------------------ */

static void drop_masks(struct gather *g)
{
	for (size_t k = 0; k < GATHER_MAX_KEYS; k++) {
		free(g->masks[k]);
		g->masks[k] = NULL;
	}
}

void gather_close(struct gather *g)
{
	if (!g)
		return;
	drop_masks(g);
	pile_done(&g->pile);
	scan_rows_free(g->rows);
	scan_close(g->first);
	key_values_done(&g->values);
	free(g->counts);
	free(g->places);
	free(g->order);
	for (size_t k = 0; k < GATHER_MAX_KEYS; k++)
		free(g->ranks[k]);
	free(g);
}

/* The codes of the next part: they end before ret_end. Returns how many rows they have. */
static size_t plan_part(struct gather *g, size_t *ret_end)
{
	size_t n = 0, end = g->next;

	memset(g->places, 0xff, g->n_codes * sizeof(*g->places)); /* PILE_NOWHERE */
	for (; end < g->n_order; end++) {
		uint32_t code = g->order[end];
		bool same = end > g->next &&
			    rank_of_code(g, code) == rank_of_code(g, g->order[end - 1]);

		if (n && !same && n + g->counts[code] > g->max_rows)
			break;
		g->places[code] = (uint32_t)n;
		n += g->counts[code];
	}
	*ret_end = end;
	return n;
}

/* Codes become places, which are used up so. */
static int place_rows(struct gather *g, uint32_t *codes)
{
	for (size_t k = 0; k < g->rows->n_selected; k++) {
		uint32_t *place = codes[k] < g->n_codes ? &g->places[codes[k]] : NULL;

		codes[k] = place ? *place : PILE_NOWHERE;
		if (codes[k] == PILE_NOWHERE)
			continue;
		if (codes[k] >= g->pile.block.n_rows) /* more rows than the first time */
			return -EUCLEAN;
		++*place;
	}
	return pile_put(&g->pile, &g->values, g->columns, g->rows, codes);
}

static int read_part(struct gather *g, size_t n)
{
	struct scan *scan = NULL;
	int err = pile_begin(&g->pile, g->columns, n);

	if (!err)
		err = scan_open(g->db, g->predicate, g->columns, &scan);
	if (!err)
		err = read_blocks(g, scan, g->columns, place_rows);
	scan_close(scan);
	return err ? err : pile_name(&g->pile, &g->values);
}

/* --- the order within a part ---------------------------------------------------------------- */

struct sorting {
	const struct gather *g;
	size_t key;
};

static uint64_t rank_of_row(const void *arg, uint32_t row)
{
	const struct sorting *s = arg;
	const struct gather_key *key = &s->g->keys[s->key];
	uint64_t rank = 0;

	if (!s->g->masks[s->key] || s->g->masks[s->key][row])
		rank = rank_of_number(s->g, s->key,
				      key_values_number(&s->g->values, key->column,
							&s->g->pile.block, row, false));
	return key->falling ? ~rank : rank;
}

/* Of the keys from that one on. */
static int make_masks(struct gather *g, size_t first)
{
	drop_masks(g);
	for (size_t k = first; k < g->n_keys; k++) {
		g->masks[k] = malloc(g->pile.block.n_rows + 1);
		if (!g->masks[k])
			return -ENOMEM;
		if (flow_block_has_mask(&g->pile.block, g->keys[k].column->column, g->masks[k]))
			continue;
		free(g->masks[k]);
		g->masks[k] = NULL;
	}
	return 0;
}

/* By the keys from that one on. */
static int sort_rows(struct gather *g, uint32_t *rows, size_t n, size_t first)
{
	int err = 0;

	for (size_t k = g->n_keys; !err && k > first && n > 1; k--)
		err = rank_sort(rows, n, g->pile.spare, rank_of_row, &(struct sorting){g, k - 1});
	return err;
}

/* The rows of its codes, in turn; those of equal rank sorted by the other keys. */
static int sort_part(struct gather *g, size_t end, size_t *ret_n)
{
	size_t n = 0, run = 0;
	uint32_t at = 0;
	int err = make_masks(g, 1);

	for (size_t i = g->next; !err && i < end; i++) {
		uint32_t code = g->order[i], filled = g->places[code];

		for (uint32_t row = at; row < filled; row++)
			g->pile.sorted[n++] = row;
		at += g->counts[code];
		if (i + 1 < end && rank_of_code(g, code) == rank_of_code(g, g->order[i + 1]))
			continue;
		err = sort_rows(g, g->pile.sorted + run, n - run, 1);
		run = n;
	}
	*ret_n = n;
	return err;
}

/* --- few rows ---------------------------------------------------------------------------- */

/* Behind those that are there. -E2BIG: they are not few. */
static int keep_rows(struct gather *g, uint32_t *codes)
{
	size_t n = g->rows->n_selected, at = g->pile.block.n_rows;

	if (n > g->max_few - at)
		return -E2BIG;
	for (size_t k = 0; k < n; k++)
		g->pile.sorted[at + k] = codes[k] = (uint32_t)(at + k);
	g->pile.block.n_rows += n;
	return pile_put(&g->pile, &g->values, g->columns, g->rows, codes);
}

/* Returns -E2BIG if there are too many of them. */
static int read_few(struct gather *g)
{
	int err = pile_begin(&g->pile, g->columns, g->max_few);

	g->pile.block.n_rows = 0;
	if (!err)
		err = scan_open(g->db, g->predicate, g->columns, &g->first);
	if (!err)
		err = read_blocks(g, g->first, g->columns, keep_rows);
	if (!err)
		err = pile_name(&g->pile, &g->values);
	if (!err)
		err = make_all_ranks(g);
	if (!err)
		err = make_masks(g, 0);
	if (!err)
		err = sort_rows(g, g->pile.sorted, g->pile.block.n_rows, 0);
	g->few = !err;
	return err;
}

static int read_keys(struct gather *g)
{
	struct flow_columns columns = key_columns(g);
	struct scan *scan = NULL;
	int err;

	err = scan_open(g->db, g->predicate, &columns, &scan);
	scan_close(g->first); /* now that the other one holds the transaction */
	g->first = scan;
	if (!err)
		err = read_blocks(g, g->first, &columns, count_codes);
	if (!err)
		err = make_all_ranks(g);
	return err ? err : make_order(g);
}

/* --- all ------------------------------------------------------------------------------------ */

static int gather_new(sqlite3 *db, const struct predicate *predicate,
		      const struct flow_columns *columns, const struct gather_key *keys,
		      size_t n_keys, const struct host_names *hosts, size_t max_bytes,
		      struct gather **ret)
{
	cleanup(gather_close_p) struct gather *g = calloc(1, sizeof(*g));
	int err;

	if (!g)
		return -ENOMEM;
	g->db = db;
	g->predicate = predicate;
	g->columns = columns;
	g->keys = keys;
	g->n_keys = n_keys;
	g->max_rows = max_bytes / pile_row_bytes(columns);
	g->max_few = g->max_rows < FEW_ROWS ? g->max_rows : FEW_ROWS;
	err = key_values_init(&g->values, hosts);
	if (err)
		return err;
	*ret = take_ptr(g);
	return 0;
}

int gather_open_few(sqlite3 *db, const struct predicate *predicate,
		    const struct flow_columns *columns, const struct gather_key *keys,
		    size_t n_keys, const struct host_names *hosts, struct gather **ret)
{
	cleanup(gather_close_p) struct gather *g = NULL;
	int err = gather_new(db, predicate, columns, keys, n_keys, hosts, GATHER_BYTES, &g);

	if (!err)
		err = read_few(g);
	if (err)
		return err;
	*ret = take_ptr(g);
	return 0;
}

int gather_open(sqlite3 *db, const struct predicate *predicate, const struct flow_columns *columns,
		const struct gather_key *keys, size_t n_keys, const struct host_names *hosts,
		size_t max_bytes, struct gather **ret)
{
	cleanup(gather_close_p) struct gather *g = NULL;
	int err = gather_new(db, predicate, columns, keys, n_keys, hosts, max_bytes, &g);

	if (err)
		return err;
	err = read_few(g);
	if (err == -E2BIG)
		err = read_keys(g);
	if (err)
		return err;
	*ret = take_ptr(g);
	return 0;
}

int gather_next(struct gather *g, struct gather_rows *ret)
{
	size_t end, n = 0;
	int err = 0;

	if (g->few) {
		*ret = (struct gather_rows){&g->pile.block, g->pile.sorted, g->pile.block.n_rows};
		g->few = false; /* and there is no more */
		return ret->n > 0;
	}
	while (!err && n == 0 && g->next < g->n_order) {
		size_t planned = plan_part(g, &end);

		err = read_part(g, planned);
		if (!err)
			err = sort_part(g, end, &n);
		g->next = end;
	}
	if (err)
		return err;
	*ret = (struct gather_rows){&g->pile.block, g->pile.sorted, n};
	return n > 0;
}

int64_t gather_row_key(const struct gather *g, uint32_t row)
{
	return pile_row_key(&g->pile, row);
}
