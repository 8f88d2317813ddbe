/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>

#include "common/clock.h"
#include "common/queue.h"
#include "tests/unit/fail_alloc.h"

#define N_THREADS 3
#define N_ITEMS	  2000 /* of each producer */

static bool readable(struct queue *q)
{
	struct pollfd fd = {.fd = queue_fd(q), .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

static struct queue *make(size_t max_items, size_t max_weight, void (*destroy)(void *))
{
	struct queue *q = NULL;

	assert_int_equal(queue_new(max_items, max_weight, destroy, &q), 0);
	return q;
}

static void keeps_order_and_bounds(void **state)
{
	struct queue *q = make(3, 100, NULL);
	int items[8];

	(void)state;
	for (int round = 0; round < 5; round++) { /* around the ring */
		assert_false(readable(q));
		assert_int_equal(queue_push(q, &items[0], 40), 0);
		assert_int_equal(queue_push(q, &items[1], 60), 0);
		assert_int_equal(queue_push(q, &items[2], 1), -ENOSPC); /* weight */
		assert_int_equal(queue_push(q, &items[2], 0), 0);
		assert_int_equal(queue_push(q, &items[3], 0), -ENOSPC); /* items */
		assert_int_equal(queue_length(q), 3);
		assert_int_equal(queue_weight(q), 100);
		assert_true(readable(q));
		assert_ptr_equal(queue_pop(q, 0), &items[0]);
		assert_int_equal(queue_weight(q), 60);
		assert_ptr_equal(queue_pop(q, -1), &items[1]);
		assert_true(readable(q));
		assert_ptr_equal(queue_pop(q, 10), &items[2]);
	}
	queue_free(q);
}

static void pop_times_out(void **state)
{
	struct queue *q = make(1, 1, NULL);
	uint64_t before = clock_mono_ns();

	(void)state;
	assert_null(queue_pop(q, 0));
	assert_null(queue_pop(q, 20));
	assert_true(clock_mono_ns() - before >= 20 * NS_PER_MS);
	queue_free(q);
}

static void refuses_weight_that_wraps(void **state)
{
	struct queue *q = make(4, SIZE_MAX, NULL);
	int item;

	(void)state;
	assert_int_equal(queue_push(q, &item, SIZE_MAX - 1), 0);
	assert_int_equal(queue_push(q, &item, 2), -ENOSPC);
	queue_free(q);
}

static void closing_lets_the_rest_out(void **state)
{
	struct queue *q = make(2, 2, NULL);
	int item;

	(void)state;
	assert_int_equal(queue_push(q, &item, 1), 0);
	assert_false(queue_closed(q));
	queue_close(q);
	assert_true(queue_closed(q));
	assert_int_equal(queue_push(q, &item, 1), -EPIPE);
	assert_ptr_equal(queue_pop(q, -1), &item);
	assert_null(queue_pop(q, -1));
	queue_free(q);
}

static void *wait_for_item(void *q)
{
	return queue_pop(q, -1);
}

static void closing_wakes_waiters(void **state)
{
	struct queue *q = make(2, 2, NULL);
	pthread_t threads[2];
	void *got = q;

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_for_item, q), 0);
	queue_close(q);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], &got), 0);
		assert_null(got);
	}
	queue_free(q);
}

static void count_down(void *item)
{
	--*(int *)item;
}

static void free_destroys_the_rest(void **state)
{
	struct queue *q = make(4, 4, count_down);
	int left = 3;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(queue_push(q, &left, 1), 0);
	assert_ptr_equal(queue_pop(q, 0), &left);
	queue_free(q);
	assert_int_equal(left, 1);
	queue_free(NULL);
}

static void *produce(void *arg)
{
	static int items[N_ITEMS];
	struct queue *q = arg;

	for (int i = 0; i < N_ITEMS;)
		if (queue_push(q, &items[i], 1) == 0)
			i++;
	return NULL;
}

static void *consume(void *arg)
{
	uintptr_t n = 0;

	while (queue_pop(arg, -1))
		n++;
	return (void *)n; /* NOLINT(performance-no-int-to-ptr) */
}

static void loses_nothing_between_threads(void **state)
{
	struct queue *q = make(7, 5, NULL);
	pthread_t producers[N_THREADS], consumers[N_THREADS];
	size_t total = 0;

	(void)state;
	for (int i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_create(&producers[i], NULL, produce, q), 0);
		assert_int_equal(pthread_create(&consumers[i], NULL, consume, q), 0);
	}
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_join(producers[i], NULL), 0);
	queue_close(q);
	for (int i = 0; i < N_THREADS; i++) {
		void *n;

		assert_int_equal(pthread_join(consumers[i], &n), 0);
		total += (uintptr_t)n;
	}
	assert_int_equal(total, N_THREADS * N_ITEMS);
	assert_int_equal(queue_length(q), 0);
	assert_int_equal(queue_weight(q), 0);
	assert_false(readable(q));
	queue_free(q);
}

static void survives_failed_allocations(void **state)
{
	struct queue *q = NULL;

	(void)state;
	fail_alloc_at(1);
	assert_int_equal(queue_new(1, 1, NULL, &q), -ENOMEM);
	assert_true(fail_alloc_at(0));
	assert_null(q);
	assert_int_equal(queue_new(SIZE_MAX / 8, 1, NULL, &q), -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_order_and_bounds),
		cmocka_unit_test(pop_times_out),
		cmocka_unit_test(refuses_weight_that_wraps),
		cmocka_unit_test(closing_lets_the_rest_out),
		cmocka_unit_test(closing_wakes_waiters),
		cmocka_unit_test(free_destroys_the_rest),
		cmocka_unit_test(loses_nothing_between_threads),
		cmocka_unit_test(survives_failed_allocations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
