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
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/flow_abi.h"
#include "tests/bpf/craft.h"
#include "weir.skel.h"

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10

#define A	   "10.0.0.1"
#define B	   "10.0.0.2"
#define TABLE_SIZE 64
#define MAX_CPUS   1024

static struct weir_bpf *open_programs(unsigned table_size)
{
	struct weir_bpf *w = weir_bpf__open();

	assert_non_null(w);
	assert_int_equal(bpf_map__set_max_entries(w->maps.flows, table_size), 0);
	assert_int_equal(weir_bpf__load(w), 0);
	return w;
}

static int setup(void **state)
{
	*state = open_programs(TABLE_SIZE);
	return 0;
}

static struct flow_counters read_counters(struct weir_bpf *w)
{
	static struct flow_counters cpu[MAX_CPUS];
	struct flow_counters sum = {};
	__u32 zero = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(w->maps.counters), &zero, cpu), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		for (int c = 0; c < FLOW_CNT_MAX; c++)
			sum.n[c] += cpu[i].n[c];
	return sum;
}

static struct flow_totals read_catch_all(struct weir_bpf *w, __u32 hook)
{
	static struct flow_totals cpu[MAX_CPUS];
	struct flow_totals sum = {};

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(w->maps.catch_all), &hook, cpu), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++) {
		sum.packets += cpu[i].packets;
		sum.bytes += cpu[i].bytes;
	}
	return sum;
}

/* Walks the table: number of flows, their packets and bytes, the last key and entry. */
static unsigned read_flows(struct weir_bpf *w, struct flow_key *key, struct flow_entry *entry,
			   uint64_t *packets, uint64_t *bytes)
{
	int fd = bpf_map__fd(w->maps.flows);
	struct flow_key next;
	unsigned n = 0;

	*packets = *bytes = 0;
	for (void *from = NULL; bpf_map_get_next_key(fd, from, &next) == 0; from = key, n++) {
		*key = next;
		assert_int_equal(bpf_map_lookup_elem(fd, key, entry), 0);
		*packets += entry->half[0].packets + entry->half[1].packets;
		*bytes += entry->half[0].bytes + entry->half[1].bytes;
	}
	return n;
}

static void assert_conserved(struct weir_bpf *w)
{
	struct flow_counters c = read_counters(w);
	struct flow_entry entry;
	struct flow_key key;
	uint64_t packets, bytes;

	(void)read_flows(w, &key, &entry, &packets, &bytes);
	packets += read_catch_all(w, 0).packets + read_catch_all(w, 1).packets;
	for (int i = FLOW_CNT_SEEN_ELSEWHERE; i < FLOW_CNT_MAX; i++)
		packets += c.n[i];
	assert_int_equal(c.n[FLOW_CNT_SEEN], packets);
	assert_int_equal(c.n[FLOW_CNT_CATCH_ALL],
			 read_catch_all(w, 0).packets + read_catch_all(w, 1).packets);
}

static int teardown(void **state)
{
	assert_conserved(*state);
	weir_bpf__destroy(*state);
	return 0;
}

/* The only flow in the table. */
static struct flow_entry only_flow(struct weir_bpf *w, struct flow_key *key)
{
	struct flow_entry entry;
	uint64_t packets, bytes;

	assert_int_equal(read_flows(w, key, &entry, &packets, &bytes), 1);
	return entry;
}

static void run_xdp(struct weir_bpf *w, const struct craft *c)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = c->data, .data_size_in = c->len);

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(w->progs.weir_xdp), &opts), 0);
	assert_int_equal(opts.retval, 2); /* XDP_PASS */
}

static void run_tc(struct bpf_program *prog, const struct craft *c, uint32_t gso_size,
		   uint32_t gso_segs)
{
	struct __sk_buff skb = {.gso_size = gso_size, .gso_segs = gso_segs};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = c->data, .data_size_in = c->len,
		    .ctx_in = &skb, .ctx_size_in = sizeof(skb));

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(prog), &opts), 0);
	assert_int_equal((int)opts.retval, -1); /* TC_ACT_UNSPEC: next program */
}

static void send_tcp(struct weir_bpf *w, const char *src, const char *dst, uint16_t sport,
		     uint16_t dport, uint16_t flags, uint32_t seq, uint32_t ack, size_t payload)
{
	struct craft_tcp tcp = {.sport = sport,
				.dport = dport,
				.flags = flags,
				.seq = seq,
				.ack = ack,
				.payload = payload};
	struct craft c = craft_tcp4(src, dst, &tcp);

	run_xdp(w, &c);
}

static void assert_addr(const __u8 addr[16], const char *text)
{
	uint8_t want[16] = {[10] = 0xff, [11] = 0xff};

	if (strchr(text, ':'))
		assert_int_equal(inet_pton(AF_INET6, text, want), 1);
	else
		assert_int_equal(inet_pton(AF_INET, text, want + 12), 1);
	assert_memory_equal(addr, want, 16);
}

static void test_handshake_fills_one_entry(void **state)
{
	struct flow_entry e;
	struct flow_key key;

	/* The client is the end that sorts second. */
	send_tcp(*state, B, A, 40000, 80, SYN, 100, 0, 0);
	usleep(2000);
	send_tcp(*state, A, B, 80, 40000, SYN | ACK, 500, 101, 0);
	usleep(5000);
	send_tcp(*state, B, A, 40000, 80, ACK, 101, 501, 0);
	send_tcp(*state, B, A, 40000, 80, ACK | PSH, 101, 501, 10);

	e = only_flow(*state, &key);
	assert_addr(key.addr_a, A);
	assert_addr(key.addr_b, B);
	assert_int_equal(ntohs(key.port_a), 80);
	assert_int_equal(ntohs(key.port_b), 40000);
	assert_int_equal(key.proto, IPPROTO_TCP);
	assert_int_equal(e.initiator, 1);
	assert_int_equal(e.state, FLOW_SYN_SEEN | FLOW_HANDSHAKE_DONE | FLOW_SEQ_A | FLOW_SEQ_B);
	assert_in_range(e.rtt_server_us, 2000, 100000);
	assert_in_range(e.rtt_client_us, 5000, 100000);
	assert_int_equal(e.half[0].packets, 1);
	assert_int_equal(e.half[0].bytes, 54);
	assert_int_equal(e.half[0].tcp_flags, SYN | ACK);
	assert_int_equal(e.half[1].packets, 3);
	assert_int_equal(e.half[1].bytes, 54 * 3 + 10);
	assert_int_equal(e.half[1].tcp_flags, SYN | ACK | PSH);
	assert_int_equal(e.half[1].retrans_pkts, 0);
}

static void test_every_tcp_flag_is_kept(void **state)
{
	struct flow_key key;

	send_tcp(*state, A, B, 1, 2, 0x1ff, 1, 1, 0);
	assert_int_equal(only_flow(*state, &key).half[0].tcp_flags, 0x1ff);
}

static void test_close_and_reset_are_seen(void **state)
{
	struct flow_key key;
	struct flow_entry e;

	send_tcp(*state, A, B, 1, 2, FIN | ACK, 10, 1, 0);
	send_tcp(*state, B, A, 2, 1, FIN | ACK, 90, 11, 0);
	e = only_flow(*state, &key);
	assert_int_equal(e.state & (FLOW_CLOSING_A | FLOW_CLOSING_B | FLOW_RESET),
			 FLOW_CLOSING_A | FLOW_CLOSING_B);
	send_tcp(*state, A, B, 1, 2, RST, 11, 0, 0);
	assert_true(only_flow(*state, &key).state & FLOW_RESET);

	/* A new connection on the same ports starts over. */
	send_tcp(*state, A, B, 1, 2, SYN, 77777, 0, 0);
	e = only_flow(*state, &key);
	assert_int_equal(e.state, FLOW_SYN_SEEN | FLOW_SEQ_A);
	assert_int_equal(e.half[0].retrans_pkts, 0);
}

static void test_retransmissions(void **state)
{
	const uint32_t base = 0xffffff00; /* the sequence numbers wrap on the way */
	struct flow_key key;
	struct flow_half h;

	send_tcp(*state, A, B, 1, 2, ACK, base, 0, 200);
	send_tcp(*state, A, B, 1, 2, ACK, base + 200, 0, 200);
	send_tcp(*state, A, B, 1, 2, ACK, base + 400, 0, 100);
	assert_int_equal(only_flow(*state, &key).half[0].retrans_pkts, 0);
	send_tcp(*state, A, B, 1, 2, ACK, base + 200, 0, 200); /* seen before */
	send_tcp(*state, A, B, 1, 2, ACK, base + 400, 0, 150); /* in part */
	h = only_flow(*state, &key).half[0];
	assert_int_equal(h.retrans_pkts, 2);
	assert_int_equal(h.retrans_bytes, 350);
	assert_int_equal(h.seq_end, base + 550);

	send_tcp(*state, A, B, 1, 2, ACK, base + 549, 0, 1); /* keep-alive */
	send_tcp(*state, A, B, 1, 2, ACK, base, 0, 0);	     /* no payload */
	assert_int_equal(only_flow(*state, &key).half[0].retrans_pkts, 2);
}

static void test_late_is_not_retransmitted(void **state)
{
	struct flow_key key;

	send_tcp(*state, A, B, 1, 2, ACK, 1000, 0, 100);
	send_tcp(*state, A, B, 1, 2, ACK, 1300, 0, 100); /* 1100..1300 missing */
	send_tcp(*state, A, B, 1, 2, ACK, 1100, 0, 100); /* reordered */
	assert_int_equal(only_flow(*state, &key).half[0].retrans_pkts, 0);
	usleep(20000);
	send_tcp(*state, A, B, 1, 2, ACK, 1200, 0, 100); /* lost, sent again */
	assert_int_equal(only_flow(*state, &key).half[0].retrans_pkts, 1);
	assert_int_equal(only_flow(*state, &key).half[0].hole_ns, 0);
}

static void test_repeated_syn_is_retransmitted(void **state)
{
	struct flow_key key;
	struct flow_entry e;

	send_tcp(*state, A, B, 1, 2, SYN, 100, 0, 0);
	send_tcp(*state, A, B, 1, 2, SYN, 100, 0, 0);
	e = only_flow(*state, &key);
	assert_int_equal(e.half[0].retrans_pkts, 1);
	assert_int_equal(e.half[0].retrans_bytes, 0);
	send_tcp(*state, A, B, 1, 2, SYN, 0x7f000000, 0, 0); /* another connection */
	assert_int_equal(only_flow(*state, &key).half[0].retrans_pkts, 1);
}

static void test_udp_over_ipv6(void **state)
{
	struct flow_entry e;
	struct flow_key key;
	struct craft c;

	craft_eth(&c, ETH_P_IPV6);
	craft_ipv6(&c, "2001:db8::2", "2001:db8::1", IPPROTO_UDP);
	craft_udp(&c, 5353, 53, 30);
	craft_end(&c);
	run_xdp(*state, &c);
	e = only_flow(*state, &key);
	assert_addr(key.addr_a, "2001:db8::1");
	assert_addr(key.addr_b, "2001:db8::2");
	assert_int_equal(ntohs(key.port_a), 53);
	assert_int_equal(ntohs(key.port_b), 5353);
	assert_int_equal(key.proto, IPPROTO_UDP);
	assert_int_equal(e.initiator, 1);
	assert_int_equal(e.half[1].packets, 1);
	assert_int_equal(e.half[1].bytes, 14 + 40 + 8 + 30);
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
	struct flow_entry e;
	struct flow_key key;

	/* The reply is seen first: the initiator is still who asks. */
	send_icmp(*state, false, A, B, 0, 0, 4711);
	send_icmp(*state, false, B, A, 8, 0, 4711);
	e = only_flow(*state, &key);
	assert_int_equal(key.icmp_type, 8);
	assert_int_equal(ntohs(key.port_a), 4711);
	assert_int_equal(ntohs(key.port_b), 4711);
	assert_int_equal(e.initiator, 1);
	assert_int_equal(e.half[0].packets, 1);
	assert_int_equal(e.half[1].packets, 1);
}

static void test_ping6_is_one_flow(void **state)
{
	struct flow_key key;

	send_icmp(*state, true, "fe80::1", "fe80::2", 128, 0, 7);
	send_icmp(*state, true, "fe80::2", "fe80::1", 129, 0, 7);
	assert_int_equal(only_flow(*state, &key).half[1].packets, 1);
	assert_int_equal(key.icmp_type, 128);
	assert_int_equal(key.proto, IPPROTO_ICMPV6);
}

static void test_ping_to_itself_has_two_directions(void **state)
{
	struct flow_key key;
	struct flow_entry e;

	send_icmp(*state, false, A, A, 8, 0, 1);
	send_icmp(*state, false, A, A, 0, 0, 1);
	e = only_flow(*state, &key);
	assert_int_equal(e.half[0].packets, 1);
	assert_int_equal(e.half[1].packets, 1);
}

static void test_icmp_error_keeps_type_and_code(void **state)
{
	struct flow_key key;

	send_icmp(*state, false, A, B, 3, 13, 999);
	(void)only_flow(*state, &key);
	assert_int_equal(key.icmp_type, 3);
	assert_int_equal(ntohs(key.port_a), 13);
	assert_int_equal(ntohs(key.port_b), 13);
}

static void test_vlan_tags(void **state)
{
	struct flow_key key;
	struct craft c;
	struct flow_entry e;

	craft_eth(&c, 0);
	craft_vlan(&c, ETH_P_8021AD, 0x6000 | 100, 0); /* the priority is not part of the id */
	craft_vlan(&c, ETH_P_8021Q, 200, ETH_P_IP);
	craft_ipv4(&c, A, B, IPPROTO_UDP, 0, 0);
	craft_udp(&c, 1, 2, 0);
	craft_end(&c);
	run_xdp(*state, &c);
	e = only_flow(*state, &key);
	assert_int_equal(key.vlan, 100);
	assert_int_equal(e.half[0].bytes, 14 + 8 + 20 + 8);

	craft_eth(&c, 0);
	for (int i = 0; i < 3; i++)
		craft_vlan(&c, ETH_P_8021Q, 1 + i, ETH_P_IP);
	craft_bytes(&c, 64);
	run_xdp(*state, &c);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_TOO_DEEP], 1);
}

static void test_ipv4_options_are_skipped(void **state)
{
	struct flow_key key;
	struct craft c;

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, A, B, IPPROTO_UDP, 0, 40);
	craft_udp(&c, 1111, 2222, 4);
	craft_end(&c);
	run_xdp(*state, &c);
	(void)only_flow(*state, &key);
	assert_int_equal(ntohs(key.port_a), 1111);
	assert_int_equal(ntohs(key.port_b), 2222);
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
	struct flow_key key;
	struct craft c;

	for (int n = 0; n <= 6; n++) {
		craft_extensions(&c, n);
		run_xdp(*state, &c);
	}
	assert_int_equal(only_flow(*state, &key).half[0].packets, 7);
	assert_int_equal(key.proto, IPPROTO_TCP);
	assert_int_equal(ntohs(key.port_a), 5);
	craft_extensions(&c, 7);
	run_xdp(*state, &c);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_TOO_DEEP], 1);
}

static void test_fragments(void **state)
{
	struct flow_key key;
	struct flow_entry e;
	struct craft c;
	uint64_t packets, bytes;

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, A, B, IPPROTO_UDP, 0x2000, 0); /* first, more to come */
	craft_udp(&c, 9, 10, 24);
	craft_end(&c);
	run_xdp(*state, &c);
	(void)only_flow(*state, &key);
	assert_int_equal(ntohs(key.port_a), 9);

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, A, B, IPPROTO_UDP, 0x0004, 0); /* last */
	craft_bytes(&c, 3);			      /* shorter than a UDP header */
	craft_end(&c);
	run_xdp(*state, &c);
	craft_eth(&c, ETH_P_IPV6);
	craft_ipv6(&c, "2001:db8::1", "2001:db8::2", IPPROTO_FRAGMENT);
	craft_ext(&c, IPPROTO_UDP, 8 << 3);
	craft_end(&c);
	run_xdp(*state, &c);
	assert_int_equal(read_flows(*state, &key, &e, &packets, &bytes), 3);
	assert_int_equal(packets, 3);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_TRUNCATED], 0);
}

static void test_other_protocols_by_number(void **state)
{
	struct flow_key key;
	struct craft c;

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, A, B, 89, 0, 0);
	craft_bytes(&c, 24);
	craft_end(&c);
	run_xdp(*state, &c);
	(void)only_flow(*state, &key);
	assert_int_equal(key.proto, 89);
	assert_int_equal(key.port_a, 0);
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
		{46, 0x40}, /* TCP header of 16 bytes */
		{46, 0xf0}, /* TCP header longer than the packet */
	};

	for (size_t i = 0; i < sizeof(damage) / sizeof(damage[0]); i++) {
		struct craft bad = good;

		bad.data[damage[i].at] = damage[i].value;
		run_xdp(*state, &bad);
		assert_int_equal(read_counters(*state).n[FLOW_CNT_BAD_HEADER], i + 1);
	}
}

/* Cut anywhere inside its headers, a packet is counted as truncated, never as a flow. */
static void test_every_truncation_is_counted(void **state)
{
	struct flow_entry e;
	struct flow_key key;
	uint64_t packets, bytes;
	struct craft c;
	uint64_t cut = 0;

	craft_extensions(&c, 3);
	for (size_t len = ETH_HLEN; len < c.len; len++, cut++) {
		struct craft shorter = c;

		shorter.len = len;
		run_xdp(*state, &shorter);
	}
	assert_int_equal(read_counters(*state).n[FLOW_CNT_TRUNCATED], cut);
	assert_int_equal(read_flows(*state, &key, &e, &packets, &bytes), 0);
}

static void test_gso_counts_wire_packets(void **state)
{
	struct weir_bpf *w = *state;
	struct craft_tcp tcp = {.sport = 1, .dport = 2, .flags = ACK, .seq = 7, .payload = 1500};
	struct craft c = craft_tcp4(A, B, &tcp);
	struct flow_half h;
	struct flow_key key;

	run_tc(w->progs.weir_tc_egress, &c, 500, 3);
	h = only_flow(w, &key).half[0];
	assert_int_equal(h.packets, 3);
	assert_int_equal(h.bytes, 3 * 54 + 1500);

	run_tc(w->progs.weir_tc_egress, &c, 400, 0); /* segments not filled in: 400 400 400 300 */
	h = only_flow(w, &key).half[0];
	assert_int_equal(h.packets, 3 + 4);
	assert_int_equal(h.bytes, 3 * 54 + 1500 + 4 * 54 + 1500);
	assert_int_equal(h.retrans_pkts, 4); /* the same bytes, four segments */
}

static void test_same_packet_elsewhere_counts_once(void **state)
{
	struct weir_bpf *w = *state;
	struct craft_tcp tcp = {.sport = 1, .dport = 2, .flags = ACK};
	struct craft c = craft_tcp4(A, B, &tcp);
	struct flow_key key;

	run_tc(w->progs.weir_tc_egress, &c, 0, 0);
	run_tc(w->progs.weir_tc_ingress, &c, 0, 0); /* loopback shows it again */
	assert_int_equal(only_flow(w, &key).half[0].packets, 1);
	assert_int_equal(only_flow(w, &key).half[0].iface & 1, FLOW_HOOK_EGRESS);
	assert_int_equal(read_counters(w).n[FLOW_CNT_SEEN_ELSEWHERE], 1);

	usleep(1100000); /* the first place fell silent: the path has changed */
	run_tc(w->progs.weir_tc_ingress, &c, 0, 0);
	assert_int_equal(only_flow(w, &key).half[0].packets, 2);
	assert_int_equal(only_flow(w, &key).half[0].iface & 1, FLOW_HOOK_INGRESS);
}

static void test_full_table_goes_to_catch_all(void **state)
{
	struct flow_counters c;
	struct flow_entry e;
	struct flow_key key;
	uint64_t packets, bytes;
	unsigned flows;

	for (unsigned i = 0; i < 4 * TABLE_SIZE; i++)
		for (int n = 0; n < 2; n++)
			send_tcp(*state, A, B, 1000 + i, 80, ACK, 1, 1, 6);
	flows = read_flows(*state, &key, &e, &packets, &bytes);
	c = read_counters(*state);
	assert_in_range(flows, 1, TABLE_SIZE);
	assert_int_equal(c.n[FLOW_CNT_FLOWS_CREATED], flows);
	assert_int_equal(packets, 2 * flows);
	assert_int_equal(c.n[FLOW_CNT_CATCH_ALL], 2 * (4 * TABLE_SIZE - flows));
	assert_int_equal(c.n[FLOW_CNT_FLOWS_REFUSED], 2 * (4 * TABLE_SIZE - flows));
	assert_int_equal(read_catch_all(*state, FLOW_HOOK_INGRESS).bytes + bytes,
			 c.n[FLOW_CNT_SEEN_BYTES]);
}

static uint32_t reap(struct weir_bpf *w, struct flow_reap *r)
{
	static struct flow_reap out;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = r, .data_size_in = sizeof(*r),
		    .data_out = &out, .data_size_out = sizeof(out));

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(w->progs.weir_reap), &opts), 0);
	*r = out;
	return opts.retval;
}

static void test_reap_freezes_idle_flows_only(void **state)
{
	struct weir_bpf *w = *state;
	struct flow_reap r = {.n = 2};
	struct flow_entry e;
	struct flow_key key;

	send_tcp(w, A, B, 1, 2, ACK, 1, 1, 0);
	e = only_flow(w, &key);
	r.item[0].key = r.item[1].key = key;
	r.item[1].key.vlan = 77; /* no such flow */
	r.item[0].last_ns = e.half[0].last_ns - 1;
	assert_int_equal(reap(w, &r), 0);
	assert_int_equal(r.item[0].reaped, 0);

	r.item[0].last_ns = e.half[0].last_ns;
	assert_int_equal(reap(w, &r), 1);
	assert_int_equal(r.item[0].reaped, 1);
	assert_int_equal(r.item[1].reaped, 0);

	send_tcp(w, A, B, 1, 2, ACK, 1, 1, 0); /* too late for this entry */
	e = only_flow(w, &key);
	assert_int_equal(e.half[0].packets, 1);
	assert_int_equal(read_counters(w).n[FLOW_CNT_CATCH_ALL], 1);
}

static void test_frags_program_passes_and_counts(void **state)
{
	struct weir_bpf *w = *state;
	struct craft_tcp tcp = {.sport = 1, .dport = 2, .flags = ACK, .payload = 900};
	struct craft c = craft_tcp4(A, B, &tcp);
	static uint8_t jumbo[9000];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = jumbo, .data_size_in = sizeof(jumbo));
	struct flow_key key;

	memcpy(jumbo, c.data, c.len);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(w->progs.weir_xdp_frags), &opts),
			 0);
	assert_int_equal(opts.retval, 2);
	assert_int_equal(only_flow(w, &key).half[0].bytes, sizeof(jumbo));
}

#define datapath_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		datapath_test(test_handshake_fills_one_entry),
		datapath_test(test_every_tcp_flag_is_kept),
		datapath_test(test_close_and_reset_are_seen),
		datapath_test(test_retransmissions),
		datapath_test(test_late_is_not_retransmitted),
		datapath_test(test_repeated_syn_is_retransmitted),
		datapath_test(test_udp_over_ipv6),
		datapath_test(test_ping_is_one_flow),
		datapath_test(test_ping6_is_one_flow),
		datapath_test(test_ping_to_itself_has_two_directions),
		datapath_test(test_icmp_error_keeps_type_and_code),
		datapath_test(test_vlan_tags),
		datapath_test(test_ipv4_options_are_skipped),
		datapath_test(test_ipv6_extension_headers),
		datapath_test(test_fragments),
		datapath_test(test_other_protocols_by_number),
		datapath_test(test_not_ip_is_counted),
		datapath_test(test_impossible_headers_are_counted),
		datapath_test(test_every_truncation_is_counted),
		datapath_test(test_gso_counts_wire_packets),
		datapath_test(test_same_packet_elsewhere_counts_once),
		datapath_test(test_full_table_goes_to_catch_all),
		datapath_test(test_reap_freezes_idle_flows_only),
		datapath_test(test_frags_program_passes_and_counts),
	};

	if (geteuid() != 0) {
		puts("skipped: loading BPF programs needs root");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
