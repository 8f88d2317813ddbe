// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* report_names.c - dns and tls: what traffic was about, and how well it went. */
#include "collector/report/report.h"
#include "common/array_size.h"

#define DNS_KEYS "dns_qname dns_qtype dns_rcode host src_addr dst_addr process"
#define TLS_KEYS "tls_sni tls_alpn host src_addr dst_addr dst_port process quic_version"

/* --- dns ------------------------------------------------------------------------------ */

static const struct measure sum_of_queries = REPORT_SUM(dns_queries);

/* NOERROR, NXDOMAIN */
static const struct predicate good_rcodes[] = {REPORT_IS(dns_rcode, 0), REPORT_IS(dns_rcode, 3)};
static const struct predicate answered = {
	.kind = PREDICATE_ANY, .children = good_rcodes, .n_children = ARRAY_SIZE(good_rcodes)};
static const struct predicate failed = {
	.kind = PREDICATE_NOT, .children = &answered, .n_children = 1};

/* A record tells of one query, the one that went worst; queries and unanswered count all. */
static const struct report_measure dns_measures[] = {
	{"queries", UNIT_COUNT, REPORT_SUM(dns_queries)},
	{"unanswered", UNIT_COUNT, REPORT_SUM(dns_unanswered)},
	{"unanswered_pct", UNIT_PERCENT, REPORT_PERCENT(dns_unanswered, &sum_of_queries)},
	{"failed",
	 UNIT_COUNT,
	 {.kind = MEASURE_MATCHES,
	  .n_columns = 1,
	  .columns = {FLOW_COLUMN_dns_rcode},
	  .where = &failed}},
	{"latency_p50_us", UNIT_US, REPORT_QUANTILE(dns_latency_us, 0.5)},
	{"latency_p95_us", UNIT_US, REPORT_QUANTILE(dns_latency_us, 0.95)},
	{"latency_max_us", UNIT_US, REPORT_OF_COLUMN(MEASURE_MAX, dns_latency_us)},
};

static const struct predicate has_queries = REPORT_AT_LEAST(dns_queries, 1);

static const struct report_question dns = {
	.measures = dns_measures,
	.n_measures = ARRAY_SIZE(dns_measures),
	.where = &has_queries,
	.orders = {{.measure = 0}, {.measure = 1}},
	.n_orders = 2,
};

static int run_dns(const void *settings, int argc, char **argv)
{
	const struct report_by_settings *s = settings;
	struct report_question q = dns;
	int code = report_set_keys(&s->by, DNS_KEYS, &q);

	return code ? code : report_answer_groups(&s->cli, argc, argv, &q);
}

/* --- tls ------------------------------------------------------------------------------- */

static const struct report_measure tls_measures[] = {
	{"connections", UNIT_COUNT, {.kind = MEASURE_FLOWS}},
	{"clients", UNIT_COUNT, REPORT_OF_COLUMN(MEASURE_DISTINCT, src_addr)},
	{"bytes", UNIT_BYTES, REPORT_SUM_OF_TWO(bytes, rev_bytes)},
	{"servers", UNIT_COUNT, REPORT_OF_COLUMN(MEASURE_DISTINCT, dst_addr)},
	{"rtt_p95_us", UNIT_US, REPORT_QUANTILE(rtt_us, 0.95)},
	{"response_p95_us", UNIT_US, REPORT_QUANTILE(response_avg_us, 0.95)},
};

static const struct predicate has_name = {.kind = PREDICATE_HAS, .column = FLOW_COLUMN_tls_sni};

static const struct report_question tls = {
	.measures = tls_measures,
	.n_measures = ARRAY_SIZE(tls_measures),
	.where = &has_name,
	.orders = {{.measure = 0}, {.measure = 2}},
	.n_orders = 2,
};

static int run_tls(const void *settings, int argc, char **argv)
{
	const struct report_by_settings *s = settings;
	struct report_question q = tls;
	int code = report_set_keys(&s->by, TLS_KEYS, &q);

	return code ? code : report_answer_groups(&s->cli, argc, argv, &q);
}

/* --- commands --------------------------------------------------------------------------- */

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
