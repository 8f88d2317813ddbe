/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * db_error.h - what SQLite says, as -errno:
 *
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
#ifndef WEIR_COLLECTOR_SQLITE_DB_ERROR_H
#define WEIR_COLLECTOR_SQLITE_DB_ERROR_H

#include <sqlite3.h>

/* An SQLite result code as -errno of the list above; 0 for OK, ROW, DONE. */
int db_errno(int rc);

/* The same for the last call on db that failed; knows why the system refused I/O. */
int db_last_errno(sqlite3 *db);

/* The exit status (common/exit_code.h) that fits an error of this list. */
int db_exit_code(int err);

#endif /* WEIR_COLLECTOR_SQLITE_DB_ERROR_H */
