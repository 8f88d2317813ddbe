// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/report.h"

#include <inttypes.h>
#include <string.h>

#include "collector/db.h"
#include "collector/query.h"
#include "collector/traffic.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define MAX_KEYS 4 /* of --by */

DEFINE_CLEANUP(sqlite3 *, db_close)

/* Answers q over the table traffic of the window and the filter. */
static int answer(const struct cli_settings *s, int argc, char **argv, struct query *q,
		  const enum output_unit *units)
{
	cleanup(db_close_p) sqlite3 *db = NULL;
	uint64_t copies;
	int code;

	code = cli_open(s, &db);
	if (!code)
		code = traffic_build(s, db, argc, argv, &copies);
	if (!code)
		code = cli_answer(s, db, q, units);
	if (code)
		return code;
	if (copies && !s->quiet)
		log_info("counted once: %" PRIu64 " records set aside as another host's copy "
			 "of the same conversation",
			 copies);
	return EXIT_OK;
}

/* For the reports that are one statement. */
static int answer_sql(const struct cli_settings *s, int argc, char **argv, const char *sql,
		      const enum output_unit *units)
{
	cleanup(query_done) struct query q;

	query_init(&q);
	query_add(&q, "%s", sql);
	cli_add_limit(&q, s);
	return answer(s, argc, argv, &q, units);
}

/* --- top --------------------------------------------------------------------- */

struct top_settings {
	struct cli_settings cli; /* first: the shared rows count on it */
	struct option_list by;
};

#define TOP_KEYS                                                                                   \
	"host src_addr dst_addr src_port dst_port proto proto_name ip_version vlan iface "         \
	"direction role end_reason icmp_type icmp_code process pid uid cgroup"

static bool is_key(const char *name)
{
	size_t len = strlen(name);

	for (const char *k = TOP_KEYS; *k; k += strspn(k, " ")) {
		if (strcspn(k, " ") == len && strncmp(k, name, len) == 0)
			return true;
		k += strcspn(k, " ");
	}
	return false;
}

static int check_keys(const struct option_list *by)
{
	if (by->n == 0 || by->n > MAX_KEYS) {
		log_error("--by takes one to %d columns", MAX_KEYS);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < by->n; i++) {
		if (!is_key(by->items[i])) {
			log_error("--by %s: not one of %s", by->items[i], TOP_KEYS);
			return EXIT_USAGE;
		}
	}
	return EXIT_OK;
}

static void add_keys(struct query *q, const struct option_list *by)
{
	for (size_t i = 0; i < by->n; i++)
		query_add(q, "%s, ", by->items[i]); /* checked by check_keys() */
}

/* A row of sums over ranked, under a name in place of the keys. */
static void add_sum_row(struct query *q, const struct option_list *by, int part, const char *name,
			const char *where)
{
	query_add(q, " UNION ALL SELECT %d, '%s', ", part, name);
	for (size_t i = 1; i < by->n; i++)
		query_add(q, "NULL, ");
	query_add(q,
		  "sum(bytes), sum(packets), sum(flows), NULL FROM ranked %s"
		  " HAVING count(*) > 0",
		  where);
}

static void build_top(struct query *q, const struct option_list *by, uint64_t limit)
{
	(void)query_bind_int(q, limit ? (int64_t)limit : INT64_MAX); /* ?1 */
	query_add(q, "WITH grouped AS (SELECT ");
	add_keys(q, by);
	query_add(q, "sum(bytes + rev_bytes) AS bytes, sum(packets + rev_packets) AS packets,"
		     " count(DISTINCT flow_id) AS flows FROM traffic GROUP BY ");
	for (size_t i = 0; i < by->n; i++)
		query_add(q, "%s%u", i ? ", " : "", (unsigned)i + 1);
	query_add(q, "), ranked AS (SELECT *, row_number() OVER (ORDER BY bytes DESC, ");
	add_keys(q, by);
	query_add(q, "flows) AS rank FROM grouped) SELECT ");
	add_keys(q, by);
	query_add(q, "bytes, packets, flows,"
		     " 100.0 * bytes / (SELECT sum(bytes) FROM grouped) AS share_pct"
		     " FROM (SELECT 1 AS part, * FROM ranked WHERE rank <= ?1");
	add_sum_row(q, by, 2, "(other)", "WHERE rank > ?1");
	add_sum_row(q, by, 3, "(total)", "");
	query_add(q, ") ORDER BY part, rank");
}

static int run_top(const void *settings, int argc, char **argv)
{
	const struct top_settings *s = settings;
	cleanup(query_done) struct query q;
	enum output_unit units[MAX_KEYS + 4] = {UNIT_NONE};
	int code;

	query_init(&q);
	code = check_keys(&s->by);
	if (code)
		return code;
	build_top(&q, &s->by, s->cli.limit);
	units[s->by.n] = UNIT_BYTES;
	units[s->by.n + 1] = UNIT_COUNT;
	units[s->by.n + 2] = UNIT_COUNT;
	units[s->by.n + 3] = UNIT_PERCENT;
	return answer(&s->cli, argc, argv, &q, units);
}

/* --- the others -------------------------------------------------------------- */

static int run_latency(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_NONE, UNIT_NONE, UNIT_NONE, UNIT_COUNT,
						 UNIT_US,   UNIT_US,   UNIT_US,	  UNIT_US};

	return answer_sql(settings, argc, argv,
			  "SELECT src_addr, dst_addr, dst_port, count(*) AS handshakes,"
			  " quantile(rtt_us, 0.5) AS rtt_p50_us,"
			  " quantile(rtt_us, 0.95) AS rtt_p95_us,"
			  " quantile(rtt_us, 0.99) AS rtt_p99_us, max(rtt_us) AS rtt_max_us"
			  " FROM traffic WHERE rtt_us IS NOT NULL GROUP BY 1, 2, 3"
			  " ORDER BY rtt_p95_us DESC, handshakes DESC, 1, 2, 3",
			  units);
}

static int run_retrans(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_NONE,  UNIT_NONE,	   UNIT_COUNT,
						 UNIT_COUNT, UNIT_PERCENT, UNIT_COUNT,
						 UNIT_COUNT, UNIT_PERCENT, UNIT_COUNT};

	return answer_sql(settings, argc, argv,
			  "SELECT src_addr, dst_addr, sum(packets) AS packets,"
			  " sum(retrans_pkts) AS retrans_pkts,"
			  " 100.0 * sum(retrans_pkts) / sum(packets) AS retrans_pct,"
			  " sum(rev_packets) AS rev_packets,"
			  " sum(rev_retrans_pkts) AS rev_retrans_pkts,"
			  " 100.0 * sum(rev_retrans_pkts) / sum(rev_packets) AS rev_retrans_pct,"
			  " sum(kernel_retrans_pkts) AS kernel_retrans_pkts"
			  " FROM traffic WHERE proto = 6 GROUP BY 1, 2"
			  " ORDER BY sum(retrans_pkts + rev_retrans_pkts) DESC, 1, 2",
			  units);
}

static int run_protocols(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_NONE,  UNIT_NONE,	 UNIT_BYTES,
						 UNIT_COUNT, UNIT_COUNT, UNIT_PERCENT};

	return answer_sql(settings, argc, argv,
			  "SELECT proto_name, ip_version, sum(bytes + rev_bytes) AS bytes,"
			  " sum(packets + rev_packets) AS packets,"
			  " count(DISTINCT flow_id) AS flows,"
			  " 100.0 * sum(bytes + rev_bytes)"
			  " / (SELECT sum(bytes + rev_bytes) FROM traffic) AS share_pct"
			  " FROM traffic GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
			  units);
}

/* A cell is what one address sent to another, whoever opened the conversation. */
static int run_matrix(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_NONE, UNIT_NONE, UNIT_BYTES, UNIT_COUNT,
						 UNIT_COUNT};

	return answer_sql(settings, argc, argv,
			  "SELECT src, dst, sum(bytes) AS bytes, sum(packets) AS packets,"
			  " count(DISTINCT flow_id) AS flows FROM ("
			  "SELECT src_addr AS src, dst_addr AS dst, bytes, packets, flow_id"
			  " FROM traffic WHERE packets > 0 UNION ALL "
			  "SELECT dst_addr, src_addr, rev_bytes, rev_packets, flow_id"
			  " FROM traffic WHERE rev_packets > 0)"
			  " GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
			  units);
}

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

/* --- commands ---------------------------------------------------------------- */

static const struct option_row by_row = {
	.name = "by",
	.type = OPTION_LIST,
	.offset = offsetof(struct top_settings, by),
	.arg = "COLUMN,...",
	.fallback = "src_addr",
	.help = "what to sum by: " TOP_KEYS,
	.cli_only = true,
};

static const struct option_row window_rows[] = {
	CLI_SINCE_ROW("1h"),
	CLI_UNTIL_ROW,
	CLI_LIMIT_ROW("20"),
};

#define WINDOW_TABLE                                                                               \
	{                                                                                          \
		window_rows, ARRAY_SIZE(window_rows)                                               \
	}
#define CLI_TABLE                                                                                  \
	{                                                                                          \
		cli_rows, CLI_N_ROWS                                                               \
	}

static const struct cli_command top = {
	.command = {.name = "report top",
		    .args = "[FILTER...]",
		    .summary = "most bytes (both directions), with the rest and the total",
		    .examples = "report top --by dst_addr,dst_port --since 1d tcp\n",
		    .tables = {{&by_row, 1}, WINDOW_TABLE, CLI_TABLE}},
	.settings_size = sizeof(struct top_settings),
	.run = run_top,
};

static const struct cli_command latency = {
	.command = {.name = "report latency",
		    .args = "[FILTER...]",
		    .summary = "TCP handshake times per client, server and port, slowest first",
		    .tables = {WINDOW_TABLE, CLI_TABLE}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_latency,
};

static const struct cli_command retrans = {
	.command = {.name = "report retrans",
		    .args = "[FILTER...]",
		    .summary = "TCP segments sent again, per pair and direction",
		    .examples = "kernel_retrans_pkts is what the reporting host's own TCP sent "
				"again; what was lost\ninside that host is in 'report drops'.\n",
		    .tables = {WINDOW_TABLE, CLI_TABLE}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_retrans,
};

static const struct cli_command protocols = {
	.command = {.name = "report protocols",
		    .args = "[FILTER...]",
		    .summary = "bytes, packets and flows per protocol",
		    .tables = {WINDOW_TABLE, CLI_TABLE}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_protocols,
};

static const struct cli_command matrix = {
	.command = {.name = "report matrix",
		    .args = "[FILTER...]",
		    .summary = "what each address sent to each other one",
		    .tables = {WINDOW_TABLE, CLI_TABLE}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_matrix,
};

static const struct cli_command drops = {
	.command = {.name = "report drops",
		    .summary = "what the kernels dropped, by host, the kernel's reason and process",
		    .examples =
			    "Process (all) is the host's counter since its probe started, also of "
			    "what is of no flow.\n",
		    .tables = {WINDOW_TABLE, CLI_TABLE}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_drops,
};

static const struct cli_command *const reports[] = {&top,	&latency, &retrans,
						    &protocols, &matrix,  &drops};

const struct cli_command report_command = {
	.command = {.name = "report",
		    .summary =
			    "sums over a window: top, latency, retrans, protocols, matrix, drops",
		    .examples =
			    "Every conversation counts once, also when several hosts report it.\n"},
	.subcommands = reports,
	.n_subcommands = ARRAY_SIZE(reports),
};
