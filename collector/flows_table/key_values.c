// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flows_table/key_values.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flows_table/gather.h"
#include "collector/flows_table/rank.h"
#include "common/addr.h"
#include "common/cleanup.h"
#include "proto/flow_words.h"

#define SMALL_NUMBER UINT16_MAX /* a first key counts all up to it */
#define CATCH_ALL    256	/* number of a proto_name beside the protocols */

bool gather_takes(const struct flows_column *column, bool first)
{
	const struct flow_column_info *info = &flow_column_info[column->column];

	switch (column->kind) {
	case FLOWS_NUMBER:
	case FLOWS_WORD:
		return !first || (info->kind == FLOW_U32 && info->max <= SMALL_NUMBER);
	case FLOWS_HIST:
	case FLOWS_COMMUNITY_ID:
		return false;
	default:
		return true;
	}
}

int key_values_init(struct key_values *v, const struct host_names *hosts)
{
	int err;

	v->hosts = hosts;
	v->addrs.n = v->texts.n = 1;
	err = value_ids_new(&v->addrs.ids);
	return err ? err : value_ids_new(&v->texts.ids);
}

void key_values_done(struct key_values *v)
{
	value_ids_free(v->addrs.ids);
	value_ids_free(v->texts.ids);
	free(v->addrs.map);
	free(v->texts.map);
}

/* --- numbers for all blocks ------------------------------------------------------- */

static int reserve(struct numbering *n, size_t entries)
{
	uint32_t *map;

	if (entries <= n->max_map)
		return 0;
	map = realloc(n->map, entries * sizeof(*map));
	if (!map)
		return -ENOMEM;
	n->map = map;
	n->max_map = entries;
	return 0;
}

/* Marks in the map which entries of the dictionary the rows use. */
static bool mark_used(struct numbering *n, const struct scan_rows *rows, enum flow_kind kind,
		      const struct flow_columns *columns)
{
	bool any = false;

	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++) {
		const uint32_t *values = rows->block.column[c].u32;

		if (flow_column_info[c].kind != kind || !values ||
		    !flow_columns_has(columns, (enum flow_column)c))
			continue;
		any = true;
		for (size_t k = 0; k < rows->n_selected; k++)
			n->map[values[rows->selected[k]]] = 1;
	}
	return any;
}

static int number_entries(struct numbering *n, const struct scan_rows *rows, enum flow_kind kind,
			  const struct flow_columns *columns)
{
	const struct flow_block *b = &rows->block;
	size_t size = kind == FLOW_ADDR ? b->n_addrs : b->n_texts, used = 0;
	uint32_t *at, *ids;
	int err;

	err = reserve(n, 3 * size + 1);
	if (err)
		return err;
	memset(n->map, 0, size * sizeof(*n->map));
	if (!mark_used(n, rows, kind, columns))
		return 0;
	at = n->map + size;
	ids = at + size;
	for (size_t i = 1; i < size; i++) {
		at[used] = (uint32_t)i;
		used += n->map[i];
	}
	err = kind == FLOW_ADDR
		      ? value_ids_addrs(n->ids, (const uint8_t(*)[16])b->addrs, at, used, ids)
		      : value_ids_texts(n->ids, b->texts, at, used, ids);
	if (err)
		return err;
	n->map[0] = 0;
	for (size_t i = 0; i < used; i++) {
		n->map[at[i]] = ids[i];
		n->n = ids[i] >= n->n ? ids[i] + 1 : n->n;
	}
	return 0;
}

int key_values_take(struct key_values *v, const struct scan_rows *rows,
		    const struct flow_columns *columns)
{
	int err = number_entries(&v->addrs, rows, FLOW_ADDR, columns);

	return err ? err : number_entries(&v->texts, rows, FLOW_TEXT, columns);
}

/* --- ranks ------------------------------------------------------------------------- */

static uint64_t host_number(const struct host_names *hosts, uint32_t id)
{
	const struct host_name *h = host_names_entry(hosts, id);

	return h ? (uint64_t)(h - hosts->hosts) : hosts->n;
}

uint64_t key_values_number(const struct key_values *v, const struct flows_column *column,
			   const struct flow_block *b, size_t i, bool taken)
{
	union flow_array a = b->column[column->column];

	switch (column->kind) {
	case FLOWS_ADDR:
		return taken ? v->addrs.map[a.u32[i]] : a.u32[i];
	case FLOWS_TEXT:
		return taken ? v->texts.map[a.u32[i]] : a.u32[i];
	case FLOWS_HOST:
		return host_number(v->hosts, a.u32[i]);
	case FLOWS_IP_VERSION:
		return addr_is_v4(b->addrs[a.u32[i]]) ? 4 : 6;
	case FLOWS_PROTO_NAME:
		return FLOW_COL_U32(b, end_reason)[i] == FLOW_END_NO_RESOURCES ? CATCH_ALL
									       : a.u32[i];
	default:
		return flow_column_info[column->column].kind == FLOW_U64 ? a.u64[i] : a.u32[i];
	}
}

/* Texts for the numbers of a column: how many, and number i, or NULL. */
static size_t n_texts(const struct key_values *v, const struct flows_column *column)
{
	switch (column->kind) {
	case FLOWS_ADDR:
		return v->addrs.n;
	case FLOWS_TEXT:
		return v->texts.n;
	case FLOWS_HOST:
		return v->hosts->n + 1;
	case FLOWS_PROTO_NAME:
		return CATCH_ALL + 1;
	case FLOWS_WORD:
		return flow_column_info[column->column].max + 1;
	default:
		return 0; /* numbers that are in order */
	}
}

static const char *text_of(const struct key_values *v, const struct flows_column *column,
			   uint32_t i, char buffer[ADDR_TEXT_MAX])
{
	static const uint8_t no_addr[16];
	const char *name;

	switch (column->kind) {
	case FLOWS_ADDR:
		return addr_format(i ? value_ids_addr(v->addrs.ids, i) : no_addr, buffer);
	case FLOWS_TEXT:
		return i ? value_ids_text(v->texts.ids, i) : "";
	case FLOWS_HOST:
		return i < v->hosts->n ? v->hosts->hosts[i].name : NULL;
	case FLOWS_PROTO_NAME:
		name = i == CATCH_ALL ? "catch-all" : proto_name((uint8_t)i);
		if (!name)
			(void)snprintf(buffer, ADDR_TEXT_MAX, "%u", i);
		return name ? name : buffer;
	default:
		return flow_word(column->column, i, buffer);
	}
}

int key_values_rank(const struct key_values *v, const struct flows_column *column, uint32_t **ret)
{
	size_t n = n_texts(v, column);
	cleanup(free_p) const char **texts = NULL;
	cleanup(free_p) char(*buffers)[ADDR_TEXT_MAX] = NULL;
	uint32_t *ranks;
	int err;

	*ret = NULL;
	if (n == 0)
		return 0;
	texts = malloc(n * sizeof(*texts));
	buffers = malloc(n * sizeof(*buffers));
	ranks = malloc(n * sizeof(*ranks));
	if (!texts || !buffers || !ranks) {
		free(ranks);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		texts[i] = text_of(v, column, (uint32_t)i, buffers[i]);
	err = rank_texts(texts, n, ranks);
	if (err)
		free(ranks);
	else
		*ret = ranks;
	return err;
}
