// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_shim.c - what may stand between the link and IP: LLC, labels, tags, frames in
 * frames; and the count of what is not IP by ethertype. In the kernel. Needs root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/flow_abi.h"
#include "build/gen/weir.skel.h"
#include "tests/bpf/harness.h"

static void put(struct craft *c, const uint8_t *bytes, size_t n)
{
	size_t at = c->len;

	craft_bytes(c, n);
	memcpy(c->data + at, bytes, n);
}
#define PUT(c, ...) put(c, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* An Ethernet header inside, which says ethertype. */
static void put_frame(struct craft *c, uint16_t ethertype)
{
	PUT(c, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, ethertype >> 8, ethertype & 0xff);
}

/* The rest of c is UDP over IPv4, and is found. */
static void assert_found(void *w, struct craft *c)
{
	struct flow_state_of f;

	craft_ipv4(c, A, B, IPPROTO_UDP, 0, 0);
	craft_udp(c, 1000, 2000, 10);
	craft_end(c);
	run_xdp(w, c);
	f = only_flow(w);
	assert_int_equal(ntohs(f.slot.key.port_a), 1000);
	assert_int_equal(f.slot.half[0].bytes, c->len);
	assert_int_equal(read_counters(w).n[FLOW_CNT_NOT_IP], 0);
}

static void test_snap(void **state)
{
	struct craft c;

	craft_eth(&c, 46); /* a length */
	PUT(&c, 0xaa, 0xaa, 3, 0, 0, 0, 0x08, 0x00);
	assert_found(*state, &c);
}

static void test_snap_behind_a_vlan_tag(void **state)
{
	struct craft c;

	craft_eth(&c, 0);
	craft_vlan(&c, ETH_P_8021Q, 7, 46);
	PUT(&c, 0xaa, 0xaa, 3, 0, 0, 0xf8, 0x08, 0x00);
	assert_found(*state, &c);
	assert_int_equal(only_flow(*state).slot.key.vlan, 7);
}

static void test_llc_of_ip(void **state)
{
	struct craft c;

	craft_eth(&c, 41);
	PUT(&c, 0x06, 0x06, 3);
	assert_found(*state, &c);
}

static void test_three_vlan_tags(void **state)
{
	struct craft c;

	craft_eth(&c, 0);
	for (int i = 0; i < 3; i++)
		craft_vlan(&c, ETH_P_8021Q, 7 + i, ETH_P_IP);
	assert_found(*state, &c);
	assert_int_equal(only_flow(*state).slot.key.vlan, 7);
}

static void test_ethernet_in_mpls(void **state)
{
	struct craft c;

	craft_eth(&c, ETH_P_MPLS_UC);
	PUT(&c, 0, 0, 0x21, 64, /* control word: */ 0, 0, 0, 0);
	put_frame(&c, ETH_P_8021Q);
	PUT(&c, 0, 9, 0x08, 0x00);
	assert_found(*state, &c);
	assert_int_equal(only_flow(*state).slot.key.vlan, 9);
}

static void test_macsec_without_encryption(void **state)
{
	struct craft c;

	craft_eth(&c, ETH_P_MACSEC);
	PUT(&c, 0x20, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 0x00);
	assert_found(*state, &c);
}

static void test_service_header(void **state)
{
	struct craft c;

	craft_eth(&c, 0x894f);
	PUT(&c, 0, 6, 1, 3, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4);
	put_frame(&c, ETH_P_IP);
	assert_found(*state, &c);
}

static void test_provider_backbone(void **state)
{
	struct craft c;

	craft_eth(&c, 0);
	craft_vlan(&c, ETH_P_8021AD, 100, 0x88e7);
	PUT(&c, 0, 0, 0, 1);
	put_frame(&c, ETH_P_IP);
	assert_found(*state, &c);
}

static void test_fabric_path(void **state)
{
	struct craft c;

	craft_eth(&c, 0x8903);
	PUT(&c, 0, 0x20);
	put_frame(&c, ETH_P_IP);
	assert_found(*state, &c);
}

static void test_short_time_stamp(void **state)
{
	struct craft c;

	craft_eth(&c, 0xd28b);
	PUT(&c, 0, 1, 0, 0x20, 1, 2, 3, 4, 5, 6, 0x08, 0x00); /* 48 bits */
	assert_found(*state, &c);
}

/* VN-tag, E-tag, HSR, Cisco's metadata, Arista's time stamp of 64 bits, one after the other. */
static void test_tags_in_a_row(void **state)
{
	struct craft c;

	craft_eth(&c, 0x8926);
	PUT(&c, 0, 0, 0, 0, 0x89, 0x3f);
	PUT(&c, 0, 0, 0, 0, 0, 0, 0x89, 0x2f);
	PUT(&c, 0, 52, 0, 1, 0x89, 0x09);
	PUT(&c, 1, 1, 0, 1, 0, 9, 0xd2, 0x8b);
	PUT(&c, 0, 1, 0, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 0x00);
	assert_found(*state, &c);
}

static struct flow_ethertype ethertype(struct weir_bpf *w, uint32_t key)
{
	struct flow_ethertype n = {0};

	(void)bpf_map_lookup_elem(bpf_map__fd(w->maps.ethertypes), &key, &n);
	return n;
}

static void send_ethertype(struct weir_bpf *w, uint16_t type)
{
	struct craft c;

	craft_eth(&c, type);
	craft_bytes(&c, 50);
	run_xdp(w, &c);
}

static void test_what_is_not_ip_is_counted_by_ethertype(void **state)
{
	send_ethertype(*state, ETH_P_ARP);
	send_ethertype(*state, ETH_P_ARP);
	send_ethertype(*state, 0x88cc);
	send_ethertype(*state, 39); /* LLC that says nothing */
	send_ethertype(*state, 0x22f0);
	assert_int_equal(ethertype(*state, ETH_P_ARP).packets, 2);
	assert_int_equal(ethertype(*state, ETH_P_ARP).bytes, 128);
	assert_int_equal(ethertype(*state, 0x88cc).packets, 1);
	assert_int_equal(ethertype(*state, FLOW_ETHERTYPE_LLC).packets, 1);
	assert_int_equal(read_counters(*state).n[FLOW_CNT_NOT_IP], 5);
}

/* More ethertypes than there is room for: the entry for others, made by whoever loads. */
static void test_other_ethertypes_add_up(void **state)
{
	struct weir_bpf *w = *state;
	const uint32_t other = FLOW_ETHERTYPE_OTHER, some = FLOW_ETHERTYPES_MAX + 99;
	const struct flow_ethertype none = {0};
	uint64_t sum = 0;

	assert_int_equal(bpf_map_update_elem(bpf_map__fd(w->maps.ethertypes), &other, &none, 0), 0);
	for (uint32_t i = 0; i < some; i++)
		send_ethertype(w, 0x2000 + i);
	for (uint32_t i = 0; i < some; i++)
		sum += ethertype(w, 0x2000 + i).packets;
	assert_true(ethertype(w, other).packets >= 99);
	assert_int_equal(sum + ethertype(w, other).packets, some);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		harness_test(test_snap),
		harness_test(test_snap_behind_a_vlan_tag),
		harness_test(test_llc_of_ip),
		harness_test(test_three_vlan_tags),
		harness_test(test_ethernet_in_mpls),
		harness_test(test_macsec_without_encryption),
		harness_test(test_service_header),
		harness_test(test_provider_backbone),
		harness_test(test_fabric_path),
		harness_test(test_short_time_stamp),
		harness_test(test_tags_in_a_row),
		harness_test(test_what_is_not_ip_is_counted_by_ethertype),
		harness_test(test_other_ethertypes_add_up),
	};

	if (geteuid() != 0) {
		puts("skipped: loading BPF programs needs root");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
