// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/db_command.h"

#include <inttypes.h>

#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

DEFINE_CLEANUP(sqlite3 *, db_close)

static int fail(const char *path, int err, const char *why)
{
	log_error("%s: %s", path, why);
	return db_exit_code(err);
}

static int run(const void *settings, int argc, char **argv)
{
	const struct cli_settings *s = settings;
	cleanup(db_close_p) sqlite3 *db = NULL;
	const char *path = cli_db_path(s), *why;
	int64_t from, to = db_newest_version();
	int err = db_version(path, &from, &why);

	(void)argc; /* takes no arguments */
	(void)argv;
	if (err)
		return fail(path, err, why);
	if (from < to)
		log_info("%s: from version %" PRId64 " to %" PRId64
			 "; what is interrupted goes on at the next start",
			 path, from, to);
	err = db_open_writer(path, &db, &why);
	if (err)
		return fail(path, err, why);
	log_info("%s: version %" PRId64 "%s", path, to, from < to ? "" : ", as it was");
	return EXIT_OK;
}

const struct cli_command db_migrate_command = {
	.command =
		{
			.name = "db migrate",
			.summary = "brings a database of an older weir to the schema of this one",
			.examples = "weir-collector serve does the same when it starts. There is "
				    "no way "
				    "back but a copy:\n"
				    "  sqlite3 weir.db '.backup before.db' && weir-collector db "
				    "migrate "
				    "--db weir.db\n",
			.tables = {{cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct cli_settings),
	.run = run,
};
