/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "proto/flow_related.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/flow_id.h"

const struct flow_relation flow_relations[] = {
	{FLOW_COLUMN_total_packets, FLOW_COLUMN_packets, FLOW_NONE},
	{FLOW_COLUMN_total_bytes, FLOW_COLUMN_bytes, FLOW_NONE},
	{FLOW_COLUMN_rev_total_packets, FLOW_COLUMN_rev_packets, FLOW_NONE},
	{FLOW_COLUMN_rev_total_bytes, FLOW_COLUMN_rev_bytes, FLOW_NONE},
	{FLOW_COLUMN_rtt_us, FLOW_COLUMN_rtt_client_us, FLOW_COLUMN_rtt_server_us},
	/* The way of the handshake is that of the data. */
	{FLOW_COLUMN_data_rtt_min_us, FLOW_COLUMN_rtt_server_us, FLOW_NONE, .near = true},
	{FLOW_COLUMN_rev_data_rtt_min_us, FLOW_COLUMN_rtt_client_us, FLOW_NONE, .near = true},
	{FLOW_COLUMN_data_rtt_avg_us, FLOW_COLUMN_data_rtt_min_us, FLOW_NONE},
	{FLOW_COLUMN_data_rtt_max_us, FLOW_COLUMN_data_rtt_avg_us, FLOW_NONE},
	{FLOW_COLUMN_rev_data_rtt_avg_us, FLOW_COLUMN_rev_data_rtt_min_us, FLOW_NONE},
	{FLOW_COLUMN_rev_data_rtt_max_us, FLOW_COLUMN_rev_data_rtt_avg_us, FLOW_NONE},
	{FLOW_COLUMN_response_max_us, FLOW_COLUMN_response_avg_us, FLOW_NONE},
};
const size_t flow_n_relations = sizeof(flow_relations) / sizeof(flow_relations[0]);

/* What flow_id.h looks at. */
static const enum flow_column id_reads[] = {
	FLOW_COLUMN_src_addr, FLOW_COLUMN_dst_addr,    FLOW_COLUMN_src_port, FLOW_COLUMN_dst_port,
	FLOW_COLUMN_proto,    FLOW_COLUMN_icmp_id,     FLOW_COLUMN_vlan,     FLOW_COLUMN_tunnel_id,
	FLOW_COLUMN_end_ms,   FLOW_COLUMN_duration_us,
};
#define N_ID_READS (sizeof(id_reads) / sizeof(id_reads[0]))

const struct flow_relation *flow_relation_of(enum flow_column c)
{
	for (size_t i = 0; i < flow_n_relations; i++)
		if (flow_relations[i].column == c)
			return &flow_relations[i];
	return NULL;
}

/*
 * Not what takes next to no room anyhow: addresses and services of sorted rows, a code of
 * few bits. Nor times of a round trip or an answer: where they are taken makes them.
 */
static const enum flow_column twinned[] = {
	FLOW_COLUMN_end_ms,
	FLOW_COLUMN_duration_us,
	FLOW_COLUMN_src_port,
	FLOW_COLUMN_packets,
	FLOW_COLUMN_bytes,
	FLOW_COLUMN_rev_packets,
	FLOW_COLUMN_rev_bytes,
	FLOW_COLUMN_total_packets,
	FLOW_COLUMN_total_bytes,
	FLOW_COLUMN_rev_total_packets,
	FLOW_COLUMN_rev_total_bytes,
	FLOW_COLUMN_tcp_flags,
	FLOW_COLUMN_rev_tcp_flags,
	FLOW_COLUMN_data_rtt_samples,
	FLOW_COLUMN_rev_data_rtt_samples,
	FLOW_COLUMN_responses,
	FLOW_COLUMN_dns_qtype,
	FLOW_COLUMN_dns_qname,
};

bool flow_is_twinned(enum flow_column c)
{
	for (size_t i = 0; i < sizeof(twinned) / sizeof(twinned[0]); i++)
		if (twinned[i] == c)
			return true;
	return false;
}

bool flow_any_twinned(const struct flow_columns *s)
{
	for (size_t i = 0; i < sizeof(twinned) / sizeof(twinned[0]); i++)
		if (flow_columns_has(s, twinned[i]))
			return true;
	return false;
}

void flow_columns_expand_id(struct flow_columns *s)
{
	if (!flow_columns_has(s, FLOW_COLUMN_ID_OF_FEW))
		return;
	flow_columns_remove(s, FLOW_COLUMN_ID_OF_FEW);
	flow_columns_add(s, FLOW_COLUMN_ID_DIFFERENCES);
	for (size_t i = 0; i < N_ID_READS; i++)
		flow_columns_add(s, id_reads[i]);
}

/* Adds what the columns are worked out from. */
struct flow_columns flow_closure(const struct flow_columns *columns)
{
	struct flow_columns s = *columns;

	flow_columns_expand_id(&s);
	if (flow_columns_has(&s, FLOW_COLUMN_flow_id)) {
		flow_columns_add(&s, FLOW_COLUMN_start_ms);
		for (size_t i = 0; i < N_ID_READS; i++)
			flow_columns_add(&s, id_reads[i]);
	}
	if (flow_columns_has(&s, FLOW_COLUMN_start_ms)) {
		flow_columns_add(&s, FLOW_COLUMN_end_ms);
		flow_columns_add(&s, FLOW_COLUMN_duration_us);
	}
	if (flow_columns_has(&s, FLOW_COLUMN_data_rtt_hist)) {
		flow_columns_add(&s, FLOW_COLUMN_data_rtt_samples);
		flow_columns_add(&s, FLOW_COLUMN_data_rtt_max_us);
	}
	if (flow_columns_has(&s, FLOW_COLUMN_rev_data_rtt_hist)) {
		flow_columns_add(&s, FLOW_COLUMN_rev_data_rtt_samples);
		flow_columns_add(&s, FLOW_COLUMN_rev_data_rtt_max_us);
	}
	for (size_t k = flow_n_relations; k > 0; k--) { /* later ones count on earlier ones */
		const struct flow_relation *r = &flow_relations[k - 1];

		if (!flow_columns_has(&s, r->column))
			continue;
		flow_columns_add(&s, r->minus);
		if (r->minus_too != FLOW_NONE)
			flow_columns_add(&s, r->minus_too);
	}
	return s;
}

bool flow_any_of_kind(const struct flow_columns *s, enum flow_kind kind)
{
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (flow_columns_has(s, (enum flow_column)c) && flow_column_info[c].kind == kind)
			return true;
	return false;
}

/* src, dst: of flow_id_addr(). */
static uint64_t derive_id(const struct flow_block *b, size_t i, uint64_t src, uint64_t dst,
			  uint64_t start_ms)
{
	return flow_id_of(flow_id_end(src, FLOW_COL_U32(b, src_port)[i]),
			  flow_id_end(dst, FLOW_COL_U32(b, dst_port)[i]), FLOW_COL_U32(b, proto)[i],
			  FLOW_COL_U32(b, icmp_id)[i], FLOW_COL_U32(b, vlan)[i],
			  FLOW_COL_U32(b, tunnel_id)[i], start_ms);
}

int flow_derive_ids(const struct flow_block *b, uint64_t *ret)
{
	const uint32_t *src = FLOW_COL_U32(b, src_addr), *dst = FLOW_COL_U32(b, dst_addr);
	const uint64_t *start_ms = FLOW_COL_U64(b, start_ms);
	uint64_t *addr = malloc(b->n_addrs * sizeof(*addr));

	if (!addr)
		return -ENOMEM;
	for (size_t i = 0; i < b->n_addrs; i++)
		addr[i] = flow_id_addr(b->addrs[i]);
	for (size_t i = 0; i < b->n_rows; i++)
		ret[i] = derive_id(b, i, addr[src[i]], addr[dst[i]], start_ms[i]);
	free(addr);
	return 0;
}

void flow_block_ids(const struct flow_block *b, const uint32_t *rows, size_t n, uint64_t *ret)
{
	const uint32_t *src = FLOW_COL_U32(b, src_addr), *dst = FLOW_COL_U32(b, dst_addr);
	const uint64_t *end_ms = FLOW_COL_U64(b, end_ms), *us = FLOW_COL_U64(b, duration_us);
	const uint64_t *ids = FLOW_COL_U64(b, flow_id), *differences = b->id_differences;

	for (size_t k = 0; ids && k < n; k++)
		ret[k] = ids[rows[k]];
	for (size_t k = 0; !ids && k < n; k++) {
		uint32_t i = rows[k];
		uint64_t derived =
			derive_id(b, i, flow_id_addr(b->addrs[src[i]]),
				  flow_id_addr(b->addrs[dst[i]]), end_ms[i] - us[i] / 1000);

		ret[k] = flow_id_from(derived, differences ? differences[i] : FLOW_ID_OFFSET);
	}
}

struct flow_hists flow_hists_of(const struct flow_block *b, enum flow_column which)
{
	bool rev = which == FLOW_COLUMN_rev_data_rtt_hist;

	return (struct flow_hists){
		.n = b->n_rows,
		.samples = rev ? FLOW_COL_U32(b, rev_data_rtt_samples)
			       : FLOW_COL_U32(b, data_rtt_samples),
		.max_us = rev ? FLOW_COL_U32(b, rev_data_rtt_max_us)
			      : FLOW_COL_U32(b, data_rtt_max_us),
		.hist = b->column[which].hist,
	};
}
