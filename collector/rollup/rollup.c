// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/rollup/rollup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/scan.h"
#include "collector/once/address_book.h"
#include "collector/once/host_minutes.h"
#include "collector/rollup/rollup_ready.h"
#include "collector/rollup/rollup_table.h"
#include "collector/sqlite/db_error.h"
#include "common/cleanup.h"

/* No more segments are taken once there are so many rows. */
#define ENOUGH_ROWS 65536
#define DAY_MS	    INT64_C(86400000)

struct maker {
	sqlite3 *db;
	struct rollup *rollup;
	struct address_book *book;
	struct host_minutes *reported;
	struct rollup_ready *ready;
	struct rollup_table fine, minutes, hours;
	size_t n_rows; /* that make these two */
	struct scan_rows *rows;
	struct item {
		int64_t id;
		uint64_t n_rows, min_end_ms, max_end_ms;
	} items[ROLLUP_MAX_SEGMENTS + 1];
	size_t n;
};

static const char list_sql[] =
	"SELECT id, n_rows, min_end_ms, max_end_ms, (SELECT segment_id FROM rollup_state)"
	" FROM flow_segment WHERE id > (SELECT segment_id FROM rollup_state) ORDER BY id LIMIT ?";

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)
DEFINE_CLEANUP(struct rollup *, rollup_free)

void rollup_free(struct rollup *r)
{
	if (!r)
		return;
	free(r->minutes);
	free(r->hours);
	free(r);
}

/* One more than are taken: where there is none, the last of them is the last of all. */
static int list_segments(struct maker *m, size_t small_rows)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(m->db, list_sql, -1, &st, NULL);

	if (rc != SQLITE_OK)
		return db_last_errno(m->db);
	(void)sqlite3_bind_int(st, 1, ROLLUP_MAX_SEGMENTS + 1); /* a parameter that is there */
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		m->items[m->n++] = (struct item){
			.id = sqlite3_column_int64(st, 0),
			.n_rows = (uint64_t)sqlite3_column_int64(st, 1),
			.min_end_ms = (uint64_t)sqlite3_column_int64(st, 2),
			.max_end_ms = (uint64_t)sqlite3_column_int64(st, 3),
		};
		m->rollup->after = sqlite3_column_int64(st, 4);
	}
	if (m->n == ROLLUP_MAX_SEGMENTS + 1 || (m->n && m->items[m->n - 1].n_rows < small_rows))
		m->n--;
	return rc == SQLITE_DONE ? 0 : db_last_errno(m->db);
}

/* Of records, as they are claimed: nothing can be added to them from then on. */
static int add_rows(struct maker *m, struct rollup_table *fine)
{
	int err;

	rollup_table_settle(fine, m->reported);
	err = rollup_table_add_minutes(&m->minutes, fine);
	return err ? err : rollup_table_add_hours(&m->hours, fine);
}

/* One that has gone since it was listed was deleted by retention: there is nothing to add. */
static int read_segment(struct maker *m, const struct item *item)
{
	const struct catalog_range only = {.after = item->id - 1, .until = item->id};
	struct rollup *r = m->rollup;
	struct flow_columns columns = {{0}};
	struct scan *scan = NULL;
	int err;

	rollup_table_columns(&columns);
	err = scan_open_range(m->db, &only, NULL, &columns, &scan);
	while (!err && (err = scan_next(scan, &m->rows)) > 0)
		err = rollup_table_add(&m->fine, &m->rows->block, m->book);
	if (!err && scan_totals(scan).damaged_blocks)
		r->gaps[r->n_gaps++] = (struct rollup_gap){item->id, item->n_rows, item->min_end_ms,
							   item->max_end_ms};
	scan_close(scan);
	return err;
}

static int add_segment(struct maker *m, const struct item *item)
{
	struct rollup_table *ready = m->ready ? rollup_ready_find(m->ready, item->id) : NULL;
	size_t before = m->fine.n;
	int err = ready ? add_rows(m, ready) : read_segment(m, item);

	m->n_rows += ready ? ready->n : m->fine.n - before;
	m->rollup->until = item->id;
	return err;
}

/* The hosts' clocks may be apart by as much as a day (intake.c). */
static int load_reported(struct maker *m)
{
	int64_t since_ms = INT64_MAX, until_ms = 0;

	for (size_t i = 0; i < m->n; i++) {
		int64_t min = (int64_t)m->items[i].min_end_ms,
			max = (int64_t)m->items[i].max_end_ms;

		since_ms = min < since_ms ? min : since_ms;
		until_ms = max > until_ms ? max : until_ms;
	}
	return host_minutes_load(m->db, HOST_MINUTES_REPORTED, since_ms - DAY_MS, until_ms + DAY_MS,
				 &m->reported);
}

static int make(struct maker *m)
{
	int err = address_book_load(m->db, &m->book);

	if (!err)
		err = load_reported(m);
	if (!err && m->ready)
		rollup_ready_check(m->ready, m->book);
	for (size_t i = 0; !err && i < m->n && m->n_rows < ENOUGH_ROWS; i++)
		err = add_segment(m, &m->items[i]);
	if (!err)
		err = add_rows(m, &m->fine);
	if (err)
		return err;
	rollup_table_sort(&m->minutes);
	rollup_table_sort(&m->hours);
	m->rollup->n_minutes = m->minutes.n;
	m->rollup->minutes = take_ptr(m->minutes.rows);
	m->rollup->n_hours = m->hours.n;
	m->rollup->hours = take_ptr(m->hours.rows);
	return 1;
}

int rollup_make(sqlite3 *db, size_t at_least, size_t small_rows, struct rollup_ready *ready,
		struct rollup **ret)
{
	cleanup(rollup_free_p) struct rollup *r = calloc(1, sizeof(*r));
	struct maker m = {.db = db, .rollup = r, .ready = ready};
	int err;

	if (!r)
		return -ENOMEM;
	err = list_segments(&m, small_rows);
	if (!err && ready)
		rollup_ready_forget(ready, r->after);
	if (!err && m.n > 0 && m.n >= at_least)
		err = make(&m);
	rollup_table_done(&m.fine);
	rollup_table_done(&m.minutes);
	rollup_table_done(&m.hours);
	scan_rows_free(m.rows);
	address_book_free(m.book);
	host_minutes_free(m.reported);
	if (err > 0)
		*ret = take_ptr(r);
	return err;
}
