/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rollup_writer.h - the statements that write the tables of rollups. For the one
 * connection that writes, within the transactions of who calls.
 *
 * Threads: one at a time. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_ROLLUP_ROLLUP_WRITER_H
#define WEIR_COLLECTOR_ROLLUP_ROLLUP_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

struct rollup;
struct rollup_writer;

/* db is borrowed until rollup_writer_close(). */
int rollup_writer_open(sqlite3 *db, struct rollup_writer **ret);
/* NULL is a no-op. */
void rollup_writer_close(struct rollup_writer *w);

/*
 * Adds a rollup to the tables. -EINVAL if it does not follow what is in them:
 * the caller then undoes its transaction.
 */
int rollup_writer_add(struct rollup_writer *w, const struct rollup *r);

/*
 * Deletes the oldest minutes and hours that began before these times, whole, until
 * max_rows rows are gone or there are no more. *ret_rows: how many.
 */
int rollup_writer_expire(struct rollup_writer *w, int64_t minutes_before_ms,
			 int64_t hours_before_ms, size_t max_rows, size_t *ret_rows);

/* Deletes the oldest minute, whole; if there is none, the oldest hour. *ret_rows: 0: neither. */
int rollup_writer_drop_oldest(struct rollup_writer *w, size_t *ret_rows);

#endif /* WEIR_COLLECTOR_ROLLUP_ROLLUP_WRITER_H */
