/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * one_shot.h - a statement that is prepared, bound (binder.h) and used once:
 *
 *	cleanup(one_shot_end) struct one_shot o = one_shot_begin(db, "DELETE ... WHERE id = ?");
 *	binder_int(&o.b, id);
 *	err = one_shot_run(&o);
 *
 * Errors: those of db.h; the first one sticks.
 */
#ifndef WEIR_COLLECTOR_SQLITE_ONE_SHOT_H
#define WEIR_COLLECTOR_SQLITE_ONE_SHOT_H

#include <sqlite3.h>

#include "collector/sqlite/binder.h"
#include "collector/sqlite/db_error.h"

struct one_shot {
	sqlite3_stmt *st;
	struct binder b;
};

static inline void one_shot_end(struct one_shot *o)
{
	(void)sqlite3_finalize(o->st); /* repeats an old error at most */
}

static inline struct one_shot one_shot_begin(sqlite3 *db, const char *sql)
{
	struct one_shot o = {NULL, {0}};

	if (sqlite3_prepare_v2(db, sql, -1, &o.st, NULL) == SQLITE_OK)
		o.b = binder_start(o.st);
	else
		o.b.err = db_last_errno(db);
	return o;
}

static inline int one_shot_run(struct one_shot *o)
{
	return o->st ? binder_run(&o->b) : o->b.err;
}

static inline int one_shot_row(struct one_shot *o)
{
	return o->st ? binder_row(&o->b) : o->b.err;
}

#endif /* WEIR_COLLECTOR_SQLITE_ONE_SHOT_H */
