// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_drain.c - from packets to records: the programs, their table and the
 * drain together. Needs root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/if_ether.h>
#include <linux/in.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "probe/datapath/datapath.h"
#include "probe/datapath/iface.h"
#include "probe/drain/drain.h"
#include "tests/bpf/harness.h"

#define ECHO_REQUEST 8
#define ECHO_REPLY   0
#define SLOW_US	     20000

static const struct iface_list no_ifaces = {NULL, 0};

struct fixture {
	struct datapath *datapath;
	struct drain *drain;
	struct flow_record record; /* the last one */
	unsigned records;
	struct flow_now now; /* of programs and drain */
};

static void on_record(const struct flow_record *r, const struct flow_view *v, void *arg)
{
	struct fixture *f = arg;

	(void)v;
	f->record = *r;
	f->records++;
}

static int setup(void **state)
{
	const struct flow_table_config config = {
		.active_ns = 1000000000,
		.idle_ns = 15000000000,
		.tcp_idle_ns = 60000000000,
		.udp_idle_ns = 15000000000,
		.icmp_idle_ns = 15000000000,
		.epoch = 1,
		.ifaces = &no_ifaces,
	};
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->now = (struct flow_now){.mono_ns = 1000000000000, .real_offset_ns = 1700000000000000000};
	assert_int_equal(datapath_open_replay(HARNESS_SLOTS, &f->datapath), 0);
	assert_int_equal(drain_new(f->datapath, &config, on_record, f, &f->drain), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	drain_free(f->drain);
	datapath_close(f->datapath);
	free(f);
	return 0;
}

static void receive(struct fixture *f, const struct craft *c)
{
	const struct flow_replay packet = {f->now.mono_ns, (uint32_t)c->len, (uint32_t)c->len};

	assert_int_equal(datapath_replay(f->datapath, &packet, c->data, c->len), 0);
}

static void receive_echo(struct fixture *f, const char *src, const char *dst, uint8_t type)
{
	struct craft c;

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, src, dst, IPPROTO_ICMP, 0, 0);
	craft_icmp(&c, type, 0, 77);
	craft_end(&c);
	receive(f, &c);
}

static void wait_us(struct fixture *f, uint64_t us)
{
	f->now.mono_ns += us * 1000;
}

/* A request, and after that time the reply. */
static void ping(struct fixture *f, uint64_t us)
{
	receive_echo(f, A, B, ECHO_REQUEST);
	wait_us(f, us);
	receive_echo(f, B, A, ECHO_REPLY);
}

static void next_record(struct fixture *f, enum drain_scope scope)
{
	f->records = 0;
	assert_int_equal(drain_run_at(f->drain, scope, &f->now), 0);
	assert_int_equal(f->records, 1);
}

/* The slow round trip is in the first record only. */
static void extremes_are_those_of_the_interval(void **state)
{
	struct fixture *f = *state;
	const struct flow_record *r = &f->record;

	ping(f, SLOW_US);
	ping(f, 0);
	next_record(f, DRAIN_EVERY);
	assert_int_equal(r->packets, 2);
	assert_int_equal(r->data_rtt_samples, 2);
	assert_int_equal(r->data_rtt_max_us, SLOW_US);
	assert_int_equal(r->data_rtt_min_us, 1);

	next_record(f, DRAIN_EVERY);
	assert_int_equal(r->packets | r->data_rtt_samples | r->data_rtt_max_us, 0);

	ping(f, 0);
	next_record(f, DRAIN_EVERY);
	assert_int_equal(r->data_rtt_samples, 1);
	assert_int_equal(r->data_rtt_max_us, 1);

	ping(f, SLOW_US);
	next_record(f, DRAIN_FINAL);
	assert_int_equal(r->data_rtt_samples, 1);
	assert_int_equal(r->data_rtt_min_us, SLOW_US);
	assert_int_equal(r->total_packets, 4);
	assert_int_equal(r->end_reason, FLOW_END_FORCED);
}

static void answers_as_well(void **state)
{
	const struct craft_tcp ask = {40000, 80, PSH | ACK, .seq = 1, .ack = 1, .payload = 1};
	const struct craft_tcp answer = {80, 40000, PSH | ACK, .seq = 1, .ack = 2, .payload = 1};
	const struct craft_tcp ask_again = {40000, 80, PSH | ACK, .seq = 2, .ack = 2, .payload = 1};
	const struct craft_tcp again = {80, 40000, PSH | ACK, .seq = 2, .ack = 3, .payload = 1};
	struct craft packets[] = {craft_tcp4(A, B, &ask), craft_tcp4(B, A, &answer),
				  craft_tcp4(A, B, &ask_again), craft_tcp4(B, A, &again)};
	struct fixture *f = *state;
	const struct flow_record *r = &f->record;

	receive(f, &packets[0]);
	wait_us(f, SLOW_US);
	receive(f, &packets[1]);
	next_record(f, DRAIN_EVERY);
	assert_int_equal(r->responses, 1);
	assert_in_range(r->response_max_us, SLOW_US - 2, SLOW_US + 2); /* in 1,024 ns */
	receive(f, &packets[2]);
	receive(f, &packets[3]);
	next_record(f, DRAIN_EVERY);
	assert_int_equal(r->responses, 1);
	assert_int_equal(r->response_max_us, 1);
	assert_int_equal(r->verdict, FLOW_VERDICT_ESTABLISHED);
}

/* On that CPU from here on; on a machine with one, nothing changes. */
static void move_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

/* What several CPUs have counted is whole in every record, the last one too. */
static void counts_of_all_cpus(void **state)
{
	struct fixture *f = *state;
	const struct flow_record *r = &f->record;
	cpu_set_t before;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	for (int i = 0; i < 6; i++) {
		move_to(i & 1);
		receive_echo(f, A, B, ECHO_REQUEST);
	}
	wait_us(f, 1000000);
	next_record(f, DRAIN_DUE);
	assert_int_equal(r->end_reason, FLOW_END_ACTIVE);
	assert_int_equal(r->packets, 6);
	for (int i = 0; i < 4; i++) {
		move_to(i & 1); /* ends away from home */
		receive_echo(f, A, B, ECHO_REQUEST);
	}
	(void)sched_setaffinity(0, sizeof(before), &before);
	wait_us(f, 14000000);
	next_record(f, DRAIN_DUE);
	assert_int_equal(r->end_reason, FLOW_END_ACTIVE);
	assert_int_equal(r->packets, 4);
	wait_us(f, 1000000);
	next_record(f, DRAIN_DUE);
	assert_int_equal(r->end_reason, FLOW_END_IDLE);
	assert_int_equal(r->packets, 0);
	assert_int_equal(r->total_packets, 10);
}

/* The same when the flow ends before it was ever reported. */
static void counts_of_all_cpus_at_the_end(void **state)
{
	struct fixture *f = *state;
	cpu_set_t before;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	for (int i = 0; i < 7; i++) {
		move_to(i & 1);
		receive_echo(f, A, B, ECHO_REQUEST);
	}
	(void)sched_setaffinity(0, sizeof(before), &before);
	wait_us(f, 15000000);
	next_record(f, DRAIN_DUE);
	assert_int_equal(f->record.end_reason, FLOW_END_IDLE);
	assert_int_equal(f->record.packets, 7);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(extremes_are_those_of_the_interval),
		TEST(answers_as_well),
		TEST(counts_of_all_cpus),
		TEST(counts_of_all_cpus_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
