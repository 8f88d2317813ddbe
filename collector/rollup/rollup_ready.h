/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rollup_ready.h - the rows of segments that are about to be stored, made from their
 * columns while these are in memory, so that a rollup need not read the segments.
 *
 * They wait for rollup_make(), which goes by the ids in the database: rows of a segment that
 * was not stored, or was made new, are never asked for. All of them count on one address
 * book; when it is not that of the rollup, they are forgotten, and the segments are read.
 *
 * Threads: none of its own. Memory: ROLLUP_READY_ROWS rows. Errors: those of
 * collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_ROLLUP_ROLLUP_READY_H
#define WEIR_COLLECTOR_ROLLUP_ROLLUP_READY_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "collector/rollup/rollup_table.h"

#define ROLLUP_READY_ROWS 65536

struct address_book;
struct flow_block;

/* Zeroed: nothing. */
struct rollup_ready {
	struct address_book *book;
	struct {
		int64_t id;
		struct rollup_table rows;
	} segments[ROLLUP_MAX_SEGMENTS];
	size_t n, n_rows;
};

void rollup_ready_done(struct rollup_ready *r);

/*
 * Adds segment id, of which b has the columns of rollup_table_columns(); nothing, if there is no
 * room. Ids rise. db is where the book is, if there is none yet.
 */
int rollup_ready_add(struct rollup_ready *r, sqlite3 *db, int64_t id, const struct flow_block *b);
/* Forgets all that counted on another book than this one. */
void rollup_ready_check(struct rollup_ready *r, const struct address_book *book);
/* The rows of segment id, NULL if they are not there. */
struct rollup_table *rollup_ready_find(struct rollup_ready *r, int64_t id);
/* Forgets segments up to that id. */
void rollup_ready_forget(struct rollup_ready *r, int64_t until_id);

#endif /* WEIR_COLLECTOR_ROLLUP_ROLLUP_READY_H */
