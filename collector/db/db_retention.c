// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/db_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/serve/control.h"
#include "collector/serve/retention.h"
#include "collector/sqlite/one_shot.h"
#include "collector/sqlite/query.h"
#include "collector/store/db.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/progress.h"

DEFINE_CLEANUP(sqlite3 *, db_close)

struct retention_settings {
	struct cli_settings cli; /* first: the shared rows count on it */
	uint64_t age_ms, bytes;
	bool apply;
};

/* What collector/serve/retention.h deletes of flow records: by age and then by size. */
#define GONE                                                                                       \
	"item AS (SELECT id, 0 AS fresh, n_rows, n_bytes, min_end_ms, max_end_ms FROM "            \
	"flow_segment"                                                                             \
	" UNION ALL SELECT id, 1, n_rows, length(data), min_end_ms, max_end_ms FROM flow_fresh),"  \
	"used AS (" RETENTION_USED_SQL "),"                                                        \
	"turn AS (SELECT *, max_end_ms < ?1 AS aged, sum(n_bytes) OVER"                            \
	"  (ORDER BY max_end_ms, fresh, id ROWS UNBOUNDED PRECEDING) - n_bytes AS before FROM "    \
	"item),"                                                                                   \
	"marked AS (SELECT *, aged OR (?2 > 0 AND (SELECT bytes FROM used) - before > ?2"          \
	"   AND ((SELECT sum(n_bytes) FROM item) - before > ?2 / 2"                                \
	"    OR NOT EXISTS (SELECT 1 FROM rollup_minute UNION ALL SELECT 1 FROM rollup_hour)))"    \
	"  AS gone FROM turn)"

/* One line for each kind of thing that is kept. */
static const char kept_sql[] =
	"WITH " GONE
	" SELECT 'flows' AS what, ifnull(sum(n_rows), 0) AS rows, ifnull(sum(n_bytes), 0) AS bytes,"
	"  min(min_end_ms) AS oldest_ms, max(max_end_ms) AS newest_ms,"
	"  ifnull(sum(iif(gone, n_rows, 0)), 0) AS rows_to_go,"
	"  ifnull(sum(iif(gone, n_bytes, 0)), 0) AS bytes_to_go FROM marked"
	" UNION ALL SELECT 'coverage', count(*), NULL, min(minute_ms), max(minute_ms),"
	"  count(iif(minute_ms < min(?1 - 60000, (SELECT ifnull(min(start_ms), ?1)"
	"   FROM rollup_minute)), 1, NULL)), NULL FROM coverage_minute"
	" UNION ALL SELECT 'rollup_minute', count(*), NULL, min(start_ms), max(start_ms), NULL, "
	"NULL"
	"  FROM rollup_minute"
	" UNION ALL SELECT 'rollup_hour', count(*), NULL, min(start_ms), max(start_ms), NULL, NULL"
	"  FROM rollup_hour"
	" UNION ALL SELECT 'incidents', count(*), NULL, min(start_ms), max(end_ms), 0, NULL"
	"  FROM incident";

static const enum output_unit units[] = {UNIT_NONE,    UNIT_COUNT, UNIT_BYTES, UNIT_TIME_MS,
					 UNIT_TIME_MS, UNIT_COUNT, UNIT_BYTES};

static void say_limits(const char *what, uint64_t age_ms, uint64_t bytes)
{
	if (!age_ms && !bytes)
		log_info("%s: everything is kept", what);
	if (age_ms)
		log_info("%s: flow records older than %" PRIu64 " h are deleted", what,
			 age_ms / 3600000);
	if (bytes)
		log_info("%s: the oldest are deleted while the database is larger than %" PRIu64
			 " MiB",
			 what, bytes >> 20);
}

/* What serve was told; false: it has never run with this database. */
static bool read_limits(sqlite3 *db, uint64_t *ret_age_ms, uint64_t *ret_bytes)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(db, "SELECT age_ms, max_bytes FROM retention");

	if (one_shot_row(&o) <= 0)
		return false;
	*ret_age_ms = (uint64_t)sqlite3_column_int64(o.st, 0);
	*ret_bytes = (uint64_t)sqlite3_column_int64(o.st, 1);
	return true;
}

static int show(const struct retention_settings *s, sqlite3 *db, int64_t before_ms, uint64_t bytes)
{
	cleanup(query_done) struct query q;
	struct cli_settings quiet = s->cli;

	quiet.quiet = true; /* this is no answer about a window */
	query_init(&q);
	(void)query_bind_int(&q, before_ms);
	(void)query_bind_int(&q, (int64_t)bytes);
	query_add(&q, "%s", kept_sql);
	return cli_answer(&quiet, db, &q, units);
}

/* Asks again and again, so that what the probes send comes in between. */
static int apply(const char *path, int64_t before_ms, uint64_t max_bytes)
{
	struct progress bar = progress_begin("deleting, in flow records", false);
	char before[24], bytes[24];
	const char *words[] = {"expire", before, bytes}, *why = "";
	struct admin_reply reply = {0};
	uint64_t total = 0, rows = 0;
	int err;

	(void)snprintf(before, sizeof(before), "%" PRId64, before_ms);
	(void)snprintf(bytes, sizeof(bytes), "%" PRIu64, max_bytes);
	do {
		err = control_ask(path, ARRAY_SIZE(words), words, &reply, &why);
		rows = err || reply.exit_code ? 0 : strtoull(reply.text, NULL, 10);
		total += rows;
		progress_show(&bar, total, 0);
	} while (rows);
	progress_end(&bar);
	log_info("%" PRIu64 " flow records deleted; their room in the file is used again", total);
	if (err)
		log_error("%s: %s", path, why);
	else if (reply.exit_code)
		log_error("%s", reply.text);
	return err ? db_exit_code(err) : reply.exit_code;
}

static int run(const void *settings, int argc, char **argv)
{
	const struct retention_settings *s = settings;
	cleanup(db_close_p) sqlite3 *db = NULL;
	uint64_t age_ms = s->age_ms, bytes = s->bytes;
	int64_t before_ms = INT64_MIN;
	bool given = age_ms || bytes;
	int code;

	(void)argc; /* takes no arguments */
	(void)argv;
	if (s->apply && !given) {
		log_error("db retention: --apply needs --retention or --retention-bytes");
		return EXIT_USAGE;
	}
	code = cli_open(&s->cli, &db);
	if (code)
		return code;
	if (!given && read_limits(db, &age_ms, &bytes) && !s->cli.quiet)
		say_limits("weir-collector serve", age_ms, bytes);
	if (given && !s->apply && !s->cli.quiet)
		log_info("nothing is deleted; --apply does it");
	if (age_ms)
		before_ms = (int64_t)(clock_real_ns() / NS_PER_MS) - (int64_t)age_ms;
	if (!s->apply)
		return show(s, db, before_ms, bytes);
	db_close(take_ptr(db)); /* it would keep the log from beginning anew */
	return apply(cli_db_path(&s->cli), before_ms, bytes);
}

static const struct option_row rows[] = {
	{.name = "retention",
	 .type = OPTION_DURATION_MS,
	 .offset = offsetof(struct retention_settings, age_ms),
	 .arg = "AGE",
	 .help = "what if flow records of this age went",
	 .cli_only = true},
	{.name = "retention-bytes",
	 .type = OPTION_BYTES,
	 .offset = offsetof(struct retention_settings, bytes),
	 .arg = "BYTES",
	 .help = "what if the oldest went while the database is larger",
	 .cli_only = true},
	{.name = "apply",
	 .type = OPTION_FLAG,
	 .offset = offsetof(struct retention_settings, apply),
	 .help = "delete them, now and once",
	 .cli_only = true},
};

const struct cli_command db_retention_command = {
	.command =
		{
			.name = "db retention",
			.summary = "what is kept, for how long, and what a limit would delete",
			.examples =
				"db retention                          what serve deletes, and "
				"when\n"
				"db retention --retention 7d           what would go\n"
				"db retention --retention 7d --apply   deletes it\n"
				"\n"
				"Whole segments are deleted, once the last record in them is old "
				"enough. The file\nkeeps its size: the room is used again. "
				"weir-collector serve --retention does this\nall the time.\n",
			.tables = {{rows, ARRAY_SIZE(rows)}, {cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct retention_settings),
	.run = run,
};
