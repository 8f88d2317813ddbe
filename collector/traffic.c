// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/traffic.h"

#include "collector/query.h"
#include "common/cleanup.h"
#include "common/exit_code.h"

#define TEXT_OF(x)  TEXT_OF_(x)
#define TEXT_OF_(x) #x
#define SLACK	    TEXT_OF(TRAFFIC_SLACK_MS)

/*
 * from_ms to to_ms is the time that a record counts: from the record before of
 * its flow, or the start of the flow, or of the window. The host's clock is
 * taken out, as these times are compared between hosts.
 */
static const char columns_sql[] =
	"CREATE TEMP TABLE traffic AS SELECT f.*,"
	" max(ifnull(lag(f.end_ms) OVER (PARTITION BY f.host_id, f.flow_id ORDER BY f.end_ms),"
	"            f.start_ms), ?%u) - h.clock_skew_ms AS from_ms,"
	" f.end_ms - h.clock_skew_ms AS to_ms,"
	" f.direction = 'egress' AS sent,"
	" CASE WHEN f.end_reason = 'no_resources' OR f.src_addr GLOB '127.*' OR f.src_addr = '::1'"
	"      THEN NULL"
	"      WHEN (f.src_addr, f.src_port) < (f.dst_addr, f.dst_port)"
	"      THEN f.src_addr || ' ' || f.src_port || ' ' || f.dst_addr || ' ' || f.dst_port"
	"      ELSE f.dst_addr || ' ' || f.dst_port || ' ' || f.src_addr || ' ' || f.src_port"
	"      END || ' ' || f.proto || ' ' || ifnull(f.icmp_id, '') AS conversation"
	" FROM flows f JOIN host h ON h.id = f.host_id WHERE 1";

static const char index_sql[] = "CREATE INDEX temp.traffic_by_conversation ON traffic"
				" (conversation, from_ms, to_ms, host_id, sent)";

/*
 * What overlaps began at most the longest time of a record before: that bound
 * keeps a conversation of many records from being compared all with all. With
 * a subquery in WHERE, SQLite first decides on all rows and then deletes.
 */
static const char set_aside_sql[] =
	"DELETE FROM traffic AS copy WHERE EXISTS ("
	" SELECT 1 FROM traffic t"
	"  WHERE t.conversation = copy.conversation AND t.host_id <> copy.host_id"
	"    AND t.from_ms >= copy.from_ms - " SLACK
	"                     - (SELECT max(to_ms - from_ms) FROM traffic)"
	"    AND t.from_ms <= copy.to_ms + " SLACK " AND t.to_ms >= copy.from_ms - " SLACK
	"    AND (t.sent, copy.host_id) > (copy.sent, t.host_id))";

static int collect(const struct cli_settings *s, sqlite3 *db, int argc, char **argv)
{
	cleanup(query_done) struct query q;
	int code;

	query_init(&q);
	query_add(&q, columns_sql, query_bind_int(&q, s->since_ms));
	cli_add_window(&q, s);
	code = cli_add_filter(&q, argc, argv);
	if (code)
		return code;
	return cli_exec_query(db, &q);
}

int traffic_build(const struct cli_settings *s, sqlite3 *db, int argc, char **argv,
		  uint64_t *ret_copies)
{
	int code = collect(s, db, argc, argv);

	if (!code)
		code = cli_exec(db, index_sql);
	if (!code)
		code = cli_exec(db, set_aside_sql);
	if (!code)
		*ret_copies = (uint64_t)sqlite3_changes64(db);
	return code;
}
