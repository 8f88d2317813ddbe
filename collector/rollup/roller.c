// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/rollup/roller.h"

#include <stdbool.h>

#include "collector/flowstore/compactor.h"
#include "collector/rollup/rollup.h"
#include "collector/sqlite/db_error.h"
#include "common/cleanup.h"
#include "common/clock.h"

#define LOOK_NS	  (1000 * NS_PER_MS)
#define DUE_NS	  (60000 * NS_PER_MS)
#define STORED_NS (60000 * NS_PER_MS)

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

/* Whether the last one is in the tables, or has not come there for long. 1, 0 or an error. */
static int is_settled(const struct roller *r, uint64_t now_ns)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;

	if (!r->until || now_ns - r->at_ns > STORED_NS)
		return 1;
	if (sqlite3_prepare_v2(r->db, "SELECT segment_id FROM rollup_state", -1, &st, NULL) !=
		    SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW)
		return db_last_errno(r->db);
	return sqlite3_column_int64(st, 0) >= r->until;
}

void roller_done(struct roller *r)
{
	rollup_ready_done(&r->ready);
}

int roller_step(struct roller *r, uint64_t now_ns, struct rollup **ret)
{
	int err;

	if (now_ns < r->look_ns)
		return 0;
	err = is_settled(r, now_ns);
	if (err <= 0)
		return err;
	r->until = 0;
	err = rollup_make(r->db, now_ns >= r->due_ns ? 1 : ROLLER_SEGMENTS, SEGMENT_ROWS / 2,
			  &r->ready, ret);
	if (err > 0) {
		r->until = (*ret)->until;
		r->at_ns = now_ns;
		r->due_ns = now_ns + DUE_NS;
	} else {
		r->look_ns = now_ns + LOOK_NS;
	}
	return err;
}
