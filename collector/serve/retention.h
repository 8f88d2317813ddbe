/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * retention.h - what of flow records and their rollups is deleted, so that the
 * database stays within its limits. Always the oldest, and whole: segments,
 * batches, minutes, hours.
 *
 * Size: while the database is larger than its limit, holes in the file not
 * counted, flow records go as long as they take more than half of the limit;
 * else the minutes of the rollups go, and then their hours, so that a long past
 * in sums never leaves the present without its records. What is left of either
 * when the other is gone goes, too.
 *
 * Threads: that of the store. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_SERVE_RETENTION_H
#define WEIR_COLLECTOR_SERVE_RETENTION_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

struct flow_writer;
struct rollup_writer;

/* SQL: one row, which is the bytes of the database without the holes in it. */
#define RETENTION_USED_SQL                                                                         \
	"SELECT (p.page_count - f.freelist_count) * s.page_size AS bytes"                          \
	" FROM pragma_page_count p, pragma_freelist_count f, pragma_page_size s"

struct retention {
	int64_t flows_before_ms; /* what ended before it goes */
	/* Rollups of what began before it go. 0: none for their age. */
	int64_t minutes_before_ms, hours_before_ms;
	uint64_t max_bytes; /* 0: no limit */
};

/*
 * Within a transaction. Deletes up to max_rows rows, and what the last that is
 * deleted has more. *ret_rows: how many; 0: there is nothing to delete.
 * The writers are those of db.
 */
int retention_apply(const struct retention *limits, sqlite3 *db, struct flow_writer *flows,
		    struct rollup_writer *rollups, size_t max_rows, size_t *ret_rows);

#endif /* WEIR_COLLECTOR_SERVE_RETENTION_H */
