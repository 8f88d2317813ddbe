// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "probe/drain/wall_clock.h"

#define EPOCH_S 1700000000ull

/* The clocks s seconds after boot, with the wall clock set wrong by that much. */
static bool sample(struct wall_clock *c, uint64_t s, int64_t wrong_ms)
{
	uint64_t mono_ns = s * NS_PER_SEC;

	return wall_clock_sample(c, mono_ns,
				 EPOCH_S * NS_PER_SEC + mono_ns +
					 (uint64_t)(wrong_ms * (int64_t)NS_PER_MS));
}

static void a_clock_that_runs_is_no_step(void **state)
{
	struct wall_clock c = {0};

	(void)state;
	for (int64_t s = 0; s < 5000; s++) /* drifting away by 2.5 s, as fast as adjtimex allows */
		assert_false(sample(&c, (uint64_t)s, s / 2));
	assert_false(sample(&c, 5001, 2499 + 1000));
	assert_int_equal(c.steps, 0);
	assert_true(c.offset_ns == EPOCH_S * NS_PER_SEC + 3499 * NS_PER_MS);
}

static void steps_are_kept_both_ways(void **state)
{
	struct wall_clock c = {0};

	(void)state;
	assert_false(sample(&c, 10, 0));
	assert_true(sample(&c, 11, 1001));
	assert_int_equal(c.last_step_ms, 1001);
	assert_false(sample(&c, 12, 1001)); /* once */
	assert_true(sample(&c, 13, -3600 * 1000));
	assert_int_equal(c.last_step_ms, -3601001);
	assert_true(sample(&c, 14, 0));
	assert_int_equal(c.steps, 3);
	assert_int_equal(c.forward_ms, 1001 + 3600 * 1000);
	assert_int_equal(c.back_ms, 3601001);
}

/* Years: from 1970, where a machine without a battery starts, to now and back. */
static void a_clock_may_be_very_wrong(void **state)
{
	const int64_t from_1970_ms = -(int64_t)EPOCH_S * 1000;
	struct wall_clock c = {0};

	(void)state;
	assert_false(sample(&c, 10, from_1970_ms));
	assert_true(sample(&c, 20, 0));
	assert_true(sample(&c, 30, from_1970_ms));
	assert_true(c.forward_ms == EPOCH_S * 1000 && c.back_ms == EPOCH_S * 1000);
}

static void reads_both_clocks(void **state)
{
	uint64_t before = clock_mono_ns(), mono_ns = 0, real_ns = 0;

	(void)state;
	wall_clock_read(&mono_ns, &real_ns);
	assert_in_range(mono_ns, before, clock_mono_ns());
	assert_true(real_ns > EPOCH_S * NS_PER_SEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clock_that_runs_is_no_step),
		cmocka_unit_test(steps_are_kept_both_ways),
		cmocka_unit_test(a_clock_may_be_very_wrong),
		cmocka_unit_test(reads_both_clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
