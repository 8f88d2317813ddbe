// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/gather.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "collector/flowstore/key_values.h"
#include "collector/flowstore/rank.h"
#include "collector/flowstore/scan.h"
#include "common/cleanup.h"
#include "proto/flow_memory.h"

#define NOWHERE UINT32_MAX

/* Where the rows of a scan's block were. */
struct origin {
	uint32_t first; /* its rows from there on, in a row of all that were read */
	int64_t key;
};

struct gather {
	sqlite3 *db;
	const struct predicate *predicate;
	const struct flow_columns *columns;
	const struct gather_key *keys;
	size_t n_keys;
	struct scan *first; /* open until the end: it holds the transaction */
	struct scan_rows *rows;
	struct key_values values;
	/* Of the first key by code, which is 0: NULL, or 1 + number. */
	uint32_t *counts, *places;
	size_t n_codes, n_order, next;
	uint32_t *order;		  /* codes that have rows, as they come */
	size_t max_rows;		  /* of a part */
	uint32_t *ranks[GATHER_MAX_KEYS]; /* by number; NULL: numbers are in order */
	/* The part. */
	struct flow_block block, dictionaries; /* block borrows from dictionaries */
	uint32_t *sorted, *spare, *origins;
	uint8_t *masks[GATHER_MAX_KEYS];
	struct origin *blocks;
	size_t n_blocks, max_blocks;
	uint32_t n_read; /* rows of all of them */
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

static size_t column_bytes(const struct flow_columns *columns)
{
	size_t bytes = 0;

	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (flow_columns_has(columns, (enum flow_column)c))
			bytes += flow_width(flow_column_info[c].kind);
	return bytes;
}

/* With its places in sorted, origins and spare. */
static size_t row_bytes(const struct flow_columns *columns, size_t n_keys)
{
	return column_bytes(columns) + (n_keys > 1 ? 3 : 2) * sizeof(uint32_t);
}

int gather_open(sqlite3 *db, const struct predicate *predicate, const struct flow_columns *columns,
		const struct gather_key *keys, size_t n_keys, const struct host_names *hosts,
		size_t max_bytes, struct gather **ret)
{
	cleanup(gather_close_p) struct gather *g = calloc(1, sizeof(*g));
	struct flow_columns of_keys;
	int err;

	if (!g)
		return -ENOMEM;
	g->db = db;
	g->predicate = predicate;
	g->columns = columns;
	g->keys = keys;
	g->n_keys = n_keys;
	g->max_rows = max_bytes / row_bytes(columns, n_keys);
	of_keys = key_columns(g);
	err = key_values_init(&g->values, hosts);
	if (!err)
		err = scan_open(db, predicate, &of_keys, &g->first);
	if (!err)
		err = read_blocks(g, g->first, &of_keys, count_codes);
	for (size_t k = 0; !err && k < n_keys; k++)
		err = key_values_rank(&g->values, keys[k].column, &g->ranks[k]);
	if (!err)
		err = make_order(g);
	if (err)
		return err;
	*ret = take_ptr(g);
	return 0;
}

/* --- a part ------------------------------------------------------------------------------ */

static void drop_part(struct gather *g)
{
	flow_block_done(&g->block);
	flow_block_done(&g->dictionaries);
	g->block = (struct flow_block){0};
	free(g->sorted);
	free(g->origins);
	g->sorted = g->spare = g->origins = NULL;
	for (size_t k = 0; k < GATHER_MAX_KEYS; k++) {
		free(g->masks[k]);
		g->masks[k] = NULL;
	}
	g->n_blocks = 0;
	g->n_read = 0;
}

void gather_close(struct gather *g)
{
	if (!g)
		return;
	drop_part(g);
	scan_rows_free(g->rows);
	scan_close(g->first);
	key_values_done(&g->values);
	free(g->counts);
	free(g->places);
	free(g->order);
	free(g->blocks);
	for (size_t k = 0; k < GATHER_MAX_KEYS; k++)
		free(g->ranks[k]);
	free(g);
}

/* The codes of the next part: they end before ret_end. Returns how many rows they have. */
static size_t plan_part(struct gather *g, size_t *ret_end)
{
	size_t n = 0, end = g->next;

	memset(g->places, 0xff, g->n_codes * sizeof(*g->places)); /* NOWHERE */
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

static int add_origin(struct gather *g)
{
	if (g->n_blocks == g->max_blocks) {
		size_t max = g->max_blocks ? 2 * g->max_blocks : 64;
		struct origin *blocks = realloc(g->blocks, max * sizeof(*blocks));

		if (!blocks)
			return -ENOMEM;
		g->blocks = blocks;
		g->max_blocks = max;
	}
	g->blocks[g->n_blocks++] = (struct origin){g->n_read, scan_rows_key(g->rows)};
	g->n_read += (uint32_t)g->rows->block.n_rows;
	return 0;
}

static void scatter_u32(const struct scan_rows *rows, const uint32_t *to, const uint32_t *from,
			const uint32_t *map, uint32_t *ret)
{
	for (size_t k = 0; k < rows->n_selected; k++) {
		uint32_t value = from[rows->selected[k]];

		if (to[k] != NOWHERE)
			ret[to[k]] = map ? map[value] : value;
	}
}

static void scatter_wide(const struct scan_rows *rows, const uint32_t *to, const void *from,
			 size_t width, void *ret)
{
	for (size_t k = 0; k < rows->n_selected; k++)
		if (to[k] != NOWHERE)
			memcpy((char *)ret + to[k] * width,
			       (const char *)from + rows->selected[k] * width, width);
}

static void scatter_u64(const struct scan_rows *rows, const uint32_t *to, const uint64_t *from,
			uint64_t *ret)
{
	for (size_t k = 0; k < rows->n_selected; k++)
		if (to[k] != NOWHERE)
			ret[to[k]] = from[rows->selected[k]];
}

static void scatter_column(struct gather *g, unsigned c, const uint32_t *to)
{
	const struct scan_rows *rows = g->rows;
	union flow_array from = rows->block.column[c], ret = g->block.column[c];

	switch (flow_column_info[c].kind) {
	case FLOW_ADDR:
		scatter_u32(rows, to, from.u32, g->values.addrs.map, ret.u32);
		break;
	case FLOW_TEXT:
		scatter_u32(rows, to, from.u32, g->values.texts.map, ret.u32);
		break;
	case FLOW_U32:
		scatter_u32(rows, to, from.u32, NULL, ret.u32);
		break;
	case FLOW_U64:
		scatter_u64(rows, to, from.u64, ret.u64);
		break;
	case FLOW_HIST:
		scatter_wide(rows, to, from.any, RTT_BUCKETS * sizeof(uint16_t), ret.any);
		break;
	}
}

/* Codes become places, which are used up so. */
static int place_rows(struct gather *g, uint32_t *codes)
{
	uint32_t first = g->n_read;
	int err = add_origin(g);

	if (err)
		return err;
	for (size_t k = 0; k < g->rows->n_selected; k++) {
		uint32_t *place = codes[k] < g->n_codes ? &g->places[codes[k]] : NULL;

		codes[k] = place ? *place : NOWHERE;
		if (codes[k] == NOWHERE)
			continue;
		if (codes[k] >= g->block.n_rows) /* more rows than the first time */
			return -EUCLEAN;
		g->origins[codes[k]] = first + g->rows->selected[k];
		++*place;
	}
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (flow_columns_has(g->columns, (enum flow_column)c))
			scatter_column(g, c, codes);
	return 0;
}

static int take_dictionaries(struct gather *g)
{
	struct flow_block *b = &g->dictionaries;
	struct flow_columns none = {{0}};
	char *text_at;
	int err;

	*b = (struct flow_block){.n_addrs = g->values.addrs.n, .n_texts = g->values.texts.n};
	err = flow_memory_alloc(b, &none, 0, &text_at);
	if (err)
		return err;
	memset(b->addrs[0], 0, sizeof(b->addrs[0]));
	for (uint32_t i = 1; i < b->n_addrs; i++)
		memcpy(b->addrs[i], value_ids_addr(g->values.addrs.ids, i), sizeof(b->addrs[0]));
	b->texts[0] = "";
	for (uint32_t i = 1; i < b->n_texts; i++)
		b->texts[i] = value_ids_text(g->values.texts.ids, i);
	g->block.addrs = b->addrs;
	g->block.n_addrs = b->n_addrs;
	g->block.texts = b->texts;
	g->block.n_texts = b->n_texts;
	return 0;
}

/* Rows are put all over it: half of the time of that went into faults and the TLB. */
static void use_large_pages(void *memory, size_t bytes)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)memory + page - 1) / page * page;
	uintptr_t to = ((uintptr_t)memory + bytes) / page * page;

	if (to > from) /* it is only advice */
		(void)madvise((void *)from, to - from, MADV_HUGEPAGE);
}

static int read_part(struct gather *g, size_t n)
{
	struct scan *scan = NULL;
	char *text_at;
	int err;

	g->block.n_rows = n;
	err = flow_memory_alloc(&g->block, g->columns, 0, &text_at);
	g->sorted = malloc((g->n_keys > 1 ? 2 : 1) * n * sizeof(*g->sorted));
	g->spare = g->sorted ? g->sorted + n : NULL; /* with one key there is nothing to sort */
	g->origins = malloc(n * sizeof(*g->origins));
	if (err || !g->sorted || !g->origins)
		return -ENOMEM;
	use_large_pages(g->block.memory, n * column_bytes(g->columns));
	use_large_pages(g->sorted, n * sizeof(*g->sorted));
	use_large_pages(g->origins, n * sizeof(*g->origins));
	err = scan_open(g->db, g->predicate, g->columns, &scan);
	if (!err)
		err = read_blocks(g, scan, g->columns, place_rows);
	scan_close(scan);
	return err ? err : take_dictionaries(g);
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
		rank = rank_of_number(
			s->g, s->key,
			key_values_number(&s->g->values, key->column, &s->g->block, row, false));
	return key->falling ? ~rank : rank;
}

static int make_masks(struct gather *g)
{
	for (size_t k = 1; k < g->n_keys; k++) {
		g->masks[k] = malloc(g->block.n_rows + 1);
		if (!g->masks[k])
			return -ENOMEM;
		if (flow_block_has_mask(&g->block, g->keys[k].column->column, g->masks[k]))
			continue;
		free(g->masks[k]);
		g->masks[k] = NULL;
	}
	return 0;
}

static int sort_run(struct gather *g, uint32_t *rows, size_t n)
{
	int err = 0;

	for (size_t k = g->n_keys - 1; !err && k > 0 && n > 1; k--)
		err = rank_sort(rows, n, g->spare, rank_of_row, &(struct sorting){g, k});
	return err;
}

/* The rows of its codes, in turn; those of equal rank sorted by the other keys. */
static int sort_part(struct gather *g, size_t end, size_t *ret_n)
{
	size_t n = 0, run = 0;
	uint32_t at = 0;
	int err = make_masks(g);

	for (size_t i = g->next; !err && i < end; i++) {
		uint32_t code = g->order[i], filled = g->places[code];

		for (uint32_t row = at; row < filled; row++)
			g->sorted[n++] = row;
		at += g->counts[code];
		if (i + 1 < end && rank_of_code(g, code) == rank_of_code(g, g->order[i + 1]))
			continue;
		err = sort_run(g, g->sorted + run, n - run);
		run = n;
	}
	*ret_n = n;
	return err;
}

int gather_next(struct gather *g, struct gather_rows *ret)
{
	while (g->next < g->n_order) {
		size_t end, n = plan_part(g, &end), sorted = 0;
		int err;

		drop_part(g);
		err = read_part(g, n);
		if (!err)
			err = sort_part(g, end, &sorted);
		if (err)
			return err;
		g->next = end;
		*ret = (struct gather_rows){&g->block, g->sorted, sorted};
		if (sorted)
			return 1;
	}
	return 0;
}

int64_t gather_row_key(const struct gather *g, uint32_t row)
{
	uint32_t origin = g->origins[row];
	size_t from = 0, to = g->n_blocks;

	while (to - from > 1) {
		size_t middle = from + (to - from) / 2;

		if (g->blocks[middle].first <= origin)
			from = middle;
		else
			to = middle;
	}
	return g->blocks[from].key + (origin - g->blocks[from].first);
}
