/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * once.h - a statement that is prepared, bound (binder.h) and used once:
 *
 *	cleanup(once_end) struct once o = once_begin(db, "DELETE ... WHERE id = ?");
 *	binder_int(&o.b, id);
 *	err = once_run(&o);
 *
 * Errors: those of db.h; the first one sticks.
 */
#ifndef WEIR_COLLECTOR_ONCE_H
#define WEIR_COLLECTOR_ONCE_H

#include <sqlite3.h>

#include "collector/binder.h"
#include "collector/db.h"

struct once {
	sqlite3_stmt *st;
	struct binder b;
};

static inline void once_end(struct once *o)
{
	(void)sqlite3_finalize(o->st); /* repeats an old error at most */
}

static inline struct once once_begin(sqlite3 *db, const char *sql)
{
	struct once o = {NULL, {0}};

	if (sqlite3_prepare_v2(db, sql, -1, &o.st, NULL) == SQLITE_OK)
		o.b = binder_start(o.st);
	else
		o.b.err = db_last_errno(db);
	return o;
}

static inline int once_run(struct once *o)
{
	return o->st ? binder_run(&o->b) : o->b.err;
}

static inline int once_row(struct once *o)
{
	return o->st ? binder_row(&o->b) : o->b.err;
}

#endif /* WEIR_COLLECTOR_ONCE_H */
