// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "common/private_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

#define PATH_BYTES 4096

static int fail(int err, const char **ret_why)
{
	*ret_why = err == -EFBIG ? "too long" : strerror(-err);
	return err;
}

/* The folder of path, for openat(); *ret_name: the rest. */
static int open_folder(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_BYTES] = ".";
	int fd;

	*ret_name = slash ? slash + 1 : path;
	if (slash && snprintf(folder, sizeof(folder), "%.*s/", (int)(slash - path), path) >=
			     (int)sizeof(folder))
		return -ENAMETOOLONG;
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Whose files are good: ours, and to root those of the folder's owner. */
static bool may_own(int folder_fd, uid_t uid)
{
	struct stat folder;

	if (uid == geteuid())
		return true;
	return geteuid() == 0 && fstat(folder_fd, &folder) == 0 && folder.st_uid == uid;
}

static int check(int folder_fd, int fd, const char **ret_why)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return fail(-errno, ret_why);
	if (!S_ISREG(st.st_mode))
		*ret_why = "not a regular file";
	else if (!may_own(folder_fd, st.st_uid))
		*ret_why = "belongs to another user";
	else if (st.st_mode & 077)
		*ret_why = "others may read or write it; its mode must be 0600";
	else
		return 0;
	return -EACCES;
}

int private_file_read(const char *path, char *buf, size_t size, size_t *ret_len,
		      const char **ret_why)
{
	cleanup(close_p) int folder_fd = -1, fd = -1;
	const char *name;
	size_t len = 0;
	ssize_t n;
	int err;

	folder_fd = open_folder(path, &name);
	if (folder_fd < 0)
		return fail(folder_fd, ret_why);
	fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fail(-errno, ret_why);
	err = check(folder_fd, fd, ret_why);
	if (err)
		return err;
	while ((n = read(fd, buf + len, size - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		return fail(-errno, ret_why);
	if (len == size)
		return fail(-EFBIG, ret_why);
	buf[len] = '\0';
	*ret_len = len;
	return 0;
}

/* Root writes for the owner of the folder. */
static int give_away(int folder_fd, int fd)
{
	struct stat folder;

	if (geteuid() != 0 || fstat(folder_fd, &folder) != 0 || folder.st_uid == 0)
		return 0;
	return fchown(fd, folder.st_uid, folder.st_gid) == 0 ? 0 : -errno;
}

static int fill(int folder_fd, const char *name, const char *data, size_t len)
{
	cleanup(close_p) int fd = -1;
	size_t done = 0;
	int err;

	fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = give_away(folder_fd, fd);
	while (!err && done < len) {
		ssize_t n = write(fd, data + done, len - done);

		if (n < 0)
			err = -errno;
		else
			done += (size_t)n;
	}
	if (!err && fsync(fd) != 0)
		err = -errno;
	return err;
}

int private_file_write(const char *path, const char *data, size_t len, bool replace,
		       const char **ret_why)
{
	cleanup(close_p) int folder_fd = -1;
	char temporary[PATH_BYTES];
	const char *name;
	int err;

	folder_fd = open_folder(path, &name);
	if (folder_fd < 0)
		return fail(folder_fd, ret_why);
	if (snprintf(temporary, sizeof(temporary), "%s.new.%d", name, (int)getpid()) >=
	    (int)sizeof(temporary))
		return fail(-ENAMETOOLONG, ret_why);
	(void)unlinkat(folder_fd, temporary, 0); /* of a process that was killed */
	err = fill(folder_fd, temporary, data, len);
	if (!err && (replace ? renameat(folder_fd, temporary, folder_fd, name)
			     : linkat(folder_fd, temporary, folder_fd, name, 0)) != 0)
		err = -errno;
	if (err || !replace)
		(void)unlinkat(folder_fd, temporary, 0); /* at worst a private file stays */
	if (!err && fsync(folder_fd) != 0)
		err = -errno;
	return err ? fail(err, ret_why) : 0;
}

int private_folder_make(const char *path)
{
	return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -errno;
}
