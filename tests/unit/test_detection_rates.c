/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Rates above what is usual: what must raise, what is learnt, and what must not raise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/detection_fixture.h"

/* Ten buckets of about base packets of one source to one service, then one of last. */
static int64_t judge_rates(struct fixture *f, uint64_t base, uint64_t last)
{
	int64_t n = 0;

	for (int i = 0; i <= 10; i++) {
		struct flow_record r =
			sample_flow("10.0.0.9", "10.0.0.2", 80, BUCKET + (uint64_t)i * MINUTE);
		struct flow_record other_end = as_sender(r);

		r.packets = i < 10 ? base + base / 20 * (uint64_t)(i % 3) : last;
		other_end.packets = r.packets;
		add(f, 1, &r);
		add(f, 2, &other_end);
		n = judge_minute(f, BUCKET + i * MINUTE);
		if (i < 10)
			assert_int_equal(n, 0);
	}
	return n;
}

static void test_rate_spike_of_source_and_service(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(judge_rates(f, 1000, 50000), 2);
	assert_int_equal(sample_int(f->reader, "SELECT count(*) FROM incident"
					       " WHERE kind = 'rate_spike' AND value = 50000"
					       " AND baseline BETWEEN 1000 AND 1100"
					       " AND threshold = 6000"
					       " AND hosts = 'host1,host2'"),
			 2);
	assert_int_equal(sample_int(f->reader, "SELECT count(*) FROM incident"
					       " WHERE src_addr = '10.0.0.9' AND dst_addr IS NULL"),
			 1);
	assert_int_equal(sample_int(f->reader, "SELECT count(*) FROM incident WHERE dst_port = 80"
					       " AND dst_addr = '10.0.0.2' AND src_addr IS NULL"),
			 1);
	/* What raised is not learnt. */
	assert_int_equal(sample_int(f->reader, "SELECT max(minutes) FROM baseline"), 10);
	assert_true(sample_int(f->reader, "SELECT max(mean) FROM baseline") < 1200);
}

static void test_rate_that_is_usual_for_the_source(void **state)
{
	assert_int_equal(judge_rates(*state, 40000, 70000), 0);
}

static void test_rate_below_the_floor(void **state)
{
	assert_int_equal(judge_rates(*state, 10, 5900), 0);
}

static void test_first_buckets_only_learn(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 5; i++) {
		struct flow_record r =
			sample_flow("10.0.0.9", "10.0.0.2", 80, BUCKET + (uint64_t)i * MINUTE);

		r.packets = i ? 1000000 : 1;
		add(f, 1, &r);
		assert_int_equal(judge_minute(f, BUCKET + i * MINUTE), 0);
	}
}

static void test_busy_server_with_500_clients(void **state)
{
	struct fixture *f = *state;

	for (int minute = 0; minute < 7; minute++) {
		for (unsigned n = 0; n < 500; n++) {
			struct flow_record r = sample_flow(addr(n), "10.0.0.2", 443,
							   BUCKET + (uint64_t)minute * MINUTE + n);

			add(f, 1, &r);
		}
		assert_int_equal(judge_minute(f, BUCKET + minute * MINUTE), 0);
	}
}

static void test_catch_all_is_no_source(void **state)
{
	struct fixture *f = *state;
	struct flow_record r = sample_flow("::", "::", 0, BUCKET);

	r.proto = 0;
	r.end_reason = FLOW_END_NO_RESOURCES;
	add(f, 1, &r);
	assert_int_equal(judge_minute(f, BUCKET), 0);
	assert_int_equal(sample_int(f->reader, "SELECT count(*) FROM baseline"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rate_spike_of_source_and_service),
		TEST(test_rate_that_is_usual_for_the_source),
		TEST(test_rate_below_the_floor),
		TEST(test_first_buckets_only_learn),
		TEST(test_busy_server_with_500_clients),
		TEST(test_catch_all_is_no_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
