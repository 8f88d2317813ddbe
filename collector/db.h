/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * db.h - opening the collector's database: schema, versions, who may write.
 *
 * One connection of one process writes and checkpoints (the WAL-reset bug of
 * SQLite 3.7.0 to 3.51.2 needs two); a lock file beside the database keeps a
 * second `serve` out. Everybody else reads.
 *
 * Errors: -errno, and a constant text in *ret_why that names the file's trouble:
 *	-ENOENT   no such file (readers)
 *	-EACCES   may not be opened or written
 *	-EMEDIUMTYPE  a file that is not an SQLite database, or not weir's
 *	-EPROTO   written by a newer weir
 *	-EUCLEAN  damaged
 *	-EBUSY    another collector serves it
 *	-ENOSPC   disk full
 *	-EINVAL   SQL or a value that the schema refuses (db_errno() only)
 *	-ENOMEM, -EIO
 */
#ifndef WEIR_COLLECTOR_DB_H
#define WEIR_COLLECTOR_DB_H

#include <stdint.h>

#include <sqlite3.h>

#define DB_APPLICATION_ID 0x77656972 /* "weir" */
#define DB_BUSY_MS	  5000	     /* how long a connection waits for a lock */
#define DB_PAGE_BYTES	  8192	     /* of a new database; others keep theirs */

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

/* An SQLite result code as -errno of the list above; 0 for OK, ROW, DONE. */
int db_errno(int rc);

/* The same for the last call on db that failed; knows why the system refused I/O. */
int db_last_errno(sqlite3 *db);

/* The exit status (common/exit_code.h) that fits an error of this module. */
int db_exit_code(int err);

#endif /* WEIR_COLLECTOR_DB_H */
