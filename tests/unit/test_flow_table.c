// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "probe/datapath/flow_table.h"
#include "probe/datapath/iface.h"
#include "tests/unit/fail_alloc.h"

#define SEC		 1000000000ull
#define OFFSET_NS	 (1700000000 * SEC) /* of the wall clock */
#define ETH0		 4u
#define WG0		 9u
#define INGRESS(ifindex) ((ifindex) << 1)
#define EGRESS(ifindex)	 ((ifindex) << 1 | 1)
#define N_SLOTS		 64

static struct iface ifaces[] = {{.index = ETH0, .name = "eth0"}, {.index = WG0, .name = "wg0"}};
static const struct iface_list iface_list = {ifaces, 2};

static const struct flow_table_config config = {
	.n_slots = N_SLOTS,
	.active_ns = 15 * SEC,
	.idle_ns = 25 * SEC,
	.tcp_idle_ns = 60 * SEC,
	.udp_idle_ns = 15 * SEC,
	.icmp_idle_ns = 5 * SEC,
	.epoch = 0x1234567890,
	.ifaces = &iface_list,
};

static struct flow_now at(uint64_t s)
{
	return (struct flow_now){.mono_ns = s * SEC, .real_offset_ns = OFFSET_NS};
}

static int setup(void **state)
{
	return flow_table_new(&config, (struct flow_table **)state);
}

static int teardown(void **state)
{
	flow_table_free(*state);
	return 0;
}

/* 10.0.0.1:port to 10.0.0.2:443, seen as it leaves by eth0, answers as they come in. */
static struct flow_key key_of(uint8_t proto, uint16_t port)
{
	struct flow_key key = {.proto = proto, .port_a = htons(port), .port_b = htons(443)};

	key.addr_a[10] = key.addr_a[11] = key.addr_b[10] = key.addr_b[11] = 0xff;
	key.addr_a[12] = key.addr_b[12] = 10;
	key.addr_a[15] = 1;
	key.addr_b[15] = 2;
	return key;
}

/* A flow of `packets` from a to b, and half of that back, in a slot of its own. */
struct sample {
	struct flow_slot slot;
	struct flow_perf perf;
	uint32_t index;
};

static struct sample sample_of(uint8_t proto, uint64_t first_s, uint64_t last_s, uint64_t packets)
{
	return (struct sample){
		.index = 1,
		.slot = {.key = key_of(proto, 1234),
			 .state = FLOW_LIVE,
			 .first_ns = first_s * SEC,
			 .half = {{.packets = packets,
				   .bytes = packets * 100,
				   .last_ns = last_s * SEC,
				   .iface = EGRESS(ETH0)},
				  {.packets = packets / 2,
				   .bytes = packets * 10,
				   .last_ns = first_s * SEC,
				   .iface = INGRESS(ETH0)}}},
	};
}

static enum flow_end_reason due(struct flow_table *t, const struct sample *f, uint64_t now_s)
{
	struct flow_view v = {f->index, &f->slot, &f->perf};
	struct flow_now now = at(now_s);

	return flow_table_due(t, &v, &now);
}

static struct flow_record report(struct flow_table *t, const struct sample *f, uint64_t now_s,
				 enum flow_end_reason reason)
{
	struct flow_view v = {f->index, &f->slot, &f->perf};
	struct flow_now now = at(now_s);
	struct flow_record r;

	flow_table_report(t, &v, &now, reason, &r);
	return r;
}

/* --- when ------------------------------------------------------------------- */

static void silence_ends_a_flow(void **state)
{
	struct sample udp = sample_of(IPPROTO_UDP, 100, 110, 4);
	struct sample tcp = sample_of(IPPROTO_TCP, 100, 110, 4);

	assert_int_equal(due(*state, &udp, 111), FLOW_END_NONE);
	assert_int_equal(due(*state, &udp, 125), FLOW_END_IDLE);
	assert_int_equal(due(*state, &tcp, 114), FLOW_END_NONE);
	assert_int_equal(due(*state, &tcp, 169), FLOW_END_ACTIVE);
	assert_int_equal(due(*state, &tcp, 170), FLOW_END_IDLE);
	udp.slot.half[1].last_ns = 112 * SEC; /* the other side counts as well */
	assert_int_equal(due(*state, &udp, 125), FLOW_END_ACTIVE);
	assert_int_equal(due(*state, &udp, 127), FLOW_END_IDLE);
	assert_int_equal(due(*state, &udp, 100), FLOW_END_NONE); /* packets after "now" */
}

static void each_protocol_has_its_idle_time(void **state)
{
	static const struct {
		uint8_t proto;
		uint64_t s;
	} times[] = {
		{IPPROTO_TCP, 60},   {IPPROTO_UDP, 15},	 {IPPROTO_ICMP, 5},
		{IPPROTO_ICMPV6, 5}, {IPPROTO_SCTP, 25}, {IPPROTO_GRE, 25},
	};

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct sample f = sample_of(times[i].proto, 100, 100, 4);

		f.index = (uint32_t)i + 1;
		assert_int_not_equal(due(*state, &f, 99 + times[i].s), FLOW_END_IDLE);
		assert_int_equal(due(*state, &f, 100 + times[i].s), FLOW_END_IDLE);
	}
}

static void a_closed_connection_ends_after_the_grace(void **state)
{
	struct sample tcp = sample_of(IPPROTO_TCP, 100, 103, 4);

	tcp.slot.state = FLOW_CLOSING_A;
	assert_int_equal(due(*state, &tcp, 110), FLOW_END_NONE);
	tcp.slot.state = FLOW_CLOSING_A | FLOW_CLOSING_B;
	assert_int_equal(due(*state, &tcp, 104), FLOW_END_NONE);
	assert_int_equal(due(*state, &tcp, 105), FLOW_END_DETECTED);
	tcp.slot.state = FLOW_RESET_B;
	assert_int_equal(due(*state, &tcp, 105), FLOW_END_DETECTED);
}

static void a_long_flow_reports_only_news(void **state)
{
	struct sample f = sample_of(IPPROTO_TCP, 100, 115, 10);

	assert_int_equal(due(*state, &f, 114), FLOW_END_NONE);
	assert_int_equal(due(*state, &f, 115), FLOW_END_ACTIVE);
	(void)report(*state, &f, 115, FLOW_END_ACTIVE);
	assert_int_equal(due(*state, &f, 135), FLOW_END_NONE); /* nothing new */
	f.slot.half[0].packets++;
	assert_int_equal(due(*state, &f, 129), FLOW_END_NONE); /* too early */
	assert_int_equal(due(*state, &f, 130), FLOW_END_ACTIVE);
}

/* --- the record -------------------------------------------------------------- */

static void records_carry_the_difference_and_the_total(void **state)
{
	struct sample f = sample_of(IPPROTO_TCP, 100, 115, 10);
	struct flow_record a, b, c;

	f.perf.half[0].retrans_pkts = 2;
	f.perf.half[0].retrans_bytes = 2000;
	a = report(*state, &f, 115, FLOW_END_ACTIVE);
	assert_int_equal(a.packets, 10);
	assert_int_equal(a.bytes, 1000);
	assert_int_equal(a.rev_packets, 5);
	assert_int_equal(a.retrans_pkts, 2);
	assert_int_equal(a.start_ns, 100 * SEC + OFFSET_NS);
	assert_int_equal(a.end_ns, 115 * SEC + OFFSET_NS);
	assert_int_equal(a.end_reason, FLOW_END_ACTIVE);
	assert_string_equal(a.iface, "eth0");
	assert_true(a.flow_id > 0 && a.flow_id < 1ull << 53);

	f.slot.half[0].packets = 17;
	f.perf.half[0].retrans_pkts = 3;
	f.slot.half[1].bytes += 7;
	f.slot.half[1].last_ns = 131 * SEC;
	b = report(*state, &f, 131, FLOW_END_ACTIVE);
	assert_int_equal(b.packets, 7);
	assert_int_equal(b.bytes, 0);
	assert_int_equal(b.rev_bytes, 7);
	assert_int_equal(b.total_packets, 17);
	assert_int_equal(b.total_bytes, 1000);
	assert_int_equal(b.rev_total_packets, 5);
	assert_int_equal(b.retrans_pkts, 1);
	assert_int_equal(b.retrans_bytes, 0);
	assert_int_equal(b.end_ns, 131 * SEC + OFFSET_NS);
	assert_true(b.flow_id == a.flow_id);

	f.slot.half[0].packets = 20;
	c = report(*state, &f, 140, FLOW_END_FORCED);
	assert_int_equal(c.packets, 3);
	f.slot.first_ns += 1000000; /* the same ends meet again */
	a = report(*state, &f, 150, FLOW_END_FORCED);
	assert_int_equal(a.packets, 20);
	assert_true(a.flow_id != c.flow_id);
}

static void the_initiator_is_src(void **state)
{
	struct sample f = sample_of(IPPROTO_TCP, 100, 101, 10);
	struct flow_record r;

	f.slot.key.vlan = 12;
	f.slot.half[0].tcp_flags = 0x1b;
	f.slot.half[1].tcp_flags = 0x12;
	r = report(*state, &f, 102, FLOW_END_FORCED);
	assert_memory_equal(r.src_addr, f.slot.key.addr_a, 16);
	assert_int_equal(r.src_port, 1234);
	assert_int_equal(r.dst_port, 443);
	assert_int_equal(r.tcp_flags, 0x1b);
	assert_int_equal(r.vlan, 12);

	f.slot.initiator = 1;
	r = report(*state, &f, 102, FLOW_END_FORCED);
	assert_memory_equal(r.src_addr, f.slot.key.addr_b, 16);
	assert_memory_equal(r.dst_addr, f.slot.key.addr_a, 16);
	assert_int_equal(r.src_port, 443);
	assert_int_equal(r.dst_port, 1234);
	assert_int_equal(r.packets, 5);
	assert_int_equal(r.rev_packets, 10);
	assert_int_equal(r.rev_tcp_flags, 0x1b);
}

static void direction_and_role_come_from_where_src_is_counted(void **state)
{
	struct sample f = sample_of(IPPROTO_TCP, 100, 101, 10);
	struct flow_record r;

	r = report(*state, &f, 102, FLOW_END_FORCED);
	assert_int_equal(r.direction, FLOW_DIRECTION_EGRESS);
	assert_int_equal(r.role, FLOW_ROLE_UNKNOWN); /* nobody saw the SYN */
	f.slot.state = FLOW_SYN_SEEN;
	r = report(*state, &f, 102, FLOW_END_FORCED);
	assert_int_equal(r.role, FLOW_ROLE_CLIENT);

	f.slot.half[0].iface = INGRESS(WG0);
	r = report(*state, &f, 102, FLOW_END_FORCED);
	assert_int_equal(r.direction, FLOW_DIRECTION_INGRESS);
	assert_int_equal(r.role, FLOW_ROLE_SERVER);
	assert_string_equal(r.iface, "wg0");

	/* Only answers were seen, coming in: src sends out. */
	f.slot.half[0] = (struct flow_half){0};
	r = report(*state, &f, 102, FLOW_END_FORCED);
	assert_int_equal(r.direction, FLOW_DIRECTION_EGRESS);
	assert_string_equal(r.iface, "eth0");
}

static void the_handshake_is_told_once(void **state)
{
	struct sample f = sample_of(IPPROTO_TCP, 100, 101, 10);
	struct flow_record r;

	f.slot.state = FLOW_SYN_SEEN;
	f.slot.syn_ns = 100 * SEC;
	f.slot.rtt_server_us = 300; /* stale, as after a SYN that reuses the ports */
	r = report(*state, &f, 115, FLOW_END_ACTIVE);
	assert_int_equal(r.rtt_us, 0);
	f.slot.state |= FLOW_HANDSHAKE_DONE;
	f.slot.rtt_client_us = 20;
	r = report(*state, &f, 130, FLOW_END_ACTIVE);
	assert_int_equal(r.rtt_server_us, 300);
	assert_int_equal(r.rtt_client_us, 20);
	assert_int_equal(r.rtt_us, 320);
	r = report(*state, &f, 145, FLOW_END_ACTIVE);
	assert_int_equal(r.rtt_us, 0);
	f.slot.syn_ns = 150 * SEC; /* a new connection between the same ports */
	f.slot.rtt_server_us = 500;
	r = report(*state, &f, 160, FLOW_END_FORCED);
	assert_int_equal(r.rtt_us, 520);
}

static void icmp_has_no_ports(void **state)
{
	struct sample ping = sample_of(IPPROTO_ICMP, 100, 101, 2), unreachable = ping;
	struct flow_record r;

	ping.slot.key.icmp_type = 8;
	ping.slot.key.port_a = ping.slot.key.port_b = htons(0xbeef);
	r = report(*state, &ping, 102, FLOW_END_FORCED);
	assert_int_equal(r.icmp_type, 8);
	assert_int_equal(r.icmp_id, 0xbeef);
	assert_int_equal(r.icmp_code, 0);
	assert_int_equal(r.src_port, 0);

	unreachable.slot.key.icmp_type = 3;
	unreachable.slot.key.port_a = unreachable.slot.key.port_b = htons(13);
	r = report(*state, &unreachable, 102, FLOW_END_FORCED);
	assert_int_equal(r.icmp_type, 3);
	assert_int_equal(r.icmp_code, 13);
	assert_int_equal(r.icmp_id, 0);
	assert_int_equal(r.dst_port, 0);

	ping.slot.key.proto = IPPROTO_ICMPV6; /* 8 is no query there, 128 is */
	ping.slot.key.icmp_type = 128;
	r = report(*state, &ping, 102, FLOW_END_FORCED);
	assert_int_equal(r.icmp_id, 0xbeef);
}

static void performance_counts_are_differences(void **state)
{
	struct sample f = sample_of(IPPROTO_TCP, 100, 101, 10);
	struct flow_perf_half *perf = f.perf.half;
	struct flow_record r;

	perf[0].ooo_pkts = 1;
	perf[1].ooo_pkts = 2;
	perf[0].dup_acks = 3;
	perf[1].dup_acks = 4;
	perf[0].zero_windows = 5;
	perf[1].zero_windows = 6;
	perf[0].ce_pkts = UINT32_MAX; /* about to wrap */
	perf[1].ce_pkts = 8;
	f.slot.half[0].mss = 1460;
	f.slot.half[1].mss = 1400;
	r = report(*state, &f, 115, FLOW_END_ACTIVE);
	assert_int_equal(r.ooo_pkts, 1);
	assert_int_equal(r.rev_ooo_pkts, 2);
	assert_int_equal(r.dup_acks, 3);
	assert_int_equal(r.rev_dup_acks, 4);
	assert_int_equal(r.zero_windows, 5);
	assert_int_equal(r.rev_zero_windows, 6);
	assert_int_equal(r.rev_ce_pkts, 8);
	assert_int_equal(r.mss, 1460);
	assert_int_equal(r.rev_mss, 1400);

	perf[0].ooo_pkts = 11;
	perf[0].ce_pkts = 9;
	perf[1].zero_windows = 7;
	r = report(*state, &f, 130, FLOW_END_ACTIVE);
	assert_int_equal(r.ooo_pkts, 10);
	assert_int_equal(r.ce_pkts, 10);
	assert_int_equal(r.rev_zero_windows, 1);
	assert_int_equal(r.rev_ooo_pkts | r.dup_acks | r.rev_dup_acks | r.zero_windows, 0);
	assert_int_equal(r.mss, 1460); /* stays */

	f.slot.initiator = 1;
	perf[1].dup_acks += 2;
	r = report(*state, &f, 145, FLOW_END_FORCED);
	assert_int_equal(r.dup_acks, 2);
	assert_int_equal(r.mss, 1400);
}

static void round_trips_are_those_of_the_interval(void **state)
{
	struct sample f = sample_of(IPPROTO_TCP, 100, 101, 10);
	struct flow_perf_half *perf = f.perf.half;
	struct flow_record r;

	perf[0] = (struct flow_perf_half){.rtt_count = 3,
					  .rtt_sum_us = 600,
					  .rtt_min_us = 100,
					  .rtt_max_us = 300,
					  .rtt_hist = {[2] = 1, [4] = 2}};
	r = report(*state, &f, 115, FLOW_END_ACTIVE);
	assert_int_equal(r.data_rtt_samples, 3);
	assert_int_equal(r.data_rtt_min_us, 100);
	assert_int_equal(r.data_rtt_avg_us, 200);
	assert_int_equal(r.data_rtt_max_us, 300);
	assert_int_equal(r.data_rtt_hist[2], 1);
	assert_int_equal(r.data_rtt_hist[4], 2);
	assert_int_equal(r.rev_data_rtt_samples, 0);

	perf[0].rtt_min_us = perf[0].rtt_max_us = 0; /* as the drain takes them */
	r = report(*state, &f, 130, FLOW_END_ACTIVE);
	assert_int_equal(r.data_rtt_samples | r.data_rtt_min_us | r.data_rtt_max_us, 0);
	assert_int_equal(r.data_rtt_hist[2] | r.data_rtt_hist[4], 0);

	perf[0].rtt_count = 5;
	perf[0].rtt_sum_us = 2600;
	perf[0].rtt_min_us = 900;
	perf[0].rtt_max_us = 1100;
	perf[0].rtt_hist[6] = 2;
	perf[1].rtt_count = 1;
	perf[1].rtt_sum_us = 50; /* and no extremes yet: read in between */
	r = report(*state, &f, 145, FLOW_END_FORCED);
	assert_int_equal(r.data_rtt_samples, 2);
	assert_int_equal(r.data_rtt_min_us, 900);
	assert_int_equal(r.data_rtt_avg_us, 1000);
	assert_int_equal(r.data_rtt_max_us, 1100);
	assert_int_equal(r.data_rtt_hist[6], 2);
	assert_int_equal(r.data_rtt_hist[4], 0);
	assert_int_equal(r.rev_data_rtt_min_us, 50);
	assert_int_equal(r.rev_data_rtt_max_us, 50);
}

static void answers_and_icmp_errors_are_those_of_the_interval(void **state)
{
	struct sample f = sample_of(IPPROTO_UDP, 100, 101, 10);
	struct flow_record r;

	f.slot.responses = 2;
	f.slot.response_sum_us = 300;
	f.slot.response_max_us = 200;
	f.slot.icmp_errors = 1;
	f.slot.icmp_error = 3 << 8 | 13;
	r = report(*state, &f, 115, FLOW_END_ACTIVE);
	assert_int_equal(r.responses, 2);
	assert_int_equal(r.response_avg_us, 150);
	assert_int_equal(r.response_max_us, 200);
	assert_int_equal(r.icmp_errors, 1);
	assert_int_equal(r.icmp_error_type, 3);
	assert_int_equal(r.icmp_error_code, 13);

	f.slot.response_max_us = 0;
	r = report(*state, &f, 130, FLOW_END_ACTIVE);
	assert_int_equal(r.responses | r.response_avg_us | r.response_max_us, 0);
	assert_int_equal(r.icmp_errors | r.icmp_error_type | r.icmp_error_code, 0);

	f.slot.responses = 3;
	f.slot.response_sum_us = 1000;
	f.slot.response_max_us = 700;
	f.slot.icmp_errors = 4;
	r = report(*state, &f, 145, FLOW_END_FORCED);
	assert_int_equal(r.responses, 1);
	assert_int_equal(r.response_avg_us, 700);
	assert_int_equal(r.response_max_us, 700);
	assert_int_equal(r.icmp_errors, 3);
}

static void a_tunnel_is_told_with_its_ends(void **state)
{
	struct sample f = sample_of(IPPROTO_TCP, 100, 101, 10);
	struct flow_record r;

	r = report(*state, &f, 115, FLOW_END_FORCED);
	assert_int_equal(r.tunnel, FLOW_ENCAP_NONE);
	f.slot.key.tunnel = FLOW_TUNNEL_VXLAN << 24 | 0xabcdef;
	f.perf.outer = (struct flow_outer){.src_addr = {1}, .dst_addr = {2}};
	r = report(*state, &f, 115, FLOW_END_FORCED);
	assert_int_equal(r.tunnel, FLOW_ENCAP_VXLAN);
	assert_int_equal(r.tunnel_id, 0xabcdef);
	assert_int_equal(r.outer_src_addr[0], 1);
	assert_int_equal(r.outer_dst_addr[0], 2);
	f.slot.state = FLOW_SYN_SEEN | FLOW_SYNACK_SEEN; /* the first packet was dst's */
	r = report(*state, &f, 115, FLOW_END_FORCED);
	assert_int_equal(r.outer_src_addr[0], 2);
	assert_int_equal(r.outer_dst_addr[0], 1);
}

/* A connection of end b (half 1) to end a, so that sides cannot be mixed up unseen. */
static enum flow_verdict verdict(struct flow_table *t, uint32_t bits, uint16_t src_flags,
				 uint16_t dst_flags, enum flow_end_reason reason)
{
	struct sample f = sample_of(IPPROTO_TCP, 100, 101, 10);

	f.slot.initiator = 1;
	f.slot.state |= bits;
	f.slot.syn_ns = src_flags & TH_SYN ? 100 * SEC : 0;
	f.slot.half[1].tcp_flags = src_flags;
	f.slot.half[0].tcp_flags = dst_flags;
	if (!src_flags)
		f.slot.half[1] = (struct flow_half){0};
	if (!dst_flags)
		f.slot.half[0] = (struct flow_half){0};
	return report(t, &f, 102, reason).verdict;
}

static void verdicts_follow_the_rules(void **state)
{
	enum {
		SYN = FLOW_SYN_SEEN,
		SYNACK = FLOW_SYN_SEEN | FLOW_SYNACK_SEEN,
		DONE = SYNACK | FLOW_HANDSHAKE_DONE,
		FINS = FLOW_CLOSING_A | FLOW_CLOSING_B,
		RST_DST = FLOW_RESET_A,
		RST_SRC = FLOW_RESET_B
	};
	enum { S = TH_SYN, A = TH_ACK, SA = TH_SYN | TH_ACK, R = TH_RST, P = TH_PUSH, F = TH_FIN };
	static const struct {
		uint32_t bits;
		uint16_t src, dst;
		enum flow_end_reason reason;
		enum flow_verdict wanted;
	} cases[] = {
		{SYN, S, 0, FLOW_END_IDLE, FLOW_VERDICT_SYN_UNANSWERED},
		{SYN, S, A, FLOW_END_IDLE, FLOW_VERDICT_SYN_UNANSWERED}, /* a challenge ACK */
		{SYN | RST_SRC, S | R, 0, FLOW_END_DETECTED, FLOW_VERDICT_SYN_UNANSWERED},
		{SYN | RST_DST, S, R | A, FLOW_END_DETECTED, FLOW_VERDICT_REFUSED},
		{SYNACK, S, SA, FLOW_END_IDLE, FLOW_VERDICT_HALF_OPEN},
		{SYNACK | RST_SRC, S | R | A, SA, FLOW_END_DETECTED, FLOW_VERDICT_HALF_OPEN},
		{SYNACK | RST_DST, S, SA | R, FLOW_END_DETECTED, FLOW_VERDICT_HALF_OPEN},
		{SYNACK, 0, SA, FLOW_END_IDLE, FLOW_VERDICT_HALF_OPEN},
		{DONE, SA, SA, FLOW_END_ACTIVE, FLOW_VERDICT_ESTABLISHED},
		{DONE, SA, SA, FLOW_END_FORCED, FLOW_VERDICT_ESTABLISHED},
		{DONE, SA, SA, FLOW_END_IDLE, FLOW_VERDICT_TIMED_OUT},
		{DONE | FLOW_CLOSING_A, SA, SA, FLOW_END_IDLE, FLOW_VERDICT_TIMED_OUT},
		{DONE | FINS, SA, SA, FLOW_END_DETECTED, FLOW_VERDICT_CLOSED},
		{DONE | FINS | RST_SRC, SA, SA, FLOW_END_DETECTED, FLOW_VERDICT_CLOSED},
		{DONE | RST_SRC, SA, SA, FLOW_END_DETECTED, FLOW_VERDICT_RESET},
		{DONE | FLOW_CLOSING_B | RST_DST, SA, SA, FLOW_END_DETECTED, FLOW_VERDICT_RESET},
		/* Under way when first seen. */
		{0, A, A, FLOW_END_ACTIVE, FLOW_VERDICT_ESTABLISHED},
		{RST_DST, A, R, FLOW_END_DETECTED, FLOW_VERDICT_RESET},
		/* One direction only, or no SYN. */
		{SYN, SA, 0, FLOW_END_ACTIVE, FLOW_VERDICT_ESTABLISHED},
		{SYNACK, 0, SA | P, FLOW_END_ACTIVE, FLOW_VERDICT_ESTABLISHED},
		{SYNACK, A, SA, FLOW_END_ACTIVE, FLOW_VERDICT_ESTABLISHED},
		{SYNACK | FINS, A | F, SA | F, FLOW_END_DETECTED, FLOW_VERDICT_CLOSED},
	};
	struct sample udp = sample_of(IPPROTO_UDP, 100, 101, 10);

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		enum flow_verdict is =
			verdict(*state, cases[i].bits, cases[i].src, cases[i].dst, cases[i].reason);

		if (is != cases[i].wanted)
			fail_msg("case %zu: %d, not %d", i, is, cases[i].wanted);
	}
	assert_int_equal(report(*state, &udp, 102, FLOW_END_IDLE).verdict, FLOW_VERDICT_NONE);
}

/* --- the table ------------------------------------------------------------- */

/* Against plain arrays: the flows of all slots come, go on and end in random order. */
static void every_slot_remembers_its_own_flow(void **state)
{
	uint64_t told[N_SLOTS] = {0}, counted[N_SLOTS] = {0};
	unsigned seed = 7;

	for (unsigned i = 0; i < 50000; i++) {
		uint32_t index = (uint32_t)(rand_r(&seed) % N_SLOTS);
		bool end = rand_r(&seed) % 3 == 0;
		struct flow_record r;
		struct sample f;

		counted[index] += 2;
		f = sample_of(IPPROTO_UDP, 100, 101, counted[index]);
		f.index = index;
		r = report(*state, &f, 200, end ? FLOW_END_IDLE : FLOW_END_ACTIVE);
		assert_int_equal(r.packets, counted[index] - told[index]);
		told[index] = end ? 0 : counted[index];
		counted[index] = end ? 0 : counted[index];
	}
}

static void no_memory_is_reported(void **state)
{
	struct flow_table *t = NULL;
	unsigned n;

	(void)state;
	for (n = 1;; n++) {
		int err;

		fail_alloc_at(n);
		err = flow_table_new(&config, &t);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(t);
	}
	assert_int_equal(n, 5);
	flow_table_free(t);
	flow_table_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(silence_ends_a_flow),
		TEST(each_protocol_has_its_idle_time),
		TEST(a_closed_connection_ends_after_the_grace),
		TEST(a_long_flow_reports_only_news),
		TEST(records_carry_the_difference_and_the_total),
		TEST(the_initiator_is_src),
		TEST(direction_and_role_come_from_where_src_is_counted),
		TEST(the_handshake_is_told_once),
		TEST(icmp_has_no_ports),
		TEST(performance_counts_are_differences),
		TEST(round_trips_are_those_of_the_interval),
		TEST(answers_and_icmp_errors_are_those_of_the_interval),
		TEST(a_tunnel_is_told_with_its_ends),
		TEST(verdicts_follow_the_rules),
		TEST(every_slot_remembers_its_own_flow),
		cmocka_unit_test(no_memory_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
