// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/bpf/harness.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "probe/datapath/flow_table.h"
#include "weir.skel.h"

#define MAX_CPUS       1024
#define CLOCK_BEGIN_NS 1000000000000ull

static int setup_with(void **state, unsigned n_buckets, bool clocked)
{
	struct weir_bpf *w = weir_bpf__open();
	struct flow_free_ring ring = {.tail = HARNESS_SLOTS};
	__u32 at = 0;

	assert_non_null(w);
	assert_int_equal(bpf_map__set_max_entries(w->maps.slots, HARNESS_SLOTS), 0);
	assert_int_equal(bpf_map__set_max_entries(w->maps.perf, HARNESS_SLOTS), 0);
	assert_int_equal(bpf_map__set_max_entries(w->maps.buckets, n_buckets), 0);
	assert_int_equal(bpf_map__set_max_entries(w->maps.free_ring, HARNESS_SLOTS + 1), 0);
	w->rodata->slot_mask = HARNESS_SLOTS - 1;
	w->rodata->bucket_mask = n_buckets - 1;
	w->rodata->hash_seed = 0x77656972;
	w->rodata->replaying = clocked;
	w->bss->replay.now_ns = CLOCK_BEGIN_NS;
	assert_int_equal(weir_bpf__load(w), 0);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(w->maps.free_ring), &at, &ring, 0), 0);
	for (__u32 i = 0; i < HARNESS_SLOTS; i++) {
		at = i + 1;
		ring = (struct flow_free_ring){.head = i};
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(w->maps.free_ring), &at, &ring, 0),
				 0);
	}
	*state = w;
	return 0;
}

int harness_setup(void **state)
{
	return setup_with(state, HARNESS_SLOTS / 2, false);
}

int harness_setup_clocked(void **state)
{
	return setup_with(state, HARNESS_SLOTS / 2, true);
}

void harness_wait(struct weir_bpf *w, uint64_t us)
{
	assert_true(w->rodata->replaying);
	w->bss->replay.now_ns += us * 1000;
}

int harness_setup_crowded(void **state)
{
	return setup_with(state, HARNESS_SLOTS / 8, false);
}

struct flow_counters read_counters(struct weir_bpf *w)
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

struct flow_totals read_catch_all(struct weir_bpf *w, uint32_t hook)
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

static struct flow_slot read_slot(struct weir_bpf *w, __u32 i)
{
	struct flow_slot slot, whole;
	struct flow_perf perf;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(w->maps.slots), &i, &slot), 0);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(w->maps.perf), &i, &perf), 0);
	flow_slot_read(&slot, &perf, &whole); /* the test may have moved to another CPU */
	return whole;
}

struct flow_sums sum_flows(struct weir_bpf *w)
{
	struct flow_sums sums = {};

	for (__u32 i = 0; i < HARNESS_SLOTS; i++) {
		struct flow_slot slot = read_slot(w, i);

		if (!(slot.state & FLOW_LIVE))
			continue;
		sums.flows++;
		sums.packets += slot.half[0].packets + slot.half[1].packets;
		sums.bytes += slot.half[0].bytes + slot.half[1].bytes;
	}
	return sums;
}

struct flow_state_of nth_flow(struct weir_bpf *w, unsigned i)
{
	struct flow_state_of flow = {.slot = read_slot(w, i)};
	__u32 key = i;

	assert_true(flow.slot.state & FLOW_LIVE);
	flow.slot.state &= ~FLOW_LIVE;
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(w->maps.perf), &key, &flow.perf), 0);
	return flow;
}

struct flow_state_of only_flow(struct weir_bpf *w)
{
	assert_int_equal(sum_flows(w).flows, 1);
	return nth_flow(w, 0);
}

int harness_teardown(void **state)
{
	struct weir_bpf *w = *state;
	struct flow_counters c = read_counters(w);
	uint64_t refused = read_catch_all(w, 0).packets + read_catch_all(w, 1).packets;
	uint64_t packets = sum_flows(w).packets + refused;

	for (int i = FLOW_CNT_SEEN_ELSEWHERE; i < FLOW_CNT_MAX; i++)
		packets += c.n[i];
	assert_int_equal(c.n[FLOW_CNT_SEEN], packets);
	assert_int_equal(c.n[FLOW_CNT_CATCH_ALL], refused);
	weir_bpf__destroy(w);
	return 0;
}

void run_xdp(struct weir_bpf *w, const struct craft *c)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = c->data, .data_size_in = c->len);

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(w->progs.weir_xdp), &opts), 0);
	assert_int_equal(opts.retval, 2); /* XDP_PASS */
}

void run_tc(struct bpf_program *prog, const struct craft *c, uint32_t gso_size, uint32_t gso_segs)
{
	struct __sk_buff skb = {.gso_size = gso_size, .gso_segs = gso_segs};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = c->data, .data_size_in = c->len,
		    .ctx_in = &skb, .ctx_size_in = sizeof(skb));

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(prog), &opts), 0);
	assert_int_equal((int)opts.retval, -1); /* TC_ACT_UNSPEC: next program */
}

void send_tcp(struct weir_bpf *w, const char *src, const char *dst, const struct craft_tcp *tcp)
{
	struct craft c = craft_tcp4(src, dst, tcp);

	run_xdp(w, &c);
}

void assert_addr(const uint8_t addr[16], const char *text)
{
	uint8_t want[16] = {[10] = 0xff, [11] = 0xff};

	if (strchr(text, ':'))
		assert_int_equal(inet_pton(AF_INET6, text, want), 1);
	else
		assert_int_equal(inet_pton(AF_INET, text, want + 12), 1);
	assert_memory_equal(addr, want, 16);
}
