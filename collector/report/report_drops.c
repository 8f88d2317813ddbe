// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/report/report.h"

#include "collector/sqlite/query.h"
#include "collector/store/db.h"
#include "common/cleanup.h"

DEFINE_CLEANUP(sqlite3 *, db_close)

/*
 * Two views of the same: the probes' counters by reason, totals since each
 * probe's start, of the starts that were heard of in the window, in rows whose
 * process is "(all)"; and what could be related to flows, by process, of the
 * records in the window. What listening sockets refused is in counters alone,
 * whose names have port and process.
 */
static const char drops_sql[] =
	"SELECT host, reason, process, port, flows, packets, end_ms AS last_ms FROM ("
	"SELECT h.name AS host, substr(c.name, 6) AS reason, '(all)' AS process, NULL AS port,"
	" NULL AS flows, sum(c.value) AS packets, max(c.updated_ms) AS end_ms"
	" FROM probe_counter c JOIN host h ON h.id = c.host_id"
	" WHERE c.name GLOB 'drop_*' AND c.value > 0 GROUP BY 1, 2 "
	"UNION ALL "
	"SELECT h.name, 'listen_queue', CASE WHEN substr(c.name, 13) <> 'other'"
	" THEN substr(c.name, 13 + instr(substr(c.name, 13), '_')) END,"
	" nullif(CAST(substr(c.name, 13) AS INTEGER), 0), NULL, sum(c.value), max(c.updated_ms)"
	" FROM probe_counter c JOIN host h ON h.id = c.host_id"
	" WHERE c.name GLOB 'listen_drop_*' AND c.value > 0 GROUP BY 1, 3, 4 "
	"UNION ALL "
	"SELECT host, kernel_drop_reason, process, NULL, count(DISTINCT flow_id),"
	" sum(kernel_drops), max(end_ms) FROM flows WHERE kernel_drops > 0";

static int run_drops(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_NONE,  UNIT_NONE,	 UNIT_NONE,   UNIT_NONE,
						 UNIT_COUNT, UNIT_COUNT, UNIT_TIME_MS};
	const struct cli_settings *s = settings;
	cleanup(db_close_p) sqlite3 *db = NULL;
	cleanup(query_done) struct query q;
	int code;

	(void)argv; /* takes none: the options refuse them */
	(void)argc;
	query_init(&q);
	query_add(&q, "%s", drops_sql);
	cli_add_window(&q, s);
	query_add(&q, " GROUP BY 1, 2, 3) WHERE 1");
	cli_add_window(&q, s);
	query_add(&q, " ORDER BY max(packets) OVER (PARTITION BY host, reason) DESC, 1, 2,"
		      " process IS NOT '(all)', packets DESC, 3, 4");
	cli_add_limit(&q, s);
	code = cli_open(s, &db);
	return code ? code : cli_answer(s, db, &q, units);
}

const struct cli_command report_drops = {
	.command = {.name = "report drops",
		    .summary = "what the kernels dropped, by host, the kernel's reason and process",
		    .examples =
			    "Process (all) is the host's counter since its probe started, also of "
			    "what is of no flow.\n",
		    .tables = {REPORT_TABLES}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_drops,
};
