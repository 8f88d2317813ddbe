/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Batches and epochs: each is stored once, whole or not at all, and expires. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>

#include "collector/flowstore/segment.h"
#include "collector/serve/retention.h"
#include "collector/serve/writer.h"
#include "common/queue.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/store_fixture.h"

static void test_hello_tells_what_is_committed(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;

	assert_int_equal(apply_hello(f, 1, 8), 7); /* new epoch: what the probe starts from */
	assert_int_equal(apply_batch(f, sample_batch(1, 8, &r, 1), NULL), JOB_DONE);
	assert_int_equal(apply_hello(f, 1, 8), 8); /* known epoch: what is here */
	assert_int_equal(apply_hello(f, 2, 1), 0);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM host"), 2);
	sample_assert_text(f->outside, "SELECT name || ' ' || ifaces FROM host WHERE id = 1",
			   "host1 lo tcx+tcx, eth0 xdp+tcx");
}

static void test_batch_is_stored_once(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	uint64_t last = 0;

	apply_hello(f, 1, 1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(apply_batch(f, sample_batch(1, 1, &r, 5), &last), JOB_DONE);
		assert_int_equal(last, 1);
		assert_int_equal(count_flows(f), 5);
	}
	assert_int_equal(sample_int(f->outside, "SELECT batches FROM epoch"), 1);
}

static void test_hole_is_refused(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	uint64_t last = 99;

	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, sample_batch(1, 2, &r, 1), &last), JOB_GAP);
	assert_int_equal(last, 0);
	assert_int_equal(count_flows(f), 0);
}

static void test_unknown_epoch_is_refused(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct batch *other = sample_batch(1, 1, &r, 1);
	struct fixture *f = *state;

	apply_hello(f, 1, 1);
	other->epoch++;
	assert_int_equal(apply_batch(f, other, NULL), JOB_UNKNOWN);
	assert_int_equal(apply_batch(f, sample_batch(2, 1, &r, 1), NULL), JOB_UNKNOWN);
	assert_int_equal(count_flows(f), 0);
}

static void test_epochs_count_apart(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	struct hello *h = malloc(sizeof(*h));
	struct batch *second;

	assert_non_null(h);
	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, sample_batch(1, 1, &r, 1), NULL), JOB_DONE);
	*h = sample_hello(1, 1);
	h->epoch = 5; /* the probe has started again */
	job_free(sample_apply(f->store, JOB_HELLO, h, 0));
	second = sample_batch(1, 1, &r, 1);
	second->epoch = 5;
	assert_int_equal(apply_batch(f, second, NULL), JOB_DONE);
	assert_int_equal(count_flows(f), 2);
}

static int apply_hello_at(struct fixture *f, uint64_t epoch, uint64_t open_epoch, int64_t at_ms)
{
	struct hello *h = malloc(sizeof(*h));
	struct job *job;

	assert_non_null(h);
	*h = sample_hello(1, 1);
	h->epoch = epoch;
	h->n_open_epochs = open_epoch ? 1 : 0;
	h->open_epochs[0] = open_epoch;
	assert_int_equal(job_new(JOB_HELLO, h, 0, 0, &job), 0);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(store_apply(f->store, job, at_ms), 0);
	assert_int_equal(store_commit(f->store), 0);
	job_free(job);
	return (int)sample_int(f->outside, "SELECT count(*) FROM epoch");
}

/* Epochs that the probe is done with are forgotten, but not at once. */
static void test_epochs_are_bounded(void **state)
{
	const int64_t day_ms = 24ll * 3600 * 1000;
	struct fixture *f = *state;

	assert_int_equal(apply_hello_at(f, 1, 1, 1000), 1);
	assert_int_equal(apply_hello_at(f, 2, 1, 2000), 2);
	assert_int_equal(apply_hello_at(f, 3, 0, 3000), 3); /* does not say what it has */
	assert_int_equal(apply_hello_at(f, 3, 1, 4000), 3); /* 2 is done */
	assert_int_equal(apply_hello_at(f, 3, 1, 4000 + day_ms), 3);
	assert_int_equal(apply_hello_at(f, 3, 1, 4001 + 2 * day_ms), 2);
	sample_assert_text(f->outside, "SELECT group_concat(epoch) FROM epoch", "1,3");
}

static void test_rollback_leaves_nothing(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	struct job *job = NULL;

	apply_hello(f, 1, 1);
	assert_int_equal(job_new(JOB_BATCH, sample_batch(1, 1, &r, 5), 0, 0, &job), 0);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(store_apply(f->store, job, 1), 0);
	store_rollback(f->store);
	assert_int_equal(count_flows(f), 0);
	assert_int_equal(sample_int(f->outside, "SELECT last_seq FROM epoch"), 0);
	job_free(job);
}

/* A segment made from what retention has deleted meanwhile. */
static struct segment *stale_segment(void)
{
	struct segment *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->fresh = calloc(2, sizeof(*s->fresh));
	assert_non_null(s->fresh);
	s->n_fresh = 2;
	s->fresh[0] = 1; /* is there, and must stay */
	s->fresh[1] = 99;
	s->head = calloc(1, 1);
	s->zone_data = calloc(1, 1);
	return s;
}

static void test_stale_segment_hurts_itself_only(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	struct job *good_job = NULL, *bad_job = NULL;

	apply_hello(f, 1, 1);
	assert_int_equal(job_new(JOB_BATCH, sample_batch(1, 1, &r, 1), 0, 0, &good_job), 0);
	assert_int_equal(job_new(JOB_SEGMENT, stale_segment(), 0, 0, &bad_job), 0);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(store_apply(f->store, good_job, 1), 0);
	assert_int_equal(store_apply(f->store, bad_job, 1), 0);
	assert_int_equal(store_commit(f->store), 0);
	assert_int_equal(good_job->outcome, JOB_DONE);
	assert_int_equal(bad_job->outcome, JOB_INVALID);
	assert_int_equal(count_flows(f), 1);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM flow_segment"), 0);
	job_free(good_job);
	job_free(bad_job);
}

/* What is refused by the database among what is not, in one group of the writer. */
static void test_refused_batch_hurts_itself_only(void **state)
{
	static const struct writer_settings settings = {.commit_interval_ms = 60000};
	static const enum job_outcome outcomes[] = {JOB_DONE, JOB_DONE, JOB_INVALID, JOB_DONE};
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	struct queue *jobs = NULL, *replies = NULL;
	struct job *job = NULL;

	assert_int_equal(queue_new(100, 100, job_free, &jobs), 0);
	assert_int_equal(queue_new(100, 100, job_free, &replies), 0);
	apply_hello(f, 1, 1);
	apply_hello(f, 2, 1);
	apply_hello(f, 3, 1);
	for (uint64_t i = 0; i < 4; i++) {
		struct batch *b = sample_batch(i == 2 ? 2 : 1 + 2 * (i == 3), 1 + (i == 1), &r, 1);

		if (i == 2)
			b->summary.minutes[0].packets = UINT64_MAX;
		assert_int_equal(job_new(JOB_BATCH, b, 0, 0, &job), 0);
		assert_int_equal(queue_push(jobs, job, 0), 0);
	}
	assert_int_equal(job_new(JOB_SEGMENT, stale_segment(), 0, 0, &job), 0);
	assert_int_equal(queue_push(jobs, job, 0), 0);
	queue_close(jobs);
	writer_run(f->store, &settings, jobs, replies);
	for (size_t i = 0; i < 4; i++) {
		job = queue_pop(replies, 0);
		assert_non_null(job);
		assert_int_equal(job->outcome, outcomes[i]);
		job_free(job);
	}
	assert_int_equal(count_flows(f), 3);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM flow_segment"), 0);
	assert_int_equal(sample_int(f->outside, "SELECT sum(records) FROM coverage_minute"), 3);
	assert_int_equal(sample_int(f->outside, "SELECT sum(last_seq) FROM epoch"), 3);
	queue_free(jobs);
	queue_free(replies);
}

static int try_batch(struct fixture *f, struct batch *batch)
{
	struct job *job = NULL;
	int err;

	assert_int_equal(job_new(JOB_BATCH, batch, 0, 0, &job), 0);
	err = store_begin(f->store);
	if (!err)
		err = store_apply(f->store, job, 1);
	if (!err)
		err = store_commit(f->store);
	if (err)
		store_rollback(f->store);
	job_free(job);
	return err;
}

static void test_failed_write_leaves_nothing_and_passes(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;

	(void)signal(SIGXFSZ, SIG_IGN);
	apply_hello(f, 1, 1);
	sample_limit_files(1 << 17);
	assert_true(try_batch(f, sample_batch(1, 1, &r, 4096)) < 0);
	assert_true(try_batch(f, sample_batch(1, 1, &r, 4096)) < 0); /* and again */
	sample_limit_files(RLIM_INFINITY);
	assert_int_equal(count_flows(f), 0);
	assert_int_equal(try_batch(f, sample_batch(1, 1, &r, 4096)), 0);
	assert_int_equal(count_flows(f), 4096);
}

static void test_expire_takes_the_oldest_in_steps(void **state)
{
	struct fixture *f = *state;
	const struct retention limits = {.flows_before_ms = 8000};
	size_t rows = 0;

	apply_hello(f, 1, 1);
	for (uint64_t seq = 1; seq <= 6; seq++) {
		struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 10000 - seq * 1000);

		assert_int_equal(apply_batch(f, sample_batch(1, seq, &r, 1), NULL), JOB_DONE);
	}
	assert_int_equal(store_expire(f->store, &limits, 3, &rows), 0);
	assert_int_equal(rows, 3);
	assert_int_equal(sample_int(f->outside, "SELECT min(end_ms) FROM flows"), 7000);
	assert_int_equal(store_expire(f->store, &limits, 3, &rows), 0);
	assert_int_equal(rows, 1);
	assert_int_equal(sample_int(f->outside, "SELECT min(end_ms) FROM flows"), 8000);
}

static void test_checkpoint_empties_the_wal(void **state)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	char wal[80];
	FILE *file;

	apply_hello(f, 1, 1);
	assert_int_equal(apply_batch(f, sample_batch(1, 1, &r, 100), NULL), JOB_DONE);
	store_checkpoint(f->store);
	(void)snprintf(wal, sizeof(wal), "%s-wal", f->dir.path);
	file = fopen(wal, "r");
	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	assert_int_equal(ftell(file), 0);
	(void)fclose(file);
	assert_int_equal(count_flows(f), 100);
}

static void test_every_allocation_failure_is_clean(void **state)
{
	struct fixture *f = *state;
	struct store *store = NULL;
	const char *why = NULL;
	int err;

	store_close(f->store);
	f->store = NULL;
	for (unsigned n = 1;; n++) {
		(void)fail_alloc_at(n);
		err = store_open(f->dir.path, &store, &why);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(store);
	}
	assert_int_equal(err, 0);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hello_tells_what_is_committed),
		TEST(test_batch_is_stored_once),
		TEST(test_hole_is_refused),
		TEST(test_unknown_epoch_is_refused),
		TEST(test_epochs_count_apart),
		TEST(test_epochs_are_bounded),
		TEST(test_rollback_leaves_nothing),
		TEST(test_stale_segment_hurts_itself_only),
		TEST(test_refused_batch_hurts_itself_only),
		TEST(test_failed_write_leaves_nothing_and_passes),
		TEST(test_expire_takes_the_oldest_in_steps),
		TEST(test_checkpoint_empties_the_wal),
		TEST(test_every_allocation_failure_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
