// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/flows_columns.h"

#include <pthread.h>
#include <string.h>

#include <sqlite3.h>

#include "collector/flowstore/flow_community.h"
#include "proto/flow_words.h"

/*
 * What comes first, in the order that SELECT * shows. Columns that are not
 * named here come behind "...", as the lists of proto/flow_columns.h have them.
 */
static const char *const order[] = {
	"host",
	"host_id",
	"start_ms",
	"end_ms",
	"duration_us",
	"src_addr",
	"src_port",
	"dst_addr",
	"dst_port",
	"proto",
	"proto_name",
	"ip_version",
	"icmp_type",
	"icmp_code",
	"icmp_id",
	"vlan",
	"iface",
	"direction",
	"role",
	"end_reason",
	"packets",
	"bytes",
	"rev_packets",
	"rev_bytes",
	"total_packets",
	"total_bytes",
	"rev_total_packets",
	"rev_total_bytes",
	"tcp_flags",
	"rev_tcp_flags",
	"rtt_us",
	"rtt_client_us",
	"rtt_server_us",
	"retrans_pkts",
	"retrans_bytes",
	"rev_retrans_pkts",
	"rev_retrans_bytes",
	"ooo_pkts",
	"rev_ooo_pkts",
	"dup_acks",
	"rev_dup_acks",
	"zero_windows",
	"rev_zero_windows",
	"ce_pkts",
	"rev_ce_pkts",
	"mss",
	"rev_mss",
	"data_rtt_samples",
	"data_rtt_min_us",
	"data_rtt_avg_us",
	"data_rtt_max_us",
	"data_rtt_hist",
	"rev_data_rtt_samples",
	"rev_data_rtt_min_us",
	"rev_data_rtt_avg_us",
	"rev_data_rtt_max_us",
	"rev_data_rtt_hist",
	"responses",
	"response_avg_us",
	"response_max_us",
	"icmp_errors",
	"icmp_error_type",
	"icmp_error_code",
	"tunnel",
	"tunnel_id",
	"outer_src_addr",
	"outer_dst_addr",
	"verdict",
	"dns_qname",
	"dns_qtype",
	"dns_rcode",
	"dns_latency_us",
	"dns_queries",
	"dns_unanswered",
	"tls_sni",
	"tls_alpn",
	"quic_version",
	"...",
	"community_id",
	"flow_id",
};
#define N_ORDER (sizeof(order) / sizeof(order[0]))

static const struct flows_column worked_out[] = {
	{"host", FLOWS_HOST, FLOW_COLUMN_host_id},
	{"proto_name", FLOWS_PROTO_NAME, FLOW_COLUMN_proto},
	{"ip_version", FLOWS_IP_VERSION, FLOW_COLUMN_src_addr},
	{"community_id", FLOWS_COMMUNITY_ID, FLOW_COLUMN_src_addr},
};
#define N_WORKED_OUT (sizeof(worked_out) / sizeof(worked_out[0]))

static struct flows_column columns[FLOWS_MAX_COLUMNS]; /* written once, by fill() */
static size_t n_columns;
static pthread_once_t filled = PTHREAD_ONCE_INIT;

static enum flows_kind kind_of(enum flow_column c)
{
	if (flow_words_of(c))
		return FLOWS_WORD;
	switch (flow_column_info[c].kind) {
	case FLOW_ADDR:
		return FLOWS_ADDR;
	case FLOW_TEXT:
		return FLOWS_TEXT;
	case FLOW_HIST:
		return FLOWS_HIST;
	default:
		return FLOWS_NUMBER;
	}
}

static void add(const char *name)
{
	int c = flow_column_find(name);

	for (size_t i = 0; i < N_WORKED_OUT; i++)
		if (strcmp(worked_out[i].name, name) == 0)
			columns[n_columns++] = worked_out[i];
	if (c >= 0)
		columns[n_columns++] =
			(struct flows_column){flow_column_info[c].name,
					      kind_of((enum flow_column)c), (enum flow_column)c};
}

static void add_rest(void)
{
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++) {
		bool named = false;

		for (size_t i = 0; i < N_ORDER; i++)
			named |= strcmp(order[i], flow_column_info[c].name) == 0;
		if (!named)
			add(flow_column_info[c].name);
	}
}

static void fill(void)
{
	for (size_t i = 0; i < N_ORDER; i++) {
		if (strcmp(order[i], "...") == 0)
			add_rest();
		else
			add(order[i]);
	}
}

const struct flows_column *flows_columns(size_t *ret_n)
{
	(void)pthread_once(&filled, fill); /* cannot fail */
	*ret_n = n_columns;
	return columns;
}

void flows_column_needs(const struct flows_column *column, struct flow_columns *needed)
{
	flow_columns_add_needed(needed, column->column);
	if (column->kind == FLOWS_PROTO_NAME)
		flow_columns_add(needed, FLOW_COLUMN_end_reason);
	if (column->kind == FLOWS_COMMUNITY_ID)
		flow_community_columns(needed);
}

char *flows_schema(void)
{
	sqlite3_str *sql = sqlite3_str_new(NULL);
	size_t n;
	const struct flows_column *c = flows_columns(&n);

	sqlite3_str_appendall(sql, "CREATE TABLE flows (");
	for (size_t i = 0; i < n; i++) {
		bool number = c[i].kind == FLOWS_NUMBER || c[i].kind == FLOWS_IP_VERSION;

		sqlite3_str_appendf(sql, "%s%s %s", i ? ", " : "", c[i].name,
				    number ? "INTEGER" : "TEXT");
	}
	sqlite3_str_appendall(sql, ")");
	return sqlite3_str_finish(sql);
}
