/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * db.h - opening the collector's database: schema, versions, who may write.
 *
 * One connection of one process writes and checkpoints (the WAL-reset bug of
 * SQLite 3.7.0 to 3.51.2 needs two); a lock file beside the database keeps a
 * second `serve` out. Everybody else reads.
 *
 * Errors: those of collector/sqlite/db_error.h, and a constant text in *ret_why that
 * names the file's trouble.
 */
#ifndef WEIR_COLLECTOR_STORE_DB_H
#define WEIR_COLLECTOR_STORE_DB_H

#include <stdint.h>

#include <sqlite3.h>

#include "collector/sqlite/db_error.h"

#define DB_APPLICATION_ID 0x77656972 /* "weir" */
#define DB_BUSY_MS	  5000	     /* how long a connection waits for a lock */

/* Creates or migrates path and holds PATH-lock until it is closed; WAL, synchronous=FULL. *ret:
 * release with db_close(). */
int db_open_writer(const char *path, sqlite3 **ret, const char **ret_why);

/* Of the schema that this weir writes. */
int64_t db_newest_version(void);
/* That of an open connection: -EPROTO, -EMEDIUMTYPE and others, as below. */
int db_identify(sqlite3 *db, int64_t *ret);
/* That of path, 0: an empty file. Errors as of db_open_reader(), which takes the newest only. */
int db_version(const char *path, int64_t *ret, const char **ret_why);

/* Opens path read-only while a collector may be writing it. Release with db_close(). */
int db_open_reader(const char *path, sqlite3 **ret, const char **ret_why);

/* NULL is a no-op. */
void db_close(sqlite3 *db);

#endif /* WEIR_COLLECTOR_STORE_DB_H */
