// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "collector/serve/credit.h"
#include "common/clock.h"
#include "proto/message.h"

#define POOL (32u << 20)
#define MANY 512
#define LEN  40000

static void one_peer_gets_the_most_that_one_may(void **state)
{
	struct credit_pool pool = {.total = POOL};
	struct credit c;

	(void)state;
	credit_join(&pool, &c, 0);
	assert_int_equal(credit_offer(&pool, &c, 0), CREDIT_MAX_BYTES);
	assert_int_equal(pool.given, CREDIT_MAX_BYTES);
	credit_leave(&pool, &c);
	assert_int_equal(pool.given, 0);
	assert_int_equal(pool.n, 0);
}

/* They come one after the other; whoever is here already must first hear of less. */
static void all_together_never_have_more_than_the_pool(void **state)
{
	static struct credit peers[MANY];
	struct credit_pool pool = {.total = POOL};
	uint64_t now = 0;

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		credit_join(&pool, &peers[i], now);
		(void)credit_offer(&pool, &peers[i], now);
		assert_true(pool.given <= POOL + i * CREDIT_FLOOR_BYTES);
		now += NS_PER_SEC / 10;
		for (size_t j = 0; i % 10 == 0 && j <= i; j++)
			if (credit_tick(&pool, &peers[j], now))
				(void)credit_offer(&pool, &peers[j], now);
	}
	for (size_t j = 0; j < MANY; j++)
		if (credit_tick(&pool, &peers[j], now))
			(void)credit_offer(&pool, &peers[j], now);
	assert_true(pool.given <= POOL);
	for (size_t j = 0; j < MANY; j++)
		assert_true(peers[j].told >= CREDIT_FLOOR_BYTES);
	for (size_t j = 1; j < MANY; j++)
		credit_leave(&pool, &peers[j]);
	assert_true(credit_tick(&pool, &peers[0], now)); /* there is more again */
	assert_int_equal(credit_offer(&pool, &peers[0], now), CREDIT_MAX_BYTES);
}

static void more_than_the_credit_is_refused(void **state)
{
	struct credit_pool pool = {.total = POOL};
	struct credit c;
	size_t taken = 0;

	(void)state;
	credit_join(&pool, &c, 0);
	assert_int_equal(credit_take(&c, 1 << 20), 0); /* one always */
	assert_int_equal(credit_take(&c, 1), -EDQUOT);
	credit_settle(&c, 1 << 20);
	while (credit_take(&c, 1) == 0) /* not told anything yet */
		taken++;
	assert_int_equal(taken, CREDIT_FLOOR_BYTES / CREDIT_MIN_BYTES);
	(void)credit_offer(&pool, &c, 0);
	while (credit_take(&c, 1) == 0)
		taken++;
	assert_int_equal(taken, CREDIT_MAX_BYTES / CREDIT_MIN_BYTES); /* small ones count, too */
	credit_settle(&c, 1);
	assert_int_equal(credit_take(&c, 1), 0);
}

/* What is on its way when the credit gets less is not refused. */
static void a_smaller_credit_holds_after_a_while(void **state)
{
	static struct credit peers[16];
	struct credit_pool pool = {.total = POOL};

	(void)state;
	credit_join(&pool, &peers[0], 0);
	(void)credit_offer(&pool, &peers[0], 0);
	for (size_t i = 1; i < 16; i++)
		credit_join(&pool, &peers[i], 0);
	assert_true(credit_tick(&pool, &peers[0], 0));
	assert_int_equal(credit_offer(&pool, &peers[0], 0), POOL / 16);
	assert_int_equal(peers[0].allowed, CREDIT_MAX_BYTES);
	(void)credit_tick(&pool, &peers[0], 0);
	assert_int_equal(peers[0].allowed, CREDIT_MAX_BYTES);
	(void)credit_tick(&pool, &peers[0], 0);
	assert_int_equal(peers[0].allowed, POOL / 16);
}

static void who_sends_too_fast_has_to_wait(void **state)
{
	struct credit_pool pool = {.total = POOL, .rate_per_s = 1000000};
	uint64_t now = 1000 * NS_PER_SEC, sum = 0;
	struct credit c;

	(void)state;
	credit_join(&pool, &c, now);
	while (credit_offer(&pool, &c, now)) { /* a burst of 2 s, and it is in debt */
		assert_int_equal(credit_count(&pool, &c, LEN, now), 0);
		sum += LEN;
	}
	assert_in_range(sum, 2000000, 2000000 + LEN);
	assert_false(credit_tick(&pool, &c, now)); /* nothing new to say */
	now += NS_PER_SEC;
	assert_true(credit_tick(&pool, &c, now));
	assert_in_range(credit_offer(&pool, &c, now), 1000000 - LEN,
			1000000);			       /* as it may by now */
	for (sum = 0; credit_count(&pool, &c, LEN, now) == 0;) /* it does not care */
		sum += LEN;
	assert_in_range(sum, 2 * CREDIT_MAX_BYTES, 2 * CREDIT_MAX_BYTES + 2000000);
	now += 60 * NS_PER_SEC;
	assert_int_equal(credit_count(&pool, &c, LEN, now), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_peer_gets_the_most_that_one_may),
		cmocka_unit_test(all_together_never_have_more_than_the_pool),
		cmocka_unit_test(more_than_the_credit_is_refused),
		cmocka_unit_test(a_smaller_credit_holds_after_a_while),
		cmocka_unit_test(who_sends_too_fast_has_to_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
