// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* backup, check, stats: on a database that is written meanwhile, and on damaged ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/db/db_command.h"
#include "common/exit_code.h"
#include "tests/unit/capture_command.h"
#include "tests/unit/remove_folder.h"
#include "tests/unit/sample_db.h"

#define N_ROWS 20000 /* of the table loss: above a megabyte */

struct folder {
	char path[64], db[96], copy[96], part[112];
};

static struct folder folder; /* of the test that runs */

static int setup(void **state)
{
	struct folder *f = &folder;
	sqlite3 *db;

	strcpy(f->path, "/tmp/weir-db.XXXXXX");
	assert_non_null(mkdtemp(f->path));
	(void)snprintf(f->db, sizeof(f->db), "%s/weir.db", f->path);
	(void)snprintf(f->copy, sizeof(f->copy), "%s/copy.db", f->path);
	(void)snprintf(f->part, sizeof(f->part), "%s/copy.db.part", f->path);
	db = sample_open(f->db);
	sample_exec(db, "PRAGMA journal_mode = WAL");
	sample_add_host(db, 1, "web1", 1000, 0);
	sample_exec(db,
		    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT"
		    " 20000) INSERT INTO loss (id, host_id, epoch, first_seq, last_seq, rows, "
		    "packets, bytes, recorded_ms) SELECT i, 1, 7, i, i, 1, i * 1000, i * 100000, i"
		    " FROM n");
	sqlite3_close(db);
	(void)state;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return remove_folder(folder.path);
}

static struct capture said; /* by the command that ran last */

/* Runs "db NAME --db DB [ARGUMENT]" with what it says in said. */
static int run(struct folder *f, const struct cli_command *command, const char *option,
	       const char *argument)
{
	return capture_command(&said, command, f->db,
			       (const char *const[CAPTURE_MAX_WORDS]){option, argument});
}

static int64_t number_in(const char *path, const char *sql)
{
	int64_t n;
	sqlite3 *db;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	n = sample_number(db, sql);
	sqlite3_close(db);
	return n;
}

static void test_backup_is_the_same(void **state)
{
	struct folder *f = &folder;
	struct stat st;

	(void)state;
	assert_int_equal(run(f, &db_backup_command, NULL, f->copy), EXIT_OK);
	assert_int_equal(number_in(f->copy, "SELECT count(*) FROM loss"), N_ROWS);
	assert_int_equal(number_in(f->copy, "SELECT sum(bytes) FROM loss"),
			 number_in(f->db, "SELECT sum(bytes) FROM loss"));
	assert_int_equal(stat(f->copy, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(access(f->part, F_OK), -1);
}

/* Adds a row and takes one away, in one transaction, for ever. */
static void write_for_ever(const char *path)
{
	sqlite3 *db;

	if (sqlite3_open(path, &db) != SQLITE_OK)
		_exit(1);
	sqlite3_busy_timeout(db, 10000);
	while (sqlite3_exec(
		       db,
		       "BEGIN IMMEDIATE; DELETE FROM loss WHERE id = (SELECT min(id) FROM"
		       " loss); INSERT INTO loss (id, host_id, epoch, first_seq, last_seq, rows, "
		       "packets, bytes, recorded_ms) SELECT max(id) + 1, 1, 7, 0, 0, 1, 1, 1, 1"
		       " FROM loss; COMMIT",
		       NULL, NULL, NULL) == SQLITE_OK)
		;
	_exit(2);
}

static void test_backup_while_it_is_written(void **state)
{
	struct folder *f = &folder;
	pid_t writer = fork();
	int status;

	(void)state;
	assert_true(writer >= 0);
	if (writer == 0)
		write_for_ever(f->db);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(run(f, &db_backup_command, i ? "--force" : NULL, f->copy),
				 EXIT_OK);
		assert_int_equal(number_in(f->copy, "SELECT count(*) FROM loss"), N_ROWS);
		assert_int_equal(number_in(f->copy, "SELECT max(id) - min(id) FROM loss"),
				 N_ROWS - 1);
	}
	assert_int_equal(waitpid(writer, &status, WNOHANG), 0); /* it went on all the time */
	kill(writer, SIGKILL);
	assert_int_equal(waitpid(writer, &status, 0), writer);
}

static void test_backup_replaces_only_if_told(void **state)
{
	struct folder *f = &folder;
	FILE *other = fopen(f->copy, "w");

	(void)state;
	assert_non_null(other);
	fputs("mine", other);
	fclose(other);
	assert_int_equal(run(f, &db_backup_command, NULL, f->copy), EXIT_USAGE);
	assert_non_null(strstr(said.err, "--force"));
	assert_int_equal(run(f, &db_backup_command, NULL, NULL), EXIT_USAGE);
	assert_int_equal(run(f, &db_backup_command, "--force", f->copy), EXIT_OK);
	assert_int_equal(number_in(f->copy, "SELECT count(*) FROM loss"), N_ROWS);
}

static void test_backup_to_nowhere(void **state)
{
	struct folder *f = &folder;

	(void)state;
	assert_int_equal(run(f, &db_backup_command, NULL, "/nowhere/copy.db"), EXIT_RUNTIME);
	assert_non_null(strstr(said.err, "No such file"));
}

/* Overwrites pages in the middle of the table. */
static void damage(const char *path)
{
	char junk[4096];
	int fd = open(path, O_WRONLY);

	memset(junk, 0x5a, sizeof(junk));
	assert_true(fd >= 0);
	for (int page = 100; page < 110; page++)
		assert_int_equal(pwrite(fd, junk, sizeof(junk), page * 4096), sizeof(junk));
	close(fd);
}

static void test_check(void **state)
{
	struct folder *f = &folder;

	(void)state;
	assert_int_equal(run(f, &db_check_command, NULL, NULL), EXIT_OK);
	assert_string_equal(said.out, "");
	damage(f->db);
	assert_int_equal(run(f, &db_check_command, NULL, NULL), EXIT_CHECK);
	assert_non_null(strstr(said.err, "damaged"));
	assert_true(strlen(said.out) > 0);
}

static void test_check_follows_references(void **state)
{
	struct folder *f = &folder;
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(f->db, &db), SQLITE_OK);
	sample_exec(db, "UPDATE loss SET host_id = 99 WHERE id = 17");
	sqlite3_close(db);
	assert_int_equal(run(f, &db_check_command, NULL, NULL), EXIT_CHECK);
	assert_non_null(strstr(said.out, "a row of loss points to a row of host"));
}

static void test_backup_of_a_damaged_one_leaves_nothing(void **state)
{
	struct folder *f = &folder;

	(void)state;
	damage(f->db);
	assert_int_not_equal(run(f, &db_backup_command, NULL, f->copy), EXIT_OK);
	assert_int_equal(access(f->copy, F_OK), -1);
	assert_int_equal(access(f->part, F_OK), -1);
}

static void test_stats_are_the_file(void **state)
{
	struct folder *f = &folder;
	struct stat st;
	char total[64];

	(void)state;
	assert_int_equal(stat(f->db, &st), 0);
	assert_int_equal(run(f, &db_stats_command, "--output=csv", NULL), EXIT_OK);
	(void)snprintf(total, sizeof(total), "(total),%lld,100,", (long long)st.st_size);
	assert_non_null(strstr(said.out, "\nloss,"));
	if (!strstr(said.out, total))
		fail_msg("no '%s' in: %s", total, said.out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_backup_is_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backup_while_it_is_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backup_replaces_only_if_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backup_to_nowhere, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check_follows_references, setup, teardown),
		cmocka_unit_test_setup_teardown(test_backup_of_a_damaged_one_leaves_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_stats_are_the_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
