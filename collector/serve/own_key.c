// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/own_key.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collector/serve/admin.h"
#include "collector/serve/store.h"
#include "collector/store/db.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"

#define SUFFIX	   "-key"
#define PATH_BYTES 4096

static int make_path(const char *db_path, char ret[PATH_BYTES])
{
	if (snprintf(ret, PATH_BYTES, "%s" SUFFIX, db_path) < PATH_BYTES)
		return EXIT_OK;
	log_error("%s: its name is too long", db_path);
	return EXIT_USAGE;
}

static int fail(const char *path, int err, const char *why)
{
	log_error("%s: %s", path, why);
	return err == -ENOSPC ? EXIT_DISK_FULL : err == -EACCES ? EXIT_PERMISSION : EXIT_RUNTIME;
}

int own_key_get(const char *db_path, struct key_pair *ret, bool *ret_new)
{
	char path[PATH_BYTES];
	const char *why = NULL;
	int code = make_path(db_path, path), err;

	if (code)
		return code;
	*ret_new = false;
	err = key_load(path, ret, &why);
	if (err == -ENOENT) {
		*ret_new = true;
		err = key_make(ret);
		why = strerror(-err);
	}
	return err ? fail(path, err, why) : EXIT_OK;
}

static int save(const char *path, const struct key_pair *pair, struct store *store)
{
	const char *why = NULL;
	int hosts = store_has_admitted(store), err;

	if (hosts < 0) {
		log_error("cannot read the database: %s", strerror(-hosts));
		return db_exit_code(hosts);
	}
	if (hosts) {
		log_error("%s is gone, but hosts know this collector by it: put it back from a "
			  "backup, or revoke all hosts and enroll them again",
			  path);
		return EXIT_RUNTIME;
	}
	err = key_save(path, pair, false, &why);
	if (err)
		return fail(path, err, why);
	log_info("%s: made a new key for this collector", path);
	return EXIT_OK;
}

int own_key_keep(const char *db_path, const struct key_pair *pair, bool is_new, struct store *store)
{
	char path[PATH_BYTES], text[KEY_TEXT_BYTES];
	const char *words[] = {"init-key", text};
	struct admin_reply reply;
	int code = make_path(db_path, path), err;

	if (!code && is_new)
		code = save(path, pair, store);
	if (code)
		return code;
	key_format(pair->public_key, text);
	err = store_command(store, 2, words, (int64_t)(clock_real_ns() / NS_PER_MS), &reply);
	if (err)
		log_error("cannot write the database: %s",
			  err == -ENOSPC ? "no space left on its disk" : strerror(-err));
	return db_exit_code(err);
}
