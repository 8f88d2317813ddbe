// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "probe/names/assembly.h"

static struct assembly a;
static uint8_t message[ASSEMBLY_BYTES];

static int setup(void **state)
{
	(void)state;
	memset(&a, 0, sizeof(a));
	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)(i * 7 + i / 256);
	return 0;
}

static void add(size_t start, size_t end)
{
	assert_int_equal(assembly_add(&a, start, message + start, end - start), 0);
}

static void check(size_t prefix, size_t pieces)
{
	assert_int_equal(assembly_prefix(&a), prefix);
	assert_int_equal(a.n, pieces);
	assert_memory_equal(a.data, message, prefix);
}

static void grows_in_order(void **state)
{
	(void)state;
	check(0, 0);
	add(0, 10);
	add(10, 11);
	add(11, ASSEMBLY_BYTES);
	check(ASSEMBLY_BYTES, 1);
}

static void waits_for_what_is_missing(void **state)
{
	(void)state;
	add(20, 30);
	check(0, 1);
	add(0, 10);
	check(10, 2);
	add(40, 50);
	check(10, 3);
	add(10, 20);
	check(30, 2);
	add(29, 41);
	check(50, 1);
}

static void one_piece_may_join_many(void **state)
{
	(void)state;
	for (size_t i = 1; i <= 10; i++)
		add(i * 10, i * 10 + 3);
	check(0, 10);
	add(5, 98);
	add(0, 5);
	check(98, 2);
	add(99, 100);
	add(98, 99);
	check(103, 1);
}

static void what_came_first_stays(void **state)
{
	uint8_t other[40];

	(void)state;
	memset(other, 0xee, sizeof(other));
	add(10, 20);
	add(30, 35);
	assert_int_equal(assembly_add(&a, 0, other, sizeof(other)), 0);
	assert_int_equal(assembly_prefix(&a), 40);
	for (size_t i = 0; i < 40; i++)
		assert_int_equal(a.data[i],
				 (i >= 10 && i < 20) || (i >= 30 && i < 35) ? message[i] : 0xee);
}

static void refuses_more_than_it_holds(void **state)
{
	(void)state;
	assert_int_equal(assembly_add(&a, ASSEMBLY_BYTES, message, 1), -E2BIG);
	assert_int_equal(assembly_add(&a, 1, message, ASSEMBLY_BYTES), -E2BIG);
	assert_int_equal(assembly_add(&a, UINT64_MAX, message, 2), -E2BIG);
	check(0, 0);
	for (size_t i = 0; i < ASSEMBLY_PIECES; i++)
		add(i * 2, i * 2 + 1);
	assert_int_equal(assembly_add(&a, 1000, message, 1), -ENOSPC);
	check(1, ASSEMBLY_PIECES);
	add(1, 2); /* closes a gap */
	check(3, ASSEMBLY_PIECES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(grows_in_order, setup),
		cmocka_unit_test_setup(waits_for_what_is_missing, setup),
		cmocka_unit_test_setup(one_piece_may_join_many, setup),
		cmocka_unit_test_setup(what_came_first_stays, setup),
		cmocka_unit_test_setup(refuses_more_than_it_holds, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
