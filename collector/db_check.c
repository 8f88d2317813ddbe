// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db_command.h"

#include "collector/db.h"
#include "collector/db_integrity.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

DEFINE_CLEANUP(sqlite3 *, db_close)

static int run(const void *settings, int argc, char **argv)
{
	const struct cli_settings *s = settings;
	cleanup(db_close_p) sqlite3 *db = NULL;
	int code = cli_open(s, &db);
	int err;

	(void)argc; /* takes no arguments */
	(void)argv;
	if (code)
		return code;
	err = db_integrity(db, stdout);
	if (err < 0)
		return cli_fail(db, err);
	if (err)
		log_error("%s: damaged; a backup that is whole is the way back", cli_db_path(s));
	else if (!s->quiet)
		log_info("%s: whole", cli_db_path(s));
	return err;
}

const struct cli_command db_check_command = {
	.command =
		{
			.name = "db check",
			.summary = "reads all of the database: is it whole? exit status 3: no",
			.tables = {{cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct cli_settings),
	.run = run,
};
