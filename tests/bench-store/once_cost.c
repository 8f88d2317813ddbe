// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/bench-store/once_cost.h"

#include <inttypes.h>
#include <stdio.h>

#include "collector/flowstore/scan.h"
#include "collector/once/once.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/clock.h"

DEFINE_CLEANUP(struct once *, once_close)
DEFINE_CLEANUP(struct once_memory *, once_memory_free)
DEFINE_CLEANUP(struct scan *, scan_close)
DEFINE_CLEANUP(struct scan_rows *, scan_rows_free)

/* Of all threads: what only records tell is read by several. */
static uint64_t cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static int print(sqlite3 *db, const struct predicate *p, const char *how)
{
	cleanup(once_close_p) struct once *once = NULL;
	cleanup(scan_close_p) struct scan *scan = NULL;
	cleanup(once_memory_free_p) struct once_memory *memory = NULL;
	cleanup(scan_rows_free_p) struct scan_rows *rows = NULL;
	uint64_t n = 0, set_aside = 0, start_ns = cpu_ns(), select_ns;
	struct flow_columns columns = {{0}};
	int err = once_open(db, p, &once);

	select_ns = cpu_ns() - start_ns;
	if (!err) {
		once_columns(once, &columns);
		err = scan_open(db, p, &columns, &scan);
	}
	while (!err && (err = scan_next(scan, &rows)) > 0) {
		n += rows->n_selected;
		start_ns = cpu_ns();
		err = once_select(once, &memory, rows, &set_aside);
		select_ns += cpu_ns() - start_ns;
	}
	if (!err && n > 0)
		printf("each conversation once, %s: %.1f ns of CPU a record; %" PRIu64
		       " of %" PRIu64 " set aside\n",
		       how, (double)select_ns / (double)n, set_aside, n);
	return err;
}

int once_cost_print(sqlite3 *db)
{
	/* A measurement is one host's view; this one admits every record. */
	static const struct predicate view = {
		.kind = PREDICATE_RANGE, .column = FLOW_COLUMN_packets, .high = UINT64_MAX};
	int err = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK ? 0 : db_last_errno(db);

	if (!err)
		err = print(db, NULL, "by the owners of addresses");
	if (!err)
		err = print(db, &view, "by the records alone");
	(void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL); /* it has only read */
	return err;
}
