// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/store/wal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The locks of readers, as bytes of DB-shm: sqlite.org/walformat.html, "WAL Locks". */
#define FIRST_READ_LOCK 123
#define LAST_READ_LOCK	127

#define BUSY_S	    15 /* since the last write: it is in use; copying it back takes a while */
#define READERS_MAX 16 /* that are named */

int wal_path(const char *db_path, char ret[WAL_PATH_MAX])
{
	int len = snprintf(ret, WAL_PATH_MAX, "%s-wal", db_path);

	return len < WAL_PATH_MAX ? 0 : -ENAMETOOLONG;
}

uint64_t wal_bytes(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

bool wal_crowded(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && (uint64_t)st.st_size >= WAL_CROWDED_BYTES &&
	       st.st_mtime + BUSY_S >= time(NULL);
}

static void read_name(int pid, char ret[32])
{
	char path[32];
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (!f || !fgets(ret, 32, f))
		(void)snprintf(ret, 32, "?");
	if (f)
		(void)fclose(f); /* was only read */
	ret[strcspn(ret, "\n")] = '\0';
}

/* A line of /proc/locks (proc(5)) that is a lock of a reader; the device is not the same as
 * stat(2)'s on every file system. */
static bool is_reader(const char *line, ino_t inode, int *ret_pid)
{
	unsigned long long on, first, last;

	return sscanf(line, "%*d: POSIX %*s READ %d %*x:%*x:%llu %llu %llu", ret_pid, &on, &first,
		      &last) == 4 &&
	       on == inode && first >= FIRST_READ_LOCK && last <= LAST_READ_LOCK &&
	       *ret_pid != getpid();
}

static bool add_once(int *pids, size_t *n, int pid)
{
	for (size_t i = 0; i < *n; i++) {
		if (pids[i] == pid)
			return false;
	}
	if (*n == READERS_MAX)
		return false;
	pids[(*n)++] = pid;
	return true;
}

size_t wal_readers(const char *db_path, char *ret, size_t size)
{
	char path[WAL_PATH_MAX], line[256], name[32];
	int pids[READERS_MAX], pid, len;
	size_t n = 0, at = 0;
	struct stat st;
	FILE *f;

	ret[0] = '\0';
	if (snprintf(path, sizeof(path), "%s-shm", db_path) >= (int)sizeof(path) ||
	    stat(path, &st) != 0)
		return 0;
	f = fopen("/proc/locks", "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (!is_reader(line, st.st_ino, &pid) || !add_once(pids, &n, pid))
			continue;
		read_name(pid, name);
		len = snprintf(ret + at, size - at, "%s%s (pid %d)", at ? ", " : "", name, pid);
		if (len < 0 || (size_t)len >= size - at)
			ret[at] = '\0'; /* no half of a name */
		else
			at += (size_t)len;
	}
	if (f)
		(void)fclose(f); /* was only read */
	return n;
}
