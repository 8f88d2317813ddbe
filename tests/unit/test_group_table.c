// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Groups that several threads find and add at once: each has one number, and each number one group.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "collector/aggregate/group_key.h"
#include "collector/aggregate/group_table.h"
#include "tests/unit/fail_alloc.h"

#define N_THREADS 4
#define N_ROUNDS  40
#define N_VALUES  30000 /* tables and pages grow several times */

/* Key k of value v: all keys together tell it. */
static uint32_t id_of(uint32_t v, size_t k, size_t n_keys)
{
	return n_keys == 1 ? v + 1 : k == n_keys - 1 ? v / 7 : v % 7;
}

struct adder {
	struct group_table *t;
	uint32_t *groups;
	uint32_t first; /* value; each thread begins at another one */
	int err;
};

static int add_batch(struct group_table *t, const uint32_t *values, size_t n, uint32_t *ret)
{
	uint32_t ids[GROUP_MAX_KEYS][GROUP_BATCH];
	const uint32_t *at[GROUP_MAX_KEYS] = {ids[0], ids[1], ids[2], ids[3]};

	for (size_t k = 0; k < t->n_keys; k++)
		for (size_t i = 0; i < n; i++)
			ids[k][i] = id_of(values[i], k, t->n_keys);
	return group_table_add(t, at, n, ret);
}

static void *add_all(void *arg)
{
	struct adder *a = arg;
	uint32_t values[GROUP_BATCH], groups[GROUP_BATCH];

	for (uint32_t at = 0; !a->err && at < N_VALUES; at += GROUP_BATCH / 2) {
		for (uint32_t i = 0; i < GROUP_BATCH; i++) /* each value in two batches or more */
			values[i] = (a->first + at + i) % N_VALUES;
		a->err = add_batch(a->t, values, GROUP_BATCH, groups);
		for (uint32_t i = 0; !a->err && i < GROUP_BATCH; i++)
			a->groups[values[i]] = groups[i];
	}
	return NULL;
}

static void check(const struct group_table *t, const struct adder *adders)
{
	assert_int_equal(group_table_count(t), N_VALUES);
	for (uint32_t v = 0; v < N_VALUES; v++) {
		uint32_t group = adders[0].groups[v];

		assert_true(group < N_VALUES);
		for (size_t k = 0; k < t->n_keys; k++)
			assert_int_equal(group_table_ids(t, group)[k], id_of(v, k, t->n_keys));
		for (size_t i = 1; i < N_THREADS; i++)
			assert_int_equal(adders[i].groups[v], group);
	}
}

static void add_by_threads(size_t n_keys)
{
	struct adder adders[N_THREADS];
	pthread_t threads[N_THREADS];
	struct group_table t;

	group_table_init(&t, n_keys);
	for (size_t i = 0; i < N_THREADS; i++) {
		adders[i] = (struct adder){.t = &t, .first = (uint32_t)i * 100};
		adders[i].groups = calloc(N_VALUES, sizeof(uint32_t));
		assert_non_null(adders[i].groups);
	}
	for (size_t i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_all, &adders[i]), 0);
	for (size_t i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(adders[i].err, 0);
	}
	check(&t, adders);
	for (size_t i = 0; i < N_THREADS; i++)
		free(adders[i].groups);
	group_table_done(&t);
}

static void test_threads_agree(void **state)
{
	(void)state;
	for (size_t round = 0; round < N_ROUNDS; round++)
		add_by_threads(1 + round % GROUP_MAX_KEYS);
}

static void test_no_keys_are_one_group(void **state)
{
	struct group_table t;
	uint32_t groups[2] = {7, 7};

	(void)state;
	group_table_init(&t, 0);
	group_table_find(&t, NULL, 2, groups);
	assert_int_equal(groups[1], GROUP_UNKNOWN);
	assert_int_equal(group_table_add(&t, NULL, 2, groups), 0);
	assert_int_equal(groups[0], 0);
	assert_int_equal(groups[1], 0);
	assert_int_equal(group_table_count(&t), 1);
	group_table_done(&t);
}

static void test_find_adds_nothing(void **state)
{
	(void)state;
	for (size_t n_keys = 1; n_keys <= 2; n_keys++) {
		const uint32_t there[2] = {5, 6}, other[2] = {5, 7};
		const uint32_t *ids[GROUP_MAX_KEYS] = {there, there};
		const uint32_t *wanted[GROUP_MAX_KEYS] = {other, other};
		struct group_table t;
		uint32_t groups[2];

		group_table_init(&t, n_keys);
		group_table_find(&t, ids, 2, groups);
		assert_int_equal(groups[0], GROUP_UNKNOWN);
		assert_int_equal(group_table_add(&t, ids, 2, groups), 0);
		group_table_find(&t, wanted, 2, groups);
		assert_int_equal(groups[0], 0);
		assert_int_equal(groups[1], GROUP_UNKNOWN);
		assert_int_equal(group_table_count(&t), 2);
		group_table_done(&t);
	}
}

static void test_every_allocation_failure_is_clean(void **state)
{
	(void)state;
	for (size_t n_keys = 0; n_keys <= 3; n_keys++)
		for (unsigned n = 1;; n++) {
			struct group_table t;
			uint32_t values[GROUP_BATCH], groups[GROUP_BATCH];
			int err = 0;

			group_table_init(&t, n_keys);
			fail_alloc_at(n);
			for (uint32_t at = 0; !err && at < 8192; at += GROUP_BATCH) {
				for (uint32_t i = 0; i < GROUP_BATCH; i++)
					values[i] = at + i;
				err = add_batch(&t, values, GROUP_BATCH, groups);
			}
			group_table_done(&t);
			if (!fail_alloc_at(0))
				break;
			assert_int_equal(err, -ENOMEM);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_agree),
		cmocka_unit_test(test_no_keys_are_one_group),
		cmocka_unit_test(test_find_adds_nothing),
		cmocka_unit_test(test_every_allocation_failure_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
