// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_spread.c - one flow on more CPUs than one: nothing is lost, nothing is
 * counted twice, and each CPU has its own line. Needs root and two CPUs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/flow_abi.h"
#include "tests/bpf/harness.h"
#include "weir.skel.h"

#define MANY 200000

/* The first two CPUs that we may use. */
static int cpus[2];

static bool find_cpus(void)
{
	cpu_set_t set;
	int n = 0;

	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return false;
	for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus[n++] = cpu;
	return n == 2;
}

static void move_to(int nth)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpus[nth], &set);
	assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof(set), &set), 0);
}

static struct craft udp_packet(const char *src, const char *dst, uint16_t sport, uint16_t dport)
{
	struct craft c;

	craft_eth(&c, 0x0800);
	craft_ipv4(&c, src, dst, IPPROTO_UDP, 0, 0);
	craft_udp(&c, sport, dport, 20);
	craft_end(&c);
	return c;
}

static void send_udp(void *w, int nth_cpu, bool back, unsigned times)
{
	struct craft c = back ? udp_packet(B, A, 2000, 1000) : udp_packet(A, B, 1000, 2000);

	move_to(nth_cpu);
	while (times--)
		run_xdp(w, &c);
}

/* As the kernel has it, lanes apart. */
static struct flow_slot raw_slot(struct weir_bpf *w)
{
	struct flow_slot slot;
	__u32 zero = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(w->maps.slots), &zero, &slot), 0);
	return slot;
}

static void two_cpus_have_a_line_each(void **state)
{
	struct flow_state_of f;

	send_udp(*state, 0, false, 3);
	assert_false(only_flow(*state).slot.state & FLOW_SPREAD);
	send_udp(*state, 1, false, 4);
	send_udp(*state, 1, true, 5); /* this direction is at home on the other CPU */
	f = only_flow(*state);
	assert_true(f.slot.state & FLOW_SPREAD);
	assert_int_equal(f.slot.half[0].packets, 7);
	assert_int_equal(f.slot.half[1].packets, 5);
	assert_int_equal(raw_slot(*state).half[0].packets, 3);
	assert_int_equal(f.perf.lane[0].packets, 4);
	assert_int_equal(f.perf.lane[1].packets, 0);
	assert_int_equal(f.slot.half[0].bytes, 7 * f.slot.half[1].bytes / 5);
}

static void the_answer_finds_the_question_on_the_other_cpu(void **state)
{
	struct flow_slot s;

	send_udp(*state, 0, false, 1);
	harness_wait(*state, 50000);
	send_udp(*state, 1, false, 1); /* the last byte asked */
	harness_wait(*state, 10000);
	send_udp(*state, 0, true, 2);
	s = only_flow(*state).slot;
	assert_int_equal(s.responses, 1);
	assert_in_range(s.response_sum_us, 9998, 10002);
}

/* A flow that has moved to another CPU for good is counted in its half again. */
static void a_silent_home_is_given_up(void **state)
{
	send_udp(*state, 0, false, 1);
	send_udp(*state, 1, false, 300);
	assert_int_equal(raw_slot(*state).half[0].packets, 1); /* not yet: it was there just now */
	harness_wait(*state, FLOW_REHOME_NS / 1000 + 1);
	send_udp(*state, 1, false, 300);
	assert_in_range(raw_slot(*state).half[0].packets, 2, 300);
	assert_int_equal(only_flow(*state).slot.half[0].packets, 601);
}

static struct craft_at {
	struct craft c;
	uint32_t ifindex;
} at(uint32_t ifindex)
{
	return (struct craft_at){udp_packet(A, B, 1000, 2000), ifindex};
}

static void see_at(struct weir_bpf *w, int nth_cpu, const struct craft_at *p)
{
	struct xdp_md ctx = {.data_end = (__u32)p->c.len, .ingress_ifindex = p->ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = p->c.data, .data_size_in = p->c.len,
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	move_to(nth_cpu);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(w->progs.weir_xdp), &opts), 0);
}

/* Met again on another interface, on whichever CPU: counted once, until the first falls silent. */
static void the_place_is_one_for_all_cpus(void **state)
{
	struct craft_at lo = at(1);
	struct weir_bpf *w = *state;
	struct craft c = udp_packet(A, B, 1000, 2000);

	see_at(w, 0, &lo); /* counted on lo */
	w->bss->replay.wire_len = w->bss->replay.bytes = (__u32)c.len;
	move_to(1);
	run_tc(w->progs.weir_tc_egress, &c, 0, 0); /* the same as it leaves */
	see_at(w, 1, &lo);
	run_tc(w->progs.weir_tc_egress, &c, 0, 0);
	assert_int_equal(only_flow(w).slot.half[0].packets, 2);
	assert_int_equal(read_counters(w).n[FLOW_CNT_SEEN_ELSEWHERE], 2);
	harness_wait(w, FLOW_TAKEOVER_NS / 1000);
	run_tc(w->progs.weir_tc_egress, &c, 0, 0); /* takes over */
	see_at(w, 0, &lo);
	assert_int_equal(only_flow(w).slot.half[0].packets, 3);
	assert_int_equal(only_flow(w).slot.half[0].iface & 1, FLOW_HOOK_EGRESS);
	assert_int_equal(read_counters(w).n[FLOW_CNT_SEEN_ELSEWHERE], 3);
}

struct runner {
	struct weir_bpf *w;
	int nth_cpu, err;
};

static void *run_many(void *arg)
{
	struct runner *r = arg;
	struct craft c = udp_packet(A, B, 1000, 2000);
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = c.data, .data_size_in = c.len,
		    .repeat = MANY);

	move_to(r->nth_cpu);
	r->err = bpf_prog_test_run_opts(bpf_program__fd(r->w->progs.weir_xdp), &opts);
	return NULL;
}

/* Four threads on two CPUs, in one flow that none of them has opened: exact. */
static void no_count_is_lost_at_once(void **state)
{
	struct runner r[4];
	pthread_t threads[4];
	struct flow_totals refused;
	struct flow_sums sums;

	for (int i = 0; i < 4; i++) {
		r[i] = (struct runner){.w = *state, .nth_cpu = i & 1};
		assert_int_equal(pthread_create(&threads[i], NULL, run_many, &r[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(r[i].err, 0);
	}
	sums = sum_flows(*state);
	assert_int_equal(sums.flows, 1);
	/* A CPU that was held up while it opened the flow makes others give up: not lost. */
	refused = read_catch_all(*state, FLOW_HOOK_INGRESS);
	assert_true(refused.packets < MANY / 100);
	assert_int_equal(sums.packets + refused.packets, 4 * MANY);
	assert_int_equal(sums.bytes + refused.bytes,
			 4ull * MANY * udp_packet(A, B, 1000, 2000).len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		harness_clocked_test(two_cpus_have_a_line_each),
		harness_clocked_test(the_answer_finds_the_question_on_the_other_cpu),
		harness_clocked_test(a_silent_home_is_given_up),
		harness_clocked_test(the_place_is_one_for_all_cpus),
		harness_test(no_count_is_lost_at_once),
	};

	if (geteuid() != 0) {
		puts("skipped: loading BPF programs needs root");
		return 0;
	}
	if (!find_cpus()) {
		puts("skipped: one CPU only");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
