// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/datapath/pins.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "common/cleanup.h"
#include "common/log.h"

#define BPFFS_MAGIC 0xcafe4a11 /* BPF_FS_MAGIC of <linux/magic.h> */
#define LINK_PREFIX "link-"

struct pins {
	char folder[PATH_MAX];
	int fd; /* of the folder, locked */
};

DEFINE_CLEANUP(DIR *, closedir)

static bool in_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPFFS_MAGIC;
}

static int make_folder(const char *path)
{
	return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -errno;
}

/* base, or the folder that it will be made in. */
static bool is_possible(const char *base)
{
	cleanup(free_p) char *parent = strdup(base);
	char *slash = parent ? strrchr(parent, '/') : NULL;

	if (in_bpffs(base))
		return true;
	if (!slash || slash == parent)
		return false;
	*slash = '\0';
	return in_bpffs(parent);
}

static int open_folder(const char *folder, struct pins **ret)
{
	struct pins *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->fd = -1;
	if (snprintf(p->folder, sizeof(p->folder), "%s", folder) >= (int)sizeof(p->folder)) {
		pins_close(p);
		return -ENAMETOOLONG;
	}
	p->fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->fd < 0 || flock(p->fd, LOCK_EX | LOCK_NB) != 0) {
		int err = errno == EWOULDBLOCK ? -EBUSY : -errno;

		pins_close(p);
		return err;
	}
	*ret = p;
	return 0;
}

/* BASE/NETNS. */
static int folder_here(const char *base, char ret[static PATH_MAX])
{
	struct stat ns;

	if (stat("/proc/self/ns/net", &ns) != 0)
		return -errno;
	if (snprintf(ret, PATH_MAX, "%s/%" PRIu64, base, (uint64_t)ns.st_ino) >= PATH_MAX)
		return -ENAMETOOLONG;
	return 0;
}

int pins_check(const char *base)
{
	if (!is_possible(base))
		return -ENOTSUP;
	if (access(base, W_OK | X_OK) == 0)
		return 0;
	return errno == ENOENT ? 0 : -errno;
}

int pins_open(const char *base, struct pins **ret)
{
	char folder[PATH_MAX];
	int err;

	if (!is_possible(base))
		return -ENOTSUP;
	err = make_folder(base);
	if (!err)
		err = folder_here(base, folder);
	if (!err)
		err = make_folder(folder);
	return err ? err : open_folder(folder, ret);
}

void pins_close(struct pins *p)
{
	if (!p)
		return;
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

const char *pins_folder(const struct pins *p)
{
	return p->folder;
}

/* -errno if it does not fit. */
static int path_of(const struct pins *p, const char *name, char ret[static PATH_MAX])
{
	return snprintf(ret, PATH_MAX, "%s/%s", p->folder, name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int pins_get(const struct pins *p, const char *name)
{
	char path[PATH_MAX];
	int fd = path_of(p, name, path);

	if (fd)
		return fd;
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

int pins_put(const struct pins *p, const char *name, int fd)
{
	char path[PATH_MAX];
	int err = path_of(p, name, path);

	if (err)
		return err;
	return bpf_obj_pin(fd, path) == 0 ? 0 : -errno;
}

void pins_remove(const struct pins *p, const char *name)
{
	if (unlinkat(p->fd, name, 0) != 0 && errno != ENOENT)
		log_warn("cannot remove %s/%s: %s", p->folder, name, strerror(errno));
}

void pins_each(const struct pins *p, void (*fn)(const char *name, void *arg), void *arg)
{
	cleanup(closedir_p) DIR *dir = opendir(p->folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			fn(entry->d_name, arg);
}

static void remove_link(const char *name, void *arg)
{
	if (strncmp(name, LINK_PREFIX, strlen(LINK_PREFIX)) == 0)
		pins_remove(arg, name);
}

static void remove_any(const char *name, void *arg)
{
	pins_remove(arg, name);
}

void pins_clear(const struct pins *p)
{
	pins_each(p, remove_link, (void *)p);
	pins_each(p, remove_any, (void *)p);
}

void pins_destroy(const struct pins *p)
{
	pins_clear(p);
	if (rmdir(p->folder) != 0)
		log_debug("cannot remove %s: %s", p->folder, strerror(errno));
}

/* --- cleanup ---------------------------------------------------------------------- */

static int clean_folder(const char *folder)
{
	struct pins *p = NULL;
	int err = open_folder(folder, &p);

	if (err == -EBUSY) {
		log_info("%s: its probe runs", folder);
		return 0;
	}
	if (err || !p)
		return err == -ENOENT ? 0 : err;
	pins_destroy(p);
	pins_close(p);
	log_info("%s: removed", folder);
	return 1;
}

static int clean_all(const char *base)
{
	cleanup(closedir_p) DIR *dir = opendir(base);
	char folder[PATH_MAX];
	struct dirent *entry;
	int n = 0, done;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' ||
		    snprintf(folder, sizeof(folder), "%s/%s", base, entry->d_name) >= PATH_MAX)
			continue;
		done = clean_folder(folder);
		if (done < 0)
			return done;
		n += done;
	}
	return n;
}

int pins_cleanup(const char *base, bool all)
{
	char folder[PATH_MAX];
	int err;

	if (all)
		return clean_all(base);
	err = folder_here(base, folder);
	return err ? err : clean_folder(folder);
}
