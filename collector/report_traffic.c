// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report_traffic.c - latency, retrans, protocols, matrix. */
#include "collector/report.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define LATENCY_KEYS "host src_addr dst_addr dst_port iface process"

static int run_latency(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_COUNT, UNIT_US, UNIT_US, UNIT_US,
						 UNIT_US,    UNIT_US, UNIT_US};
	static const struct report_sums sums = {
		.keys = LATENCY_KEYS,
		.sums = "count(rtt_us) AS handshakes, quantile(rtt_us, 0.5) AS rtt_p50_us,"
			" quantile(rtt_us, 0.95) AS rtt_p95_us,"
			" quantile(rtt_us, 0.99) AS rtt_p99_us, max(rtt_us) AS rtt_max_us,"
			" quantile(data_rtt_avg_us, 0.95) AS data_rtt_p95_us,"
			" quantile(response_avg_us, 0.95) AS response_p95_us",
		.where = "rtt_us IS NOT NULL OR data_rtt_samples > 0",
		.order = "rtt_p95_us DESC, handshakes DESC",
		.units = units,
		.n_sums = ARRAY_SIZE(units),
	};

	return report_answer_sums(settings, argc, argv, &sums);
}

static int run_retrans(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_NONE,  UNIT_NONE,	   UNIT_COUNT,
						 UNIT_COUNT, UNIT_PERCENT, UNIT_COUNT,
						 UNIT_COUNT, UNIT_PERCENT, UNIT_COUNT};

	return report_answer_sql(
		settings, argc, argv,
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

	return report_answer_sql(settings, argc, argv,
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

	return report_answer_sql(settings, argc, argv,
				 "SELECT src, dst, sum(bytes) AS bytes, sum(packets) AS packets,"
				 " count(DISTINCT flow_id) AS flows FROM ("
				 "SELECT src_addr AS src, dst_addr AS dst, bytes, packets, flow_id"
				 " FROM traffic WHERE packets > 0 UNION ALL "
				 "SELECT dst_addr, src_addr, rev_bytes, rev_packets, flow_id"
				 " FROM traffic WHERE rev_packets > 0)"
				 " GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2",
				 units);
}

static const struct option_row by_row = REPORT_BY_ROW("src_addr,dst_addr,dst_port", LATENCY_KEYS);

const struct cli_command report_latency = {
	.command = {.name = "report latency",
		    .args = "[FILTER...]",
		    .summary = "TCP handshakes, round trips and answers, slowest first",
		    .examples = "report latency --by dst_addr,dst_port    of each service\n"
				"report latency --by host                 as each host sees it\n"
				"\n"
				"data_rtt_p95_us, response_p95_us: of the means of each record\n",
		    .tables = {{&by_row, 1}, REPORT_TABLES}},
	.settings_size = sizeof(struct report_by_settings),
	.run = run_latency,
};

const struct cli_command report_retrans = {
	.command = {.name = "report retrans",
		    .args = "[FILTER...]",
		    .summary = "TCP segments sent again, per pair and direction",
		    .examples = "kernel_retrans_pkts is what the reporting host's own TCP sent "
				"again; what was lost\ninside that host is in 'report drops'.\n",
		    .tables = {REPORT_TABLES}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_retrans,
};

const struct cli_command report_protocols = {
	.command = {.name = "report protocols",
		    .args = "[FILTER...]",
		    .summary = "bytes, packets and flows per protocol",
		    .tables = {REPORT_TABLES}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_protocols,
};

const struct cli_command report_matrix = {
	.command = {.name = "report matrix",
		    .args = "[FILTER...]",
		    .summary = "what each address sent to each other one",
		    .tables = {REPORT_TABLES}},
	.settings_size = sizeof(struct cli_settings),
	.run = run_matrix,
};
