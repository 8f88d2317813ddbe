// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flows_table/pile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/flow_memory.h"

#define LARGE_ROWS 100000 /* from there on large pages pay */

static size_t column_bytes(const struct flow_columns *columns)
{
	size_t bytes = 0;

	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (flow_columns_has(columns, (enum flow_column)c))
			bytes += flow_width(flow_column_info[c].kind);
	return bytes;
}

/* With its places in sorted, spare and origins. */
size_t pile_row_bytes(const struct flow_columns *columns)
{
	return column_bytes(columns) + 3 * sizeof(uint32_t);
}

/* --- memory ------------------------------------------------------------------------ */

static void drop(struct pile *p)
{
	flow_block_done(&p->block);
	flow_block_done(&p->dictionaries);
	free(p->sorted);
	free(p->origins);
	p->sorted = p->spare = p->origins = NULL;
	p->block = (struct flow_block){0};
	p->n_sources = 0;
	p->n_read = 0;
}

void pile_done(struct pile *p)
{
	drop(p);
	free(p->sources);
	*p = (struct pile){0};
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

int pile_begin(struct pile *p, const struct flow_columns *columns, size_t n)
{
	char *text_at;
	int err;

	drop(p);
	p->block.n_rows = n;
	err = flow_memory_alloc(&p->block, columns, 0, &text_at);
	p->sorted = malloc((2 * n + 1) * sizeof(*p->sorted));
	p->origins = malloc((n + 1) * sizeof(*p->origins));
	if (err || !p->sorted || !p->origins)
		return -ENOMEM;
	p->spare = p->sorted + n;
	if (n < LARGE_ROWS)
		return 0;
	use_large_pages(p->block.memory, n * column_bytes(columns));
	use_large_pages(p->sorted, n * sizeof(*p->sorted));
	use_large_pages(p->origins, n * sizeof(*p->origins));
	return 0;
}

/* --- rows ----------------------------------------------------------------------------- */

static int add_source(struct pile *p, const struct scan_rows *rows)
{
	uint32_t last = scan_row_number(rows, rows->selected[rows->n_selected - 1]);

	if (p->n_sources == p->max_sources) {
		size_t max = p->max_sources ? 2 * p->max_sources : 64;
		struct pile_source *sources = realloc(p->sources, max * sizeof(*sources));

		if (!sources)
			return -ENOMEM;
		p->sources = sources;
		p->max_sources = max;
	}
	p->sources[p->n_sources++] = (struct pile_source){p->n_read, scan_rows_key(rows)};
	p->n_read += last + 1;
	return 0;
}

static void scatter_u32(const struct scan_rows *rows, const uint32_t *to, const uint32_t *from,
			const uint32_t *map, uint32_t *ret)
{
	for (size_t k = 0; k < rows->n_selected; k++) {
		uint32_t value = from[rows->selected[k]];

		if (to[k] != PILE_NOWHERE)
			ret[to[k]] = map ? map[value] : value;
	}
}

static void scatter_wide(const struct scan_rows *rows, const uint32_t *to, const void *from,
			 size_t width, void *ret)
{
	for (size_t k = 0; k < rows->n_selected; k++)
		if (to[k] != PILE_NOWHERE)
			memcpy((char *)ret + to[k] * width,
			       (const char *)from + rows->selected[k] * width, width);
}

static void scatter_u64(const struct scan_rows *rows, const uint32_t *to, const uint64_t *from,
			uint64_t *ret)
{
	for (size_t k = 0; k < rows->n_selected; k++)
		if (to[k] != PILE_NOWHERE)
			ret[to[k]] = from[rows->selected[k]];
}

static void scatter_column(struct pile *p, const struct key_values *values,
			   const struct scan_rows *rows, unsigned c, const uint32_t *to)
{
	union flow_array from = rows->block.column[c], ret = p->block.column[c];

	switch (flow_column_info[c].kind) {
	case FLOW_ADDR:
		scatter_u32(rows, to, from.u32, values->addrs.map, ret.u32);
		break;
	case FLOW_TEXT:
		scatter_u32(rows, to, from.u32, values->texts.map, ret.u32);
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

int pile_put(struct pile *p, const struct key_values *values, const struct flow_columns *columns,
	     const struct scan_rows *rows, const uint32_t *to)
{
	uint32_t first = p->n_read;
	int err = add_source(p, rows);

	if (err)
		return err;
	for (size_t k = 0; k < rows->n_selected; k++)
		if (to[k] != PILE_NOWHERE)
			p->origins[to[k]] = first + scan_row_number(rows, rows->selected[k]);
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (flow_columns_has(columns, (enum flow_column)c))
			scatter_column(p, values, rows, c, to);
	return 0;
}

int pile_name(struct pile *p, const struct key_values *values)
{
	struct flow_block *b = &p->dictionaries;
	struct flow_columns none = {{0}};
	char *text_at;
	int err;

	*b = (struct flow_block){.n_addrs = values->addrs.n, .n_texts = values->texts.n};
	err = flow_memory_alloc(b, &none, 0, &text_at);
	if (err)
		return err;
	memset(b->addrs[0], 0, sizeof(b->addrs[0]));
	for (uint32_t i = 1; i < b->n_addrs; i++)
		memcpy(b->addrs[i], value_ids_addr(values->addrs.ids, i), sizeof(b->addrs[0]));
	b->texts[0] = "";
	for (uint32_t i = 1; i < b->n_texts; i++)
		b->texts[i] = value_ids_text(values->texts.ids, i);
	p->block.addrs = b->addrs;
	p->block.n_addrs = b->n_addrs;
	p->block.texts = b->texts;
	p->block.n_texts = b->n_texts;
	return 0;
}

int64_t pile_row_key(const struct pile *p, uint32_t row)
{
	uint32_t origin = p->origins[row];
	size_t from = 0, to = p->n_sources;

	while (to - from > 1) {
		size_t middle = from + (to - from) / 2;

		if (p->sources[middle].first <= origin)
			from = middle;
		else
			to = middle;
	}
	return p->sources[from].key + (origin - p->sources[from].first);
}
