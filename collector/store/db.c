// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "collector/flows_table/flows_table.h"
#include "collector/flowstore/segment.h"
#include "collector/flowstore/upgrade.h"
#include "collector/sqlite/statement.h"
#include "collector/store/wal_file.h"
#include "common/cleanup.h"
#include "migrations.h" /* generated: one string per file of sql/, in order */

#define N_MIGRATIONS ((int64_t)(sizeof(migrations) / sizeof(migrations[0])))

#define PATH_BYTES 4096

/*
 * SQLite copies the WAL into the file once it has about 16 MiB, so that a nearly
 * full disk is not filled by it; most fresh batches have become part of a segment by
 * then, and their pages hold something else. It is cut to 32 MiB after a reader has
 * held it open for longer.
 *
 * secure_delete, which Debian's SQLite has on, would write zeros over every
 * batch that has become part of a segment, and over what retention deletes.
 * auto_vacuum stays off: it would move pages about in every transaction; holes
 * are used before the file grows (docs/ARCHITECTURE.md).
 *
 * The cache holds what a group of batches changes: a page that goes to the log before
 * the commit may change again, and then all of the log behind it is read and written
 * once more for its checksums. What a savepoint may need again is in memory, too.
 */
#define TEXT_OF(x)  TEXT_OF_(x)
#define TEXT_OF_(x) #x
#define WRITER_PRAGMAS                                                                             \
	"PRAGMA synchronous = FULL;"                                                               \
	"PRAGMA wal_autocheckpoint = 2000;"                                                        \
	"PRAGMA secure_delete = OFF;"                                                              \
	"PRAGMA cache_size = -16384;"                                                              \
	"PRAGMA temp_store = MEMORY;"                                                              \
	"PRAGMA journal_size_limit = 33554432;"

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

static const char *why(int err)
{
	switch (err) {
	case -ENOENT:
		return "no such file or folder";
	case -EACCES:
		return "permission denied";
	case -EMEDIUMTYPE:
		return "not a weir database";
	case -EPROTO:
		return "written by a newer weir";
	case -EUCLEAN:
		return "damaged; put it aside and start with a new file, or a backup";
	case -EBUSY:
		return "another weir-collector serves it";
	case -ENOSPC:
		return "no space left on its disk";
	case -ENOMEM:
		return "out of memory";
	default:
		return "input/output error";
	}
}

/* The number that a statement gives in its only row. It gives one. */
static int read_int(sqlite3 *db, const char *sql, int64_t *ret)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc != SQLITE_ROW)
		return rc == SQLITE_DONE ? -EIO : db_last_errno(db);
	*ret = sqlite3_column_int64(st, 0);
	return 0;
}

/*
 * Whether the file is ours, and of which version (0: a new, empty file).
 * Reads the header and the schema only: a damaged page elsewhere is found when
 * it is read, as checking all of a large file would take minutes.
 */
int db_identify(sqlite3 *db, int64_t *ret_version)
{
	int64_t id = 0, version = 0, n_objects = 0;
	int err;

	err = read_int(db, "PRAGMA application_id", &id);
	if (!err)
		err = read_int(db, "PRAGMA user_version", &version);
	if (!err)
		err = read_int(db, "SELECT count(*) FROM sqlite_schema", &n_objects);
	if (err)
		return err;
	if (id == 0 && version == 0 && n_objects == 0) {
		*ret_version = 0;
		return 0;
	}
	if (id != DB_APPLICATION_ID || version < 1)
		return -EMEDIUMTYPE;
	if (version > N_MIGRATIONS)
		return -EPROTO;
	*ret_version = version;
	return 0;
}

/* Applies migration n and records it: both happen or neither does. */
static int migrate_to(sqlite3 *db, int64_t n)
{
	char mark[96];
	int err;

	(void)snprintf(mark, sizeof(mark), "PRAGMA application_id = %d; PRAGMA user_version = %d",
		       DB_APPLICATION_ID, (int)n);
	err = statement_exec(db, "BEGIN IMMEDIATE");
	if (err)
		return err;
	err = statement_exec(db, migrations[n - 1]);
	if (!err)
		err = statement_exec(db, mark);
	if (!err)
		err = statement_exec(db, "COMMIT");
	if (err && !sqlite3_get_autocommit(db))
		(void)statement_exec(db, "ROLLBACK"); /* err already says what went wrong */
	return err;
}

static int migrate(sqlite3 *db, int64_t version)
{
	int err = 0;

	while (!err && version < N_MIGRATIONS)
		err = migrate_to(db, ++version);
	return err;
}

static int set_wal(sqlite3 *db)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, "PRAGMA journal_mode = WAL", -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc != SQLITE_ROW)
		return rc == SQLITE_DONE ? -EIO : db_last_errno(db);
	return strcmp((const char *)sqlite3_column_text(st, 0), "wal") == 0 ? 0 : -EIO;
}

static void lock_fd(sqlite3_context *ctx, int n, sqlite3_value **args)
{
	(void)n;
	(void)args;
	sqlite3_result_int64(ctx, (intptr_t)sqlite3_user_data(ctx));
}

static void unlock(void *fd)
{
	close((int)(intptr_t)fd);
}

/*
 * The lock is flock(2) on FILE-lock, so it ends with the process. It hangs on
 * the connection as the data of an SQL function: SQLite calls unlock() when
 * the connection is closed, or when it cannot be tied to it.
 */
static int lock(sqlite3 *db)
{
	cleanup(close_p) int fd = -1;
	char path[PATH_BYTES];

	if (snprintf(path, sizeof(path), "%s-lock", sqlite3_db_filename(db, "main")) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		return errno == ENOSPC ? -ENOSPC : -EACCES;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK ? -EBUSY : -EIO;
	return db_errno(sqlite3_create_function_v2(db, "weir_lock_fd", 0, SQLITE_UTF8,
						   (void *)(intptr_t)take_fd(&fd), lock_fd, NULL,
						   NULL, unlock));
}

/* sqlite3_open_v2() gives a handle even when it fails, unless memory is out. */
static int open_file(const char *path, int flags, const char *vfs, sqlite3 **ret)
{
	cleanup(db_close_p) sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, vfs) !=
	    SQLITE_OK)
		return db ? db_last_errno(db) : -ENOMEM;
	(void)sqlite3_busy_timeout(db, DB_BUSY_MS); /* fails only on a bad handle */
	if (flows_table_register(db) != SQLITE_OK)
		return -ENOMEM;
	*ret = take_ptr(db);
	return 0;
}

static int open_writer(const char *path, sqlite3 **ret)
{
	cleanup(db_close_p) sqlite3 *db = NULL;
	const char *vfs = wal_file_vfs();
	int64_t version = 0;
	int err;

	if (!vfs)
		return -ENOMEM;
	err = open_file(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs, &db);
	if (err)
		return err;
	if (sqlite3_db_readonly(db, "main") == 1) /* SQLite falls back to reading */
		return -EACCES;
	err = db_identify(db, &version); /* before anything is written */
	if (!err)
		err = lock(db);
	if (!err)
		err = db_identify(db, &version); /* the collector before us may have changed it */
	if (!err && version == 0)
		err = statement_exec(db, "PRAGMA page_size = " TEXT_OF(SEGMENT_PAGE_BYTES));
	if (!err)
		err = set_wal(db);
	if (!err)
		err = statement_exec(db, WRITER_PRAGMAS);
	if (!err)
		err = migrate(db, version);
	if (!err)
		err = upgrade_rows(db);
	if (err)
		return err;
	*ret = take_ptr(db);
	return 0;
}

int db_open_writer(const char *path, sqlite3 **ret, const char **ret_why)
{
	int err = open_writer(path, ret);

	if (err)
		*ret_why = why(err);
	return err;
}

int64_t db_newest_version(void)
{
	return N_MIGRATIONS;
}

int db_version(const char *path, int64_t *ret, const char **ret_why)
{
	cleanup(db_close_p) sqlite3 *db = NULL;
	int err = open_file(path, SQLITE_OPEN_READONLY, NULL, &db);

	if (!err)
		err = db_identify(db, ret);
	if (err)
		*ret_why = why(err);
	return err;
}

int db_open_reader(const char *path, sqlite3 **ret, const char **ret_why)
{
	cleanup(db_close_p) sqlite3 *db = NULL;
	int64_t version;
	int err;

	err = open_file(path, SQLITE_OPEN_READONLY, NULL, &db);
	if (!err)
		err = db_identify(db, &version);
	if (err) {
		*ret_why = why(err);
		return err;
	}
	if (version < N_MIGRATIONS) {
		*ret_why =
			version == 0
				? "empty; weir-collector serve makes its tables"
				: "of an older weir; weir-collector serve or db migrate updates it";
		return version == 0 ? -EMEDIUMTYPE : -EPROTO;
	}
	*ret = take_ptr(db);
	return 0;
}

void db_close(sqlite3 *db)
{
	(void)sqlite3_close_v2(db); /* cannot fail; waits for open statements */
}
