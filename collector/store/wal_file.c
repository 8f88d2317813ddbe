// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/store/wal_file.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <sqlite3.h>

/* As SQLite wants it: the file of the layer below lies behind it. */
struct wal_file {
	sqlite3_file base;
	uint8_t *waiting; /* n bytes that belong to offset at */
	sqlite3_int64 at;
	int n;
	sqlite3_file real[];
};

static sqlite3_file *real(sqlite3_file *f)
{
	return ((struct wal_file *)f)->real;
}

/* What cannot be written goes on waiting: the log never has a hole before a commit. */
static int flush(sqlite3_file *f)
{
	struct wal_file *w = (struct wal_file *)f;
	int rc = SQLITE_OK;

	if (w->n)
		rc = w->real->pMethods->xWrite(w->real, w->waiting, w->n, w->at);
	if (rc == SQLITE_OK)
		w->n = 0;
	return rc;
}

/* A header or a page: far less than WAL_FILE_BYTES. */
static int file_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
	struct wal_file *w = (struct wal_file *)f;

	if (at != w->at + w->n || n > (int)WAL_FILE_BYTES - w->n) {
		int rc = flush(f);

		if (rc != SQLITE_OK)
			return rc;
		w->at = at;
	}
	memcpy(w->waiting + w->n, data, (size_t)n);
	w->n += n;
	return SQLITE_OK;
}

static int file_close(sqlite3_file *f)
{
	int flushed = flush(f), closed = real(f)->pMethods->xClose(real(f));

	sqlite3_free(((struct wal_file *)f)->waiting);
	return flushed != SQLITE_OK ? flushed : closed;
}

static int file_read(sqlite3_file *f, void *ret, int n, sqlite3_int64 at)
{
	const struct wal_file *w = (const struct wal_file *)f;
	bool waits = at < w->at + w->n && at + n > w->at;
	int rc = waits ? flush(f) : SQLITE_OK;

	return rc != SQLITE_OK ? rc : real(f)->pMethods->xRead(real(f), ret, n, at);
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int rc = flush(f);

	return rc != SQLITE_OK ? rc : real(f)->pMethods->xTruncate(real(f), size);
}

static int file_sync(sqlite3_file *f, int flags)
{
	int rc = flush(f);

	return rc != SQLITE_OK ? rc : real(f)->pMethods->xSync(real(f), flags);
}

static int file_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	int rc = flush(f);

	return rc != SQLITE_OK ? rc : real(f)->pMethods->xFileSize(real(f), ret);
}

static int file_lock(sqlite3_file *f, int level)
{
	return real(f)->pMethods->xLock(real(f), level);
}

static int file_unlock(sqlite3_file *f, int level)
{
	return real(f)->pMethods->xUnlock(real(f), level);
}

static int file_check_lock(sqlite3_file *f, int *ret)
{
	return real(f)->pMethods->xCheckReservedLock(real(f), ret);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
	return real(f)->pMethods->xFileControl(real(f), op, arg);
}

static int file_sector_size(sqlite3_file *f)
{
	return real(f)->pMethods->xSectorSize(real(f));
}

static int file_traits(sqlite3_file *f)
{
	return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

/* Version 1: a log is neither mapped nor shared as memory. */
static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_check_lock,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_traits,
};

/* Set once, then SQLite's: it keeps a list of them. */
static sqlite3_vfs vfs, *below;

static int open_file(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	struct wal_file *w = (struct wal_file *)f;
	int rc;

	(void)v;
	if (!(flags & SQLITE_OPEN_WAL))
		return below->xOpen(below, name, f, flags, ret_flags);
	*w = (struct wal_file){.waiting = sqlite3_malloc(WAL_FILE_BYTES)};
	if (!w->waiting)
		return SQLITE_NOMEM;
	rc = below->xOpen(below, name, w->real, flags, ret_flags);
	if (rc == SQLITE_OK)
		w->base.pMethods = &methods;
	else
		sqlite3_free(w->waiting);
	return rc;
}

static void register_vfs(void)
{
	below = sqlite3_vfs_find(NULL);
	if (!below)
		return;
	vfs = *below; /* whose other functions need nothing but what is in it */
	vfs.zName = "weir";
	vfs.szOsFile = (int)sizeof(struct wal_file) + below->szOsFile;
	vfs.xOpen = open_file;
	if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK)
		below = NULL;
}

const char *wal_file_vfs(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, register_vfs); /* cannot fail */
	return below ? vfs.zName : NULL;
}
