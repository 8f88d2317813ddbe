// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/rollup/rollup_block.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/flow_record.h"

/* Names in the block and in the tables alike. */
#define U32_KEYS(X) X(host_id) X(dst_port) X(direction) X(role)
#define U64_SUMS(X)                                                                                \
	X(packets)                                                                                 \
	X(bytes)                                                                                   \
	X(rev_packets)                                                                             \
	X(rev_bytes)                                                                               \
	X(retrans_pkts)                                                                            \
	X(rev_retrans_pkts)

#define NAME(name) ", " #name

#define FIRST_MAX 4096

enum { V6, V4, N_VERSIONS };

static uint8_t addrs[N_VERSIONS][16] = {[V4] = {[10] = 0xff, [11] = 0xff}}; /* never written */

void rollup_block_done(struct rollup_block *b)
{
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		free(b->block.column[c].any);
	free(b->rows);
	*b = (struct rollup_block){0};
}

struct flow_columns rollup_block_columns(void)
{
	struct flow_columns columns = {{0}};

#define ADD(name) flow_columns_add(&columns, FLOW_COLUMN_##name);
	U32_KEYS(ADD)
	U64_SUMS(ADD)
	ADD(proto)
	ADD(end_reason)
	ADD(src_addr)
#undef ADD
	return columns;
}

static int grow(struct rollup_block *b)
{
	struct flow_columns columns = rollup_block_columns();
	size_t max = b->max ? 2 * b->max : FIRST_MAX;
	struct rollup_block_row *rows;

	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++) {
		bool wide = flow_column_info[c].kind == FLOW_U64;
		void *bigger;

		if (!flow_columns_has(&columns, (enum flow_column)c))
			continue;
		bigger = realloc(b->block.column[c].any,
				 max * (wide ? sizeof(uint64_t) : sizeof(uint32_t)));
		if (!bigger)
			return -ENOMEM;
		b->block.column[c].any = bigger;
	}
	rows = realloc(b->rows, max * sizeof(*rows));
	if (!rows)
		return -ENOMEM;
	b->rows = rows;
	b->max = max;
	return 0;
}

int rollup_block_add(struct rollup_block *b, const struct rollup_row *row)
{
	const struct rollup_key *k = &row->key;
	bool catch_all = k->proto >= ROLLUP_CATCH_ALL;
	struct flow_block *to = &b->block;

	if (b->n == b->max && grow(b) != 0)
		return -ENOMEM;
	FLOW_COL_U32(to, host_id)[b->n] = k->host_id;
	FLOW_COL_U32(to, dst_port)
	[b->n] = k->dst_port == ROLLUP_ANY_PORT ? 0 : (uint32_t)k->dst_port;
	FLOW_COL_U32(to, direction)[b->n] = k->direction;
	FLOW_COL_U32(to, role)[b->n] = k->role;
	FLOW_COL_U32(to, proto)[b->n] = k->proto % ROLLUP_CATCH_ALL;
	FLOW_COL_U32(to, end_reason)[b->n] = catch_all ? FLOW_END_NO_RESOURCES : FLOW_END_DETECTED;
	FLOW_COL_U32(to, src_addr)[b->n] = k->ip_version == 4 ? V4 : V6;
#define SET(name) FLOW_COL_U64(to, name)[b->n] = row->name;
	U64_SUMS(SET)
#undef SET
	b->rows[b->n] =
		(struct rollup_block_row){k->claim, row->records, k->dst_port == ROLLUP_ANY_PORT};
	b->n++;
	return 0;
}

const struct flow_block *rollup_block_view(struct rollup_block *b)
{
	static const char *texts[] = {""};

	b->block.n_rows = b->n;
	b->block.addrs = addrs;
	b->block.n_addrs = N_VERSIONS;
	b->block.texts = texts;
	b->block.n_texts = 1;
	return &b->block;
}

void rollup_block_sql(const char *table, char ret[ROLLUP_BLOCK_SQL_MAX])
{
	(void)snprintf(ret, ROLLUP_BLOCK_SQL_MAX,
		       "SELECT start_ms, proto, ip_version, claim, records"
		       /* in the order that they are read below */
		       U32_KEYS(NAME) U64_SUMS(NAME) " FROM %s WHERE start_ms >= ?1 AND"
						     " start_ms < ?2 ORDER BY start_ms",
		       table);
}

void rollup_block_read(sqlite3_stmt *st, struct rollup_row *ret)
{
	int i = 5;

	*ret = (struct rollup_row){
		.key = {.start_ms = sqlite3_column_int64(st, 0),
			.proto = (uint16_t)sqlite3_column_int(st, 1),
			.ip_version = (uint32_t)sqlite3_column_int(st, 2),
			.claim = sqlite3_column_int64(st, 3)},
		.records = (uint64_t)sqlite3_column_int64(st, 4),
	};
#define READ_KEY(name) ret->key.name = (__typeof__(ret->key.name))sqlite3_column_int64(st, i++);
	U32_KEYS(READ_KEY)
#undef READ_KEY
#define READ_SUM(name) ret->name = (uint64_t)sqlite3_column_int64(st, i++);
	U64_SUMS(READ_SUM)
#undef READ_SUM
}
