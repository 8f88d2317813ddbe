// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_tunnel.c - tunnels are opened, also in each other, what stands between the link
 * and IP is skipped, ICMP errors find their flow; in the kernel. Needs root.
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

#include "bpf/flow_abi.h"
#include "tests/bpf/harness.h"

#define OUTER_A "192.0.2.1"
#define OUTER_B "192.0.2.2"
#define VNI	0x1234

static void put_bytes(struct craft *c, const uint8_t *bytes, size_t n)
{
	size_t at = c->len;

	craft_bytes(c, n);
	memcpy(c->data + at, bytes, n);
}
#define PUT(c, ...)                                                                                \
	put_bytes(c, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void begin_outer(struct craft *c, uint8_t proto)
{
	craft_eth(c, ETH_P_IP);
	craft_ipv4(c, OUTER_A, OUTER_B, proto, 0, 0);
}

/* The inner packet, and the outer's length; craft_end() sets the length of the last header. */
static void end_with_inner_udp(struct craft *c, bool v6)
{
	size_t outer_at = c->ip_at, outer_len;
	bool outer_v6 = c->v6;

	if (v6)
		craft_ipv6(c, "2001:db8::1", "2001:db8::2", IPPROTO_UDP);
	else
		craft_ipv4(c, A, B, IPPROTO_UDP, 0, 0);
	craft_udp(c, 1000, 2000, 10);
	craft_end(c);
	outer_len = c->len - outer_at;
	assert_false(outer_v6);
	c->data[outer_at + 2] = outer_len >> 8;
	c->data[outer_at + 3] = outer_len & 0xff;
}

static void end_with_inner_frame(struct craft *c)
{
	size_t at = c->len;

	craft_bytes(c, ETH_HLEN);
	c->data[at + 12] = ETH_P_IP >> 8;
	end_with_inner_udp(c, false);
}

static void assert_inner(void *w, const struct craft *c, enum flow_tunnel kind, uint32_t id,
			 const char *addr_a)
{
	struct flow_state_of f;

	run_xdp(w, c);
	f = only_flow(w);
	assert_addr(f.slot.key.addr_a, addr_a);
	assert_int_equal(f.slot.key.proto, IPPROTO_UDP);
	assert_int_equal(ntohs(f.slot.key.port_a), 1000);
	assert_int_equal(ntohs(f.slot.key.port_b), 2000);
	assert_int_equal(f.slot.key.tunnel, (uint32_t)kind << 24 | id);
	assert_int_equal(f.slot.half[0].bytes, c->len); /* the whole frame */
	assert_addr(f.perf.outer.src_addr, OUTER_A);
	assert_addr(f.perf.outer.dst_addr, OUTER_B);
}

static void test_ip_in_ip(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_IPIP);
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_IPIP, 0, A);
}

static void test_6in4(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_IPV6);
	end_with_inner_udp(&c, true);
	assert_inner(*state, &c, FLOW_TUNNEL_IPIP, 0, "2001:db8::1");
}

static void test_gre_with_key_and_sequence(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_GRE);
	PUT(&c, 0x30, 0, 0x08, 0x00, 0, 0, 0x12, 0x34, 0, 0, 0, 1);
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_GRE, VNI, A);
}

static void test_gre_ethernet(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_GRE);
	PUT(&c, 0, 0, 0x65, 0x58);
	end_with_inner_frame(&c);
	assert_inner(*state, &c, FLOW_TUNNEL_GRE, 0, A);
}

static void test_erspan_2(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_GRE);
	PUT(&c, 0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, /* ERSPAN: */ 0x10, 0, 0, 1, 0, 0, 0, 0);
	end_with_inner_frame(&c);
	assert_inner(*state, &c, FLOW_TUNNEL_ERSPAN, 0, A);
}

static void test_erspan_3(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_GRE);
	PUT(&c, 0x10, 0, 0x22, 0xeb, 0, 0, 0, 1);
	PUT(&c, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, /* subheader: */ 0, 0, 0, 0, 0, 0, 0, 0);
	end_with_inner_frame(&c);
	assert_inner(*state, &c, FLOW_TUNNEL_ERSPAN, 0, A);
}

static void test_pptp(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_GRE);
	PUT(&c, 0x30, 0x81, 0x88, 0x0b, 0, 42, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2);
	PUT(&c, 0xff, 0x03, 0x00, 0x21);
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_GRE, 0, A);
}

/* Nothing that PPP can leave out, and no acknowledgement number. */
static void test_pptp_compressed(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_GRE);
	PUT(&c, 0x30, 0x01, 0x88, 0x0b, 0, 38, 0, 7, 0, 0, 0, 1);
	PUT(&c, 0x21);
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_GRE, 0, A);
}

static void test_vxlan(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 55555, 4789, 0);
	PUT(&c, 0x08, 0, 0, 0, 0, 0x12, 0x34, 0);
	end_with_inner_frame(&c);
	assert_inner(*state, &c, FLOW_TUNNEL_VXLAN, VNI, A);
}

static void test_geneve_with_option(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 55555, 6081, 0);
	PUT(&c, 0x01, 0, 0x65, 0x58, 0, 0x12, 0x34, 0, /* option: */ 1, 2, 3, 0);
	end_with_inner_frame(&c);
	assert_inner(*state, &c, FLOW_TUNNEL_GENEVE, VNI, A);
}

static void test_gtpu(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 2152, 2152, 0);
	PUT(&c, 0x30, 0xff, 0, 0, 0, 0, 0x12, 0x34);
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_GTPU, 0, A); /* the answers have another TEID */
}

static void test_gtpu_with_extension_header(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 2152, 2152, 0);
	PUT(&c, 0x34, 0xff, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 0x85);
	PUT(&c, 2, 0x10, 9, 9, 9, 9, 9, 0xc0, /* and another: */ 1, 1, 1, 0);
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_GTPU, 0, A);
}

static void test_teredo_with_both_indications(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 3544, 1234, 0);
	PUT(&c, 0, 1, 2, 1, /* client id: */ 1, 2, /* value: */ 3, /* nonce: */ 1, 2, 3, 4, 5, 6, 7,
	    8, /* confirmation: */ 0);
	PUT(&c, 0, 0, 1, 2, 3, 4, 5, 6); /* origin */
	end_with_inner_udp(&c, true);
	assert_inner(*state, &c, FLOW_TUNNEL_TEREDO, 0, "2001:db8::1");
}

static void test_gre_mpls(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_GRE);
	PUT(&c, 0, 0, 0x88, 0x47, 0, 0, 0x21, 64);
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_GRE, 0, A);
}

/* The redirect header is there or not. */
static void test_wccp(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_GRE);
	PUT(&c, 0, 0, 0x88, 0x3e, 0x00, 1, 2, 3);
	end_with_inner_udp(&c, false);
	run_xdp(*state, &c);
	begin_outer(&c, IPPROTO_GRE);
	PUT(&c, 0, 0, 0x88, 0x3e);
	end_with_inner_udp(&c, false);
	run_xdp(*state, &c);
	assert_int_equal(only_flow(*state).slot.half[0].packets, 2);
	assert_int_equal(ntohs(only_flow(*state).slot.key.port_a), 1000);
}

static void test_vxlan_gpe_with_service_header(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 55555, 4790, 0);
	PUT(&c, 0x0c, 0, 0, 4, 0, 0x12, 0x34, 0);
	PUT(&c, 0, 2, 1, 1, 0, 0, 0, 0); /* NSH of 8 bytes, then IPv4 */
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_VXLAN, VNI, A);
}

static void test_l2tp(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 1701, 55555, 0);
	/* length, sequence, an offset of 2; PPP */
	PUT(&c, 0x4a, 2, 0, 99, 0, 1, 0, 2, 0, 0, 0, 0, 0, 2, 9, 9, 0xff, 0x03, 0, 0x57);
	end_with_inner_udp(&c, true);
	assert_inner(*state, &c, FLOW_TUNNEL_IPIP, 0, "2001:db8::1");
}

static void test_lisp(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 55555, 4341, 0);
	PUT(&c, 0xc0, 0, 0, 1, 0, 0, 0, 1);
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_IPIP, 0, A);
}

static void test_mpls_in_udp(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 55555, 6635, 0);
	PUT(&c, 0, 0, 0x20, 64, 0, 0, 0x21, 64);
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_IPIP, 0, A);
}

static void test_gre_in_udp_and_ppp(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 55555, 4754, 0);
	PUT(&c, 0, 0, 0x88, 0x0b, 0xff, 0x03, 0x21);
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_GRE, 0, A);
}

static void test_ayiya(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 5072, 55555, 0);
	PUT(&c, 0x21, 0x11, 0x11, 41, 0, 0, 0, 1, /* identity: */ 1, 2, 3, 4, /* signature: */ 1, 2,
	    3, 4);
	end_with_inner_udp(&c, true);
	assert_inner(*state, &c, FLOW_TUNNEL_IPIP, 0, "2001:db8::1");
}

/* Answers that come from the port of the tunnel. */
static void test_from_the_port_of_the_tunnel(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 6081, 55555, 0);
	PUT(&c, 0, 0, 0x08, 0x00, 0, 0x12, 0x34, 0);
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_GENEVE, VNI, A);
}

static void test_pim_register(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_PIM);
	PUT(&c, 0x21, 0, 0, 0, 0, 0, 0, 0);
	end_with_inner_udp(&c, false);
	assert_inner(*state, &c, FLOW_TUNNEL_IPIP, 0, A);
}

static void test_ethernet_in_ip(void **state)
{
	struct craft c;

	begin_outer(&c, 97);
	PUT(&c, 0x30, 0);
	end_with_inner_frame(&c);
	run_xdp(*state, &c);
	begin_outer(&c, 143);
	end_with_inner_frame(&c);
	run_xdp(*state, &c);
	assert_int_equal(only_flow(*state).slot.half[0].packets, 2);
	assert_int_equal(only_flow(*state).slot.key.tunnel >> 24, FLOW_TUNNEL_IPIP);
}

/* The flow is the innermost one, its outer addresses are the outermost. */
static void test_tunnel_in_tunnel_in_tunnel(void **state)
{
	struct craft c;

	begin_outer(&c, IPPROTO_IPIP);
	craft_ipv4(&c, "198.51.100.1", "198.51.100.2", IPPROTO_GRE, 0, 0);
	PUT(&c, 0, 0, 0x08, 0x00);
	craft_ipv4(&c, "198.51.100.3", "198.51.100.4", IPPROTO_UDP, 0, 0);
	craft_udp(&c, 55555, 4789, 0);
	PUT(&c, 0x08, 0, 0, 0, 0, 0x12, 0x34, 0);
	end_with_inner_frame(&c);
	assert_inner(*state, &c, FLOW_TUNNEL_VXLAN, VNI, A);
}

/* What looks like a tunnel but does not hold a packet is the outer flow. */
static void test_broken_inside_is_the_outer_flow(void **state)
{
	struct flow_state_of f;
	struct craft c;

	begin_outer(&c, IPPROTO_UDP);
	craft_udp(&c, 55555, 4789, 0);
	PUT(&c, 0x08, 0, 0, 0, 0, 0x12, 0x34, 0);
	craft_bytes(&c, 40); /* an Ethernet header of type 0 */
	craft_end(&c);
	run_xdp(*state, &c);
	f = only_flow(*state);
	assert_int_equal(f.slot.key.tunnel, 0);
	assert_addr(f.slot.key.addr_a, OUTER_A);
	assert_int_equal(ntohs(f.slot.key.port_a), 55555);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_TRUNCATED], 0);
}

/* Other things come by these ports too, and by a tunnel other things than packets. */
static void test_no_tunnel_is_the_outer_flow(void **state)
{
	static const uint16_t ports[] = {4789, 6081, 2152, 3544, 1701,
					 4341, 4790, 6635, 5072, 4754};
	const unsigned n = sizeof(ports) / sizeof(*ports);
	struct flow_state_of f;
	struct craft c;

	for (unsigned i = 0; i < n; i++) {
		begin_outer(&c, IPPROTO_UDP);
		craft_udp(&c, 55555, ports[i], 0);
		PUT(&c, 0xf1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
		craft_end(&c);
		run_xdp(*state, &c);
		f = nth_flow(*state, i);
		assert_addr(f.slot.key.addr_b, OUTER_B);
		assert_int_equal(ntohs(f.slot.key.port_b), ports[i]);
		assert_int_equal(f.slot.key.proto, IPPROTO_UDP);
		assert_int_equal(f.slot.key.tunnel, 0);
	}
	begin_outer(&c, IPPROTO_GRE);
	PUT(&c, 0, 0, 0x20, 0x01, 0, 0, 0, 0, 0, 0, 0, 0); /* NHRP */
	craft_end(&c);
	run_xdp(*state, &c);
	assert_int_equal(nth_flow(*state, n).slot.key.proto, IPPROTO_GRE);
}

static void test_mpls_and_pppoe_are_skipped(void **state)
{
	struct craft c;

	craft_eth(&c, ETH_P_MPLS_UC);
	PUT(&c, 0, 0, 0x10, 64, 0, 0, 0x21, 64); /* two labels, the last one marked */
	craft_ipv4(&c, A, B, IPPROTO_UDP, 0, 0);
	craft_udp(&c, 1000, 2000, 0);
	craft_end(&c);
	run_xdp(*state, &c);
	craft_eth(&c, ETH_P_PPP_SES);
	PUT(&c, 0x11, 0, 0, 1, 0, 30, 0x00, 0x21);
	craft_ipv4(&c, A, B, IPPROTO_UDP, 0, 0);
	craft_udp(&c, 1000, 2000, 0);
	craft_end(&c);
	run_xdp(*state, &c);
	craft_eth(&c, ETH_P_PPP_SES);
	PUT(&c, 0x11, 0, 0, 1, 0, 29, 0x21); /* the protocol without its zero */
	craft_ipv4(&c, A, B, IPPROTO_UDP, 0, 0);
	craft_udp(&c, 1000, 2000, 0);
	craft_end(&c);
	run_xdp(*state, &c);
	assert_int_equal(only_flow(*state).slot.half[0].packets, 3);
}

/* Six bytes of padding that the IP header counts as its own, PPPoE does not. */
static void test_pppoe_bounds_the_packet(void **state)
{
	struct craft c;

	for (int i = 0; i < 2; i++) {
		craft_eth(&c, ETH_P_PPP_SES);
		PUT(&c, 0x11, 0, 0, 1, 0, 2 + 40, 0x00, 0x21);
		craft_ipv4(&c, A, B, IPPROTO_TCP, 0, 0);
		craft_tcp(&c, &(struct craft_tcp){.sport = 1, .dport = 2, .flags = ACK});
		craft_bytes(&c, 6);
		craft_end(&c);
		run_xdp(*state, &c);
	}
	assert_int_equal(only_flow(*state).slot.half[0].packets, 2);
	assert_int_equal(only_flow(*state).slot.state & FLOW_SEQ_A, 0); /* no payload */
	assert_int_equal(only_flow(*state).perf.half[0].retrans_pkts, 0);
}

static void test_icmp_error_finds_the_flow_it_quotes(void **state)
{
	struct flow_state_of f;
	struct craft c;

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, A, B, IPPROTO_UDP, 0, 0);
	craft_udp(&c, 1000, 2000, 4);
	craft_end(&c);
	run_xdp(*state, &c);

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, B, A, IPPROTO_ICMP, 0, 0);
	craft_icmp(&c, 3, 3, 0); /* port unreachable */
	end_with_inner_udp(&c, false);
	run_xdp(*state, &c);
	assert_int_equal(sum_flows(*state).flows, 2);
	f = nth_flow(*state, 0);
	assert_int_equal(f.slot.key.proto, IPPROTO_UDP);
	assert_int_equal(f.slot.icmp_errors, 1);
	assert_int_equal(f.slot.icmp_error, 3 << 8 | 3);
	assert_int_equal(nth_flow(*state, 1).slot.icmp_errors, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		harness_test(test_ip_in_ip),
		harness_test(test_6in4),
		harness_test(test_gre_with_key_and_sequence),
		harness_test(test_gre_ethernet),
		harness_test(test_erspan_2),
		harness_test(test_erspan_3),
		harness_test(test_pptp),
		harness_test(test_pptp_compressed),
		harness_test(test_vxlan),
		harness_test(test_geneve_with_option),
		harness_test(test_gtpu),
		harness_test(test_gtpu_with_extension_header),
		harness_test(test_teredo_with_both_indications),
		harness_test(test_gre_mpls),
		harness_test(test_wccp),
		harness_test(test_vxlan_gpe_with_service_header),
		harness_test(test_l2tp),
		harness_test(test_lisp),
		harness_test(test_mpls_in_udp),
		harness_test(test_gre_in_udp_and_ppp),
		harness_test(test_ayiya),
		harness_test(test_from_the_port_of_the_tunnel),
		harness_test(test_pim_register),
		harness_test(test_ethernet_in_ip),
		harness_test(test_tunnel_in_tunnel_in_tunnel),
		harness_test(test_broken_inside_is_the_outer_flow),
		harness_test(test_no_tunnel_is_the_outer_flow),
		harness_test(test_mpls_and_pppoe_are_skipped),
		harness_test(test_pppoe_bounds_the_packet),
		harness_test(test_icmp_error_finds_the_flow_it_quotes),
	};

	if (geteuid() != 0) {
		puts("skipped: loading BPF programs needs root");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
