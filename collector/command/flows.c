// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/command/flows.h"

#include "collector/sqlite/query.h"
#include "collector/store/db.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/exit_code.h"

DEFINE_CLEANUP(sqlite3 *, db_close)

struct flows_settings {
	struct cli_settings cli; /* first: the shared rows count on it */
	bool explain, check;
};

/* What fits a terminal. The other formats have every column of the table. */
static const struct {
	const char *sql;
	enum output_unit unit;
} table_columns[] = {
	{"end_ms", UNIT_TIME_MS},
	{"host", UNIT_NONE},
	{"proto_name AS proto", UNIT_NONE},
	{"endpoint(src_addr, src_port) AS src", UNIT_NONE},
	{"endpoint(dst_addr, dst_port) AS dst", UNIT_NONE},
	{"packets", UNIT_COUNT},
	{"bytes", UNIT_BYTES},
	{"rev_packets", UNIT_COUNT},
	{"rev_bytes", UNIT_BYTES},
	{"rtt_us", UNIT_US},
	{"retrans_pkts + rev_retrans_pkts AS retrans", UNIT_COUNT},
	{"tcp_flags(tcp_flags) AS flags", UNIT_NONE},
	{"tcp_flags(rev_tcp_flags) AS rev_flags", UNIT_NONE},
	{"role", UNIT_NONE},
	{"process", UNIT_NONE},
	{"end_reason", UNIT_NONE},
};

static void add_columns(struct query *q, const struct flows_settings *s)
{
	query_add(q, "SELECT ");
	if (s->cli.format == OUTPUT_TABLE) {
		for (size_t i = 0; i < ARRAY_SIZE(table_columns); i++)
			query_add(q, "%s%s", i ? ", " : "", table_columns[i].sql);
	} else {
		query_add(q, "*");
	}
}

static int build(const struct flows_settings *s, int argc, char **argv, struct query *q)
{
	int code;

	add_columns(q, s);
	query_add(q, " FROM flows WHERE 1");
	cli_add_window(q, &s->cli);
	code = cli_add_filter(q, argc, argv);
	if (code)
		return code;
	query_add(q, " ORDER BY end_ms DESC");
	cli_add_limit(q, &s->cli);
	return EXIT_OK;
}

static int run(const void *settings, int argc, char **argv)
{
	const struct flows_settings *s = settings;
	cleanup(query_done) struct query q;
	cleanup(db_close_p) sqlite3 *db = NULL;
	enum output_unit units[ARRAY_SIZE(table_columns)];
	int code;

	query_init(&q);
	code = build(s, argc, argv, &q);
	if (!code && s->explain)
		query_explain(&q, stdout);
	if (code || s->explain || s->check)
		return code;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		units[i] = table_columns[i].unit;
	code = cli_open(&s->cli, &db);
	if (!code)
		code = cli_answer(&s->cli, db, &q, s->cli.format == OUTPUT_TABLE ? units : NULL);
	return code;
}

static const struct option_row rows[] = {
	CLI_SINCE_ROW(NULL),
	CLI_UNTIL_ROW,
	CLI_LIMIT_ROW("50"),
	{.name = "explain",
	 .type = OPTION_FLAG,
	 .offset = offsetof(struct flows_settings, explain),
	 .help = "print the SQL and its values; read nothing",
	 .cli_only = true},
	{.name = "check",
	 .type = OPTION_FLAG,
	 .offset = offsetof(struct flows_settings, check),
	 .help = "only check the filter; the exit status tells",
	 .cli_only = true},
};

const struct cli_command flows_command = {
	.command =
		{
			.name = "flows",
			.args = "[FILTER...]",
			.summary = "flow records, newest first",
			.examples = "flows host web1 and tcp and 'rtt > 50ms'\n"
				    "flows --since 10m -n 0 -o ndjson 'dst port in [80,443]'\n"
				    "help filter          the filter language\n",
			.tables = {{rows, ARRAY_SIZE(rows)}, {cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct flows_settings),
	.run = run,
};
