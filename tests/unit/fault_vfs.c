/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "tests/unit/fault_vfs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file of ours: the base, and behind it the file of the VFS below. */
struct fault_file {
	sqlite3_file base;
	sqlite3_file *real;
	char path[96]; /* "" for a temporary one */
};

/* What a write that is not synced has replaced, the latest first. */
struct undo {
	struct undo *next;
	char path[96];
	off_t at, size_before;
	size_t n;
	uint8_t bytes[];
};

static struct undo *unsynced;

static struct {
	unsigned countdown; /* 0: not armed */
	enum fault_span span;
	bool happened, failing;
} plans[2];

static sqlite3_vfs *real_vfs;
static sqlite3_vfs fault_vfs;
static sqlite3_mem_methods real_memory;

bool fault_vfs_at(enum fault_kind kind, unsigned n, enum fault_span span)
{
	bool happened = plans[kind].happened;

	plans[kind].countdown = n;
	plans[kind].span = span;
	plans[kind].happened = plans[kind].failing = false;
	return happened;
}

static bool fails(enum fault_kind kind)
{
	if (plans[kind].failing)
		return true;
	if (plans[kind].countdown == 0 || --plans[kind].countdown > 0)
		return false;
	plans[kind].happened = true;
	plans[kind].failing = plans[kind].span == FAULT_FROM_THEN_ON;
	return true;
}

/* --- files --------------------------------------------------------------------- */

static sqlite3_file *below(sqlite3_file *f)
{
	return ((struct fault_file *)f)->real;
}

static int file_close(sqlite3_file *f)
{
	return below(f)->pMethods->xClose(below(f));
}

static int file_read(sqlite3_file *f, void *buf, int n, sqlite3_int64 at)
{
	return below(f)->pMethods->xRead(below(f), buf, n, at);
}

/* Keeps n bytes from at on, as far as they are there. */
static void remember(const struct fault_file *f, off_t at, size_t n)
{
	struct undo *u = real_memory.xMalloc((int)(sizeof(*u) + n)); /* not one that fails */
	struct stat st = {0};
	int fd;

	assert_non_null(u);
	fd = open(f->path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*u = (struct undo){.next = unsynced, .at = at, .size_before = st.st_size};
	memcpy(u->path, f->path, sizeof(u->path));
	u->n = at < st.st_size ? (size_t)(st.st_size - at) : 0;
	u->n = u->n < n ? u->n : n;
	assert_int_equal(pread(fd, u->bytes, u->n, at), (ssize_t)u->n);
	close(fd);
	unsynced = u;
}

static void forget(const char *path)
{
	struct undo **at = &unsynced, *u;

	while ((u = *at)) {
		if (path && strcmp(u->path, path) != 0) {
			at = &u->next;
			continue;
		}
		*at = u->next;
		real_memory.xFree(u);
	}
}

void fault_vfs_sync_all(void)
{
	forget(NULL);
}

static void take_back(const struct undo *u)
{
	int fd = open(u->path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* deleted since */
	assert_int_equal(pwrite(fd, u->bytes, u->n, u->at), (ssize_t)u->n);
	assert_int_equal(ftruncate(fd, u->size_before), 0);
	close(fd);
}

void fault_vfs_cut_power(unsigned keep)
{
	unsigned i = 0;

	for (const struct undo *u = unsynced; u; u = u->next) {
		if (keep == 0 || ++i % keep != 0)
			take_back(u);
	}
	forget(NULL);
}

/* What did not fit is half there, as on a disk. */
static int file_write(sqlite3_file *f, const void *buf, int n, sqlite3_int64 at)
{
	const struct fault_file *file = (struct fault_file *)f;
	bool failing = fails(FAULT_WRITE);

	if (file->path[0])
		remember(file, at, (size_t)n);
	if (failing) {
		(void)below(f)->pMethods->xWrite(below(f), buf, n / 2, at);
		return SQLITE_FULL;
	}
	return below(f)->pMethods->xWrite(below(f), buf, n, at);
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	const struct fault_file *file = (struct fault_file *)f;
	sqlite3_int64 old = 0;

	if (fails(FAULT_WRITE))
		return SQLITE_IOERR_TRUNCATE;
	if (file->path[0] && below(f)->pMethods->xFileSize(below(f), &old) == SQLITE_OK &&
	    old > size)
		remember(file, size, (size_t)(old - size));
	return below(f)->pMethods->xTruncate(below(f), size);
}

static int file_sync(sqlite3_file *f, int flags)
{
	(void)flags;
	if (fails(FAULT_WRITE))
		return SQLITE_IOERR_FSYNC;
	forget(((struct fault_file *)f)->path);
	return SQLITE_OK;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	return below(f)->pMethods->xFileSize(below(f), ret);
}

static int file_lock(sqlite3_file *f, int level)
{
	return below(f)->pMethods->xLock(below(f), level);
}

static int file_unlock(sqlite3_file *f, int level)
{
	return below(f)->pMethods->xUnlock(below(f), level);
}

static int file_check_lock(sqlite3_file *f, int *ret)
{
	return below(f)->pMethods->xCheckReservedLock(below(f), ret);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
	return below(f)->pMethods->xFileControl(below(f), op, arg);
}

static int file_sector_size(sqlite3_file *f)
{
	return below(f)->pMethods->xSectorSize(below(f));
}

static int file_characteristics(sqlite3_file *f)
{
	return below(f)->pMethods->xDeviceCharacteristics(below(f));
}

static int file_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
	if (extend && fails(FAULT_WRITE))
		return SQLITE_IOERR_SHMSIZE;
	return below(f)->pMethods->xShmMap(below(f), page, size, extend, ret);
}

static int file_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return below(f)->pMethods->xShmLock(below(f), offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *f)
{
	below(f)->pMethods->xShmBarrier(below(f));
}

static int file_shm_unmap(sqlite3_file *f, int delete)
{
	return below(f)->pMethods->xShmUnmap(below(f), delete);
}

static const sqlite3_io_methods methods = {
	.iVersion = 2, /* no memory-mapped reads */
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
	.xDeviceCharacteristics = file_characteristics,
	.xShmMap = file_shm_map,
	.xShmLock = file_shm_lock,
	.xShmBarrier = file_shm_barrier,
	.xShmUnmap = file_shm_unmap,
};

/* SQLite must not call a file that is not open: pMethods NULL says that. */
static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	struct fault_file *file = (struct fault_file *)f;
	int exists = 1, rc;

	(void)vfs;
	file->base.pMethods = NULL;
	file->real = (sqlite3_file *)(file + 1);
	file->real->pMethods = NULL;
	(void)snprintf(file->path, sizeof(file->path), "%s", name ? name : "");
	if (name && flags & SQLITE_OPEN_CREATE)
		(void)real_vfs->xAccess(real_vfs, name, SQLITE_ACCESS_EXISTS, &exists);
	if (!exists && fails(FAULT_WRITE))
		return SQLITE_CANTOPEN;
	rc = real_vfs->xOpen(real_vfs, name, file->real, flags, ret_flags);
	if (file->real->pMethods)
		file->base.pMethods = &methods;
	return rc;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	(void)vfs;
	return fails(FAULT_WRITE) ? SQLITE_IOERR_DELETE
				  : real_vfs->xDelete(real_vfs, name, sync_dir);
}

/* --- memory -------------------------------------------------------------------- */

static void *memory_alloc(int size)
{
	return fails(FAULT_ALLOCATION) ? NULL : real_memory.xMalloc(size);
}

static void *memory_realloc(void *p, int size)
{
	return fails(FAULT_ALLOCATION) ? NULL : real_memory.xRealloc(p, size);
}

void fault_vfs_install(void)
{
	sqlite3_mem_methods memory;

	assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
	memory = real_memory;
	memory.xMalloc = memory_alloc;
	memory.xRealloc = memory_realloc;
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &memory), SQLITE_OK);
	/* Memory from one pool per connection would hide allocations from us. */
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
	real_vfs = sqlite3_vfs_find(NULL);
	assert_non_null(real_vfs);
	fault_vfs = *real_vfs;
	fault_vfs.zName = "fault";
	fault_vfs.szOsFile = (int)sizeof(struct fault_file) + real_vfs->szOsFile;
	fault_vfs.xOpen = vfs_open;
	fault_vfs.xDelete = vfs_delete;
	assert_int_equal(sqlite3_vfs_register(&fault_vfs, 1), SQLITE_OK);
}
