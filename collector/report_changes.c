// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report_changes.c - this window beside earlier ones: changes, new-peers. */
#include "collector/report.h"

#include "collector/db.h"
#include "collector/query.h"
#include "collector/traffic.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define WEEK_MS	    (7 * 86400000ll)
#define CHANGE_KEYS "src_addr dst_addr dst_port proto_name host process iface tls_sni"

DEFINE_CLEANUP(sqlite3 *, db_close)

/* The window has two ends: without --until it ends now. */
static int close_window(struct cli_settings *s)
{
	if (s->until_ms == INT64_MIN)
		s->until_ms = (int64_t)(clock_real_ns() / NS_PER_MS);
	if (s->since_ms != INT64_MIN && s->since_ms < s->until_ms)
		return EXIT_OK;
	log_error("--since has to be before --until");
	return EXIT_USAGE;
}

/* traffic of the window that is back_ms before, then called traffic_NAME. */
static int build_earlier(const struct cli_settings *s, sqlite3 *db, int argc, char **argv,
			 int64_t back_ms, const char *rename_sql)
{
	struct cli_settings earlier = *s;
	uint64_t copies;
	int code;

	earlier.since_ms -= back_ms;
	earlier.until_ms -= back_ms;
	code = traffic_build(&earlier, db, argc, argv, &copies);
	if (!code)
		code = cli_exec(db, "DROP INDEX temp.traffic_by_conversation");
	return code ? code : cli_exec(db, rename_sql);
}

/* --- changes ----------------------------------------------------------------------- */

static void add_window(struct query *q, const struct option_list *by, const char *table,
		       const char *now, const char *before, const char *week)
{
	query_add(q, "SELECT ");
	report_add_keys(q, by);
	query_add(q, "%s AS now, %s AS before, %s AS week FROM %s", now, before, week, table);
}

static void build_changes(struct query *q, const struct option_list *by)
{
	static const char bytes[] = "bytes + rev_bytes";

	query_add(q, "SELECT ");
	report_add_keys(q, by);
	query_add(q, "sum(now) AS bytes, sum(before) AS before_bytes, sum(week) AS week_ago_bytes,"
		     " sum(now) - sum(before) AS change_bytes,"
		     " 100.0 * (sum(now) - sum(before)) / nullif(sum(before), 0) AS change_pct,"
		     " 100.0 * (sum(now) - sum(week)) / nullif(sum(week), 0) AS week_change_pct"
		     " FROM (");
	add_window(q, by, "traffic", bytes, "0", "0");
	query_add(q, " UNION ALL ");
	add_window(q, by, "traffic_before", "0", bytes, "0");
	query_add(q, " UNION ALL ");
	add_window(q, by, "traffic_week", "0", "0", bytes);
	query_add(q, ") GROUP BY ");
	report_add_key_numbers(q, by);
	query_add(q, " ORDER BY abs(sum(now) - sum(before)) DESC, ");
	report_add_key_numbers(q, by);
}

static int run_changes(const void *settings, int argc, char **argv)
{
	static const enum output_unit sums[] = {UNIT_BYTES, UNIT_BYTES,	  UNIT_BYTES,
						UNIT_BYTES, UNIT_PERCENT, UNIT_PERCENT};
	enum output_unit units[REPORT_MAX_KEYS + ARRAY_SIZE(sums)] = {UNIT_NONE};
	struct report_by_settings s = *(const struct report_by_settings *)settings;
	cleanup(db_close_p) sqlite3 *db = NULL;
	cleanup(query_done) struct query q;
	uint64_t copies;
	int code;

	query_init(&q);
	code = report_check_keys(&s.by, CHANGE_KEYS);
	if (!code)
		code = close_window(&s.cli);
	if (code)
		return code;
	build_changes(&q, &s.by);
	cli_add_limit(&q, &s.cli);
	for (size_t i = 0; i < ARRAY_SIZE(sums); i++)
		units[s.by.n + i] = sums[i];
	code = cli_open(&s.cli, &db);
	if (!code)
		code = build_earlier(&s.cli, db, argc, argv, s.cli.until_ms - s.cli.since_ms,
				     "ALTER TABLE temp.traffic RENAME TO traffic_before");
	if (!code)
		code = build_earlier(&s.cli, db, argc, argv, WEEK_MS,
				     "ALTER TABLE temp.traffic RENAME TO traffic_week");
	if (!code)
		code = traffic_build(&s.cli, db, argc, argv, &copies);
	return code ? code : cli_answer(&s.cli, db, &q, units);
}

/* --- new-peers ---------------------------------------------------------------------- */

struct peers_settings {
	struct cli_settings cli; /* first: the shared rows count on it */
	uint64_t learn_ms;
};

/* Seen before counts whoever has seen it: no need to count it once. */
static void build_new_peers(struct query *q, const struct peers_settings *s)
{
	query_add(q,
		  "SELECT src_addr, dst_addr, dst_port, proto_name, min(start_ms) AS first_ms,"
		  " count(DISTINCT host_id || ' ' || flow_id) AS flows,"
		  " sum(bytes + rev_bytes) AS bytes, max(process) AS process,"
		  " max(verdict) AS verdict FROM traffic WHERE dst_port > 0"
		  " AND (src_addr, dst_addr, dst_port, proto) NOT IN"
		  " (SELECT src_addr, dst_addr, dst_port, proto FROM flows"
		  "   WHERE end_ms >= ?%u AND end_ms < ?%u)"
		  " GROUP BY 1, 2, 3, 4 ORDER BY first_ms DESC, 1, 2, 3, 4",
		  query_bind_int(q, s->cli.since_ms - (int64_t)s->learn_ms),
		  query_bind_int(q, s->cli.since_ms));
	cli_add_limit(q, &s->cli);
}

static int run_new_peers(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_NONE,  UNIT_NONE,	   UNIT_NONE,
						 UNIT_NONE,  UNIT_TIME_MS, UNIT_COUNT,
						 UNIT_BYTES, UNIT_NONE,	   UNIT_NONE};
	struct peers_settings s = *(const struct peers_settings *)settings;
	cleanup(query_done) struct query q;
	int code;

	query_init(&q);
	code = close_window(&s.cli);
	if (code)
		return code;
	build_new_peers(&q, &s);
	return report_answer(&s.cli, argc, argv, &q, units);
}

/* --- commands ------------------------------------------------------------------------ */

static const struct option_row by_row = REPORT_BY_ROW("dst_addr,dst_port", CHANGE_KEYS);

const struct cli_command report_changes = {
	.command = {.name = "report changes",
		    .args = "[FILTER...]",
		    .summary = "this window, the one before and the same a week ago",
		    .examples = "report changes --since 1h --by process host web1\n",
		    .tables = {{&by_row, 1}, REPORT_TABLES}},
	.settings_size = sizeof(struct report_by_settings),
	.run = run_changes,
};

static const struct option_row learn_row = {
	.name = "learn",
	.type = OPTION_DURATION_MS,
	.offset = offsetof(struct peers_settings, learn_ms),
	.arg = "TIME",
	.fallback = "7d",
	.min = 1,
	.max = 366 * 86400e3,
	.help = "new is what was not there for so long before the window",
	.cli_only = true,
};

const struct cli_command report_new_peers = {
	.command = {.name = "report new-peers",
		    .args = "[FILTER...]",
		    .summary = "who talks to whom for the first time",
		    .examples = "report new-peers --since 1d not dst net 10.0.0.0/8\n",
		    .tables = {{&learn_row, 1}, REPORT_TABLES}},
	.settings_size = sizeof(struct peers_settings),
	.run = run_new_peers,
};
