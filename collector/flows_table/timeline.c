// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flows_table/timeline.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/flowstore/scan.h"
#include "collector/sqlite/db_error.h"
#include "collector/sqlite/statement.h"
#include "common/cleanup.h"

#define FIRST_ROWS 4096 /* of the blocks of the first span */
#define MOST_ROWS  (1u << 30)
#define FEW_ROWS   16384 /* with fewer, the next span may be wider */

/*
 * Positions rise in the order that is asked for: they are times, or the
 * complements of these. What blocks say of themselves only tells how wide a
 * span is wise: that each record is given once follows from its own time.
 */
struct timeline {
	sqlite3 *db;
	const struct flow_columns *columns;
	const struct gather_key *key;
	const struct host_names *hosts;
	struct predicate all, parts[2]; /* what was asked for, within the span */
	sqlite3_stmt *blocks;		/* never stepped to its end: holds the transaction */
	bool no_blocks;
	uint64_t block, block_end; /* positions of the first block that is not counted */
	size_t block_rows;
	uint64_t at;	 /* where the next span begins */
	uint64_t end;	 /* of all blocks that are counted */
	uint64_t widest; /* a span, less one */
	size_t rows;	 /* that the next one shall have */
	bool over;
	struct gather *gather; /* what the span has, or: */
	struct scan *scan;
	struct scan_rows *scanned;
};

DEFINE_CLEANUP(struct timeline *, timeline_close)

/* The last row is there so that the statement stays open. */
#define BLOCKS(table)                                                                              \
	"SELECT 0 AS last, min_end_ms, max_end_ms, n_rows FROM " table                             \
	" WHERE max_end_ms >= ?1 AND min_end_ms <= ?2 UNION ALL "
#define ALL_BLOCKS BLOCKS("flow_segment") BLOCKS("flow_fresh") "SELECT 1, 0, 0, 0 ORDER BY last, "

static const char rising_sql[] = ALL_BLOCKS "min_end_ms";
static const char falling_sql[] = ALL_BLOCKS "max_end_ms DESC";

/* --- how wide a span is --------------------------------------------------------------- */

static int next_block(struct timeline *t)
{
	uint64_t low, high;

	if (sqlite3_step(t->blocks) != SQLITE_ROW)
		return db_last_errno(t->db);
	t->no_blocks = sqlite3_column_int(t->blocks, 0);
	low = (uint64_t)sqlite3_column_int64(t->blocks, 1);
	high = (uint64_t)sqlite3_column_int64(t->blocks, 2);
	t->block = t->key->falling ? ~high : low;
	t->block_end = t->key->falling ? ~low : high;
	t->block_rows = (size_t)sqlite3_column_int64(t->blocks, 3);
	return 0;
}

/* Counts blocks until they have enough rows. *ret: the end of a span from t->at on. */
static int plan_span(struct timeline *t, uint64_t *ret)
{
	size_t rows = 0;
	int err = 0;

	if (t->at == 0 && !t->no_blocks && t->block > 0) {
		*ret = t->block - 1; /* nothing, if blocks say what is right */
		return 0;
	}
	while (!err && !t->no_blocks && (rows < t->rows || t->block <= t->at)) {
		rows += t->block_rows;
		t->end = t->block_end > t->end ? t->block_end : t->end;
		err = next_block(t);
	}
	*ret = !t->no_blocks ? t->block - 1 : t->at <= t->end ? t->end : UINT64_MAX;
	if (*ret - t->at > t->widest)
		*ret = t->at + t->widest;
	return err;
}

/* --- what it has ----------------------------------------------------------------------- */

static void drop_rows(struct timeline *t)
{
	gather_close(t->gather);
	scan_rows_free(t->scanned);
	scan_close(t->scan);
	t->gather = NULL;
	t->scanned = NULL;
	t->scan = NULL;
}

static int open_span(struct timeline *t, uint64_t end)
{
	bool falling = t->key->falling;
	int err;

	t->parts[0] = (struct predicate){.kind = PREDICATE_RANGE,
					 .column = FLOW_COLUMN_end_ms,
					 .low = falling ? ~end : t->at,
					 .high = falling ? ~t->at : end};
	err = gather_open_few(t->db, &t->all, t->columns, t->key, 1, t->hosts, &t->gather);
	return err == -E2BIG && end == t->at ? scan_open(t->db, &t->all, t->columns, &t->scan)
					     : err;
}

static int next_span(struct timeline *t)
{
	uint64_t end;
	int err = plan_span(t, &end);

	if (!err)
		err = open_span(t, end);
	while (err == -E2BIG) {
		t->widest = (end - t->at) / 2;
		end = t->at + t->widest;
		err = open_span(t, end);
	}
	t->over = end == UINT64_MAX;
	t->at = end + 1;
	t->rows = t->rows < MOST_ROWS ? 2 * t->rows : MOST_ROWS;
	return err;
}

/* Of the span. */
static int next_rows(struct timeline *t, struct gather_rows *ret)
{
	int found = 0;

	if (t->gather) {
		found = gather_next(t->gather, ret);
		if (found == 0 || (found > 0 && ret->n < FEW_ROWS))
			t->widest = t->widest > UINT64_MAX / 2 ? UINT64_MAX : 2 * t->widest + 1;
	} else if (t->scan) {
		found = scan_next(t->scan, &t->scanned);
		if (found > 0)
			*ret = (struct gather_rows){&t->scanned->block, t->scanned->selected,
						    t->scanned->n_selected};
	}
	return found;
}

int timeline_next(struct timeline *t, struct gather_rows *ret)
{
	int err = 0, found;

	while ((found = next_rows(t, ret)) == 0 && !t->over) {
		drop_rows(t);
		err = next_span(t);
		if (err)
			return err;
	}
	return found;
}

int64_t timeline_row_key(const struct timeline *t, uint32_t row)
{
	return t->gather ? gather_row_key(t->gather, row)
			 : scan_rows_key(t->scanned) + scan_row_number(t->scanned, row);
}

/* --- all ---------------------------------------------------------------------------------- */

/* Blocks with times that no record can have match nothing. */
static int open_blocks(struct timeline *t, const struct predicate *predicate)
{
	uint64_t low = 0, high = UINT64_MAX;
	int err = statement_prepare(t->db, t->key->falling ? falling_sql : rising_sql, &t->blocks);

	if (err)
		return err;
	if (predicate)
		predicate_bounds(predicate, FLOW_COLUMN_end_ms, &low, &high);
	low = low > INT64_MAX ? INT64_MAX : low;
	high = high > INT64_MAX ? INT64_MAX : high;
	(void)sqlite3_bind_int64(t->blocks, 1, (int64_t)low); /* parameters that are there */
	(void)sqlite3_bind_int64(t->blocks, 2, (int64_t)high);
	return next_block(t);
}

int timeline_open(sqlite3 *db, const struct predicate *predicate,
		  const struct flow_columns *columns, const struct gather_key *key,
		  const struct host_names *hosts, struct timeline **ret)
{
	cleanup(timeline_close_p) struct timeline *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	*t = (struct timeline){.db = db,
			       .columns = columns,
			       .key = key,
			       .hosts = hosts,
			       .all = {.kind = PREDICATE_ALL,
				       .children = t->parts,
				       .n_children = predicate ? 2 : 1},
			       .widest = UINT64_MAX,
			       .rows = FIRST_ROWS};
	if (predicate)
		t->parts[1] = *predicate;
	err = open_blocks(t, predicate);
	if (err)
		return err;
	*ret = take_ptr(t);
	return 0;
}

void timeline_close(struct timeline *t)
{
	if (!t)
		return;
	drop_rows(t);
	(void)sqlite3_finalize(t->blocks); /* repeats an old error at most */
	free(t);
}
