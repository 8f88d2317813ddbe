/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/serve/refusals.h"

static void test_refusals_are_bounded_and_none_is_lost(void **state)
{
	struct refusal *list = NULL;
	struct refusals *t = NULL;
	uint64_t sum = 0;
	char peer[32];
	int n;

	(void)state;
	assert_int_equal(refusals_new(&t), 0);
	for (int i = 0; i < REFUSALS_MAX + 10; i++) {
		(void)snprintf(peer, sizeof(peer), "10.0.0.%d", i);
		assert_int_equal(refusals_add(t, peer, "junk", 1), i <= REFUSALS_MAX);
	}
	assert_int_equal(refusals_add(t, "10.0.0.0", "junk", 1), 0); /* just said */
	for (int round = 0; round < 2; round++) {		     /* the first is not stored */
		n = refusals_take(t, &list);
		assert_int_equal(n, REFUSALS_MAX + 1);
		sum = 0;
		for (int i = 0; i < n; i++)
			sum += list[i].count;
		assert_int_equal(sum, REFUSALS_MAX + 11);
		assert_string_equal(list[n - 1].peer, REFUSALS_OTHERS);
		assert_int_equal(list[n - 1].count, 10);
		free(list);
		refusals_settle(t, round == 1);
	}
	assert_int_equal(refusals_take(t, &list), 0);
	(void)refusals_add(t, "10.0.1.1", "junk", 1); /* takes the place of a stored one */
	assert_int_equal(refusals_take(t, &list), 1);
	assert_string_equal(list[0].peer, "10.0.1.1");
	free(list);
	refusals_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals_are_bounded_and_none_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
