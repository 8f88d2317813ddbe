// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/sqlite/binder.h"

#include <errno.h>
#include <math.h>

#include "collector/sqlite/db_error.h"

struct binder binder_start(sqlite3_stmt *st)
{
	return (struct binder){.st = st};
}

static void note(struct binder *b, int rc)
{
	if (rc != SQLITE_OK && !b->err)
		b->err = db_errno(rc);
}

void binder_null(struct binder *b)
{
	note(b, sqlite3_bind_null(b->st, ++b->last));
}

void binder_int(struct binder *b, int64_t value)
{
	note(b, sqlite3_bind_int64(b->st, ++b->last, value));
}

void binder_count(struct binder *b, uint64_t value)
{
	if (value > INT64_MAX && !b->err)
		b->err = -EINVAL;
	binder_int(b, (int64_t)value);
}

void binder_real(struct binder *b, double value)
{
	if (isnan(value))
		binder_null(b);
	else
		note(b, sqlite3_bind_double(b->st, ++b->last, value));
}

void binder_text(struct binder *b, const char *text)
{
	note(b, sqlite3_bind_text(b->st, ++b->last, text, -1, SQLITE_STATIC));
}

void binder_blob(struct binder *b, const void *data, size_t len)
{
	note(b, sqlite3_bind_blob64(b->st, ++b->last, data, len, SQLITE_STATIC));
}

int binder_row(struct binder *b)
{
	int rc;

	if (b->err)
		return b->err;
	rc = sqlite3_step(b->st);
	if (rc == SQLITE_ROW)
		return 1;
	b->err = rc == SQLITE_DONE ? 0 : db_last_errno(sqlite3_db_handle(b->st));
	return b->err;
}

void binder_end(struct binder *b)
{
	(void)sqlite3_reset(b->st);	     /* repeats the code of the step */
	(void)sqlite3_clear_bindings(b->st); /* always OK */
}

int binder_run(struct binder *b)
{
	int more = b->err ? b->err : 1;

	while (more > 0)
		more = binder_row(b);
	binder_end(b);
	return more;
}
