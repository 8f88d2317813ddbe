// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report_services.c - services: who is asked, by how many, and how it goes. */
#include "collector/report.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define SERVICE_KEYS "dst_addr dst_port proto_name host process iface vlan"

/* Nobody's attempt is counted twice: each flow has one last record, or goes on. */
static int run(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_COUNT, UNIT_COUNT, UNIT_BYTES,
						 UNIT_COUNT, UNIT_COUNT, UNIT_COUNT,
						 UNIT_US,    UNIT_US,	 UNIT_PERCENT};
	static const struct report_sums sums = {
		.keys = SERVICE_KEYS,
		.sums = "count(DISTINCT src_addr) AS clients,"
			" count(DISTINCT host_id || ' ' || flow_id) AS flows,"
			" sum(bytes + rev_bytes) AS bytes,"
			" sum(ifnull(verdict, '') = 'refused' AND end_reason <> 'active') AS "
			"refused,"
			" sum(ifnull(verdict, '') IN ('syn_unanswered', 'half_open')"
			"     AND end_reason <> 'active') AS unanswered,"
			" sum(ifnull(verdict, '') = 'reset' AND end_reason <> 'active') AS reset,"
			" quantile(rtt_us, 0.95) AS rtt_p95_us,"
			" quantile(response_avg_us, 0.95) AS response_p95_us,"
			" 100.0 * sum(retrans_pkts + rev_retrans_pkts)"
			" / nullif(sum(iif(proto = 6, packets + rev_packets, 0)), 0) AS "
			"retrans_pct",
		.where = "dst_port > 0",
		.order = "flows DESC, bytes DESC",
		.units = units,
		.n_sums = ARRAY_SIZE(units),
	};

	return report_answer_sums(settings, argc, argv, &sums);
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
