// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report_flow.c - the life of one flow, as every host that saw it tells it. */
#include "collector/report/report.h"

#include <stdlib.h>
#include <string.h>

#include "collector/sqlite/query.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

DEFINE_CLEANUP(sqlite3 *, db_close)

/* The tuple that ID names, either way round; records of it in the order of time. */
static const char life_sql[] =
	"WITH id AS MATERIALIZED (SELECT DISTINCT src_addr, src_port, dst_addr, dst_port, proto"
	" FROM flows WHERE %s = ?1";
static const char columns_sql[] =
	")"
	" SELECT f.start_ms, f.end_ms, f.host, f.process,"
	" endpoint(f.src_addr, f.src_port) AS src, endpoint(f.dst_addr, f.dst_port) AS dst,"
	" f.proto_name AS proto, f.direction, f.role, f.packets, f.bytes, f.rev_packets,"
	" f.rev_bytes, f.retrans_pkts, f.rev_retrans_pkts, f.rtt_us, f.data_rtt_avg_us,"
	" f.response_avg_us, f.kernel_drops, f.kernel_drop_reason,"
	" tcp_flags(f.tcp_flags) AS flags, tcp_flags(f.rev_tcp_flags) AS rev_flags, f.verdict,"
	" f.end_reason, f.dns_qname, f.tls_sni, f.flow_id, f.community_id"
	" FROM id JOIN flows f ON f.proto = id.proto AND"
	" ((f.src_addr = id.src_addr AND f.src_port = id.src_port AND f.dst_addr = id.dst_addr"
	"   AND f.dst_port = id.dst_port)"
	"  OR (f.src_addr = id.dst_addr AND f.src_port = id.dst_port AND f.dst_addr = id.src_addr"
	"   AND f.dst_port = id.src_port)) WHERE 1";

/* A flow_id is a number, a community_id never is. Begins the statement. */
static void bind_id(struct query *q, const char *id)
{
	bool is_number = id[strspn(id, "0123456789")] == '\0' && strlen(id) <= 16;

	query_add(q, life_sql, is_number ? "flow_id" : "community_id");
	if (is_number)
		(void)query_bind_int(q, strtoll(id, NULL, 10)); /* ?1 */
	else
		(void)query_bind_text(q, id);
}

static int run(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {
		UNIT_TIME_MS, UNIT_TIME_MS, UNIT_NONE,	UNIT_NONE,  UNIT_NONE,	UNIT_NONE,
		UNIT_NONE,    UNIT_NONE,    UNIT_NONE,	UNIT_COUNT, UNIT_BYTES, UNIT_COUNT,
		UNIT_BYTES,   UNIT_COUNT,   UNIT_COUNT, UNIT_US,    UNIT_US,	UNIT_US,
		UNIT_COUNT,   UNIT_NONE,    UNIT_NONE,	UNIT_NONE,  UNIT_NONE,	UNIT_NONE,
		UNIT_NONE,    UNIT_NONE,    UNIT_NONE,	UNIT_NONE};
	const struct cli_settings *s = settings;
	cleanup(db_close_p) sqlite3 *db = NULL;
	cleanup(query_done) struct query q;
	int code;

	query_init(&q);
	if (argc != 1) {
		log_error("report flow: name one flow, by its community_id or flow_id");
		return EXIT_USAGE;
	}
	bind_id(&q, argv[0]);
	cli_add_window(&q, s);
	query_add(&q, "%s", columns_sql);
	cli_add_window(&q, s);
	query_add(&q, " ORDER BY f.end_ms, f.host, f.start_ms");
	cli_add_limit(&q, s);
	code = cli_open(s, &db);
	return code ? code : cli_answer(s, db, &q, units);
}

static const struct option_row window_rows[] = {
	CLI_SINCE_ROW("1d"),
	CLI_UNTIL_ROW,
	CLI_LIMIT_ROW("0"),
};

const struct cli_command report_flow = {
	.command = {.name = "report flow",
		    .args = "ID",
		    .summary = "the life of one flow at every host that saw it",
		    .examples = "report flow 1:nsK5Drrm1uZ3R9Z8rNyfCZB9VBE=\n"
				"report flow 1530289142773413\n"
				"\n"
				"ID: community_id or flow_id of one of its records\n",
		    .tables = {{window_rows, sizeof(window_rows) / sizeof(window_rows[0])},
			       {cli_rows, CLI_N_ROWS}}},
	.settings_size = sizeof(struct cli_settings),
	.run = run,
};
