/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "collector/store/db.h"
#include "common/exit_code.h"
#include "migrations.h" /* generated */
#include "tests/unit/sample_jobs.h"

static int setup(void **state)
{
	struct sample_dir *d = calloc(1, sizeof(*d));

	if (!d)
		return -1;
	sample_dir_make(d);
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	sample_dir_remove(*state);
	free(*state);
	return 0;
}

static void make_new(const struct sample_dir *d)
{
	const char *why = NULL;
	sqlite3 *db = NULL;

	assert_int_equal(db_open_writer(d->path, &db, &why), 0);
	db_close(db);
}

static void make_with(const struct sample_dir *d, const char *sql)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(d->path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void write_at(const struct sample_dir *d, off_t at, const void *data, size_t len)
{
	int fd = open(d->path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, at), (ssize_t)len);
	close(fd);
}

static void assert_refused(const struct sample_dir *d, int wanted)
{
	const char *why = NULL;
	sqlite3 *db = NULL;

	assert_int_equal(db_open_writer(d->path, &db, &why), wanted);
	assert_non_null(why);
	assert_null(db);
	why = NULL;
	assert_int_equal(db_open_reader(d->path, &db, &why), wanted);
	assert_non_null(why);
	assert_null(db);
}

static void test_new_file_gets_the_schema(void **state)
{
	const struct sample_dir *d = *state;
	const char *why = NULL;
	sqlite3 *db = NULL;

	assert_int_equal(db_open_writer(d->path, &db, &why), 0);
	assert_int_equal(sample_int(db, "PRAGMA application_id"), DB_APPLICATION_ID);
	assert_true(sample_int(db, "PRAGMA user_version") >= 1);
	assert_int_equal(sample_int(db, "PRAGMA synchronous"), 2);
	sample_assert_text(db, "PRAGMA journal_mode", "wal");
	assert_int_equal(sample_int(db, "SELECT count(*) FROM flows"), 0);
	db_close(db);
}

static void test_reopening_keeps_data(void **state)
{
	const struct sample_dir *d = *state;
	const char *why = NULL;
	sqlite3 *db = NULL;

	make_new(d);
	make_with(d, "INSERT INTO detector_state VALUES ('x', 42)");
	assert_int_equal(db_open_writer(d->path, &db, &why), 0);
	assert_int_equal(sample_int(db, "SELECT done_until_ms FROM detector_state"), 42);
	db_close(db);
}

/* A database of version 1 with a record: moved into columns; what it could not know reads NULL or
 * 0. */
static void test_older_database_is_brought_up(void **state)
{
	const struct sample_dir *d = *state;
	const char *why = NULL;
	sqlite3 *db = NULL;
	char mark[100];

	(void)snprintf(mark, sizeof(mark), "PRAGMA application_id = %d; PRAGMA user_version = 1",
		       DB_APPLICATION_ID);
	make_with(d, migrations[0]);
	make_with(d, mark);
	make_with(d,
		  "INSERT INTO host VALUES (1, zeroblob(16), 'web1', '', '', x'', '', 1, 2, 3);"
		  "INSERT INTO flow VALUES (5, 1, 7, 1000, 2000, 1000000, '10.0.0.1', '10.0.0.2',"
		  " 4000, 80, 6, NULL, NULL, NULL, NULL, 'eth0', 1, 2, 3, 10, 20, 30, 40, 10, 20,"
		  " 30, 40, 27, 27, 5, 2, 3, 1, 100, 0, 0)");
	assert_int_equal(db_open_reader(d->path, &db, &why), -EPROTO);
	assert_int_equal(db_open_writer(d->path, &db, &why), 0);
	assert_int_equal(sample_int(db, "PRAGMA user_version"),
			 sizeof(migrations) / sizeof(*migrations));
	sample_assert_text(db,
			   "SELECT host || ' ' || src_addr || ' ' || dst_port || ' ' || rev_bytes"
			   " || ' ' || rtt_us || ' ' || retrans_bytes || ' ' || flow_id FROM flows",
			   "web1 10.0.0.1 80 40 5 100 7");
	assert_int_equal(sample_int(db,
				    "SELECT count(*) FROM flows WHERE coalesce(mss,"
				    " data_rtt_hist, tunnel, tunnel_id, outer_src_addr, verdict)"
				    " IS NULL AND ooo_pkts = 0 AND duration_us = 1000000 AND"
				    " community_id IS NOT NULL"),
			 1);
	assert_int_equal(sample_int(db, "SELECT count(*) FROM sqlite_schema WHERE name GLOB"
					" 'flow_row*'"),
			 0);
	db_close(db);
	assert_int_equal(db_open_writer(d->path, &db, &why), 0); /* once only */
	assert_int_equal(sample_int(db, "SELECT count(*) FROM flows"), 1);
	db_close(db);
}

static void test_second_writer_is_refused(void **state)
{
	const struct sample_dir *d = *state;
	sqlite3 *first = NULL, *second = NULL;
	char link[80];
	const char *why = NULL;

	assert_int_equal(db_open_writer(d->path, &first, &why), 0);
	assert_int_equal(db_open_writer(d->path, &second, &why), -EBUSY);
	assert_non_null(strstr(why, "another"));
	(void)snprintf(link, sizeof(link), "%s/other-name", d->dir);
	assert_int_equal(symlink(d->path, link), 0);
	assert_int_equal(db_open_writer(link, &second, &why), -EBUSY);
	unlink(link);
	db_close(first);
	assert_int_equal(db_open_writer(d->path, &second, &why), 0);
	db_close(second);
}

static void test_lock_dies_with_its_process(void **state)
{
	const struct sample_dir *d = *state;
	const char *why = NULL;
	sqlite3 *db = NULL;
	int ready[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		bool ok = db_open_writer(d->path, &db, &why) == 0;

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when a test fails */
		if (!ok || write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(db_open_writer(d->path, &db, &why), -EBUSY);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(db_open_writer(d->path, &db, &why), 0);
	db_close(db);
	close(ready[0]);
	close(ready[1]);
}

static void test_foreign_database_is_refused_and_left_alone(void **state)
{
	const struct sample_dir *d = *state;
	sqlite3 *db = NULL;

	make_with(d, "CREATE TABLE theirs (x)");
	assert_refused(d, -EMEDIUMTYPE);
	assert_int_equal(sqlite3_open(d->path, &db), SQLITE_OK);
	assert_int_equal(sample_int(db, "SELECT count(*) FROM sqlite_schema"), 1);
	sample_assert_text(db, "PRAGMA journal_mode", "delete");
	sqlite3_close(db);
}

static void test_file_that_is_no_database_is_refused(void **state)
{
	static const char notes[] = "these are my holiday notes, not a database";
	const struct sample_dir *d = *state;

	write_at(d, 0, notes, sizeof(notes));
	assert_refused(d, -EMEDIUMTYPE);
}

static void test_newer_version_is_refused(void **state)
{
	const struct sample_dir *d = *state;

	make_new(d);
	make_with(d, "PRAGMA user_version = 1000");
	assert_refused(d, -EPROTO);
}

static void test_damaged_schema_is_told(void **state)
{
	const struct sample_dir *d = *state;
	uint8_t garbage[400];

	make_new(d);
	memset(garbage, 0xa5, sizeof(garbage));
	write_at(d, 100, garbage, sizeof(garbage)); /* the first page of the schema */
	assert_refused(d, -EUCLEAN);
}

static void test_cut_off_file_is_told(void **state)
{
	const struct sample_dir *d = *state;

	make_new(d);
	assert_int_equal(truncate(d->path, 8192), 0);
	assert_refused(d, -EUCLEAN);
}

static void test_reader_needs_a_database(void **state)
{
	const struct sample_dir *d = *state;
	const char *why = NULL;
	sqlite3 *db = NULL;

	assert_int_equal(db_open_reader(d->path, &db, &why), -ENOENT);
	assert_int_not_equal(access(d->path, F_OK), 0); /* and does not make one */
	write_at(d, 0, "", 0);
	assert_int_equal(db_open_reader(d->path, &db, &why), -EMEDIUMTYPE);
	assert_null(db);
}

static void test_reader_sees_what_is_committed_and_cannot_write(void **state)
{
	const struct sample_dir *d = *state;
	sqlite3 *writer = NULL, *reader = NULL;
	const char *why = NULL;

	assert_int_equal(db_open_writer(d->path, &writer, &why), 0);
	assert_int_equal(db_open_reader(d->path, &reader, &why), 0);
	assert_int_equal(sqlite3_exec(writer, "INSERT INTO detector_state VALUES ('x', 7)", NULL,
				      NULL, NULL),
			 SQLITE_OK);
	assert_int_equal(sample_int(reader, "SELECT done_until_ms FROM detector_state"), 7);
	assert_int_equal(
		db_errno(sqlite3_exec(reader, "DELETE FROM detector_state", NULL, NULL, NULL)),
		-EACCES);
	db_close(reader);
	db_close(writer);
}

/* In a child, so that root can put its rights aside. */
static void test_permission_is_told(void **state)
{
	const struct sample_dir *d = *state;
	int status;
	pid_t pid;

	make_new(d);
	assert_int_equal(chmod(d->path, 0), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const char *why = NULL;
		sqlite3 *db = NULL;
		bool plain = geteuid() != 0 || seteuid(65534) == 0;

		_exit(plain && chdir("/") == 0 && db_open_writer(d->path, &db, &why) == -EACCES &&
				      db_open_reader(d->path, &db, &why) == -EACCES
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_exit_codes(void **state)
{
	(void)state;
	assert_int_equal(db_exit_code(0), EXIT_OK);
	assert_int_equal(db_exit_code(-EACCES), EXIT_PERMISSION);
	assert_int_equal(db_exit_code(-EMEDIUMTYPE), EXIT_NOT_OURS);
	assert_int_equal(db_exit_code(-EPROTO), EXIT_NOT_OURS);
	assert_int_equal(db_exit_code(-EUCLEAN), EXIT_NOT_OURS);
	assert_int_equal(db_exit_code(-ENOSPC), EXIT_DISK_FULL);
	assert_int_equal(db_exit_code(-EBUSY), EXIT_RUNTIME);
	assert_int_equal(db_exit_code(-ENOENT), EXIT_RUNTIME);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_new_file_gets_the_schema),
		TEST(test_reopening_keeps_data),
		TEST(test_older_database_is_brought_up),
		TEST(test_second_writer_is_refused),
		TEST(test_lock_dies_with_its_process),
		TEST(test_foreign_database_is_refused_and_left_alone),
		TEST(test_file_that_is_no_database_is_refused),
		TEST(test_newer_version_is_refused),
		TEST(test_damaged_schema_is_told),
		TEST(test_cut_off_file_is_told),
		TEST(test_reader_needs_a_database),
		TEST(test_reader_sees_what_is_committed_and_cannot_write),
		TEST(test_permission_is_told),
		cmocka_unit_test(test_exit_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
