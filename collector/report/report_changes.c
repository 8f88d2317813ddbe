// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report_changes.c - this window beside earlier ones: changes, new-peers. */
#include "collector/report/report.h"

#include "common/array_size.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"

#define WEEK_MS	    (7 * 86400000ll)
#define CHANGE_KEYS "src_addr dst_addr dst_port proto_name host process iface tls_sni"

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

/* --- changes ----------------------------------------------------------------------- */

enum { NOW, BEFORE, WEEK_AGO }; /* passes */

#define BYTES(kind_, pass_, of_)                                                                   \
	{                                                                                          \
		.kind = (kind_), .n_columns = 2, .of = (of_), .pass = (pass_), .columns = {        \
			FLOW_COLUMN_bytes,                                                         \
			FLOW_COLUMN_rev_bytes                                                      \
		}                                                                                  \
	}

static const struct measure before = BYTES(MEASURE_SUM, BEFORE, NULL);
static const struct measure week_ago = BYTES(MEASURE_SUM, WEEK_AGO, NULL);

static const struct report_measure change_measures[] = {
	{"bytes", UNIT_BYTES, BYTES(MEASURE_SUM, NOW, NULL)},
	{"before_bytes", UNIT_BYTES, BYTES(MEASURE_SUM, BEFORE, NULL)},
	{"week_ago_bytes", UNIT_BYTES, BYTES(MEASURE_SUM, WEEK_AGO, NULL)},
	{"change_bytes", UNIT_BYTES, BYTES(MEASURE_DIFFERENCE, NOW, &before)},
	{"change_pct", UNIT_PERCENT, BYTES(MEASURE_CHANGE, NOW, &before)},
	{"week_change_pct", UNIT_PERCENT, BYTES(MEASURE_CHANGE, NOW, &week_ago)},
};

static const struct report_question changes = {
	.measures = change_measures,
	.n_measures = ARRAY_SIZE(change_measures),
	.orders = {{.measure = 3, .absolute = true}},
	.n_orders = 1,
	.n_passes = 2,
};

static int run_changes(const void *settings, int argc, char **argv)
{
	struct report_by_settings s = *(const struct report_by_settings *)settings;
	struct report_question q = changes;
	int code = report_set_keys(&s.by, CHANGE_KEYS, &q);

	if (!code)
		code = close_window(&s.cli);
	if (code)
		return code;
	q.passes[BEFORE - 1].since_ms = 2 * s.cli.since_ms - s.cli.until_ms;
	q.passes[BEFORE - 1].until_ms = s.cli.since_ms;
	q.passes[WEEK_AGO - 1].since_ms = s.cli.since_ms - WEEK_MS;
	q.passes[WEEK_AGO - 1].until_ms = s.cli.until_ms - WEEK_MS;
	return report_answer_groups(&s.cli, argc, argv, &q);
}

/* --- new-peers ---------------------------------------------------------------------- */

struct peers_settings {
	struct cli_settings cli; /* first: the shared rows count on it */
	uint64_t learn_ms;
};

/* The last is what was there before. */
static const struct report_measure peer_measures[] = {
	{"first_ms", UNIT_TIME_MS, REPORT_OF_COLUMN(MEASURE_MIN, start_ms)},
	{"flows", UNIT_COUNT, {.kind = MEASURE_FLOWS}},
	{"bytes", UNIT_BYTES, REPORT_SUM_OF_TWO(bytes, rev_bytes)},
	{"process", UNIT_NONE, REPORT_OF_COLUMN(MEASURE_MAX, process)},
	{"verdict", UNIT_NONE, REPORT_OF_COLUMN(MEASURE_MAX, verdict)},
	{NULL, UNIT_NONE, {.kind = MEASURE_COUNT, .pass = 1}},
};

static const struct predicate has_port = REPORT_AT_LEAST(dst_port, 1);

/* Seen before counts whoever has seen it: no need to count it once. */
static const struct report_question new_peers = {
	.keys = {REPORT_ADDR_KEY("src_addr", src_addr),
		 REPORT_ADDR_KEY("dst_addr", dst_addr),
		 {"dst_port", {.kind = FLOWS_NUMBER, .column = FLOW_COLUMN_dst_port}},
		 {"proto_name", {.kind = FLOWS_PROTO_NAME, .column = FLOW_COLUMN_proto}}},
	.n_keys = 4,
	.measures = peer_measures,
	.n_measures = ARRAY_SIZE(peer_measures),
	.where = &has_port,
	.orders = {{.measure = 5, .rising = true}, {.measure = 0}},
	.n_orders = 2,
	.passes = {{.everything = true, .known_groups = true}},
	.n_passes = 1,
	.only_new = true,
};

static int run_new_peers(const void *settings, int argc, char **argv)
{
	struct peers_settings s = *(const struct peers_settings *)settings;
	struct report_question q = new_peers;
	int code = close_window(&s.cli);

	if (code)
		return code;
	q.passes[0].since_ms = s.cli.since_ms - (int64_t)s.learn_ms;
	q.passes[0].until_ms = s.cli.since_ms;
	return report_answer_groups(&s.cli, argc, argv, &q);
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
