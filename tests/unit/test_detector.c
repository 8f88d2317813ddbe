/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The thread that judges; and a bucket that there is no memory to judge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "collector/serve/detector.h"
#include "collector/serve/writer.h"
#include "common/queue.h"
#include "tests/unit/detection_fixture.h"
#include "tests/unit/fail_alloc.h"

static void test_every_allocation_failure_is_clean(void **state)
{
	struct fixture *f = *state;
	struct flow_record r = sample_flow("10.0.0.9", "10.0.0.2", 80, BUCKET);
	int err;

	add(f, 1, &r);
	flush(f);
	for (unsigned n = 1;; n++) {
		struct detection *d = NULL;

		(void)fail_alloc_at(n);
		err = detection_new(f->reader, &limits, BUCKET, BUCKET + MINUTE, &d);
		if (!fail_alloc_at(0)) {
			assert_int_equal(err, 0);
			detection_free(d);
			return;
		}
		assert_int_equal(err, -ENOMEM);
		assert_null(d);
	}
}

struct threads {
	struct fixture *f;
	struct queue *jobs, *replies;
	int stop_fd;
	pthread_t detector, writer;
};

static void *run_detector(void *arg)
{
	const struct detector_settings settings = {
		.interval_ms = 1000,
		.delay_ms = 0,
		.limits = LIMITS,
	};
	struct threads *t = arg;

	detector_run(t->f->dir.path, &settings, t->jobs, t->stop_fd);
	return NULL;
}

static void *run_writer(void *arg)
{
	static const struct writer_settings settings = {.commit_interval_ms = 1};
	struct threads *t = arg;

	writer_run(t->f->store, &settings, t->jobs, t->replies);
	return NULL;
}

static void start(struct threads *t, struct fixture *f)
{
	t->f = f;
	t->stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(queue_new(64, SIZE_MAX, job_free, &t->jobs), 0);
	assert_int_equal(queue_new(64, SIZE_MAX, job_free, &t->replies), 0);
	assert_int_equal(pthread_create(&t->writer, NULL, run_writer, t), 0);
	assert_int_equal(pthread_create(&t->detector, NULL, run_detector, t), 0);
}

static void stop(struct threads *t)
{
	assert_int_equal(eventfd_write(t->stop_fd, 1), 0);
	assert_int_equal(pthread_join(t->detector, NULL), 0);
	queue_close(t->jobs);
	assert_int_equal(pthread_join(t->writer, NULL), 0);
	queue_free(t->jobs);
	queue_free(t->replies);
	close(t->stop_fd);
}

static int64_t wait_for_state(struct fixture *f, int64_t at_least)
{
	int64_t done = 0;

	for (int i = 0; i < 100 && done < at_least; i++) {
		usleep(50000);
		done = sample_int(f->reader, "SELECT max(done_until_ms) FROM detector_state");
	}
	return done;
}

/* Judges what is closed, and after a restart neither again nor too little. */
static void test_detector_goes_on_where_it_stopped(void **state)
{
	const int64_t now = (int64_t)(clock_real_ns() / NS_PER_MS) / 1000 * 1000;
	struct fixture *f = *state;
	struct detection *begin = calloc(1, sizeof(*begin));
	struct threads t;

	assert_non_null(begin);
	begin->until_ms = now - 600000;
	job_free(sample_apply(f->store, JOB_DETECTION, begin, 0));
	for (uint16_t port = 1; port <= 20; port++) {
		struct flow_record r =
			refused("10.0.0.9", "10.0.0.2", port, (uint64_t)now - 300000);

		add(f, 1, &r);
	}
	flush(f);
	start(&t, f);
	assert_int_equal(wait_for_state(f, now - 299000), now - 299000);
	stop(&t);
	assert_int_equal(sample_int(f->reader, "SELECT count(*) FROM incident"), 1);
	for (uint16_t port = 1; port <= 20; port++) {
		struct flow_record r =
			refused("10.0.0.8", "10.0.0.2", port, (uint64_t)now - 200000);

		add(f, 1, &r);
	}
	flush(f);
	start(&t, f);
	assert_int_equal(wait_for_state(f, now - 199000), now - 199000);
	stop(&t);
	assert_int_equal(sample_int(f->reader, "SELECT count(*) FROM incident"), 2);
	assert_int_equal(sample_int(f->reader, "SELECT sum(minutes) FROM incident"), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_allocation_failure_is_clean),
		TEST(test_detector_goes_on_where_it_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
