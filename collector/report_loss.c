// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report_loss.c - what left one host and did not reach the other: the view two_ended. */
#include "collector/report.h"

#include <errno.h>
#include <string.h>

#include "collector/db.h"
#include "collector/query.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

#define LOSS_KEYS "src_host dst_host src_addr dst_addr dst_port proto_name"

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

/* A table before the real flows, for this connection: of the window and the filter. */
static int narrow_flows(const struct cli_settings *s, sqlite3 *db, int argc, char **argv)
{
	cleanup(query_done) struct query q;
	int code;

	query_init(&q);
	query_add(&q, "CREATE TEMP TABLE flows AS SELECT * FROM main.flows WHERE 1");
	cli_add_window(&q, s);
	code = cli_add_filter(&q, argc, argv);
	if (code)
		return code;
	return cli_exec_query(db, &q);
}

/* The view of the schema again, as a temporary one: so it reads the narrow flows. */
static int narrow_two_ended(sqlite3 *db)
{
	static const char create[] = "CREATE VIEW";
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	const char *text = NULL;
	char *sql;
	int err;

	err = db_errno(sqlite3_prepare_v2(db,
					  "SELECT sql FROM main.sqlite_schema"
					  " WHERE type = 'view' AND name = 'two_ended'",
					  -1, &st, NULL));
	if (!err && sqlite3_step(st) == SQLITE_ROW)
		text = (const char *)sqlite3_column_text(st, 0);
	if (!text || strncmp(text, create, strlen(create)) != 0) {
		log_error("the view two_ended is not there");
		return EXIT_NOT_OURS;
	}
	sql = sqlite3_mprintf("CREATE TEMP VIEW%s", text + strlen(create));
	err = sql ? db_errno(sqlite3_exec(db, sql, NULL, NULL, NULL)) : -ENOMEM;
	sqlite3_free(sql);
	return err ? cli_fail(db, err) : EXIT_OK;
}

static void build(struct query *q, const struct option_list *by)
{
	query_add(q, "SELECT ");
	report_add_keys(q, by);
	query_add(q, "count(*) AS flows, sum(lost_packets IS NULL) AS unknown_flows,"
		     " sum(iif(lost_packets IS NULL, 0, sent_packets)) AS packets,"
		     " sum(lost_packets) AS lost_packets,"
		     " 100.0 * sum(lost_packets)"
		     " / nullif(sum(iif(lost_packets IS NULL, 0, sent_packets)), 0) AS lost_pct,"
		     " sum(iif(rev_lost_packets IS NULL, 0, rev_sent_packets)) AS rev_packets,"
		     " sum(rev_lost_packets) AS rev_lost_packets,"
		     " 100.0 * sum(rev_lost_packets) / nullif(sum(iif(rev_lost_packets IS NULL, 0,"
		     " rev_sent_packets)), 0) AS rev_lost_pct,"
		     " sum(ifnull(src_drops, 0) + ifnull(dst_drops, 0)) AS kernel_drops"
		     " FROM two_ended GROUP BY ");
	report_add_key_numbers(q, by);
	query_add(q, " ORDER BY ifnull(sum(lost_packets), 0) + ifnull(sum(rev_lost_packets), 0)"
		     " DESC, ");
	report_add_key_numbers(q, by);
}

static int run(const void *settings, int argc, char **argv)
{
	static const enum output_unit sums[] = {UNIT_COUNT, UNIT_COUNT,	  UNIT_COUNT,
						UNIT_COUNT, UNIT_PERCENT, UNIT_COUNT,
						UNIT_COUNT, UNIT_PERCENT, UNIT_COUNT};
	enum output_unit units[REPORT_MAX_KEYS + sizeof(sums) / sizeof(sums[0])] = {UNIT_NONE};
	const struct report_by_settings *s = settings;
	cleanup(db_close_p) sqlite3 *db = NULL;
	cleanup(query_done) struct query q;
	int code;

	query_init(&q);
	code = report_check_keys(&s->by, LOSS_KEYS);
	if (code)
		return code;
	build(&q, &s->by);
	cli_add_limit(&q, &s->cli);
	memcpy(units + s->by.n, sums, sizeof(sums));
	code = cli_open(&s->cli, &db);
	if (!code)
		code = narrow_flows(&s->cli, db, argc, argv);
	if (!code)
		code = narrow_two_ended(db);
	return code ? code : cli_answer(&s->cli, db, &q, units);
}

static const struct option_row by_row = REPORT_BY_ROW("src_host,dst_host", LOSS_KEYS);

const struct cli_command report_loss = {
	.command =
		{.name = "report loss",
		 .args = "[FILTER...]",
		 .summary = "packets lost between two hosts, each way, seen from both ends",
		 .examples =
			 "Of flows that have ended and that both hosts saw; unknown_flows go on, "
			 "or one of the\n"
			 "hosts lost records at the time. The view two_ended has each of them.\n",
		 .tables = {{&by_row, 1}, REPORT_TABLES}},
	.settings_size = sizeof(struct report_by_settings),
	.run = run,
};
