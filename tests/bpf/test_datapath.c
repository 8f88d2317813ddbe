// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_datapath.c - the BPF programs on crafted packets, in the kernel, through
 * BPF_PROG_TEST_RUN. Needs root. After every test the conservation identity of
 * bpf/flow_abi.h must hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/flow_abi.h"
#include "tests/bpf/harness.h"
#include "weir.skel.h"

static void test_handshake_fills_one_entry(void **state)
{
	struct flow_state_of f;

	/* The client is the end that sorts second. */
	send_tcp(*state, B, A, &(struct craft_tcp){40000, 80, SYN, 100, 0, 0});
	harness_wait(*state, 2000);
	send_tcp(*state, A, B, &(struct craft_tcp){80, 40000, SYN | ACK, 500, 101, 0});
	harness_wait(*state, 5000);
	send_tcp(*state, B, A, &(struct craft_tcp){40000, 80, ACK, 101, 501, 0});
	send_tcp(*state, B, A, &(struct craft_tcp){40000, 80, ACK | PSH, 101, 501, 10});

	f = only_flow(*state);
	assert_addr(f.slot.key.addr_a, A);
	assert_addr(f.slot.key.addr_b, B);
	assert_int_equal(ntohs(f.slot.key.port_a), 80);
	assert_int_equal(ntohs(f.slot.key.port_b), 40000);
	assert_int_equal(f.slot.key.proto, IPPROTO_TCP);
	assert_int_equal(f.slot.initiator, 1);
	assert_int_equal(f.slot.state, FLOW_SYN_SEEN | FLOW_SYNACK_SEEN | FLOW_HANDSHAKE_DONE |
					       FLOW_SEQ_A | FLOW_SEQ_B);
	assert_int_equal(f.slot.rtt_server_us, 2000);
	assert_int_equal(f.slot.rtt_client_us, 5000);
	assert_int_equal(f.slot.half[0].packets, 1);
	assert_int_equal(f.slot.half[0].bytes, 54);
	assert_int_equal(f.slot.half[0].tcp_flags, SYN | ACK);
	assert_int_equal(f.slot.half[1].packets, 3);
	assert_int_equal(f.slot.half[1].bytes, 54 * 3 + 10);
	assert_int_equal(f.slot.half[1].tcp_flags, SYN | ACK | PSH);
	assert_int_equal(f.perf.half[1].retrans_pkts, 0);
}

static void test_every_tcp_flag_is_kept(void **state)
{

	send_tcp(*state, A, B, &(struct craft_tcp){1, 2, 0x1ff, 1, 1, 0});
	assert_int_equal(only_flow(*state).slot.half[0].tcp_flags, 0x1ff);
}

static void test_close_and_reset_are_seen(void **state)
{
	struct flow_state_of f;

	send_tcp(*state, A, B, &(struct craft_tcp){1, 2, FIN | ACK, 10, 1, 0});
	send_tcp(*state, B, A, &(struct craft_tcp){2, 1, FIN | ACK, 90, 11, 0});
	f = only_flow(*state);
	assert_int_equal(f.slot.state & (FLOW_CLOSING_A | FLOW_CLOSING_B | FLOW_RESET_A),
			 FLOW_CLOSING_A | FLOW_CLOSING_B);
	send_tcp(*state, A, B, &(struct craft_tcp){1, 2, RST, 11, 0, 0});
	assert_true(only_flow(*state).slot.state & FLOW_RESET_A);

	/* A new connection on the same ports starts over. */
	send_tcp(*state, A, B, &(struct craft_tcp){1, 2, SYN, 77777, 0, 0});
	f = only_flow(*state);
	assert_int_equal(f.slot.state, FLOW_SYN_SEEN | FLOW_SEQ_A);
	assert_int_equal(f.perf.half[0].retrans_pkts, 0);
}

static void test_udp_over_ipv6(void **state)
{
	struct flow_state_of f;
	struct craft c;

	craft_eth(&c, ETH_P_IPV6);
	craft_ipv6(&c, "2001:db8::2", "2001:db8::1", IPPROTO_UDP);
	craft_udp(&c, 5353, 53, 30);
	craft_end(&c);
	run_xdp(*state, &c);
	f = only_flow(*state);
	assert_addr(f.slot.key.addr_a, "2001:db8::1");
	assert_addr(f.slot.key.addr_b, "2001:db8::2");
	assert_int_equal(ntohs(f.slot.key.port_a), 53);
	assert_int_equal(ntohs(f.slot.key.port_b), 5353);
	assert_int_equal(f.slot.key.proto, IPPROTO_UDP);
	assert_int_equal(f.slot.initiator, 1);
	assert_int_equal(f.slot.half[1].packets, 1);
	assert_int_equal(f.slot.half[1].bytes, 14 + 40 + 8 + 30);
}

static void send_icmp(struct weir_bpf *w, bool v6, const char *src, const char *dst, uint8_t type,
		      uint8_t code, uint16_t id)
{
	struct craft c;

	craft_eth(&c, v6 ? ETH_P_IPV6 : ETH_P_IP);
	if (v6)
		craft_ipv6(&c, src, dst, IPPROTO_ICMPV6);
	else
		craft_ipv4(&c, src, dst, IPPROTO_ICMP, 0, 0);
	craft_icmp(&c, type, code, id);
	craft_end(&c);
	run_xdp(w, &c);
}

static void test_ping_is_one_flow(void **state)
{
	struct flow_state_of f;

	/* The reply is seen first: the initiator is still who asks. */
	send_icmp(*state, false, A, B, 0, 0, 4711);
	send_icmp(*state, false, B, A, 8, 0, 4711);
	f = only_flow(*state);
	assert_int_equal(f.slot.key.icmp_type, 8);
	assert_int_equal(ntohs(f.slot.key.port_a), 4711);
	assert_int_equal(ntohs(f.slot.key.port_b), 4711);
	assert_int_equal(f.slot.initiator, 1);
	assert_int_equal(f.slot.half[0].packets, 1);
	assert_int_equal(f.slot.half[1].packets, 1);
}

static void test_ping6_is_one_flow(void **state)
{
	struct flow_state_of f;

	send_icmp(*state, true, "fe80::1", "fe80::2", 128, 0, 7);
	send_icmp(*state, true, "fe80::2", "fe80::1", 129, 0, 7);
	f = only_flow(*state);
	assert_int_equal(f.slot.half[1].packets, 1);
	assert_int_equal(f.slot.key.icmp_type, 128);
	assert_int_equal(f.slot.key.proto, IPPROTO_ICMPV6);
}

static void test_ping_to_itself_has_two_directions(void **state)
{
	struct flow_state_of f;

	send_icmp(*state, false, A, A, 8, 0, 1);
	send_icmp(*state, false, A, A, 0, 0, 1);
	f = only_flow(*state);
	assert_int_equal(f.slot.half[0].packets, 1);
	assert_int_equal(f.slot.half[1].packets, 1);
}

static void test_icmp_error_keeps_type_and_code(void **state)
{
	struct flow_state_of f;

	send_icmp(*state, false, A, B, 3, 13, 999);
	f = only_flow(*state);
	assert_int_equal(f.slot.key.icmp_type, 3);
	assert_int_equal(ntohs(f.slot.key.port_a), 13);
	assert_int_equal(ntohs(f.slot.key.port_b), 13);
}

static void test_vlan_tags(void **state)
{
	struct craft c;
	struct flow_state_of f;

	craft_eth(&c, 0);
	craft_vlan(&c, ETH_P_8021AD, 0x6000 | 100, 0); /* the priority is not part of the id */
	craft_vlan(&c, ETH_P_8021Q, 200, ETH_P_IP);
	craft_ipv4(&c, A, B, IPPROTO_UDP, 0, 0);
	craft_udp(&c, 1, 2, 0);
	craft_end(&c);
	run_xdp(*state, &c);
	f = only_flow(*state);
	assert_int_equal(f.slot.key.vlan, 100);
	assert_int_equal(f.slot.half[0].bytes, 14 + 8 + 20 + 8);

	craft_eth(&c, 0);
	for (int i = 0; i < 12; i++)
		craft_vlan(&c, ETH_P_8021Q, 1 + i, ETH_P_IP);
	craft_bytes(&c, 64);
	run_xdp(*state, &c);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_TOO_DEEP], 1);
}

static void test_ipv4_options_are_skipped(void **state)
{
	struct flow_state_of f;
	struct craft c;

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, A, B, IPPROTO_UDP, 0, 40);
	craft_udp(&c, 1111, 2222, 4);
	craft_end(&c);
	run_xdp(*state, &c);
	f = only_flow(*state);
	assert_int_equal(ntohs(f.slot.key.port_a), 1111);
	assert_int_equal(ntohs(f.slot.key.port_b), 2222);
}

static void craft_extensions(struct craft *c, int n)
{
	static const uint8_t chain[] = {IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS};

	craft_eth(c, ETH_P_IPV6);
	craft_ipv6(c, "2001:db8::1", "2001:db8::2", n ? chain[0] : IPPROTO_TCP);
	for (int i = 1; i <= n; i++)
		craft_ext(c, i < n ? chain[i % 3] : IPPROTO_TCP, 0);
	craft_tcp(c, &(struct craft_tcp){.sport = 5, .dport = 6, .flags = SYN});
	craft_end(c);
}

static void test_ipv6_extension_headers(void **state)
{
	struct flow_state_of f;
	struct craft c;

	for (int n = 0; n <= 6; n++) {
		craft_extensions(&c, n);
		run_xdp(*state, &c);
	}
	f = only_flow(*state);
	assert_int_equal(f.slot.half[0].packets, 7);
	assert_int_equal(f.slot.key.proto, IPPROTO_TCP);
	assert_int_equal(ntohs(f.slot.key.port_a), 5);
	craft_extensions(&c, 7);
	run_xdp(*state, &c);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_TOO_DEEP], 1);
}

static void send_fragment(struct weir_bpf *w, const char *src, const char *dst, uint16_t frag,
			  uint16_t id, size_t ports)
{
	struct craft c;

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, src, dst, IPPROTO_UDP, frag, 0);
	c.data[c.ip_at + 4] = id >> 8;
	c.data[c.ip_at + 5] = id & 0xff;
	if (ports)
		craft_udp(&c, 9, 10, 24);
	else
		craft_bytes(&c, 3); /* shorter than a UDP header */
	craft_end(&c);
	run_xdp(w, &c);
}

static void test_fragments_join_their_first(void **state)
{
	struct flow_state_of f;

	send_fragment(*state, A, B, 0x2000, 7, true);
	send_fragment(*state, A, B, 0x2004, 7, false);
	send_fragment(*state, A, B, 0x0006, 7, false);
	f = only_flow(*state);
	assert_int_equal(ntohs(f.slot.key.port_a), 9);
	assert_int_equal(f.slot.half[0].packets, 3);

	send_fragment(*state, A, B, 0x0006, 8, false); /* its first was never seen */
	assert_int_equal(sum_flows(*state).flows, 2);
	assert_int_equal(nth_flow(*state, 1).slot.key.port_a, 0);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_FRAGMENTS_ORPHAN], 1);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_TRUNCATED], 0);
}

static void test_a_packet_ends_with_its_frame(void **state)
{
	struct flow_state_of f;
	struct craft c;

	for (int i = 0; i < 4; i++) {
		craft_eth(&c, i < 2 ? ETH_P_IP : ETH_P_IPV6);
		if (i < 2)
			craft_ipv4(&c, A, B, IPPROTO_TCP, 0, 0);
		else
			craft_ipv6(&c, "2001:db8::1", "2001:db8::2", IPPROTO_TCP);
		craft_tcp(&c, &(struct craft_tcp){.sport = 1, .dport = 2, .flags = ACK});
		craft_end(&c);
		c.data[c.ip_at + (i < 2 ? 2 : 4)] = 0x80; /* 32 KiB and more, says the header */
		run_xdp(*state, &c);
	}
	for (unsigned i = 0; i < 2; i++) {
		f = nth_flow(*state, i);
		assert_int_equal(f.slot.half[0].packets, 2);
		assert_int_equal(f.slot.state & FLOW_SEQ_A, 0); /* no payload */
		assert_int_equal(f.perf.half[0].retrans_pkts, 0);
	}
}

static void test_ipv4_authentication_header_is_skipped(void **state)
{
	struct flow_state_of f;
	struct craft c;

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, A, B, IPPROTO_AH, 0, 0);
	craft_bytes(&c, 24);
	c.data[c.len - 24] = IPPROTO_UDP;
	c.data[c.len - 23] = 24 / 4 - 2;
	craft_udp(&c, 5, 6, 10);
	craft_end(&c);
	run_xdp(*state, &c);
	f = only_flow(*state);
	assert_int_equal(f.slot.key.proto, IPPROTO_UDP);
	assert_int_equal(ntohs(f.slot.key.port_a), 5);
}

/* RFC 1858: of the TCP header only the ports and the flags are in the first fragment. */
static void test_a_tiny_first_fragment_has_ports(void **state)
{
	struct flow_state_of f;
	struct craft c;

	for (int i = 0; i < 2; i++) {
		craft_eth(&c, ETH_P_IP);
		craft_ipv4(&c, A, B, IPPROTO_TCP, i ? 0x0002 : 0x2000, 0);
		craft_bytes(&c, 16);
		if (!i)
			memcpy(c.data + c.len - 16, "\0\7\0\x8\1\1\1\1\1\1\1\1\xff\xff\0\0", 16);
		craft_end(&c);
		run_xdp(*state, &c);
	}
	f = only_flow(*state);
	assert_int_equal(ntohs(f.slot.key.port_a), 7);
	assert_int_equal(ntohs(f.slot.key.port_b), 8);
	assert_int_equal(f.slot.half[0].packets, 2);
	assert_int_equal(f.slot.half[0].tcp_flags, 0x1ff);
	assert_int_equal(f.perf.half[0].zero_windows, 0);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_BAD_HEADER], 0);
}

static void test_ipv6_fragments_join_their_first(void **state)
{
	struct flow_state_of f;
	struct craft c;

	for (int i = 0; i < 2; i++) {
		craft_eth(&c, ETH_P_IPV6);
		craft_ipv6(&c, "2001:db8::1", "2001:db8::2", IPPROTO_FRAGMENT);
		craft_ext(&c, IPPROTO_UDP, i ? 8 << 3 : 1);
		if (!i)
			craft_udp(&c, 9, 10, 0);
		craft_end(&c);
		run_xdp(*state, &c);
	}
	f = only_flow(*state);
	assert_int_equal(f.slot.half[0].packets, 2);
	assert_int_equal(ntohs(f.slot.key.port_b), 10);
}

static void test_other_protocols_by_number(void **state)
{
	struct flow_state_of f;
	struct craft c;

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, A, B, 89, 0, 0);
	craft_bytes(&c, 24);
	craft_end(&c);
	run_xdp(*state, &c);
	f = only_flow(*state);
	assert_int_equal(f.slot.key.proto, 89);
	assert_int_equal(f.slot.key.port_a, 0);
}

static void test_not_ip_is_counted(void **state)
{
	struct craft c;

	craft_eth(&c, ETH_P_ARP);
	craft_bytes(&c, 28);
	run_xdp(*state, &c);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_NOT_IP], 1);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_SEEN], 1);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_SEEN_BYTES], 42);
}

static void test_impossible_headers_are_counted(void **state)
{
	struct craft_tcp tcp = {.sport = 1, .dport = 2, .flags = ACK};
	const struct craft good = craft_tcp4(A, B, &tcp);
	static const struct {
		size_t at;
		uint8_t value;
	} damage[] = {
		{14, 0x55}, /* version 5 */
		{14, 0x44}, /* header of 16 bytes */
		{17, 19},   /* total length below the header's */
	};

	for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
		struct craft bad = good;

		bad.data[damage[i].at] = damage[i].value;
		run_xdp(*state, &bad);
		assert_int_equal(read_counters(*state).n[FLOW_CNT_BAD_HEADER], i + 1);
	}
}

/* Addresses and ports are good: the packet is theirs, its flags are shown, the rest is not
 * believed. */
static void test_an_impossible_tcp_header_keeps_its_flow(void **state)
{
	const struct craft_tcp tcp = {
		.sport = 1, .dport = 2, .flags = SYN, .seq = 7, .payload = 10};
	const uint8_t lengths[] = {0xf0, 0x40}; /* more than the packet has, and 16 bytes */
	struct craft c = craft_tcp4(A, B, &tcp);
	struct flow_state_of f;

	run_xdp(*state, &c);
	for (size_t i = 0; i < sizeof(lengths); i++) {
		c.data[46] = lengths[i];
		c.data[47] = i ? FIN : PSH; /* shown; not so beside 16 bytes */
		run_xdp(*state, &c);
		assert_int_equal(read_counters(*state).n[FLOW_CNT_TRANSPORT_BAD_HEADER], i + 1);
	}
	f = only_flow(*state);
	assert_int_equal(f.slot.half[0].packets, 3);
	assert_int_equal(f.slot.half[0].tcp_flags, SYN | PSH);
	assert_int_equal(f.perf.half[0].retrans_pkts, 0);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_BAD_HEADER], 0);
}

/*
 * Cut inside the link's or IP's header a packet is counted as truncated; behind that
 * its addresses are known, and the ports once their 4 bytes are there.
 */
static void test_every_truncation_is_counted(void **state)
{
	size_t ip = ETH_HLEN + 40, ports;
	struct flow_counters n;
	struct craft c;

	craft_extensions(&c, 3);
	ports = c.len - 20 + 4; /* TCP at the end */
	for (size_t len = ETH_HLEN; len < c.len; len++) {
		struct craft shorter = c;

		shorter.len = len;
		run_xdp(*state, &shorter);
	}
	n = read_counters(*state);
	assert_int_equal(n.n[FLOW_CNT_TRUNCATED], ip - ETH_HLEN);
	assert_int_equal(n.n[FLOW_CNT_TRANSPORT_TRUNCATED], c.len - ip);
	assert_int_equal(sum_flows(*state).packets, c.len - ip);
	run_xdp(*state, &c); /* the whole one finds the flow of those that had ports */
	for (unsigned i = 0; i < sum_flows(*state).flows; i++)
		if (nth_flow(*state, i).slot.key.port_b)
			assert_int_equal(nth_flow(*state, i).slot.half[0].packets,
					 c.len - ports + 1);
}

/* AH vouches for a packet; what we know by number only stays AH's. */
static void test_ah_is_followed_to_ports(void **state)
{
	const uint8_t next[] = {IPPROTO_UDP, IPPROTO_ESP, IPPROTO_ICMP};
	const uint8_t expected[] = {IPPROTO_UDP, IPPROTO_AH, IPPROTO_AH};
	struct craft c;

	for (unsigned i = 0; i < 3; i++) {
		craft_eth(&c, ETH_P_IP);
		craft_ipv4(&c, A, B, IPPROTO_AH, 0, 0);
		craft_bytes(&c, 24);
		c.data[ETH_HLEN + 20] = next[i];
		c.data[ETH_HLEN + 21] = 4;
		craft_udp(&c, 1000, 2000, 8);
		craft_end(&c);
		run_xdp(*state, &c);
	}
	assert_int_equal(sum_flows(*state).flows, 2);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(nth_flow(*state, i).slot.key.proto, expected[i]);
	assert_int_equal(nth_flow(*state, 1).slot.half[0].packets, 2);
}

static void test_gso_counts_wire_packets(void **state)
{
	struct weir_bpf *w = *state;
	struct craft_tcp tcp = {.sport = 1, .dport = 2, .flags = ACK, .seq = 7, .payload = 1500};
	struct craft c = craft_tcp4(A, B, &tcp);
	struct flow_state_of f;

	run_tc(w->progs.weir_tc_egress, &c, 500, 3);
	f = only_flow(w);
	assert_int_equal(f.slot.half[0].packets, 3);
	assert_int_equal(f.slot.half[0].bytes, 3 * 54 + 1500);

	run_tc(w->progs.weir_tc_egress, &c, 400, 0); /* segments not filled in: 400 400 400 300 */
	f = only_flow(w);
	assert_int_equal(f.slot.half[0].packets, 3 + 4);
	assert_int_equal(f.slot.half[0].bytes, 3 * 54 + 1500 + 4 * 54 + 1500);
	assert_int_equal(f.perf.half[0].retrans_pkts, 4); /* the same bytes, four segments */
}

static void test_same_packet_elsewhere_counts_once(void **state)
{
	struct weir_bpf *w = *state;
	struct craft_tcp tcp = {.sport = 1, .dport = 2, .flags = ACK};
	struct craft c = craft_tcp4(A, B, &tcp);

	w->bss->replay.wire_len = w->bss->replay.bytes = (__u32)c.len;
	run_tc(w->progs.weir_tc_egress, &c, 0, 0);
	run_tc(w->progs.weir_tc_ingress, &c, 0, 0); /* loopback shows it again */
	assert_int_equal(only_flow(w).slot.half[0].packets, 1);
	assert_int_equal(only_flow(w).slot.half[0].iface & 1, FLOW_HOOK_EGRESS);
	assert_int_equal(read_counters(w).n[FLOW_CNT_SEEN_ELSEWHERE], 1);

	harness_wait(w, 1100000); /* the first place fell silent: the path has changed */
	run_tc(w->progs.weir_tc_ingress, &c, 0, 0);
	assert_int_equal(only_flow(w).slot.half[0].packets, 2);
	assert_int_equal(only_flow(w).slot.half[0].iface & 1, FLOW_HOOK_INGRESS);
}

static void test_full_table_goes_to_catch_all(void **state)
{
	struct flow_counters c;
	struct flow_sums sums;

	for (unsigned i = 0; i < 4 * HARNESS_SLOTS; i++)
		for (int n = 0; n < 2; n++)
			send_tcp(*state, A, B, &(struct craft_tcp){1000 + i, 80, ACK, 1, 1, 6});
	sums = sum_flows(*state);
	c = read_counters(*state);
	assert_int_equal(sums.flows, HARNESS_SLOTS); /* four flows a slot: each bucket fills up */
	assert_int_equal(c.n[FLOW_CNT_FLOWS_CREATED], sums.flows);
	assert_int_equal(sums.packets, 2 * sums.flows);
	assert_int_equal(c.n[FLOW_CNT_CATCH_ALL], 2 * (4 * HARNESS_SLOTS - sums.flows));
	assert_int_equal(c.n[FLOW_CNT_FLOWS_REFUSED], 2 * (4 * HARNESS_SLOTS - sums.flows));
	assert_int_equal(read_catch_all(*state, FLOW_HOOK_INGRESS).bytes + sums.bytes,
			 c.n[FLOW_CNT_SEEN_BYTES]);
}

/* A full bucket puts its flows into the others of its group, and finds them again there. */
static void test_full_bucket_overflows(void **state)
{
	struct weir_bpf *w = *state;
	const unsigned n_flows = 44; /* of 56 ways; in pairs some would find none */
	struct flow_bucket bucket;
	struct flow_sums sums;
	__u32 farthest = 0;

	for (int n = 0; n < 2; n++)
		for (unsigned i = 0; i < n_flows; i++)
			send_tcp(w, A, B, &(struct craft_tcp){1000 + i, 80, ACK, 1, 1, 6});
	for (__u32 i = 0; i < HARNESS_SLOTS / 8; i++) {
		assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(w->maps.buckets), &i, &bucket), 0);
		if (bucket.overflowed > farthest)
			farthest = bucket.overflowed;
	}
	assert_in_range(farthest, 2, FLOW_GROUP - 1);
	sums = sum_flows(w);
	assert_int_equal(sums.flows, n_flows);
	assert_int_equal(sums.packets, 2 * n_flows);
	assert_int_equal(read_counters(w).n[FLOW_CNT_FLOWS_REFUSED], 0);
}

/* What probe/drain/drain.c does to end a flow, step by step. */
static void test_closed_flow_is_not_found_again(void **state)
{
	struct weir_bpf *w = *state;
	struct flow_bucket bucket;
	struct flow_state_of f;
	__u32 at;

	send_tcp(w, A, B, &(struct craft_tcp){1, 2, ACK, 1, 1, 0});
	f = only_flow(w);
	at = f.slot.place >> FLOW_WAY_BITS;
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(w->maps.buckets), &at, &bucket), 0);
	assert_int_not_equal(bucket.tag[f.slot.place & 7], 0);
	bucket.tag[f.slot.place & 7] = 0;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(w->maps.buckets), &at, &bucket, 0), 0);

	send_tcp(w, A, B, &(struct craft_tcp){1, 2, ACK, 1, 1, 0});
	assert_int_equal(sum_flows(w).flows, 2);
	assert_int_equal(nth_flow(w, 0).slot.half[0].packets, 1);
	assert_int_equal(nth_flow(w, 1).slot.half[0].packets, 1);
}

static void test_frags_program_passes_and_counts(void **state)
{
	struct weir_bpf *w = *state;
	struct craft_tcp tcp = {.sport = 1, .dport = 2, .flags = ACK, .payload = 900};
	struct craft c = craft_tcp4(A, B, &tcp);
	static uint8_t jumbo[9000];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = jumbo, .data_size_in = sizeof(jumbo));

	memcpy(jumbo, c.data, c.len);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(w->progs.weir_xdp_frags), &opts),
			 0);
	assert_int_equal(opts.retval, 2);
	assert_int_equal(only_flow(w).slot.half[0].bytes, sizeof(jumbo));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		harness_clocked_test(test_handshake_fills_one_entry),
		harness_test(test_every_tcp_flag_is_kept),
		harness_test(test_close_and_reset_are_seen),
		harness_test(test_udp_over_ipv6),
		harness_test(test_ping_is_one_flow),
		harness_test(test_ping6_is_one_flow),
		harness_test(test_ping_to_itself_has_two_directions),
		harness_test(test_icmp_error_keeps_type_and_code),
		harness_test(test_vlan_tags),
		harness_test(test_ipv4_options_are_skipped),
		harness_test(test_ipv6_extension_headers),
		harness_test(test_fragments_join_their_first),
		harness_test(test_a_packet_ends_with_its_frame),
		harness_test(test_ipv4_authentication_header_is_skipped),
		harness_test(test_a_tiny_first_fragment_has_ports),
		harness_test(test_ipv6_fragments_join_their_first),
		harness_test(test_other_protocols_by_number),
		harness_test(test_not_ip_is_counted),
		harness_test(test_impossible_headers_are_counted),
		harness_test(test_an_impossible_tcp_header_keeps_its_flow),
		harness_test(test_every_truncation_is_counted),
		harness_test(test_ah_is_followed_to_ports),
		harness_test(test_gso_counts_wire_packets),
		harness_clocked_test(test_same_packet_elsewhere_counts_once),
		harness_test(test_full_table_goes_to_catch_all),
		cmocka_unit_test_setup_teardown(test_full_bucket_overflows, harness_setup_crowded,
						harness_teardown),
		harness_test(test_closed_flow_is_not_found_again),
		harness_test(test_frags_program_passes_and_counts),
	};

	if (geteuid() != 0) {
		puts("skipped: loading BPF programs needs root");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
