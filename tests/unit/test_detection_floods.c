/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* SYN floods: what must raise, and what looks like one and must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/detection_fixture.h"

/* SYN in, SYN-ACK out, no more. */
static struct flow_record half_open(const char *src, uint64_t end_ms)
{
	struct flow_record r = refused(src, "10.0.0.2", 80, end_ms);

	r.rev_tcp_flags = 0x12;
	return r;
}

static void test_syn_flood(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 600; n++) {
		struct flow_record r = half_open(addr(n), BUCKET + n);

		add(f, 1, &r);
	}
	for (unsigned n = 0; n < 20; n++) { /* and some who still get through */
		struct flow_record r = sample_flow(addr(700 + n), "10.0.0.2", 80, BUCKET + n);

		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
	sample_assert_text(f->reader,
			   "SELECT kind || ' ' || severity || ' ' || dst_addr || ' ' || dst_port ||"
			   " ' ' || value || ' ' || ifnull(src_addr, 'NULL') FROM incident",
			   "syn_flood crit 10.0.0.2 80 600.0 NULL");
	assert_evidence(f, 600);
}

/* The victim's queue is full: it does not even answer. */
static void test_syn_flood_without_answers(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 300; n++) {
		struct flow_record r = half_open("10.0.0.9", BUCKET + n);

		r.rev_packets = r.rev_total_packets = r.rev_tcp_flags = 0;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
	sample_assert_text(f->reader, "SELECT kind FROM incident", "syn_flood");
}

/* Clients that hammer a host that is away, or a port that is closed: no flood. */
static void test_server_that_is_away(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 1000; n++) {
		struct flow_record away = as_sender(half_open(addr(n % 10), BUCKET + n));
		struct flow_record closed = refused(addr(n % 10), "10.0.0.3", 80, BUCKET + n);

		away.rev_packets = away.rev_total_packets = away.rev_tcp_flags = 0;
		add(f, 1, &away);
		add(f, 1, &closed);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

/* A record of the open handshake, then one of the finished connection. */
static void test_slow_handshakes(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 300; n++) {
		struct flow_record done = sample_flow(addr(n), "10.0.0.2", 80, BUCKET + 20000);
		struct flow_record early = done;

		early.end_ns -= 15 * NS_PER_SEC;
		early.tcp_flags = 0x02;
		early.rev_tcp_flags = 0x12;
		early.end_reason = FLOW_END_ACTIVE;
		add(f, 1, &early);
		add(f, 1, &done);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

/* Rates are per minute, and floods scaled, whatever the bucket. */
static void test_short_buckets(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 20; n++) {
		struct flow_record r = half_open(addr(n), BUCKET + n);

		add(f, 1, &r);
	}
	assert_int_equal(judge(f, BUCKET, 5000), 1);
	assert_int_equal(sample_int(f->reader, "SELECT value FROM incident"), 240);
	assert_int_equal(sample_int(f->reader, "SELECT mean FROM baseline"
					       " WHERE subject = 'service 10.0.0.2 6 80'"),
			 240);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_syn_flood),		TEST(test_syn_flood_without_answers),
		TEST(test_server_that_is_away), TEST(test_slow_handshakes),
		TEST(test_short_buckets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
