// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flow_row.h"

#include <netinet/in.h>
#include <stdbool.h>

#include "collector/binder.h"
#include "common/addr.h"
#include "common/clock.h"

const char flow_row_insert_sql[] =
	"INSERT INTO flow (host_id, flow_id, start_ms, end_ms, duration_us, src_addr, dst_addr,"
	" src_port, dst_port, proto, icmp_type, icmp_code, icmp_id, vlan, iface, direction, role,"
	" end_reason, packets, bytes, rev_packets, rev_bytes, total_packets, total_bytes,"
	" rev_total_packets, rev_total_bytes, tcp_flags, rev_tcp_flags, rtt_us, rtt_client_us,"
	" rtt_server_us, retrans_pkts, retrans_bytes, rev_retrans_pkts, rev_retrans_bytes)"
	" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
	" ?, ?, ?, ?, ?, ?, ?, ?)";

static void bind_if(struct binder *b, bool applies, uint64_t value)
{
	if (applies)
		binder_count(b, value);
	else
		binder_null(b);
}

static void bind_what(struct binder *b, const struct flow_record *r)
{
	bool icmp = r->proto == IPPROTO_ICMP || r->proto == IPPROTO_ICMPV6;

	binder_int(b, r->src_port);
	binder_int(b, r->dst_port);
	binder_int(b, r->proto);
	bind_if(b, icmp, r->icmp_type);
	bind_if(b, icmp, r->icmp_code);
	bind_if(b, icmp, r->icmp_id);
	bind_if(b, r->vlan != 0, r->vlan);
	binder_text(b, r->iface);
	binder_int(b, r->direction);
	binder_int(b, r->role);
	binder_int(b, r->end_reason);
}

static void bind_counters(struct binder *b, const struct flow_record *r)
{
	binder_count(b, r->packets);
	binder_count(b, r->bytes);
	binder_count(b, r->rev_packets);
	binder_count(b, r->rev_bytes);
	binder_count(b, r->total_packets);
	binder_count(b, r->total_bytes);
	binder_count(b, r->rev_total_packets);
	binder_count(b, r->rev_total_bytes);
}

static void bind_tcp(struct binder *b, const struct flow_record *r)
{
	bool tcp = r->proto == IPPROTO_TCP;

	bind_if(b, tcp, r->tcp_flags);
	bind_if(b, tcp, r->rev_tcp_flags);
	bind_if(b, tcp && r->rtt_us, r->rtt_us);
	bind_if(b, tcp && r->rtt_client_us, r->rtt_client_us);
	bind_if(b, tcp && r->rtt_server_us, r->rtt_server_us);
	bind_if(b, tcp, r->retrans_pkts);
	bind_if(b, tcp, r->retrans_bytes);
	bind_if(b, tcp, r->rev_retrans_pkts);
	bind_if(b, tcp, r->rev_retrans_bytes);
}

int flow_row_insert(sqlite3_stmt *st, int64_t host_id, const struct flow_record *r)
{
	char src[ADDR_TEXT_MAX], dst[ADDR_TEXT_MAX];
	struct binder b = binder_start(st);

	binder_int(&b, host_id);
	binder_count(&b, r->flow_id);
	binder_count(&b, r->start_ns / NS_PER_MS);
	binder_count(&b, r->end_ns / NS_PER_MS);
	/* Below zero only if the host's clock was set back in between. */
	binder_int(&b, (int64_t)(r->end_ns - r->start_ns) / (int64_t)NS_PER_US);
	binder_text(&b, addr_format(r->src_addr, src));
	binder_text(&b, addr_format(r->dst_addr, dst));
	bind_what(&b, r);
	bind_counters(&b, r);
	bind_tcp(&b, r);
	return binder_run(&b);
}
