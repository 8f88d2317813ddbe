// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/db_command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/db/db_integrity.h"
#include "collector/store/db.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/progress.h"

#define PAGES_AT_ONCE 512

DEFINE_CLEANUP(sqlite3 *, db_close)

struct backup_settings {
	struct cli_settings cli; /* first: the shared rows count on it */
	bool force;
};

/* The copy is made under a name of its own, and has its real one once it is whole. */
struct copy {
	const char *path;
	char part[PATH_MAX];
};

static int fail(const struct copy *c, int err)
{
	log_error("%s: %s", c->path, strerror(-err));
	return db_exit_code(err);
}

/*
 * All from one snapshot: an open read transaction keeps the pages as they are,
 * so that a collector that goes on writing does not make the copy begin anew.
 */
static int copy_pages(sqlite3 *from, sqlite3 *to)
{
	struct progress bar = progress_begin("copying, in pages", false);
	sqlite3_backup *backup;
	int rc = sqlite3_exec(from, "BEGIN; SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL);

	if (rc != SQLITE_OK)
		return db_last_errno(from);
	backup = sqlite3_backup_init(to, "main", from, "main");
	if (!backup)
		return db_last_errno(to);
	do {
		uint64_t total, left;

		rc = sqlite3_backup_step(backup, PAGES_AT_ONCE);
		total = (uint64_t)sqlite3_backup_pagecount(backup);
		left = (uint64_t)sqlite3_backup_remaining(backup);
		progress_show(&bar, total - left, total);
	} while (rc == SQLITE_OK);
	progress_end(&bar);
	rc = sqlite3_backup_finish(backup);
	return rc == SQLITE_OK ? 0 : db_last_errno(to);
}

/* 0, an exit status, or -errno about the copy. */
static int make_copy(sqlite3 *from, const struct copy *c)
{
	cleanup(db_close_p) sqlite3 *to = NULL;
	int fd = open(c->part, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return -errno;
	close(fd);
	if (sqlite3_open_v2(c->part, &to, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		return to ? db_last_errno(to) : -ENOMEM;
	err = copy_pages(from, to);
	return err ? err : db_integrity(to, stderr);
}

static int sync_path(const char *path, int flags)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
	int err = fd < 0 || fsync(fd) != 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

static int put_in_place(const struct copy *c)
{
	char folder[PATH_MAX];
	int err = sync_path(c->part, 0);

	if (!err && rename(c->part, c->path) != 0)
		err = -errno;
	if (err)
		return err;
	(void)snprintf(folder, sizeof(folder), "%s", c->path); /* as long as part, which fits */
	return sync_path(dirname(folder), O_DIRECTORY);
}

/* SQLite leaves these beside a file that it had open in WAL mode and could not finish with. */
static void remove_part(const struct copy *c)
{
	static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
	char path[PATH_MAX + 16];

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", c->part, ends[i]);
		(void)unlink(path);
	}
}

static int run(const void *settings, int argc, char **argv)
{
	const struct backup_settings *s = settings;
	cleanup(db_close_p) sqlite3 *db = NULL;
	struct copy c = {.path = argc == 1 ? argv[0] : ""};
	int code, err;

	if (argc != 1) {
		log_error("db backup: name the file for the copy");
		return EXIT_USAGE;
	}
	if (snprintf(c.part, sizeof(c.part), "%s.part", c.path) >= (int)sizeof(c.part))
		return fail(&c, -ENAMETOOLONG);
	if (!s->force && access(c.path, F_OK) == 0) {
		log_error("%s: there is such a file; --force replaces it", c.path);
		return EXIT_USAGE;
	}
	code = cli_open(&s->cli, &db);
	if (code)
		return code;
	remove_part(&c); /* of a backup that was killed */
	err = make_copy(db, &c);
	if (!err)
		err = put_in_place(&c);
	if (err)
		remove_part(&c);
	if (err > 0)
		log_error("%s: the copy is not whole, and was removed; is the database?", c.path);
	return err >= 0 ? err : fail(&c, err);
}

static const struct option_row rows[] = {
	{.name = "force",
	 .type = OPTION_FLAG,
	 .offset = offsetof(struct backup_settings, force),
	 .help = "replace a file of that name",
	 .cli_only = true},
};

const struct cli_command db_backup_command = {
	.command =
		{
			.name = "db backup",
			.args = "FILE",
			.summary = "a copy of one moment, checked; also while a collector serves",
			.examples = "db backup /backup/weir.db\n"
				    "WEIR_DB=/backup/weir.db weir-collector hosts\n"
				    "\n"
				    "Never copy the file with cp: what is in FILE-wal would be "
				    "missing.\n",
			.tables = {{rows, ARRAY_SIZE(rows)}, {cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct backup_settings),
	.run = run,
};
