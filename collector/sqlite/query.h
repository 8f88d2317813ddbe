/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * query.h - one SQL statement built from pieces, with the values of the user
 * kept apart as parameters.
 *
 * Text given to query_add() is ours; whatever a user or the network wrote goes
 * through query_bind_*(). Out of memory sticks and comes out of
 * query_prepare(), so that builders need not check each piece.
 */
#ifndef WEIR_COLLECTOR_SQLITE_QUERY_H
#define WEIR_COLLECTOR_SQLITE_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <sqlite3.h>

struct query_value;

/* Private to query.c; here so that it can be a local. */
struct query {
	sqlite3_str *sql;
	struct query_value *values;
	size_t n_values, max_values;
	bool out_of_memory;
};

void query_init(struct query *q);
void query_done(struct query *q);

/* Appends SQL text. */
void query_add(struct query *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Keeps a value (texts are copied) and returns its number, to be written as ?N. */
unsigned query_bind_int(struct query *q, int64_t value);
unsigned query_bind_text(struct query *q, const char *value);

/*
 * Compiles the statement with its values bound. *ret: sqlite3_finalize(); q
 * may be done before. Returns -ENOMEM, or an error of db_errno(), with
 * sqlite3_errmsg(db) to tell it.
 */
int query_prepare(struct query *q, sqlite3 *db, sqlite3_stmt **ret);

/* Prints the text and one line per value. */
void query_explain(struct query *q, FILE *out);

#endif /* WEIR_COLLECTOR_SQLITE_QUERY_H */
