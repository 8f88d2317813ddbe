// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/db_command.h"

#include "collector/sqlite/query.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/exit_code.h"

DEFINE_CLEANUP(sqlite3 *, db_close)

/*
 * Everything in the file by table, indexes with theirs, and the pages that
 * belong to nobody. dbstat reads every page.
 */
static const char stats_sql[] =
	"WITH object AS (SELECT ifnull(s.tbl_name, d.name) AS name, sum(d.pgsize) AS bytes,"
	"   sum(d.unused) AS unused_bytes"
	"  FROM dbstat d LEFT JOIN sqlite_schema s ON s.name = d.name"
	" WHERE d.aggregate = 1 GROUP BY 1"
	" UNION ALL SELECT '(free)', n.freelist_count * p.page_size, 0"
	"  FROM pragma_freelist_count n, pragma_page_size p)"
	" SELECT * FROM"
	" (SELECT name, bytes, 100.0 * bytes / sum(bytes) OVER () AS share_pct, unused_bytes"
	"   FROM object"
	"  UNION ALL SELECT '(total)', sum(bytes), 100.0, sum(unused_bytes) FROM object)"
	" ORDER BY name = '(total)', bytes DESC, name";

static const enum output_unit units[] = {UNIT_NONE, UNIT_BYTES, UNIT_PERCENT, UNIT_BYTES};

static int run(const void *settings, int argc, char **argv)
{
	const struct cli_settings *s = settings;
	cleanup(query_done) struct query q;
	cleanup(db_close_p) sqlite3 *db = NULL;
	int code;

	(void)argc; /* takes no arguments */
	(void)argv;
	query_init(&q);
	query_add(&q, "%s", stats_sql);
	code = cli_open(s, &db);
	if (!code)
		code = cli_answer(s, db, &q, units);
	return code;
}

const struct cli_command db_stats_command = {
	.command =
		{
			.name = "db stats",
			.summary = "what takes the room in the file, by table",
			.examples = "unused_bytes: within pages of the table, for rows to come\n"
				    "(free): pages that what was deleted has left; used before "
				    "the file grows\n",
			.tables = {{cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct cli_settings),
	.run = run,
};
