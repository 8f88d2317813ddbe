/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_writer.h - the statements that write the tables of flow records. For the
 * one connection that writes, within the transactions of who calls.
 *
 * Threads: one at a time. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_FLOW_WRITER_H
#define WEIR_COLLECTOR_FLOWSTORE_FLOW_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

struct flow_summary;
struct flow_writer;
struct segment;

/* db is borrowed until flow_writer_close(). */
int flow_writer_open(sqlite3 *db, struct flow_writer **ret);
/* NULL is a no-op. */
void flow_writer_close(struct flow_writer *w);

/* Keeps a checked block as it came. */
int flow_writer_fresh(struct flow_writer *w, int64_t host_id, const uint8_t *block, size_t len,
		      const struct flow_summary *summary);

/*
 * Puts a segment in the place of what it was made from. -EINVAL if some of that
 * is gone by now (retention) or is in the rollups: the caller then undoes its
 * transaction.
 */
int flow_writer_segment(struct flow_writer *w, const struct segment *s);

/*
 * Deletes the oldest segment or fresh batch, whole, of those that ended before
 * before_ms. *ret_rows: its records; 0: there is none.
 */
int flow_writer_drop_oldest(struct flow_writer *w, int64_t before_ms, size_t *ret_rows);

/* The same until max_rows records are gone or there are no more. *ret_rows: how many. */
int flow_writer_expire(struct flow_writer *w, int64_t before_ms, size_t max_rows, size_t *ret_rows);

#endif /* WEIR_COLLECTOR_FLOWSTORE_FLOW_WRITER_H */
