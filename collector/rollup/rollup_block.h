/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rollup_block.h - rows of a rollup as a block of columns, as if each row were one
 * record: for what takes sums as well as records.
 *
 * Threads: none of its own. Errors: -ENOMEM.
 */
#ifndef WEIR_COLLECTOR_ROLLUP_ROLLUP_BLOCK_H
#define WEIR_COLLECTOR_ROLLUP_ROLLUP_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "collector/rollup/rollup.h"
#include "proto/flow_block.h"

/* Zeroed: an empty one. n may be made 0. */
struct rollup_block {
	size_t n, max;
	struct flow_block block;
	struct rollup_block_row { /* what a record has no column for */
		int64_t claim;
		uint64_t records;
		bool any_port;
	} * rows;
};

void rollup_block_done(struct rollup_block *b);

/* The columns that it has. src_addr tells the IP version alone, end_reason a catch-all. */
struct flow_columns rollup_block_columns(void);
int rollup_block_add(struct rollup_block *b, const struct rollup_row *row);
/* Borrowed, until the next rollup_block_add(). */
const struct flow_block *rollup_block_view(struct rollup_block *b);

/* Reads rows of a table with ?1 <= start_ms < ?2, in the order of their time. */
#define ROLLUP_BLOCK_SQL_MAX 400
void rollup_block_sql(const char *table, char ret[ROLLUP_BLOCK_SQL_MAX]);
/* The row that the statement is at, with the sums that a block has, and records. */
void rollup_block_read(sqlite3_stmt *st, struct rollup_row *ret);

#endif /* WEIR_COLLECTOR_ROLLUP_ROLLUP_BLOCK_H */
