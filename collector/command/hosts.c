// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/command/hosts.h"

#include <string.h>

#include "collector/cli/coverage.h"
#include "collector/command/enroll.h"
#include "collector/sqlite/query.h"
#include "collector/store/db.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"

DEFINE_CLEANUP(sqlite3 *, db_close)

/* Counters of the newest start of each host's probe, whatever the window. */
static const char counters_sql[] =
	", c AS (SELECT host_id, sum(iif(p.name IN (" COVERAGE_LOST_PACKETS "), value, 0)) AS lost,"
	"   sum(iif(p.name = 'clock_steps', value, 0)) AS clock_steps,"
	"   sum(CASE p.name WHEN 'clock_forward_ms' THEN value WHEN 'clock_back_ms' THEN -value"
	"       ELSE 0 END) AS clock_step_ms"
	"  FROM probe_counter p JOIN host h ON h.id = p.host_id AND h.run = p.epoch"
	" GROUP BY host_id)";

static const char columns_sql[] =
	" SELECT h.name AS host,"
	"   CASE WHEN EXISTS (SELECT 1 FROM host_key k WHERE k.probe_id = h.probe_id)"
	"         AND NOT EXISTS (SELECT 1 FROM host_key k WHERE k.probe_id = h.probe_id"
	"                          AND k.state = 'admitted') THEN 'revoked'"
	"        WHEN NOT EXISTS (SELECT 1 FROM epoch e WHERE e.host_id = h.id AND e.batches > 0)"
	"        THEN 'never' WHEN h.last_seen_ms < ?3 - " COVERAGE_SILENT_MS
	"        THEN 'silent' ELSE 'ok' END AS state,"
	"   h.last_seen_ms, ifnull(w.flows, 0) AS flows,"
	"   ifnull(w.packets, 0) AS packets, ifnull(w.bytes, 0) AS bytes,"
	"   w.rtt_p95_us, w.retrans_pct, ifnull(c.lost, 0) AS lost_packets,"
	"   ifnull(c.clock_steps, 0) AS clock_steps, ifnull(c.clock_step_ms, 0) AS clock_step_ms,"
	"   v.coverage_pct, v.why AS missing,"
	"   (SELECT k.fingerprint FROM host_key k WHERE k.probe_id = h.probe_id"
	"     ORDER BY k.state = 'admitted' DESC, k.asked_ms DESC LIMIT 1) AS key,"
	"   h.kernel, h.ifaces, (SELECT group_concat(addr_text(addr), ' ') FROM (SELECT addr"
	"     FROM host_addr WHERE host_id = h.id AND until_ms IS NULL ORDER BY addr)) AS addrs"
	"  FROM host h LEFT JOIN w ON w.host_id = h.id LEFT JOIN c ON c.host_id = h.id"
	"  LEFT JOIN covered v ON v.host_id = h.id"
	" ORDER BY h.name, h.id";

static const enum output_unit units[] = {
	UNIT_NONE, UNIT_NONE,	 UNIT_TIME_MS, UNIT_COUNT, UNIT_COUNT, UNIT_BYTES,
	UNIT_US,   UNIT_PERCENT, UNIT_COUNT,   UNIT_COUNT, UNIT_NONE,  UNIT_PERCENT,
	UNIT_NONE, UNIT_NONE,	 UNIT_NONE,    UNIT_NONE,  UNIT_NONE,
};

static void build(const struct cli_settings *s, struct query *q)
{
	int64_t now_ms = (int64_t)(clock_real_ns() / NS_PER_MS);

	/* ?1 to ?3 as coverage_cte_sql wants them */
	(void)query_bind_int(q, s->since_ms == INT64_MIN ? 0 : s->since_ms);
	(void)query_bind_int(q, s->until_ms == INT64_MIN ? now_ms : s->until_ms);
	(void)query_bind_int(q, now_ms);
	query_add(q,
		  "WITH %s, w AS (SELECT host_id, count(DISTINCT flow_id) AS flows,"
		  " sum(packets + rev_packets) AS packets, sum(bytes + rev_bytes) AS bytes,"
		  " quantile(rtt_us, 0.95) AS rtt_p95_us,"
		  " 100.0 * sum(retrans_pkts + rev_retrans_pkts)"
		  " / sum(iif(proto = 6, packets + rev_packets, NULL)) AS retrans_pct"
		  " FROM flows WHERE 1",
		  coverage_cte_sql);
	cli_add_window(q, s);
	query_add(q, " GROUP BY host_id)%s%s", counters_sql, columns_sql);
	cli_add_limit(q, s);
}

static int list(const struct cli_settings *s)
{
	cleanup(query_done) struct query q;
	cleanup(db_close_p) sqlite3 *db = NULL;
	int code;

	query_init(&q);
	build(s, &q);
	code = cli_open(s, &db);
	if (!code)
		code = cli_answer(s, db, &q, units);
	return code;
}

static int run(const void *settings, int argc, char **argv)
{
	const char *const words[] = {argc ? argv[0] : "", argc > 1 ? argv[1] : ""};

	if (argc == 0)
		return list(settings);
	if (argc == 2 && (strcmp(words[0], "revoke") == 0 || strcmp(words[0], "admit") == 0))
		return enroll_ask(settings, 2, words);
	log_error("hosts takes nothing, or 'revoke HOST', or 'admit HOST'");
	return EXIT_USAGE;
}

static const struct option_row rows[] = {
	CLI_SINCE_ROW("5m"),
	CLI_UNTIL_ROW,
	CLI_LIMIT_ROW("0"),
};

const struct cli_command hosts_command = {
	.command =
		{
			.name = "hosts",
			.args = "[revoke HOST | admit HOST]",
			.summary =
				"every host: is it heard, its traffic in the window, what it lost",
			.examples =
				"state: ok; silent: not heard of for 15 s; never: no batch has "
				"come yet\n"
				"lost_packets: since its probe started, in no record at all\n"
				"coverage_pct: how much of the host's time and packets in the "
				"window is here; missing: what is not\n"
				"addrs: those that it has now, as its probe tells\n"
				"clock_steps, clock_step_ms: how often its clock was set since, "
				"and by how much in sum\n",
			.tables = {{rows, ARRAY_SIZE(rows)}, {cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct cli_settings),
	.run = run,
};
