/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * scan.h - reads flow records as columns: for reports, rollups and the virtual
 * table `flows`.
 *
 *	struct flow_columns columns = {0};
 *	flow_columns_add(&columns, FLOW_COLUMN_src_addr);
 *	flow_columns_add(&columns, FLOW_COLUMN_bytes);
 *	err = scan_open(db, &predicate, &columns, &scan);
 *	in each thread:
 *		struct scan_rows *rows = NULL;
 *		while ((err = scan_next(scan, &rows)) > 0)
 *			for (size_t k = 0; k < rows->n_selected; k++) {
 *				uint32_t i = rows->selected[k];
 *				... FLOW_COL_U64(&rows->block, bytes)[i] ...
 *				... rows->block.addrs[FLOW_COL_U32(&rows->block, src_addr)[i]]
 *			}
 *		scan_rows_free(rows);
 *	scan_close(scan);
 *
 * Every segment and every fresh block whose zone map the predicate admits is
 * given once; of a segment, where the predicate is one host's, only the range of
 * that host's rows. What the predicate tests is decoded first (but not the times of a
 * block that lies within them as a whole): its conditions one after another, that of the
 * fewest bytes first. Once few rows are left, of all other columns only these are decoded,
 * and the block has no others. The scan reads within one transaction of db (its own, or the
 * one that is open), so that it sees each record exactly once, whatever the compactor does
 * meanwhile.
 *
 * Threads: scan_next() may be called by several threads, each with rows of its
 * own: reading from SQLite is behind a lock, decoding and matching are not. db
 * must not be used otherwise until scan_close().
 *
 * Memory: about 64 Ki rows of the wanted columns for each thread.
 *
 * Damage: a blob whose checksum or contents are wrong is left out with its
 * whole segment (or fresh block), named in the log once, and counted.
 *
 * Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_SCAN_H
#define WEIR_COLLECTOR_FLOWSTORE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "collector/flowstore/catalog.h"
#include "collector/flowstore/predicate.h"
#include "proto/flow_block.h"

struct scan;

struct scan_rows {
	struct flow_block block;   /* the wanted columns; some of the predicate's beside them */
	const uint32_t *selected;  /* rows of the block that match, rising */
	size_t n_selected;	   /* above 0 */
	size_t first;		   /* see scan_row_number() */
	const uint32_t *numbers;   /* likewise; NULL: the block leaves no row out */
	struct scan_memory *owner; /* private */
};

/*
 * Which row of the segment or fresh block that is: the block may have those only that
 * match, or those of one host.
 */
static inline uint32_t scan_row_number(const struct scan_rows *rows, uint32_t row)
{
	return rows->numbers ? rows->numbers[row] : (uint32_t)rows->first + row;
}

struct scan_totals {
	uint64_t blocks, blocks_skipped; /* skipped: by their zone map */
	uint64_t rows_read, bytes_read;
	uint64_t damaged_blocks, damaged_rows; /* left out */
	uint64_t damaged_zones;		       /* read for nothing, perhaps */
};

/*
 * predicate and what it points to, and columns, are borrowed until
 * scan_close(); predicate may be NULL: every record.
 */
int scan_open(sqlite3 *db, const struct predicate *predicate, const struct flow_columns *columns,
	      struct scan **ret);
/* The same of some blocks only. */
int scan_open_range(sqlite3 *db, const struct catalog_range *range,
		    const struct predicate *predicate, const struct flow_columns *columns,
		    struct scan **ret);
/* NULL is a no-op. All threads are out of scan_next(). */
void scan_close(struct scan *s);

/*
 * The next block with a row that matches. *rows is NULL at first and is used
 * again; the caller releases it at last. Returns 1, 0 at the end, or an error.
 */
int scan_next(struct scan *s, struct scan_rows **rows);
void scan_rows_free(struct scan_rows *rows);

/*
 * Decodes more columns of the block that rows holds, before the same thread goes on.
 * Returns 1, 0 if a blob is damaged (named and counted: the rows cannot be had), or
 * an error.
 */
int scan_fetch(struct scan *s, struct scan_rows *rows, const struct flow_columns *columns);
/*
 * A number for the segment or fresh block; with scan_row_number() added, one for the
 * row: the same in every scan of the transaction.
 */
#define SCAN_ROW_BITS 17
int64_t scan_rows_key(const struct scan_rows *rows);

/*
 * Another scan of the same records while the one that gave rows goes on: they
 * share the lock, so that both may be read by any thread. Closed before the first.
 */
int scan_open_beside(const struct scan_rows *rows, const struct predicate *predicate,
		     const struct flow_columns *columns, struct scan **ret);

/* So far. */
struct scan_totals scan_totals(struct scan *s);

#endif /* WEIR_COLLECTOR_FLOWSTORE_SCAN_H */
