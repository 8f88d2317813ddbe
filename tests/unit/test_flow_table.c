// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "probe/flow_table.h"
#include "probe/iface.h"
#include "tests/unit/fail_alloc.h"

#define SEC		 1000000000ull
#define OFFSET_NS	 (1700000000 * SEC) /* of the wall clock */
#define ETH0		 4u
#define WG0		 9u
#define INGRESS(ifindex) ((ifindex) << 1)
#define EGRESS(ifindex)	 ((ifindex) << 1 | 1)
#define MAX_FLOWS	 64

static struct iface ifaces[] = {{.index = ETH0, .name = "eth0"}, {.index = WG0, .name = "wg0"}};
static const struct iface_list iface_list = {ifaces, 2};

static const struct flow_table_config config = {
	.max_flows = MAX_FLOWS,
	.active_ns = 15 * SEC,
	.idle_ns = 15 * SEC,
	.tcp_idle_ns = 60 * SEC,
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

static struct flow_entry entry_of(uint64_t first_s, uint64_t last_s, uint64_t packets)
{
	return (struct flow_entry){
		.first_ns = first_s * SEC,
		.half[0] = {.packets = packets,
			    .bytes = packets * 100,
			    .last_ns = last_s * SEC,
			    .iface = EGRESS(ETH0)},
		.half[1] = {.packets = packets / 2,
			    .bytes = packets * 10,
			    .last_ns = first_s * SEC,
			    .iface = INGRESS(ETH0)},
	};
}

static enum flow_end_reason due(struct flow_table *t, const struct flow_key *key,
				const struct flow_entry *e, uint64_t now_s)
{
	struct flow_now now = at(now_s);

	return flow_table_due(t, key, e, &now);
}

static struct flow_record report(struct flow_table *t, const struct flow_key *key,
				 const struct flow_entry *e, uint64_t now_s,
				 enum flow_end_reason reason)
{
	struct flow_now now = at(now_s);
	struct flow_record r;

	assert_int_equal(flow_table_report(t, key, e, &now, reason, &r), 0);
	return r;
}

/* --- when ------------------------------------------------------------------- */

static void silence_ends_a_flow(void **state)
{
	struct flow_key udp = key_of(IPPROTO_UDP, 1), tcp = key_of(IPPROTO_TCP, 1);
	struct flow_entry e = entry_of(100, 110, 4);

	assert_int_equal(due(*state, &udp, &e, 111), FLOW_END_NONE);
	assert_int_equal(due(*state, &udp, &e, 125), FLOW_END_IDLE);
	assert_int_equal(due(*state, &tcp, &e, 114), FLOW_END_NONE);
	assert_int_equal(due(*state, &tcp, &e, 169), FLOW_END_ACTIVE);
	assert_int_equal(due(*state, &tcp, &e, 170), FLOW_END_IDLE);
	e.half[1].last_ns = 112 * SEC; /* the other side counts as well */
	assert_int_equal(due(*state, &udp, &e, 125), FLOW_END_ACTIVE);
	assert_int_equal(due(*state, &udp, &e, 127), FLOW_END_IDLE);
	assert_int_equal(due(*state, &udp, &e, 100), FLOW_END_NONE); /* packets after "now" */
}

static void a_closed_connection_ends_after_the_grace(void **state)
{
	struct flow_key tcp = key_of(IPPROTO_TCP, 1);
	struct flow_entry e = entry_of(100, 103, 4);

	e.state = FLOW_CLOSING_A;
	assert_int_equal(due(*state, &tcp, &e, 110), FLOW_END_NONE);
	e.state = FLOW_CLOSING_A | FLOW_CLOSING_B;
	assert_int_equal(due(*state, &tcp, &e, 104), FLOW_END_NONE);
	assert_int_equal(due(*state, &tcp, &e, 105), FLOW_END_DETECTED);
	e.state = FLOW_RESET;
	assert_int_equal(due(*state, &tcp, &e, 105), FLOW_END_DETECTED);
}

static void a_long_flow_reports_only_news(void **state)
{
	struct flow_key key = key_of(IPPROTO_TCP, 1);
	struct flow_entry e = entry_of(100, 115, 10);

	assert_int_equal(due(*state, &key, &e, 114), FLOW_END_NONE);
	assert_int_equal(due(*state, &key, &e, 115), FLOW_END_ACTIVE);
	(void)report(*state, &key, &e, 115, FLOW_END_ACTIVE);
	assert_int_equal(due(*state, &key, &e, 135), FLOW_END_NONE); /* nothing new */
	e.half[0].packets++;
	assert_int_equal(due(*state, &key, &e, 129), FLOW_END_NONE); /* too early */
	assert_int_equal(due(*state, &key, &e, 130), FLOW_END_ACTIVE);
}

/* --- the record -------------------------------------------------------------- */

static void records_carry_the_difference_and_the_total(void **state)
{
	struct flow_key key = key_of(IPPROTO_TCP, 1234);
	struct flow_entry e = entry_of(100, 115, 10);
	struct flow_record a, b, c;

	e.half[0].retrans_pkts = 2;
	e.half[0].retrans_bytes = 2000;
	a = report(*state, &key, &e, 115, FLOW_END_ACTIVE);
	assert_int_equal(a.packets, 10);
	assert_int_equal(a.bytes, 1000);
	assert_int_equal(a.rev_packets, 5);
	assert_int_equal(a.retrans_pkts, 2);
	assert_int_equal(a.start_ns, 100 * SEC + OFFSET_NS);
	assert_int_equal(a.end_ns, 115 * SEC + OFFSET_NS);
	assert_int_equal(a.end_reason, FLOW_END_ACTIVE);
	assert_string_equal(a.iface, "eth0");
	assert_true(a.flow_id > 0 && a.flow_id < 1ull << 53);
	assert_int_equal(flow_table_count(*state), 1);

	e.half[0].packets = 17;
	e.half[0].retrans_pkts = 3;
	e.half[1].bytes += 7;
	e.half[1].last_ns = 131 * SEC;
	b = report(*state, &key, &e, 131, FLOW_END_ACTIVE);
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

	e.half[0].packets = 20;
	c = report(*state, &key, &e, 140, FLOW_END_FORCED);
	assert_int_equal(c.packets, 3);
	assert_int_equal(flow_table_count(*state), 0);
	e.first_ns++; /* the same ends meet again */
	a = report(*state, &key, &e, 150, FLOW_END_FORCED);
	assert_int_equal(a.packets, 20);
	assert_true(a.flow_id != c.flow_id);
}

static void the_initiator_is_src(void **state)
{
	struct flow_key key = key_of(IPPROTO_TCP, 1234);
	struct flow_entry e = entry_of(100, 101, 10);
	struct flow_record r;

	key.vlan = 12;
	e.half[0].tcp_flags = 0x1b;
	e.half[1].tcp_flags = 0x12;
	r = report(*state, &key, &e, 102, FLOW_END_FORCED);
	assert_memory_equal(r.src_addr, key.addr_a, 16);
	assert_int_equal(r.src_port, 1234);
	assert_int_equal(r.dst_port, 443);
	assert_int_equal(r.tcp_flags, 0x1b);
	assert_int_equal(r.vlan, 12);

	e.initiator = 1;
	r = report(*state, &key, &e, 102, FLOW_END_FORCED);
	assert_memory_equal(r.src_addr, key.addr_b, 16);
	assert_memory_equal(r.dst_addr, key.addr_a, 16);
	assert_int_equal(r.src_port, 443);
	assert_int_equal(r.dst_port, 1234);
	assert_int_equal(r.packets, 5);
	assert_int_equal(r.rev_packets, 10);
	assert_int_equal(r.rev_tcp_flags, 0x1b);
}

static void direction_and_role_come_from_where_src_is_counted(void **state)
{
	struct flow_key key = key_of(IPPROTO_TCP, 1);
	struct flow_entry e = entry_of(100, 101, 10);
	struct flow_record r;

	r = report(*state, &key, &e, 102, FLOW_END_FORCED);
	assert_int_equal(r.direction, FLOW_DIRECTION_EGRESS);
	assert_int_equal(r.role, FLOW_ROLE_UNKNOWN); /* nobody saw the SYN */
	e.state = FLOW_SYN_SEEN;
	r = report(*state, &key, &e, 102, FLOW_END_FORCED);
	assert_int_equal(r.role, FLOW_ROLE_CLIENT);

	e.half[0].iface = INGRESS(WG0);
	r = report(*state, &key, &e, 102, FLOW_END_FORCED);
	assert_int_equal(r.direction, FLOW_DIRECTION_INGRESS);
	assert_int_equal(r.role, FLOW_ROLE_SERVER);
	assert_string_equal(r.iface, "wg0");

	/* Only answers were seen, coming in: src sends out. */
	e.half[0] = (struct flow_half){0};
	r = report(*state, &key, &e, 102, FLOW_END_FORCED);
	assert_int_equal(r.direction, FLOW_DIRECTION_EGRESS);
	assert_string_equal(r.iface, "eth0");
}

static void the_handshake_is_told_once(void **state)
{
	struct flow_key key = key_of(IPPROTO_TCP, 1);
	struct flow_entry e = entry_of(100, 101, 10);
	struct flow_record r;

	e.state = FLOW_SYN_SEEN;
	e.syn_ns = 100 * SEC;
	e.rtt_server_us = 300; /* stale, as after a SYN that reuses the ports */
	r = report(*state, &key, &e, 115, FLOW_END_ACTIVE);
	assert_int_equal(r.rtt_us, 0);
	e.state |= FLOW_HANDSHAKE_DONE;
	e.rtt_client_us = 20;
	r = report(*state, &key, &e, 130, FLOW_END_ACTIVE);
	assert_int_equal(r.rtt_server_us, 300);
	assert_int_equal(r.rtt_client_us, 20);
	assert_int_equal(r.rtt_us, 320);
	r = report(*state, &key, &e, 145, FLOW_END_ACTIVE);
	assert_int_equal(r.rtt_us, 0);
	e.syn_ns = 150 * SEC; /* a new connection between the same ports */
	e.rtt_server_us = 500;
	r = report(*state, &key, &e, 160, FLOW_END_FORCED);
	assert_int_equal(r.rtt_us, 520);
}

static void icmp_has_no_ports(void **state)
{
	struct flow_key ping = key_of(IPPROTO_ICMP, 0), unreachable = ping;
	struct flow_entry e = entry_of(100, 101, 2);
	struct flow_record r;

	ping.icmp_type = 8;
	ping.port_a = ping.port_b = htons(0xbeef);
	r = report(*state, &ping, &e, 102, FLOW_END_FORCED);
	assert_int_equal(r.icmp_type, 8);
	assert_int_equal(r.icmp_id, 0xbeef);
	assert_int_equal(r.icmp_code, 0);
	assert_int_equal(r.src_port, 0);

	unreachable.icmp_type = 3;
	unreachable.port_a = unreachable.port_b = htons(13);
	r = report(*state, &unreachable, &e, 102, FLOW_END_FORCED);
	assert_int_equal(r.icmp_type, 3);
	assert_int_equal(r.icmp_code, 13);
	assert_int_equal(r.icmp_id, 0);
	assert_int_equal(r.dst_port, 0);

	ping.proto = IPPROTO_ICMPV6; /* 8 is no query there, 128 is */
	ping.icmp_type = 128;
	r = report(*state, &ping, &e, 102, FLOW_END_FORCED);
	assert_int_equal(r.icmp_id, 0xbeef);
}

/* --- the table ------------------------------------------------------------- */

static void a_full_table_puts_records_off(void **state)
{
	struct flow_entry e = entry_of(100, 101, 10);
	struct flow_now now = at(115);
	struct flow_record r = {.packets = 42};
	struct flow_key key;

	for (uint16_t i = 0; i < MAX_FLOWS; i++) {
		key = key_of(IPPROTO_TCP, i);
		(void)report(*state, &key, &e, 115, FLOW_END_ACTIVE);
	}
	key = key_of(IPPROTO_TCP, MAX_FLOWS);
	assert_int_equal(flow_table_report(*state, &key, &e, &now, FLOW_END_ACTIVE, &r), -ENOSPC);
	assert_int_equal(r.packets, 42);
	r = report(*state, &key, &e, 116, FLOW_END_FORCED); /* its end is told all the same */
	assert_int_equal(r.packets, 10);
	key = key_of(IPPROTO_TCP, 0);
	(void)report(*state, &key, &e, 116, FLOW_END_FORCED); /* makes room */
	key = key_of(IPPROTO_TCP, MAX_FLOWS);
	(void)report(*state, &key, &e, 116, FLOW_END_ACTIVE);
	assert_int_equal(flow_table_count(*state), MAX_FLOWS);
}

/* Against a plain array: flows come, go on and end in random order. */
static void matches_a_model(void **state)
{
	enum { FLOWS = 80 };
	uint64_t told[FLOWS] = {0}, counted[FLOWS] = {0};
	unsigned seed = 7;

	for (unsigned i = 0; i < 50000; i++) {
		uint16_t flow = (uint16_t)(rand_r(&seed) % FLOWS);
		bool end = rand_r(&seed) % 3 == 0;
		struct flow_key key = key_of(IPPROTO_UDP, flow);
		struct flow_entry e;
		struct flow_record r;
		struct flow_now now = at(200);
		int err;

		counted[flow] += 2;
		e = entry_of(100, 101, counted[flow]);
		err = flow_table_report(*state, &key, &e, &now,
					end ? FLOW_END_IDLE : FLOW_END_ACTIVE, &r);
		if (err) {
			assert_int_equal(err, -ENOSPC);
			assert_int_equal(flow_table_count(*state), MAX_FLOWS);
			assert_int_equal(told[flow], 0); /* it was not in the table */
			continue;
		}
		assert_int_equal(r.packets, counted[flow] - told[flow]);
		told[flow] = end ? 0 : counted[flow];
		counted[flow] = end ? 0 : counted[flow];
	}
}

static void bad_sizes_and_no_memory_are_refused(void **state)
{
	struct flow_table_config bad = config;
	struct flow_table *t = NULL;
	unsigned n;

	(void)state;
	bad.max_flows = 0;
	assert_int_equal(flow_table_new(&bad, &t), -EINVAL);
	bad.max_flows = FLOW_TABLE_MAX + 1;
	assert_int_equal(flow_table_new(&bad, &t), -EINVAL);
	for (n = 1;; n++) {
		int err;

		fail_alloc_at(n);
		err = flow_table_new(&config, &t);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(t);
	}
	assert_int_equal(n, 4);
	flow_table_free(t);
	flow_table_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(silence_ends_a_flow),
		TEST(a_closed_connection_ends_after_the_grace),
		TEST(a_long_flow_reports_only_news),
		TEST(records_carry_the_difference_and_the_total),
		TEST(the_initiator_is_src),
		TEST(direction_and_role_come_from_where_src_is_counted),
		TEST(the_handshake_is_told_once),
		TEST(icmp_has_no_ports),
		TEST(a_full_table_puts_records_off),
		TEST(matches_a_model),
		cmocka_unit_test(bad_sizes_and_no_memory_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
