// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* db retention and db migrate: what is kept, what goes, and databases of other versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/command/enroll.h"
#include "collector/command/flows.h"
#include "collector/command/hosts.h"
#include "collector/command/incidents.h"
#include "collector/command/order.h"
#include "collector/command/sql_shell.h"
#include "collector/db/db_command.h"
#include "collector/report/report.h"
#include "collector/serve/control.h"
#include "collector/serve/retention.h"
#include "common/exit_code.h"
#include "tests/unit/capture_command.h"
#include "tests/unit/sample_db.h"
#include "tests/unit/sample_jobs.h"

#define HOUR_MS 3600000
#define DAY_MS	(24 * HOUR_MS)

static struct sample_dir dir; /* of the test that runs */
static struct capture said;   /* by the command that ran last */

static int setup(void **state)
{
	(void)state;
	sample_dir_make(&dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sample_dir_remove(&dir);
	return 0;
}

/* Runs the command with --db and these options. */
static int run(const struct cli_command *command, const char *a, const char *b)
{
	return capture_command(&said, command, dir.path,
			       (const char *const[CAPTURE_MAX_WORDS]){"-ocsv", a, b});
}

static void assert_said(const char *text)
{
	if (!strstr(said.out, text) && !strstr(said.err, text))
		fail_msg("no \"%s\" in: %s%s", text, said.out, said.err);
}

/* n batches of one record, the last of which ended an hour ago, each a day before the next. */
static void make_days(int n)
{
	int64_t now_ms = (int64_t)(clock_real_ns() / NS_PER_MS);
	const char *why;
	sqlite3 *db;

	assert_int_equal(db_open_writer(dir.path, &db, &why), 0);
	sample_add_host(db, 1, "web1", now_ms, 0);
	for (int day = 0; day < n; day++) {
		struct sample_flow f = {.host_id = 1,
					.flow_id = day + 1,
					.start_ms = now_ms - HOUR_MS - (int64_t)day * DAY_MS,
					.end_ms = now_ms - HOUR_MS - (int64_t)day * DAY_MS,
					.src_addr = "10.0.0.1",
					.dst_addr = "10.0.0.2",
					.proto = 6,
					.end_reason = 1,
					.packets = 1,
					.vlan = -1,
					.tcp_flags = -1};

		sample_add(db, &f);
	}
	db_close(db);
}

static int64_t number(const char *sql)
{
	sqlite3 *db = sample_reader(dir.path);
	int64_t n = sample_number(db, sql);

	sqlite3_close(db);
	return n;
}

/* --- retention ---------------------------------------------------------------------- */

static void test_retention_shows_and_deletes_nothing(void **state)
{
	(void)state;
	make_days(10);
	assert_int_equal(run(&db_retention_command, NULL, NULL), EXIT_OK);
	assert_said("\nflows,10,");
	assert_int_equal(run(&db_retention_command, "--retention", "7d"), EXIT_OK);
	assert_said("nothing is deleted");
	assert_said(",3,"); /* rows_to_go */
	assert_int_equal(run(&db_retention_command, "--retention-bytes", "4096"), EXIT_OK);
	assert_said(",10,");
	assert_int_equal(number("SELECT count(*) FROM flows"), 10);
	assert_int_equal(run(&db_retention_command, "--apply", NULL), EXIT_USAGE);
}

static void test_retention_applied(void **state)
{
	int64_t now_ms = (int64_t)(clock_real_ns() / NS_PER_MS);

	(void)state;
	make_days(10);
	assert_int_equal(run(&db_retention_command, "--retention=7d", "--apply"), EXIT_OK);
	assert_said("3 flow records deleted");
	assert_int_equal(number("SELECT count(*) FROM flows"), 7);
	assert_true(number("SELECT min(end_ms) FROM flows") >= now_ms - (int64_t)7 * DAY_MS);
	assert_int_equal(run(&db_retention_command, "--retention=7d", "--apply"), EXIT_OK);
	assert_said("0 flow records deleted");
	assert_int_equal(run(&db_retention_command, "--retention-bytes=4096", "--apply"), EXIT_OK);
	assert_said("7 flow records deleted");
}

static void test_retention_of_serve_is_told(void **state)
{
	const char *words[] = {"retention", "1209600000", "1073741824"}, *why;
	struct admin_reply reply;

	(void)state;
	make_days(1);
	assert_int_equal(control_ask(dir.path, 3, words, &reply, &why), 0);
	assert_int_equal(run(&db_retention_command, NULL, NULL), EXIT_OK);
	assert_said("older than 336 h");
	assert_said("larger than 1024 MiB");
}

static void test_size_alone_leaves_coverage(void **state)
{
	const struct retention limits = {.flows_before_ms = INT64_MIN, .max_bytes = 4096};
	struct store *store;
	const char *why;
	sqlite3 *db;
	size_t rows;

	(void)state;
	make_days(2);
	db = sample_reader(dir.path);
	sample_exec(db, "INSERT INTO coverage_minute (host_id, minute_ms) VALUES (1, 60000)");
	sqlite3_close(db);
	assert_int_equal(store_open(dir.path, &store, &why), 0);
	assert_int_equal(store_expire(store, &limits, 1000, &rows), 0);
	assert_int_equal(rows, 2);
	store_close(store);
	assert_int_equal(number("SELECT count(*) FROM coverage_minute"), 1);
}

/* --- versions ------------------------------------------------------------------------ */

static void make_version(int version)
{
	char sql[100];
	sqlite3 *db;

	assert_int_equal(sqlite3_open(dir.path, &db), SQLITE_OK);
	for (int i = 0; i < version; i++)
		sample_exec(db, migrations[i]);
	(void)snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %d",
		       DB_APPLICATION_ID, version);
	sample_exec(db, sql);
	sqlite3_close(db);
}

static void make_newer(void)
{
	sqlite3 *db;

	make_version((int)db_newest_version());
	db = sample_reader(dir.path);
	sample_exec(db, "PRAGMA user_version = 1000");
	sqlite3_close(db);
}

static void test_migrate(void **state)
{
	char text[64];

	(void)state;
	make_version(5);
	assert_int_equal(run(&db_retention_command, NULL, NULL), EXIT_NOT_OURS);
	assert_said("db migrate");
	assert_int_equal(run(&db_migrate_command, NULL, NULL), EXIT_OK);
	(void)snprintf(text, sizeof(text), "from version 5 to %d", (int)db_newest_version());
	assert_said(text);
	assert_int_equal(number("PRAGMA user_version"), db_newest_version());
	assert_int_equal(number("SELECT count(*) FROM flows"), 0);
	assert_int_equal(run(&db_migrate_command, NULL, NULL), EXIT_OK);
	assert_said("as it was");
}

static void test_migrate_refuses_what_is_newer(void **state)
{
	(void)state;
	make_newer();
	assert_int_equal(run(&db_migrate_command, NULL, NULL), EXIT_NOT_OURS);
	assert_said("written by a newer weir");
	assert_int_equal(number("PRAGMA user_version"), 1000);
}

/* What a command needs beside --db; the others need nothing. */
static const struct {
	const char *command, *a, *b;
} arguments[] = {
	{"db backup", "/tmp/weir-nobody-writes-this", NULL},
	{"db import", "/dev/null", NULL},
	{"order", "web1", "echo"},
	{"sql", "SELECT 1", NULL},
	{"report host", "web1", NULL},
	{"report flow", "17", NULL},
	{"enroll token revoke", "1", NULL},
	{"enroll approve", "web1", NULL},
	{"enroll reject", "web1", NULL},
	{"enroll revoke", "web1", NULL},
	{"enroll admit", "web1", NULL},
	{"enroll add", "web1", "0000000000000000000000000000000000000000000000000000000000000000"},
};

/* Runs the command, or all that are under it; returns how many. */
static int assert_refused_by(const struct cli_command *c)
{
	const char *name = c->command.name, *words[CAPTURE_MAX_WORDS] = {NULL};
	int code, n = 0;

	for (size_t i = 0; i < c->n_subcommands; i++)
		n += assert_refused_by(c->subcommands[i]);
	if (c->n_subcommands)
		return n;
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++)
		if (strcmp(arguments[i].command, name) == 0) {
			words[0] = arguments[i].a;
			words[1] = arguments[i].b;
		}
	code = capture_command(&said, c, dir.path, words);
	if (code != EXIT_NOT_OURS || !strstr(said.err, "written by a newer weir"))
		fail_msg("%s: %d, %s", name, code, said.err);
	return 1;
}

static void test_every_command_refuses_what_is_newer(void **state)
{
	static const struct cli_command *const commands[] = {
		&init_command,	&enroll_command, &hosts_command,
		&flows_command, &report_command, &incidents_command,
		&sql_command,	&db_command,	 &order_command,
	};
	int n = 0;

	(void)state;
	make_newer();
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		n += assert_refused_by(commands[i]);
	assert_true(n > 20);
	assert_int_equal(number("PRAGMA user_version"), 1000);
}

static void test_extension_refuses_what_is_newer(void **state)
{
	static const char extension[] = "build/weir_flows.so"; /* not made for sanitizers */
	char *why = NULL;
	sqlite3 *db;

	(void)state;
	if (access(extension, F_OK) != 0)
		skip();
	make_version((int)db_newest_version());
	assert_int_equal(sqlite3_open(dir.path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_load_extension(db, extension, NULL, &why), SQLITE_OK);
	assert_int_equal(sample_number(db, "SELECT count(*) FROM flows"), 0);
	sample_exec(db, "PRAGMA user_version = 1000");
	sqlite3_close(db);
	assert_int_equal(sqlite3_open(dir.path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_load_extension(db, extension, NULL, &why), SQLITE_ERROR);
	assert_non_null(strstr(why, "newer weir"));
	sqlite3_free(why);
	sqlite3_close(db);
}

static void test_migrate_refuses_what_is_served(void **state)
{
	struct store *store;
	const char *why;

	(void)state;
	assert_int_equal(store_open(dir.path, &store, &why), 0);
	assert_int_equal(run(&db_migrate_command, NULL, NULL), EXIT_RUNTIME);
	assert_said("another weir-collector serves it");
	store_close(store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_retention_shows_and_deletes_nothing),
		TEST(test_retention_applied),
		TEST(test_retention_of_serve_is_told),
		TEST(test_size_alone_leaves_coverage),
		TEST(test_migrate),
		TEST(test_migrate_refuses_what_is_newer),
		TEST(test_migrate_refuses_what_is_served),
		TEST(test_every_command_refuses_what_is_newer),
		TEST(test_extension_refuses_what_is_newer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
