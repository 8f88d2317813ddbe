/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "collector/serve/writer.h"
#include "collector/store/db.h"
#include "collector/store/reader_lease.h"
#include "collector/store/wal.h"
#include "common/exit_code.h"
#include "common/queue.h"
#include "tests/unit/sample_jobs.h"

#define WAIT_MS 60000

struct fixture {
	struct sample_dir dir;
	char wal[WAL_PATH_MAX];
	struct store *store;
	int ready[2], go[2]; /* pipes with a child that reads */
	pid_t child;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *why = NULL;

	if (!f)
		return -1;
	sample_dir_make(&f->dir);
	assert_int_equal(store_open(f->dir.path, &f->store, &why), 0);
	job_free(sample_apply_hello(f->store, 1, 1));
	assert_int_equal(wal_path(f->dir.path, f->wal), 0);
	assert_int_equal(pipe(f->ready) + pipe(f->go), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	sample_dir_remove(&f->dir);
	for (int i = 0; i < 2; i++) {
		close(f->ready[i]);
		close(f->go[i]);
	}
	free(f);
	return 0;
}

/* In the child: reads until it is told to end, or its lease is over. Does not use f->store. */
static void read_in_child(const struct fixture *f, uint64_t lease_ms)
{
	const char *why = NULL;
	sqlite3 *db = NULL;
	char c = 0;

	if (lease_ms && reader_lease_begin(f->dir.path, lease_ms) != 0)
		_exit(99);
	if (db_open_reader(f->dir.path, &db, &why) != 0 ||
	    sqlite3_exec(db, "BEGIN; SELECT count(*) FROM host", NULL, NULL, NULL) != SQLITE_OK)
		_exit(99);
	if (write(f->ready[1], &c, 1) != 1 || read(f->go[0], &c, 1) != 1)
		_exit(99);
	_exit(EXIT_OK);
}

static void start_reader(struct fixture *f, uint64_t lease_ms)
{
	char c;

	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0)
		read_in_child(f, lease_ms);
	assert_int_equal(read(f->ready[0], &c, 1), 1);
}

/* What the child ended with. */
static int end_reader(struct fixture *f, bool tell)
{
	int status = 0;

	if (tell)
		assert_int_equal(write(f->go[1], "", 1), 1);
	assert_int_equal(waitpid(f->child, &status, 0), f->child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* As if so much had been written: SQLite does not look behind the frames that it knows. */
static void grow(struct fixture *f, uint64_t bytes)
{
	assert_int_equal(truncate(f->wal, (off_t)bytes), 0);
	assert_int_equal(wal_bytes(f->wal), bytes);
}

static void test_readers_are_named(void **state)
{
	char names[64], small[4], wanted[32];
	struct fixture *f = *state;

	assert_int_equal(store_readers(f->store, names, sizeof(names)), 0);
	assert_string_equal(names, "");
	start_reader(f, 0);
	assert_int_equal(store_readers(f->store, names, sizeof(names)), 1);
	(void)snprintf(wanted, sizeof(wanted), "test_wal (pid %d)", (int)f->child);
	assert_string_equal(names, wanted);
	assert_int_equal(store_readers(f->store, small, sizeof(small)), 1);
	assert_string_equal(small, "");
	assert_int_equal(end_reader(f, true), EXIT_OK);
	assert_int_equal(store_readers(f->store, names, sizeof(names)), 0);
}

static void test_no_database(void **state)
{
	char names[64];

	(void)state;
	assert_int_equal(wal_bytes("/nowhere/weir.db-wal"), 0);
	assert_int_equal(wal_readers("/nowhere/weir.db", names, sizeof(names)), 0);
}

/* The child waits on a pipe: no statement is running. */
static void test_lease_ends_with_a_crowded_log(void **state)
{
	struct fixture *f = *state;

	start_reader(f, 1);
	grow(f, WAL_CROWDED_BYTES);
	assert_int_equal(end_reader(f, false), EXIT_RUNTIME);
}

static void test_lease_lasts_with_a_short_log(void **state)
{
	struct fixture *f = *state;

	start_reader(f, 1);
	sleep(2); /* two looks */
	assert_int_equal(end_reader(f, true), EXIT_OK);
}

static void test_young_reader_stays(void **state)
{
	struct fixture *f = *state;

	start_reader(f, WAIT_MS * 10);
	grow(f, WAL_CROWDED_BYTES);
	sleep(2);
	assert_int_equal(end_reader(f, true), EXIT_OK);
}

/* It begins when the log is short again, and is not ended for having waited. */
static void test_new_reader_waits_for_room(void **state)
{
	struct fixture *f = *state;
	struct pollfd ready = {.fd = f->ready[0], .events = POLLIN};
	char c;

	grow(f, WAL_CROWDED_BYTES);
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0)
		read_in_child(f, WAIT_MS);
	assert_int_equal(poll(&ready, 1, 1500), 0);
	grow(f, WAL_CROWDED_BYTES / 2);
	assert_int_equal(read(f->ready[0], &c, 1), 1);
	assert_int_equal(end_reader(f, true), EXIT_OK);
}

struct writing {
	struct store *store;
	struct queue *jobs, *replies;
};

static void *write_jobs(void *arg)
{
	const struct writer_settings settings = {.commit_interval_ms = 1};
	struct writing *w = arg;

	writer_run(w->store, &settings, w->jobs, w->replies);
	return NULL;
}

static enum job_outcome write_hello(struct writing *w)
{
	struct hello *h = malloc(sizeof(*h));
	enum job_outcome outcome;
	struct job *job;

	assert_non_null(h);
	*h = sample_hello(1, 1);
	assert_int_equal(job_new(JOB_HELLO, h, 0, 0, &job), 0);
	assert_int_equal(queue_push(w->jobs, job, 0), 0);
	job = queue_pop(w->replies, WAIT_MS);
	assert_non_null(job);
	outcome = job->outcome;
	job_free(job);
	return outcome;
}

static void test_full_log_refuses_until_the_reader_ends(void **state)
{
	struct fixture *f = *state;
	struct writing w = {.store = f->store};
	enum job_outcome outcome;
	pthread_t thread;

	start_reader(f, 0);
	grow(f, WAL_FULL_BYTES);
	assert_int_equal(queue_new(8, SIZE_MAX, job_free, &w.jobs), 0);
	assert_int_equal(queue_new(8, SIZE_MAX, job_free, &w.replies), 0);
	assert_int_equal(pthread_create(&thread, NULL, write_jobs, &w), 0);
	assert_int_equal(write_hello(&w), JOB_STORAGE);
	assert_int_equal(wal_bytes(f->wal), WAL_FULL_BYTES);
	assert_int_equal(end_reader(f, true), EXIT_OK);
	do /* it looks twice a second */
		outcome = write_hello(&w);
	while (outcome == JOB_STORAGE);
	assert_int_equal(outcome, JOB_DONE);
	queue_close(w.jobs);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(wal_bytes(f->wal) < WAL_CROWDED_BYTES);
	queue_free(w.jobs);
	queue_free(w.replies);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_readers_are_named),
		cmocka_unit_test(test_no_database),
		TEST(test_lease_ends_with_a_crowded_log),
		TEST(test_lease_lasts_with_a_short_log),
		TEST(test_young_reader_stays),
		TEST(test_new_reader_waits_for_room),
		TEST(test_full_log_refuses_until_the_reader_ends),
	};

	return cmocka_run_group_tests_name("wal", tests, NULL, NULL);
}
