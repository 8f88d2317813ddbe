// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report_services.c - services: who is asked, by how many, and how it goes. */
#include "collector/report/report.h"
#include "common/array_size.h"

#define SERVICE_KEYS "dst_addr dst_port proto_name host process iface vlan"

/* --- how attempts ended ---------------------------------------------------------------- */

#define ALL_OF(name)                                                                               \
	{                                                                                          \
		.kind = PREDICATE_ALL, .children = (name), .n_children = ARRAY_SIZE(name)          \
	}
/* Nobody's attempt is counted twice: each flow has one last record, or goes on. */
#define ENDED                                                                                      \
	{                                                                                          \
		.kind = PREDICATE_NOT, .children = &goes_on, .n_children = 1                       \
	}
static const struct predicate goes_on = REPORT_IS(end_reason, FLOW_END_ACTIVE);
static const struct predicate silences[] = {
	REPORT_IS(verdict, FLOW_VERDICT_SYN_UNANSWERED),
	REPORT_IS(verdict, FLOW_VERDICT_HALF_OPEN),
};
static const struct predicate refused_parts[] = {REPORT_IS(verdict, FLOW_VERDICT_REFUSED), ENDED};
static const struct predicate reset_parts[] = {REPORT_IS(verdict, FLOW_VERDICT_RESET), ENDED};
static const struct predicate unanswered_parts[] = {
	{.kind = PREDICATE_ANY, .children = silences, .n_children = ARRAY_SIZE(silences)}, ENDED};

static const struct predicate refused = ALL_OF(refused_parts);
static const struct predicate reset = ALL_OF(reset_parts);
static const struct predicate unanswered = ALL_OF(unanswered_parts);

/* --- the question ------------------------------------------------------------------------- */

static const struct predicate is_tcp = REPORT_IS(proto, IPPROTO_TCP);
static const struct measure tcp_packets = {
	.kind = MEASURE_SUM,
	.n_columns = 2,
	.columns = {FLOW_COLUMN_packets, FLOW_COLUMN_rev_packets},
	.where = &is_tcp};

static const struct report_measure measures[] = {
	{"clients", UNIT_COUNT, REPORT_OF_COLUMN(MEASURE_DISTINCT, src_addr)},
	{"flows", UNIT_COUNT, {.kind = MEASURE_FLOWS}},
	{"bytes", UNIT_BYTES, REPORT_SUM_OF_TWO(bytes, rev_bytes)},
	{"refused", UNIT_COUNT, {.kind = MEASURE_COUNT, .where = &refused}},
	{"unanswered", UNIT_COUNT, {.kind = MEASURE_COUNT, .where = &unanswered}},
	{"reset", UNIT_COUNT, {.kind = MEASURE_COUNT, .where = &reset}},
	{"rtt_p95_us", UNIT_US, REPORT_QUANTILE(rtt_us, 0.95)},
	{"response_p95_us", UNIT_US, REPORT_QUANTILE(response_avg_us, 0.95)},
	{"retrans_pct",
	 UNIT_PERCENT,
	 {.kind = MEASURE_PERCENT,
	  .n_columns = 2,
	  .columns = {FLOW_COLUMN_retrans_pkts, FLOW_COLUMN_rev_retrans_pkts},
	  .of = &tcp_packets}},
};

static const struct predicate has_port = REPORT_AT_LEAST(dst_port, 1);

static const struct report_question services = {
	.measures = measures,
	.n_measures = ARRAY_SIZE(measures),
	.where = &has_port,
	.orders = {{.measure = 1}, {.measure = 2}},
	.n_orders = 2,
};

static int run(const void *settings, int argc, char **argv)
{
	const struct report_by_settings *s = settings;
	struct report_question q = services;
	int code = report_set_keys(&s->by, SERVICE_KEYS, &q);

	return code ? code : report_answer_groups(&s->cli, argc, argv, &q);
}

static const struct option_row by_row = REPORT_BY_ROW("dst_addr,dst_port,proto_name", SERVICE_KEYS);

const struct cli_command report_services = {
	.command = {.name = "report services",
		    .args = "[FILTER...]",
		    .summary = "each service: clients, failures, round trip, answers",
		    .examples = "report services --by dst_port,proto_name\n"
				"report services --by process role server\n",
		    .tables = {{&by_row, 1}, REPORT_TABLES}},
	.settings_size = sizeof(struct report_by_settings),
	.run = run,
};
