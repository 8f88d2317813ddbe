// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/spool/quarantine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"

#define FILES_MAX (4 * QUARANTINE_FILES) /* read of a folder, whoever has put them there */
#define HEAD	  "weir: refused at "

static void close_folder(DIR **d)
{
	if (*d)
		(void)closedir(*d); /* fails only for what is no folder */
}

static void close_file(FILE **f)
{
	if (*f)
		(void)fclose(*f); /* was read only, or has been flushed */
}

static int folder_name(const char *spool, char ret[PATH_MAX])
{
	int n = snprintf(ret, PATH_MAX, "%s.refused", spool);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* --- reading ---------------------------------------------------------------------- */

struct list {
	size_t n;
	struct quarantined files[FILES_MAX];
};

/* "EPOCH-SEQ.batch", nothing before or behind it. */
static bool parse_name(const char *name, struct quarantined *ret)
{
	char same[64];

	if (sscanf(name, "%16" SCNx64 "-%" SCNu64 ".batch", &ret->epoch, &ret->seq) != 2)
		return false;
	(void)snprintf(same, sizeof(same), "%016" PRIx64 "-%" PRIu64 ".batch", ret->epoch,
		       ret->seq);
	return strcmp(name, same) == 0;
}

static bool read_head(int folder, const char *name, struct quarantined *ret)
{
	cleanup(close_file) FILE *f = NULL;
	char line[QUARANTINE_LINE + sizeof(HEAD) + 32];
	struct stat st;
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), at = 0;

	f = fd < 0 ? NULL : fdopen(fd, "r");
	if (!f && fd >= 0)
		close(fd);
	if (!f || fstat(fd, &st) != 0 || !fgets(line, sizeof(line), f))
		return false;
	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, HEAD "%" SCNd64 " ms: %n", &ret->at_ms, &at) != 1 || at == 0)
		return false;
	ret->bytes = (uint64_t)st.st_size;
	(void)snprintf(ret->why, sizeof(ret->why), "%s", line + at);
	return true;
}

static int by_age(const void *a, const void *b)
{
	const struct quarantined *x = a, *y = b;

	if (x->at_ms != y->at_ms)
		return x->at_ms < y->at_ms ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int read_folder(const char *path, struct list *ret)
{
	cleanup(close_folder) DIR *folder = opendir(path);
	struct dirent *entry;

	ret->n = 0;
	if (!folder)
		return errno == ENOENT ? 0 : -errno;
	while (ret->n < FILES_MAX && (entry = readdir(folder)))
		if (parse_name(entry->d_name, &ret->files[ret->n]) &&
		    read_head(dirfd(folder), entry->d_name, &ret->files[ret->n]))
			ret->n++;
	qsort(ret->files, ret->n, sizeof(ret->files[0]), by_age);
	return 0;
}

int quarantine_each(const char *spool, void (*each)(const struct quarantined *q, void *arg),
		    void *arg)
{
	cleanup(free_p) struct list *list = malloc(sizeof(*list));
	char path[PATH_MAX];
	int err;

	if (!list)
		return -ENOMEM;
	err = folder_name(spool, path);
	if (!err)
		err = read_folder(path, list);
	for (size_t i = 0; !err && i < list->n; i++)
		each(&list->files[i], arg);
	return err;
}

/* --- keeping ----------------------------------------------------------------------- */

static int file_name(const char *folder, uint64_t epoch, uint64_t seq, const char *suffix,
		     char ret[PATH_MAX])
{
	int n = snprintf(ret, PATH_MAX, "%s/%016" PRIx64 "-%" PRIu64 ".batch%s", folder, epoch, seq,
			 suffix);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* One line, whatever the collector has said. */
static void one_line(const char *why, char ret[QUARANTINE_LINE])
{
	(void)snprintf(ret, QUARANTINE_LINE, "%s", why);
	for (char *p = ret; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
}

static int write_file(const char *path, const uint8_t *frame, size_t len, const char *why)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	char line[QUARANTINE_LINE];
	bool failed;

	if (!f) {
		int err = -errno;

		if (fd >= 0)
			close(fd);
		return err;
	}
	one_line(why, line);
	failed = fprintf(f, HEAD "%" PRIu64 " ms: %s\n", (uint64_t)(clock_real_ns() / NS_PER_MS),
			 line) < 0;
	failed |= fwrite(frame, 1, len, f) != len;
	failed |= fclose(f) != 0;
	return failed ? -EIO : 0;
}

/* The oldest go until files and bytes are within the bounds. */
static void make_room(const char *folder, struct list *list, unsigned *ret_dropped)
{
	uint64_t bytes = 0;
	char path[PATH_MAX];
	size_t n = list->n;

	for (size_t i = 0; i < list->n; i++)
		bytes += list->files[i].bytes;
	for (size_t i = 0; i < list->n && (n > QUARANTINE_FILES || bytes > QUARANTINE_BYTES); i++) {
		const struct quarantined *q = &list->files[i];

		if (file_name(folder, q->epoch, q->seq, "", path) != 0 || unlink(path) != 0)
			continue;
		bytes -= q->bytes;
		n--;
		(*ret_dropped)++;
	}
}

int quarantine_put(const char *spool, uint64_t epoch, uint64_t seq, const uint8_t *frame,
		   size_t len, const char *why, unsigned *ret_dropped)
{
	cleanup(free_p) struct list *list = malloc(sizeof(*list));
	char folder[PATH_MAX], part[PATH_MAX], path[PATH_MAX];
	int err;

	*ret_dropped = 0;
	if (!list)
		return -ENOMEM;
	err = folder_name(spool, folder);
	if (!err)
		err = file_name(folder, epoch, seq, ".part", part);
	if (!err)
		err = file_name(folder, epoch, seq, "", path);
	if (err)
		return err;
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		return -errno;
	err = write_file(part, frame, len, why);
	if (!err && rename(part, path) != 0)
		err = -errno;
	if (err) {
		(void)unlink(part); /* may not be there */
		return err;
	}
	err = read_folder(folder, list);
	if (!err)
		make_room(folder, list, ret_dropped);
	return err;
}
