/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * binder.h - the values of a prepared statement, bound one after another.
 *
 *	struct binder b = binder_start(st);
 *	binder_int(&b, host_id);
 *	binder_text(&b, name);
 *	err = binder_run(&b);
 *
 * The first error sticks and comes out at the end. Texts and blobs are
 * borrowed until then.
 */
#ifndef WEIR_COLLECTOR_SQLITE_BINDER_H
#define WEIR_COLLECTOR_SQLITE_BINDER_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

struct binder {
	sqlite3_stmt *st;
	int last; /* number of the last parameter that was bound */
	int err;
};

/* st is borrowed and must be reset. */
struct binder binder_start(sqlite3_stmt *st);

void binder_null(struct binder *b);
void binder_int(struct binder *b, int64_t value);
void binder_count(struct binder *b, uint64_t value);  /* -EINVAL above INT64_MAX */
void binder_real(struct binder *b, double value);     /* NAN is NULL */
void binder_text(struct binder *b, const char *text); /* NULL is NULL */
void binder_blob(struct binder *b, const void *data, size_t len);

/* Runs a statement to its end and resets it. Returns 0 or an error of db_errno(). */
int binder_run(struct binder *b);

/*
 * The next row, for sqlite3_column_*() and then binder_end(). Returns 1, or 0
 * when there is none, or an error of db_errno().
 */
int binder_row(struct binder *b);
void binder_end(struct binder *b);

#endif /* WEIR_COLLECTOR_SQLITE_BINDER_H */
