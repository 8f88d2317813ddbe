/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* db_integrity.h - whether every page and every row of a database is right. */
#ifndef WEIR_COLLECTOR_DB_DB_INTEGRITY_H
#define WEIR_COLLECTOR_DB_DB_INTEGRITY_H

#include <stdio.h>

#include <sqlite3.h>

/*
 * SQLite's integrity_check and foreign_key_check, all of the file, which takes
 * its time. What is wrong goes to out, a line each, at most 100. Returns 0,
 * EXIT_CHECK, or an error of db_errno().
 */
int db_integrity(sqlite3 *db, FILE *out);

#endif /* WEIR_COLLECTOR_DB_DB_INTEGRITY_H */
