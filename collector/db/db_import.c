// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/db_command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collector/db/import_source.h"
#include "collector/db/importer.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"

DEFINE_CLEANUP(FILE *, fclose)
DEFINE_CLEANUP(struct importer *, importer_close)

/* Whether it is an SQLite file; what cannot be read is told by who reads it. */
static bool is_database(const char *path)
{
	static const char magic[] = "SQLite format 3"; /* and its NUL */
	cleanup(fclose_p) FILE *in = fopen(path, "re");
	char head[sizeof(magic)] = "";

	return in && fread(head, 1, sizeof(head), in) == sizeof(head) &&
	       memcmp(head, magic, sizeof(magic)) == 0;
}

static int run(const void *settings, int argc, char **argv)
{
	const struct cli_settings *s = settings;
	cleanup(importer_close_p) struct importer *i = NULL;
	int64_t now_ms = (int64_t)(clock_real_ns() / NS_PER_MS);
	const char *path = cli_db_path(s), *why = "";
	int err, code = EXIT_OK;

	if (argc == 0) {
		log_error("db import: name the files");
		return EXIT_USAGE;
	}
	err = importer_open(path, &i, &why);
	if (err) {
		log_error("%s: %s%s", path, why,
			  err == -EBUSY ? "; stop it first, or import into another file" : "");
		return db_exit_code(err);
	}
	for (int f = 0; f < argc; f++) {
		int this = is_database(argv[f]) ? import_database(i, argv[f], now_ms)
						: import_table_file(i, argv[f], now_ms);

		code = code ? code : this;
	}
	return code;
}

const struct cli_command db_import_command = {
	.command =
		{
			.name = "db import",
			.args = "FILE...",
			.summary = "flow records out of CSV, NDJSON or another weir database",
			.examples =
				"db export --as ndjson --since 1d > day.ndjson\n"
				"db import --db other.db day.ndjson\n"
				"db import --db all.db site1.db site2.db\n"
				"\n"
				"Not while a collector serves the database. A file is imported as "
				"a "
				"whole or not\nat all, and once; a database that was interrupted "
				"goes "
				"on. Hosts of files go by name,\nthose of databases by their "
				"probe; "
				"unknown ones are made. CSV has lost which texts\nbegan with an "
				"apostrophe; NDJSON gives all back.\n",
			.tables = {{cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct cli_settings),
	.run = run,
};
