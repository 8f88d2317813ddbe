// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/command/incidents.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "collector/cli/sandbox.h"
#include "collector/sqlite/query.h"
#include "collector/store/db.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

#define EVIDENCE_TIMEOUT_MS 30000
#define EVIDENCE_MAX_ROWS   1000

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

struct incidents_settings {
	struct cli_settings cli; /* first: the shared rows count on it */
	uint64_t explain;	 /* id; 0: list them */
};

static int list(const struct cli_settings *s)
{
	static const enum output_unit units[] = {
		UNIT_NONE, UNIT_TIME_MS, UNIT_TIME_MS, UNIT_NONE, UNIT_NONE, UNIT_NONE, UNIT_NONE,
		UNIT_NONE, UNIT_NONE,	 UNIT_NONE,    UNIT_NONE, UNIT_NONE, UNIT_NONE, UNIT_NONE,
	};
	cleanup(query_done) struct query q;
	cleanup(db_close_p) sqlite3 *db = NULL;
	int code;

	query_init(&q);
	query_add(&q, "SELECT id, start_ms, end_ms, severity, kind, src_addr, dst_addr, dst_port,"
		      " hosts, value, baseline, threshold, unit, detail FROM incident WHERE 1");
	cli_add_window(&q, s);
	query_add(&q, " ORDER BY end_ms DESC, id DESC");
	cli_add_limit(&q, s);
	code = cli_open(s, &db);
	if (!code)
		code = cli_answer(s, db, &q, units);
	return code;
}

#define FIELDS                                                                                     \
	"severity, src_addr, dst_addr, dst_port, proto, hosts, value, baseline, threshold, unit, " \
	"minutes, detail, evidence_sql FROM incident WHERE id = ?1"

static int prepare_one(const struct incidents_settings *s, sqlite3 *db, sqlite3_stmt **ret)
{
	/* A table of fields has no unit per row, so it gets its times as text. */
	const char *sql = s->cli.format == OUTPUT_TABLE && !s->cli.raw_numbers
				  ? "SELECT id, kind, utc(start_ms) AS start_utc,"
				    " utc(end_ms) AS end_utc, " FIELDS
				  : "SELECT id, kind, start_ms, end_ms, " FIELDS;
	int rc = sqlite3_prepare_v2(db, sql, -1, ret, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(*ret, 1, (sqlite3_int64)s->explain);
	return db_errno(rc);
}

/* What shows the flows of the incident; free() it. NULL: no such incident. */
static int read_evidence(sqlite3_stmt *st, char **ret)
{
	int last = sqlite3_column_count(st) - 1;
	int rc = sqlite3_step(st);

	*ret = NULL;
	if (rc == SQLITE_ROW) {
		*ret = strdup((const char *)sqlite3_column_text(st, last));
		if (!*ret)
			return -ENOMEM;
	}
	(void)sqlite3_reset(st); /* repeats the step's code */
	return db_errno(rc);
}

/* Prints the incident. *ret_sql: see read_evidence(). */
static int print_one(const struct incidents_settings *s, sqlite3 *db, char **ret_sql)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	cleanup(free_p) char *sql = NULL;
	struct answer_style style = cli_style(&s->cli);
	int err = prepare_one(s, db, &st);

	if (!err)
		err = read_evidence(st, &sql);
	if (!err && !sql) {
		log_error("there is no incident %" PRIu64, s->explain);
		return EXIT_USAGE;
	}
	if (!err)
		err = s->cli.format == OUTPUT_TABLE ? answer_print_record(st, &style)
						    : answer_print(st, NULL, &style, 0, NULL);
	if (err)
		return cli_fail(db, err);
	*ret_sql = take_ptr(sql);
	return EXIT_OK;
}

/* Two answers: the incident, then its flows. */
static int explain(const struct incidents_settings *s)
{
	cleanup(free_p) char *sql = NULL;
	struct sandbox sandbox = {
		.db = cli_db_path(&s->cli),
		.timeout_ms = EVIDENCE_TIMEOUT_MS,
		.max_rows = EVIDENCE_MAX_ROWS,
		.style = cli_style(&s->cli),
	};
	sqlite3 *db = NULL;
	int code = cli_open(&s->cli, &db);

	if (!code)
		code = print_one(s, db, &sql);
	db_close(db); /* before the sandbox forks */
	return code ? code : sandbox_run(&sandbox, sql);
}

static int run(const void *settings, int argc, char **argv)
{
	const struct incidents_settings *s = settings;

	(void)argc; /* takes no arguments */
	(void)argv;
	return s->explain ? explain(s) : list(&s->cli);
}

static const struct option_row rows[] = {
	CLI_SINCE_ROW(NULL),
	CLI_UNTIL_ROW,
	CLI_LIMIT_ROW("50"),
	{.name = "explain",
	 .type = OPTION_U64,
	 .offset = offsetof(struct incidents_settings, explain),
	 .arg = "ID",
	 .help = "one incident in full, and the flows behind it",
	 .cli_only = true},
};

const struct cli_command incidents_command = {
	.command =
		{
			.name = "incidents",
			.summary = "what the detectors raised, newest first",
			.examples = "incidents --since 1d\n"
				    "incidents --explain 7\n",
			.tables = {{rows, ARRAY_SIZE(rows)}, {cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct incidents_settings),
	.run = run,
};
