/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the collector's database holds when each write, each sync and each
 * allocation fails in turn, or the power after it: all that was told as
 * committed, once, and nothing that makes it damaged; and everything, as soon
 * as writing works again. The same of segments and rollups, which are made between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "collector/flowstore/compactor.h"
#include "collector/rollup/rollup.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/fault_vfs.h"
#include "tests/unit/sample_jobs.h"

#define GROUPS	   3
#define GROUP_SIZE 2
#define ROWS	   5 /* of a batch */
#define BATCHES	   (GROUPS * GROUP_SIZE)

struct fixture {
	struct sample_dir dir;
	struct store *store;	  /* NULL while it could not be opened */
	uint64_t next, committed; /* batch to come; last that was told as committed */
	bool greeted;
};

static void batch_of(struct job **ret, uint64_t seq)
{
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000 + seq);

	assert_int_equal(job_new(JOB_BATCH, sample_batch(1, seq, &r, ROWS), 0, 0, ret), 0);
}

static void hello_of(struct job **ret)
{
	struct hello *h = malloc(sizeof(*h));

	assert_non_null(h);
	*h = sample_hello(1, 1);
	assert_int_equal(job_new(JOB_HELLO, h, 0, 0, ret), 0);
}

/* One group, as the writer commits it; the error of the first thing that failed. */
static int run_group(struct fixture *f, struct job **jobs, size_t n)
{
	int err = store_begin(f->store);

	for (size_t i = 0; !err && i < n; i++)
		err = store_apply(f->store, jobs[i], 5000);
	if (!err)
		err = store_commit(f->store);
	if (err)
		store_rollback(f->store);
	return err;
}

static int greet(struct fixture *f)
{
	struct job *job;
	int err;

	hello_of(&job);
	err = run_group(f, &job, 1);
	if (!err) {
		assert_int_equal(job->outcome, JOB_DONE);
		assert_true(job->last_seq >= f->committed);
		f->greeted = true;
	}
	job_free(job);
	return err;
}

static int send_group(struct fixture *f)
{
	struct job *jobs[GROUP_SIZE];
	int err;

	for (size_t i = 0; i < GROUP_SIZE; i++)
		batch_of(&jobs[i], f->next + i);
	err = run_group(f, jobs, GROUP_SIZE);
	for (size_t i = 0; i < GROUP_SIZE; i++) {
		if (!err)
			assert_int_equal(jobs[i]->outcome, JOB_DONE);
		job_free(jobs[i]);
	}
	if (!err) {
		f->committed = f->next + GROUP_SIZE - 1;
		f->next += GROUP_SIZE;
	}
	return err;
}

static int run_job(struct fixture *f, enum job_kind kind, void *what)
{
	struct job *job;
	int err;

	assert_int_equal(job_new(kind, what, 0, 0, &job), 0);
	err = run_group(f, &job, 1);
	if (!err)
		assert_int_equal(job->outcome, JOB_DONE);
	job_free(job);
	return err;
}

static int make_segment(struct fixture *f, sqlite3 *db)
{
	struct compactor *c = NULL;
	struct segment *s = NULL;
	int err = compactor_new(db, GROUP_SIZE * ROWS, 0, &c);

	if (!err)
		err = compactor_make(c, &s);
	compactor_free(c);
	return err > 0 ? run_job(f, JOB_SEGMENT, s) : err;
}

static int make_rollup(struct fixture *f, sqlite3 *db)
{
	struct rollup *r = NULL;
	int err = rollup_make(db, 1, 0, NULL, &r);

	return err > 0 ? run_job(f, JOB_ROLLUP, r) : err;
}

/* As the compactor does, beside the writer. */
static int compact(struct fixture *f)
{
	const char *why = NULL;
	sqlite3 *db = NULL;
	int err = db_open_reader(f->dir.path, &db, &why);

	if (!err)
		err = make_segment(f, db);
	if (!err)
		err = make_rollup(f, db);
	db_close(db);
	return err;
}

/* All that there is to do, until something fails. */
static int work(struct fixture *f)
{
	const char *why = NULL;
	int err = f->store ? 0 : store_open(f->dir.path, &f->store, &why);

	if (!err && !f->greeted)
		err = greet(f);
	while (!err && f->next <= BATCHES) {
		err = send_group(f);
		if (!err)
			err = compact(f);
		if (!err)
			store_checkpoint(f->store);
	}
	return err;
}

/* In a rollup, or in what comes after the last segment that is in them. */
#define RECORDS(table)                                                                             \
	"SELECT (SELECT coalesce(sum(records), 0) FROM " table ")"                                 \
	" + (SELECT coalesce(sum(n_rows), 0) FROM flow_segment"                                    \
	"     WHERE id > (SELECT segment_id FROM rollup_state))"                                   \
	" + (SELECT coalesce(sum(n_rows), 0) FROM flow_fresh)"

/* Each batch that is there is there whole and once. Returns how many. */
static uint64_t batches_stored(const struct fixture *f)
{
	const char *why = NULL;
	sqlite3 *db = NULL;
	int64_t rows, seq;

	assert_int_equal(db_open_reader(f->dir.path, &db, &why), 0);
	sample_assert_text(db, "PRAGMA integrity_check", "ok");
	rows = sample_int(db, "SELECT count(*) FROM flows");
	seq = sample_int(db, "SELECT coalesce(max(last_seq), 0) FROM epoch");
	assert_int_equal(sample_int(db, RECORDS("rollup_minute")), rows);
	assert_int_equal(sample_int(db, RECORDS("rollup_hour")), rows);
	db_close(db);
	assert_int_equal(rows, seq * ROWS);
	return (uint64_t)seq;
}

static void begin(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->next = 1;
	sample_dir_make(&f->dir);
}

static void end(struct fixture *f)
{
	store_close(f->store);
	sample_dir_remove(&f->dir);
}

/* What failed is done again, as probes do: nothing is lost, nothing twice. */
static void goes_on(struct fixture *f)
{
	const char *why = NULL;
	sqlite3 *db = NULL;

	assert_int_equal(work(f), 0);
	assert_int_equal(compact(f), 0);
	assert_int_equal(batches_stored(f), BATCHES);
	assert_int_equal(db_open_reader(f->dir.path, &db, &why), 0);
	assert_int_equal(sample_int(db, "SELECT count(*) FROM flow_fresh"), 0);
	assert_int_equal(sample_int(db, "SELECT sum(records) FROM rollup_hour"), BATCHES * ROWS);
	db_close(db);
}

enum sequel {
	GO_ON,
	RESTART, /* killed, and started again */
	POWER_CUT,
	POWER_CUT_TORN, /* some of what was not synced is on the disk */
};

/* Returns whether the n-th was there to fail. */
static bool fail_at(enum fault_kind kind, unsigned n, enum fault_span span, enum sequel sequel)
{
	struct fixture f;
	bool happened;
	int err;

	begin(&f);
	fault_vfs_sync_all();
	(void)fault_vfs_at(kind, n, span);
	err = work(&f);
	if (sequel != GO_ON) /* while nothing can be written: as good as killed */
		store_close(take_ptr(f.store));
	happened = fault_vfs_at(kind, 0, FAULT_ONCE);
	if (!happened)
		assert_int_equal(err, 0);
	if (sequel >= POWER_CUT)
		fault_vfs_cut_power(sequel == POWER_CUT ? 0 : 3);
	if (f.greeted) /* there is a database */
		assert_true(batches_stored(&f) >= f.committed);
	goes_on(&f);
	end(&f);
	return happened;
}

static void fail_each(enum fault_span span, enum sequel sequel)
{
	unsigned n = 1;

	while (fail_at(FAULT_WRITE, n, span, sequel))
		n++;
	print_message("%u failed in turn\n", n - 1);
	assert_true(n > 20);
}

static void test_each_write(void **state)
{
	(void)state;
	fail_each(FAULT_ONCE, GO_ON);
}

static void test_disk_full_from_each_write(void **state)
{
	(void)state;
	fail_each(FAULT_FROM_THEN_ON, GO_ON);
}

static void test_death_on_a_full_disk(void **state)
{
	(void)state;
	fail_each(FAULT_FROM_THEN_ON, RESTART);
}

static void test_power_cut_at_each_write(void **state)
{
	(void)state;
	fail_each(FAULT_FROM_THEN_ON, POWER_CUT);
	fail_each(FAULT_FROM_THEN_ON, POWER_CUT_TORN);
}

/* SQLite allocates thousands of times: steps that grow, after the first ones. */
static void test_allocations_of_sqlite(void **state)
{
	unsigned n = 1;

	(void)state;
	while (fail_at(FAULT_ALLOCATION, n, FAULT_ONCE, GO_ON))
		n += 1 + n / 16;
	print_message("up to allocation %u\n", n);
	assert_true(n > 100);
}

static void test_our_allocations(void **state)
{
	const char *why = NULL;
	struct fixture f;
	int err;

	(void)state;
	begin(&f);
	for (unsigned n = 1;; n++) {
		(void)fail_alloc_at(n);
		err = store_open(f.dir.path, &f.store, &why);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(f.store);
	}
	assert_int_equal(err, 0);
	goes_on(&f);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_write),
		cmocka_unit_test(test_disk_full_from_each_write),
		cmocka_unit_test(test_death_on_a_full_disk),
		cmocka_unit_test(test_power_cut_at_each_write),
		cmocka_unit_test(test_allocations_of_sqlite),
		cmocka_unit_test(test_our_allocations),
	};

	fault_vfs_install();
	return cmocka_run_group_tests_name("store_faults", tests, NULL, NULL);
}
