/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * statement.h - SQL of ours, compiled or run, with what went wrong as -errno.
 *
 * Threads: those of db. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_SQLITE_STATEMENT_H
#define WEIR_COLLECTOR_SQLITE_STATEMENT_H

#include <stddef.h>

#include <sqlite3.h>

/* *ret: sqlite3_finalize(). */
int statement_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret);

/* Runs statements that give no rows. */
int statement_exec(sqlite3 *db, const char *sql);

/*
 * n statements that are kept for long. Those before an error are there, and the
 * others as they were: NULL, if statements_finalize() is to be called.
 */
int statements_prepare(sqlite3 *db, const char *const *sql, size_t n, sqlite3_stmt **ret);
void statements_finalize(sqlite3_stmt *const *st, size_t n);

#endif /* WEIR_COLLECTOR_SQLITE_STATEMENT_H */
