// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report_host.c - one host on one page: what it is, what it does, what goes wrong. */
#include "collector/report/report.h"

#include <stdio.h>
#include <string.h>

#include "collector/cli/coverage.h"
#include "collector/sqlite/query.h"
#include "collector/store/db.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

/*
 * Of the host's own records: each is in there once. A section is a statement
 * with ?1 the host's name, over the table mine; "other" is its peer's address.
 */
static const struct section {
	const char *name, *sql;
	enum output_unit units[8];
} sections[] = {
	{"host",
	 "SELECT h.name, h.kernel, h.build, h.ifaces, h.last_seen_ms,"
	 " (SELECT round(100.0 * sum(m.packets) / nullif(sum(m.packets + m.spool_drop_packets"
	 "   + m.rejected_packets + m.damaged_packets + m.not_parsed_packets), 0), 3)"
	 "  FROM coverage_minute m WHERE m.host_id = h.id) AS coverage_pct"
	 " FROM host h WHERE h.name = ?1",
	 {UNIT_NONE, UNIT_NONE, UNIT_NONE, UNIT_NONE, UNIT_TIME_MS, UNIT_PERCENT}},
	{"traffic",
	 "SELECT proto_name, count(DISTINCT flow_id) AS flows,"
	 " sum(iif(direction = 'egress', bytes, rev_bytes)) AS sent_bytes,"
	 " sum(iif(direction = 'egress', rev_bytes, bytes)) AS received_bytes,"
	 " quantile(rtt_us, 0.95) AS rtt_p95_us,"
	 " 100.0 * sum(retrans_pkts + rev_retrans_pkts)"
	 " / nullif(sum(iif(proto = 6, packets + rev_packets, 0)), 0) AS retrans_pct"
	 " FROM mine GROUP BY 1 ORDER BY 3 + 4 DESC, 1 LIMIT 8",
	 {UNIT_NONE, UNIT_COUNT, UNIT_BYTES, UNIT_BYTES, UNIT_US, UNIT_PERCENT}},
	{"peers",
	 "SELECT other, count(DISTINCT flow_id) AS flows, sum(bytes + rev_bytes) AS bytes,"
	 " quantile(rtt_us, 0.95) AS rtt_p95_us FROM mine GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT 10",
	 {UNIT_NONE, UNIT_COUNT, UNIT_BYTES, UNIT_US}},
	{"serves",
	 "SELECT dst_port, proto_name, max(process) AS process,"
	 " count(DISTINCT src_addr) AS clients, count(DISTINCT flow_id) AS flows,"
	 " sum(bytes + rev_bytes) AS bytes, quantile(response_avg_us, 0.95) AS response_p95_us"
	 " FROM mine WHERE role = 'server' GROUP BY 1, 2 ORDER BY 5 DESC, 1, 2 LIMIT 10",
	 {UNIT_NONE, UNIT_NONE, UNIT_NONE, UNIT_COUNT, UNIT_COUNT, UNIT_BYTES, UNIT_US}},
	{"processes",
	 "SELECT process, count(DISTINCT flow_id) AS flows, sum(bytes + rev_bytes) AS bytes,"
	 " sum(ifnull(verdict, '') IN ('refused', 'syn_unanswered', 'reset')) AS failed"
	 " FROM mine WHERE process IS NOT NULL GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT 10",
	 {UNIT_NONE, UNIT_COUNT, UNIT_BYTES, UNIT_COUNT}},
	{"names",
	 "SELECT coalesce(tls_sni, dns_qname) AS name, iif(tls_sni IS NULL, 'dns', 'tls') AS kind,"
	 " count(*) AS records, sum(ifnull(dns_unanswered, 0)) AS unanswered"
	 " FROM mine WHERE coalesce(tls_sni, dns_qname) IS NOT NULL"
	 " GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT 10",
	 {UNIT_NONE, UNIT_NONE, UNIT_COUNT, UNIT_COUNT}},
	{"drops",
	 "SELECT kernel_drop_reason AS reason, process, count(DISTINCT flow_id) AS flows,"
	 " sum(kernel_drops) AS packets FROM mine WHERE kernel_drops > 0"
	 " GROUP BY 1, 2 ORDER BY 4 DESC, 1 LIMIT 10",
	 {UNIT_NONE, UNIT_NONE, UNIT_COUNT, UNIT_COUNT}},
	{"incidents",
	 "SELECT id, start_ms, end_ms, severity, kind, detail FROM incident"
	 " WHERE ',' || hosts || ',' LIKE '%,' || ?1 || ',%'"
	 " ORDER BY end_ms DESC LIMIT 10",
	 {UNIT_NONE, UNIT_TIME_MS, UNIT_TIME_MS, UNIT_NONE, UNIT_NONE, UNIT_NONE}},
};

/* The host's records in the window, and whom each is with. */
static int gather(const struct cli_settings *s, sqlite3 *db, const char *host)
{
	cleanup(query_done) struct query q;

	query_init(&q);
	query_add(&q,
		  "CREATE TEMP TABLE mine AS SELECT *,"
		  " iif(direction = 'egress', dst_addr, src_addr) AS other"
		  " FROM flows WHERE host = ?%u",
		  query_bind_text(&q, host));
	cli_add_window(&q, s);
	return cli_exec_query(db, &q);
}

static int check_host(sqlite3 *db, const char *host)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int err = db_errno(
		sqlite3_prepare_v2(db, "SELECT 1 FROM host WHERE name = ?", -1, &st, NULL));

	if (!err)
		err = db_errno(sqlite3_bind_text(st, 1, host, -1, SQLITE_STATIC));
	if (err)
		return cli_fail(db, err);
	if (sqlite3_step(st) == SQLITE_ROW)
		return EXIT_OK;
	log_error("report host: no host of that name; 'hosts' lists them");
	return EXIT_USAGE;
}

/* Tables have a heading; the other formats have the section as a column of each row. */
static int print_section(const struct cli_settings *s, sqlite3 *db, const char *host,
			 const struct section *section)
{
	cleanup(query_done) struct query q;
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	struct answer_style style = cli_style(s);
	enum output_unit units[ARRAY_SIZE(section->units) + 1] = {UNIT_NONE};
	bool table = s->format == OUTPUT_TABLE;
	int err;

	query_init(&q);
	if (strstr(section->sql, "?1"))
		(void)query_bind_text(&q, host); /* ?1 */
	if (table)
		query_add(&q, "%s", section->sql);
	else
		query_add(&q, "SELECT '%s' AS section, * FROM (%s)", section->name, section->sql);
	for (size_t i = 0; i < ARRAY_SIZE(section->units); i++)
		units[i + !table] = section->units[i];
	if (table)
		printf("%s%s\n", section == sections ? "" : "\n", section->name);
	err = query_prepare(&q, db, &st);
	if (!err)
		err = answer_print(st, units, &style, 0, NULL);
	return err ? cli_fail(db, err) : EXIT_OK;
}

static int run(const void *settings, int argc, char **argv)
{
	const struct cli_settings *s = settings;
	cleanup(db_close_p) sqlite3 *db = NULL;
	int code;

	if (argc != 1) {
		log_error("report host: name one host");
		return EXIT_USAGE;
	}
	if (s->format == OUTPUT_JSON || s->format == OUTPUT_CSV) {
		log_error("report host: a table or ndjson; its sections have different columns");
		return EXIT_USAGE;
	}
	code = cli_open(s, &db);
	if (!code)
		code = check_host(db, argv[0]);
	if (!code)
		code = gather(s, db, argv[0]);
	for (size_t i = 0; !code && i < ARRAY_SIZE(sections); i++)
		code = print_section(s, db, argv[0], &sections[i]);
	if (!code && !s->quiet)
		coverage_print(db, s->since_ms, s->until_ms);
	return code;
}

static const struct option_row window_rows[] = {
	CLI_SINCE_ROW("1h"),
	CLI_UNTIL_ROW,
};

const struct cli_command report_host = {
	.command = {.name = "report host",
		    .args = "NAME",
		    .summary = "one host on one page",
		    .examples = "report host web1 --since 1d\n",
		    .tables = {{window_rows, ARRAY_SIZE(window_rows)}, {cli_rows, CLI_N_ROWS}}},
	.settings_size = sizeof(struct cli_settings),
	.run = run,
};
