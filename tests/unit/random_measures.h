/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* random_measures.h - keys, conditions and measures of chance, for questions to aggregates. */
#ifndef WEIR_TESTS_UNIT_RANDOM_MEASURES_H
#define WEIR_TESTS_UNIT_RANDOM_MEASURES_H

#include "tests/unit/aggregate_check.h"
#include "tests/unit/random_flows.h"

static const struct predicate random_is_tcp = {
	.kind = PREDICATE_RANGE, .column = FLOW_COLUMN_proto, .low = 6, .high = 6};
static const struct predicate random_verdicts = {.kind = PREDICATE_RANGE,
						 .column = FLOW_COLUMN_verdict,
						 .low = FLOW_VERDICT_REFUSED,
						 .high = FLOW_VERDICT_RESET};
static const struct predicate random_small = {
	.kind = PREDICATE_RANGE, .column = FLOW_COLUMN_bytes, .low = 0, .high = 999};
static const struct predicate random_in_net = {
	.kind = PREDICATE_PREFIX,
	.column = FLOW_COLUMN_src_addr,
	.prefix = {{[10] = 0xff, [11] = 0xff, [12] = 10}, 104}};

static const struct aggregate_where random_wheres[] = {
	{NULL, "1"},
	{&random_is_tcp, "proto = 6"},
	{&random_verdicts,
	 "ifnull(verdict IN ('refused', 'half_open', 'established', 'closed', 'reset'),"
	 " 0)"},
	{&random_small, "bytes < 1000"},
	{&random_in_net, "in_prefix(src_addr, '10.0.0.0/8')"},
};

#define RANDOM_N_WHERES (sizeof(random_wheres) / sizeof(random_wheres[0]))

static const char *const random_keys[] = {
	"host",		"host_id",
	"src_addr",	"dst_addr",
	"src_port",	"dst_port",
	"proto",	"vlan",
	"iface",	"proto_name",
	"direction",	"role",
	"pid",		"uid",
	"end_reason",	"ip_version",
	"icmp_type",	"dns_qname",
	"dns_qtype",	"dns_rcode",
	"tls_sni",	"process",
	"verdict",	"tunnel",
	"start_ms",	"flow_id",
	"tunnel_id",	"outer_src_addr",
	"quic_version", "kernel_drop_reason",
};

#define RANDOM_N_KEYS (sizeof(random_keys) / sizeof(random_keys[0]))

static const enum flow_column random_numbers[] = {
	FLOW_COLUMN_bytes,	    FLOW_COLUMN_rev_bytes,	  FLOW_COLUMN_packets,
	FLOW_COLUMN_rev_packets,    FLOW_COLUMN_rtt_us,		  FLOW_COLUMN_data_rtt_avg_us,
	FLOW_COLUMN_retrans_pkts,   FLOW_COLUMN_rev_retrans_pkts, FLOW_COLUMN_response_avg_us,
	FLOW_COLUMN_dns_latency_us, FLOW_COLUMN_dst_port,	  FLOW_COLUMN_kernel_drops,
	FLOW_COLUMN_ce_pkts,	    FLOW_COLUMN_icmp_code,	  FLOW_COLUMN_kernel_retrans_pkts,
	FLOW_COLUMN_duration_us,    FLOW_COLUMN_dns_queries,	  FLOW_COLUMN_vlan,
};

static const enum flow_column random_any[] = {
	FLOW_COLUMN_src_addr, FLOW_COLUMN_dst_addr, FLOW_COLUMN_process,
	FLOW_COLUMN_verdict,  FLOW_COLUMN_dst_port, FLOW_COLUMN_flow_id,
	FLOW_COLUMN_iface,    FLOW_COLUMN_pid,	    FLOW_COLUMN_dns_qname,
};

static inline struct measure random_sum(uint64_t *rng)
{
	struct measure m = {.kind = MEASURE_SUM, .n_columns = 1 + random_u64(rng) % 2};

	for (size_t i = 0; i < 2; i++)
		m.columns[i] = random_numbers[random_u64(rng) %
					      (sizeof(random_numbers) / sizeof(random_numbers[0]))];
	if (random_u64(rng) % 4 == 0)
		m.where = random_wheres[random_u64(rng) % RANDOM_N_WHERES].predicate;
	return m;
}

static inline struct measure random_measure(uint64_t *rng, struct measure *of)
{
	struct measure m = random_sum(rng);

	*of = random_sum(rng);
	m.kind = random_u64(rng) % (MEASURE_CHANGE + 1);
	m.q = (double)(random_u64(rng) % 21) / 20;
	switch (m.kind) {
	case MEASURE_DISTINCT:
		m.n_columns = 1;
		m.columns[0] =
			random_any[random_u64(rng) % (sizeof(random_any) / sizeof(random_any[0]))];
		break;
	case MEASURE_MAX:
		if (random_u64(rng) % 3)
			break;
		m.n_columns = 1;
		m.columns[0] = random_u64(rng) % 2 ? FLOW_COLUMN_process : FLOW_COLUMN_verdict;
		break;
	case MEASURE_FLOWS:
		m.n_columns = 0;
		break;
	case MEASURE_MATCHES:
	case MEASURE_COUNT:
		m.n_columns = random_u64(rng) % 2;
		break;
	case MEASURE_PERCENT:
	case MEASURE_DIFFERENCE:
	case MEASURE_CHANGE:
		m.of = of;
		break;
	default:
		break;
	}
	return m;
}

#endif /* WEIR_TESTS_UNIT_RANDOM_MEASURES_H */
