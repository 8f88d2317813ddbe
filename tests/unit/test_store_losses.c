/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is kept of what is missing: losses, coverage by the minute, counters, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/store_fixture.h"

static int sample_apply_copy(struct fixture *f, const struct batch *b, uint64_t *ret_last)
{
	struct batch *copy = malloc(sizeof(*copy));

	assert_non_null(copy);
	*copy = *b; /* it has no rows */
	return apply_batch(f, copy, ret_last);
}

static void test_tombstone_is_a_loss_and_closes_the_hole(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct batch *grave = sample_batch(1, 4, &r, 0);
	struct fixture *f = *state;
	uint64_t last = 0;

	grave->first_seq = 1;
	grave->kind = BATCH_TOMBSTONE;
	grave->dropped_rows = 70;
	grave->dropped_packets = 800;
	grave->dropped_bytes = 9000;
	grave->reason = LOSS_REFUSED;
	grave->lost_from_ns = 59 * NS_PER_SEC; /* of two minutes */
	grave->lost_until_ns = 61 * NS_PER_SEC;
	apply_hello(f, 1, 1);
	for (int i = 0; i < 2; i++) /* told twice, counted once */
		assert_int_equal(sample_apply_copy(f, grave, &last), JOB_DONE);
	batch_free(grave);
	assert_int_equal(last, 4);
	sample_assert_text(f->outside,
			   "SELECT group_concat(minute_ms || ' ' || rejected_packets, ', ')"
			   " FROM coverage_minute",
			   "0 400, 60000 400");
	sample_assert_text(f->outside,
			   "SELECT reason || ' ' || from_ms || ' ' || until_ms FROM loss",
			   "rejected 59000 61000");
	assert_int_equal(apply_batch(f, sample_batch(1, 5, &r, 1), NULL), JOB_DONE);
	sample_assert_text(
		f->outside,
		"SELECT printf('%d %d %d %d %d', first_seq, last_seq, rows, packets, bytes)"
		" FROM loss",
		"1 4 70 800 9000");
}

/* What is not in a record is told by the minute, from counters that only rise. */
static void test_coverage_by_the_minute(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 61000);
	struct fixture *f = *state;
	static const uint64_t truncated[] = {5, 12, 7}; /* the last is of a backlog */

	apply_hello(f, 1, 1);
	for (uint64_t seq = 1; seq <= 3; seq++) {
		struct batch *b = sample_batch(1, seq, &r, 2);

		b->counters_ns = (seq == 2 ? 130 : 65) * NS_PER_SEC;
		b->n_counters = 1;
		b->counters[0] = (struct counter_value){"packets_truncated", truncated[seq - 1]};
		assert_int_equal(apply_batch(f, b, NULL), JOB_DONE);
	}
	sample_assert_text(f->outside,
			   "SELECT group_concat(minute_ms || ' ' || batches || ' ' || records ||"
			   " ' ' || packets || ' ' || not_parsed_packets, ', ')"
			   " FROM coverage_minute",
			   "60000 2 6 114 5, 120000 1 0 0 7");
	assert_int_equal(sample_int(f->outside, "SELECT value FROM probe_counter"), 12);
	assert_int_equal(sample_int(f->outside, "SELECT sum(packets + rev_packets) FROM flows"),
			 114);
}

/* What another collector has is no loss of unknown size. */
static void test_gap_of_a_probe_with_two_collectors(void **state)
{
	struct fixture *f = *state;
	struct hello *h = malloc(sizeof(*h));

	assert_non_null(h);
	apply_hello(f, 1, 1);
	*h = sample_hello(1, 10);
	h->elsewhere = true;
	job_free(sample_apply(f->store, JOB_HELLO, h, 0));
	sample_assert_text(f->outside,
			   "SELECT first_seq || '-' || last_seq || ' ' || reason"
			   " FROM loss",
			   "1-9 elsewhere");
}

/* A database from a backup: the probe has long dropped what was acknowledged since. */
static void test_hello_that_is_ahead_is_a_loss(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;

	apply_hello(f, 1, 1);
	assert_int_equal(apply_hello(f, 1, 10), 9);
	assert_int_equal(apply_batch(f, sample_batch(1, 10, &r, 1), NULL), JOB_DONE);
	sample_assert_text(f->outside, "SELECT first_seq || '-' || last_seq FROM loss", "1-9");
	assert_int_equal(sample_int(f->outside, "SELECT batches FROM epoch"), 1);
}

static void test_counters_are_the_latest(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;

	apply_hello(f, 1, 1);
	for (uint64_t seq = 1; seq <= 2; seq++) {
		struct batch *b = sample_batch(1, seq, &r, 0);

		b->n_counters = 1;
		b->counters[0] = (struct counter_value){"packets_seen", seq * 100};
		assert_int_equal(apply_batch(f, b, NULL), JOB_DONE);
	}
	assert_int_equal(sample_int(f->outside, "SELECT sum(value) FROM probe_counter"), 200);
}

static void test_refusals_add_up(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		struct refusal *r = calloc(2, sizeof(*r));

		assert_non_null(r);
		r[0] = (struct refusal){"10.0.0.9", "bad magic", 3, 100 + i, 200 + i};
		r[1] = (struct refusal){"10.0.0.9", "bad crc", 1, 100 + i, 200 + i};
		job_free(sample_apply(f->store, JOB_REFUSALS, r, 2));
	}
	sample_assert_text(f->outside,
			   "SELECT count || ' ' || first_ms || ' ' || last_ms FROM refusal"
			   " WHERE reason = 'bad magic'",
			   "6 100 201");
	assert_int_equal(sample_int(f->outside, "SELECT sum(count) FROM refusal"), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_coverage_by_the_minute),
		TEST(test_gap_of_a_probe_with_two_collectors),
		TEST(test_tombstone_is_a_loss_and_closes_the_hole),
		TEST(test_hello_that_is_ahead_is_a_loss),
		TEST(test_counters_are_the_latest),
		TEST(test_refusals_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
