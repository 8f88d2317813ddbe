// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report_names.c - dns and tls: what traffic was about, and how well it went. */
#include "collector/report.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define DNS_KEYS "dns_qname dns_qtype dns_rcode host src_addr dst_addr process"
#define TLS_KEYS "tls_sni tls_alpn host src_addr dst_addr dst_port process quic_version"

/* A record tells of one query, the one that went worst; queries and unanswered count all. */
static int run_dns(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_COUNT, UNIT_COUNT, UNIT_PERCENT, UNIT_COUNT,
						 UNIT_US,    UNIT_US,	 UNIT_US};
	static const struct report_sums sums = {
		.keys = DNS_KEYS,
		.sums = "sum(dns_queries) AS queries, sum(dns_unanswered) AS unanswered,"
			" 100.0 * sum(dns_unanswered) / sum(dns_queries) AS unanswered_pct,"
			" sum(dns_rcode NOT IN ('NOERROR', 'NXDOMAIN')) AS failed,"
			" quantile(dns_latency_us, 0.5) AS latency_p50_us,"
			" quantile(dns_latency_us, 0.95) AS latency_p95_us,"
			" max(dns_latency_us) AS latency_max_us",
		.where = "dns_queries > 0",
		.order = "queries DESC, unanswered DESC",
		.units = units,
		.n_sums = ARRAY_SIZE(units),
	};

	return report_answer_sums(settings, argc, argv, &sums);
}

static int run_tls(const void *settings, int argc, char **argv)
{
	static const enum output_unit units[] = {UNIT_COUNT, UNIT_COUNT, UNIT_BYTES,
						 UNIT_COUNT, UNIT_US,	 UNIT_US};
	static const struct report_sums sums = {
		.keys = TLS_KEYS,
		.sums = "count(DISTINCT host_id || ' ' || flow_id) AS connections,"
			" count(DISTINCT src_addr) AS clients, sum(bytes + rev_bytes) AS bytes,"
			" count(DISTINCT dst_addr) AS servers,"
			" quantile(rtt_us, 0.95) AS rtt_p95_us,"
			" quantile(response_avg_us, 0.95) AS response_p95_us",
		.where = "tls_sni IS NOT NULL",
		.order = "connections DESC, bytes DESC",
		.units = units,
		.n_sums = ARRAY_SIZE(units),
	};

	return report_answer_sums(settings, argc, argv, &sums);
}

static const struct option_row dns_by = REPORT_BY_ROW("dns_qname,dns_qtype,dns_rcode", DNS_KEYS);
static const struct option_row tls_by = REPORT_BY_ROW("tls_sni", TLS_KEYS);

const struct cli_command report_dns = {
	.command = {.name = "report dns",
		    .args = "[FILTER...]",
		    .summary = "what was asked, how it was answered and how fast",
		    .examples = "report dns --by dst_addr                 of each server\n"
				"report dns --by host,process dns_rcode SERVFAIL\n"
				"\n"
				"failed: records with an rcode other than NOERROR and NXDOMAIN\n",
		    .tables = {{&dns_by, 1}, REPORT_TABLES}},
	.settings_size = sizeof(struct report_by_settings),
	.run = run_dns,
};

const struct cli_command report_tls = {
	.command = {.name = "report tls",
		    .args = "[FILTER...]",
		    .summary = "server names that clients asked for, over TLS and QUIC",
		    .examples = "report tls --by process,tls_sni host web1\n",
		    .tables = {{&tls_by, 1}, REPORT_TABLES}},
	.settings_size = sizeof(struct report_by_settings),
	.run = run_tls,
};
