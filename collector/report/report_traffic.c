// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report_traffic.c - latency, retrans, protocols, matrix. */
#include "collector/report/report.h"
#include "common/array_size.h"

#define LATENCY_KEYS "host src_addr dst_addr dst_port iface process"

/* --- latency ------------------------------------------------------------------------ */

static const struct report_measure latency_measures[] = {
	{"handshakes", UNIT_COUNT, REPORT_OF_COLUMN(MEASURE_COUNT, rtt_us)},
	{"rtt_p50_us", UNIT_US, REPORT_QUANTILE(rtt_us, 0.5)},
	{"rtt_p95_us", UNIT_US, REPORT_QUANTILE(rtt_us, 0.95)},
	{"rtt_p99_us", UNIT_US, REPORT_QUANTILE(rtt_us, 0.99)},
	{"rtt_max_us", UNIT_US, REPORT_OF_COLUMN(MEASURE_MAX, rtt_us)},
	{"data_rtt_p95_us", UNIT_US, REPORT_QUANTILE(data_rtt_avg_us, 0.95)},
	{"response_p95_us", UNIT_US, REPORT_QUANTILE(response_avg_us, 0.95)},
};

static const struct predicate has_samples[] = {
	{.kind = PREDICATE_HAS, .column = FLOW_COLUMN_rtt_us},
	REPORT_AT_LEAST(data_rtt_samples, 1),
};
static const struct predicate timed = {
	.kind = PREDICATE_ANY, .children = has_samples, .n_children = ARRAY_SIZE(has_samples)};

static const struct report_question latency = {
	.measures = latency_measures,
	.n_measures = ARRAY_SIZE(latency_measures),
	.where = &timed,
	.orders = {{.measure = 2}, {.measure = 0}},
	.n_orders = 2,
};

static int run_latency(const void *settings, int argc, char **argv)
{
	const struct report_by_settings *s = settings;
	struct report_question q = latency;
	int code = report_set_keys(&s->by, LATENCY_KEYS, &q);

	return code ? code : report_answer_groups(&s->cli, argc, argv, &q);
}

/* --- retrans ------------------------------------------------------------------------- */

static const struct measure sum_of_packets = REPORT_SUM(packets);
static const struct measure sum_of_rev_packets = REPORT_SUM(rev_packets);

/* The last is what they are ordered by. */
static const struct report_measure retrans_measures[] = {
	{"packets", UNIT_COUNT, REPORT_SUM(packets)},
	{"retrans_pkts", UNIT_COUNT, REPORT_SUM(retrans_pkts)},
	{"retrans_pct", UNIT_PERCENT, REPORT_PERCENT(retrans_pkts, &sum_of_packets)},
	{"rev_packets", UNIT_COUNT, REPORT_SUM(rev_packets)},
	{"rev_retrans_pkts", UNIT_COUNT, REPORT_SUM(rev_retrans_pkts)},
	{"rev_retrans_pct", UNIT_PERCENT, REPORT_PERCENT(rev_retrans_pkts, &sum_of_rev_packets)},
	{"kernel_retrans_pkts", UNIT_COUNT, REPORT_SUM(kernel_retrans_pkts)},
	{NULL, UNIT_NONE, REPORT_SUM_OF_TWO(retrans_pkts, rev_retrans_pkts)},
};

static const struct predicate is_tcp = REPORT_IS(proto, IPPROTO_TCP);

static const struct report_question retrans = {
	.keys = {REPORT_ADDR_KEY("src_addr", src_addr), REPORT_ADDR_KEY("dst_addr", dst_addr)},
	.n_keys = 2,
	.measures = retrans_measures,
	.n_measures = ARRAY_SIZE(retrans_measures),
	.where = &is_tcp,
	.orders = {{.measure = 7}},
	.n_orders = 1,
};

static int run_retrans(const void *settings, int argc, char **argv)
{
	return report_answer_groups(settings, argc, argv, &retrans);
}

/* --- protocols ------------------------------------------------------------------------ */

static const struct report_measure protocol_measures[] = {
	{"bytes", UNIT_BYTES, REPORT_SUM_OF_TWO(bytes, rev_bytes)},
	{"packets", UNIT_COUNT, REPORT_SUM_OF_TWO(packets, rev_packets)},
	{"flows", UNIT_COUNT, {.kind = MEASURE_FLOWS}},
	{"share_pct",
	 UNIT_PERCENT,
	 {.kind = MEASURE_SHARE,
	  .n_columns = 2,
	  .columns = {FLOW_COLUMN_bytes, FLOW_COLUMN_rev_bytes}}},
};

static const struct report_question protocols = {
	.keys = {{"proto_name", {.kind = FLOWS_PROTO_NAME, .column = FLOW_COLUMN_proto}},
		 {"ip_version", {.kind = FLOWS_IP_VERSION, .column = FLOW_COLUMN_src_addr}}},
	.n_keys = 2,
	.measures = protocol_measures,
	.n_measures = ARRAY_SIZE(protocol_measures),
	.orders = {{.measure = 0}},
	.n_orders = 1,
};

static int run_protocols(const void *settings, int argc, char **argv)
{
	return report_answer_groups(settings, argc, argv, &protocols);
}

/* --- matrix ---------------------------------------------------------------------------- */

/* A cell is what one address sent to another, whoever opened the conversation. */
static const struct report_measure matrix_measures[] = {
	{"bytes", UNIT_BYTES, REPORT_SUM(bytes)},
	{"packets", UNIT_COUNT, REPORT_SUM(packets)},
	{"flows", UNIT_COUNT, {.kind = MEASURE_FLOWS}},
};
static const struct measure matrix_measures_back[] = {
	REPORT_SUM(rev_bytes), REPORT_SUM(rev_packets), {.kind = MEASURE_FLOWS}};

static const struct predicate has_packets = REPORT_AT_LEAST(packets, 1);
static const struct predicate has_rev_packets = REPORT_AT_LEAST(rev_packets, 1);

static const struct aggregate_spec matrix_back = {
	.keys = {{.kind = FLOWS_ADDR, .column = FLOW_COLUMN_dst_addr},
		 {.kind = FLOWS_ADDR, .column = FLOW_COLUMN_src_addr}},
	.n_keys = 2,
	.measures = matrix_measures_back,
	.n_measures = ARRAY_SIZE(matrix_measures_back),
	.where = &has_rev_packets,
};

static const struct report_question matrix = {
	.keys = {REPORT_ADDR_KEY("src", src_addr), REPORT_ADDR_KEY("dst", dst_addr)},
	.n_keys = 2,
	.measures = matrix_measures,
	.n_measures = ARRAY_SIZE(matrix_measures),
	.way = &has_packets,
	.also = &matrix_back,
	.orders = {{.measure = 0}},
	.n_orders = 1,
};

static int run_matrix(const void *settings, int argc, char **argv)
{
	return report_answer_groups(settings, argc, argv, &matrix);
}

/* --- commands --------------------------------------------------------------------------- */

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
