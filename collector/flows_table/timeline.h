/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * timeline.h - the records of a scan in the order of end_ms, for ORDER BY end_ms
 * in SQL and for max(end_ms): who wants the newest 50 of millions does not wait
 * for all to be read.
 *
 * The store is read a span of time after the other, each as wide as blocks of
 * some thousand rows are, then of twice as many, and so on, as long as few of
 * them match; what is in it is sorted (gather.h). A span with too many rows is
 * halved. Those of one millisecond, which may come in any order, are not sorted.
 *
 * Threads: none of its own. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_FLOWS_TABLE_TIMELINE_H
#define WEIR_COLLECTOR_FLOWS_TABLE_TIMELINE_H

#include "collector/flows_table/gather.h"

struct timeline;

/* All of the arguments are borrowed until timeline_close(). The key is end_ms. */
int timeline_open(sqlite3 *db, const struct predicate *predicate,
		  const struct flow_columns *columns, const struct gather_key *key,
		  const struct host_names *hosts, struct timeline **ret);
/* NULL is a no-op. */
void timeline_close(struct timeline *t);

/* The next rows, which are good until the next call. Returns 1, 0 at the end, or an error. */
int timeline_next(struct timeline *t, struct gather_rows *ret);
/* As gather_row_key(). */
int64_t timeline_row_key(const struct timeline *t, uint32_t row);

#endif /* WEIR_COLLECTOR_FLOWS_TABLE_TIMELINE_H */
