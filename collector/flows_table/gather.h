/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * gather.h - the records of a scan in the order of some of their columns, for
 * GROUP BY in SQL: SQLite's own sorting of rows as text takes longer than all
 * the rest.
 *
 * The store is read twice, unless there are few records. First only the columns of the key: how
 * many records each value of the first one has, and so the place of each value's records among all.
 * Then all columns are read, and each record is put into its place. Records of one value that are
 * to be ordered by further columns are sorted there.
 *
 * What does not fit into GATHER_BYTES is given in several parts, for each of
 * which the store is read once more. All records of one value of the first
 * column are in one part, however many these are.
 *
 * Order: that of SQL for what the table flows shows: NULL first, numbers, texts
 * byte by byte; the other way round where it is asked for.
 *
 * Threads: none of its own. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_FLOWS_TABLE_GATHER_H
#define WEIR_COLLECTOR_FLOWS_TABLE_GATHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "collector/flowstore/flows_columns.h"
#include "collector/flowstore/host_names.h"
#include "collector/flowstore/predicate.h"

#define GATHER_BYTES	(288u << 20)
#define GATHER_MAX_KEYS 8

struct gather_key {
	const struct flows_column *column;
	bool falling;
};

/* Whether a column can be a key, and the first one. */
bool gather_takes(const struct flows_column *column, bool first);

struct gather;

/*
 * All of the arguments are borrowed until gather_close(). columns: with those
 * that tell which values are NULL, also of the keys. max_bytes: GATHER_BYTES,
 * or less for a test.
 */
int gather_open(sqlite3 *db, const struct predicate *predicate, const struct flow_columns *columns,
		const struct gather_key *keys, size_t n_keys, const struct host_names *hosts,
		size_t max_bytes, struct gather **ret);
/*
 * The same of few records, 65,536 at most, by any column of numbers, too. Returns -E2BIG
 * if they are more.
 */
int gather_open_few(sqlite3 *db, const struct predicate *predicate,
		    const struct flow_columns *columns, const struct gather_key *keys,
		    size_t n_keys, const struct host_names *hosts, struct gather **ret);
/* NULL is a no-op. */
void gather_close(struct gather *g);

/* Rows in their order: row order[i] of the block; the block has more of them. */
struct gather_rows {
	const struct flow_block *block;
	const uint32_t *order;
	size_t n; /* above 0 */
};

/* The next part, which is good until the next call. Returns 1, 0 at the end, or an error. */
int gather_next(struct gather *g, struct gather_rows *ret);
/* What scan_rows_key() and scan_row_number() make of a row of the block. */
int64_t gather_row_key(const struct gather *g, uint32_t row);

#endif /* WEIR_COLLECTOR_FLOWS_TABLE_GATHER_H */
