// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* db import: out again what db export and databases hold, once, and nothing of what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/db/db_command.h"
#include "common/exit_code.h"
#include "tests/unit/capture_command.h"
#include "tests/unit/random_flows.h"
#include "tests/unit/remove_folder.h"
#include "tests/unit/sample_store.h"

#define N_HOSTS	  3
#define PER_BLOCK 40

struct folder {
	char path[48], from[64], to[64], file[64], plain[64];
	uint64_t rng;
};

static struct folder folder; /* of the test that runs */
static struct capture said;  /* by the command that ran last */

static int setup(void **state)
{
	struct folder *f = &folder;

	(void)state;
	*f = (struct folder){.path = "/tmp/weir-import.XXXXXX", .rng = 0x123456789abcdefull};
	assert_non_null(mkdtemp(f->path));
	(void)snprintf(f->from, sizeof(f->from), "%s/from.db", f->path);
	(void)snprintf(f->to, sizeof(f->to), "%s/to.db", f->path);
	(void)snprintf(f->file, sizeof(f->file), "%s/flows", f->path);
	(void)snprintf(f->plain, sizeof(f->plain), "%s/plain.db", f->path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return remove_folder(folder.path);
}

/* --- databases ------------------------------------------------------------------------ */

static void exec(const char *path, const char *sql)
{
	const char *why = "";
	sqlite3 *db;

	assert_int_equal(db_open_writer(path, &db, &why), 0);
	sample_exec(db, sql);
	db_close(db);
}

static int64_t number(const char *path, const char *sql)
{
	int64_t n;
	sqlite3 *db;

	assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(flows_table_register(db), SQLITE_OK);
	n = sample_number(db, sql);
	sqlite3_close(db);
	return n;
}

/* What is NULL in SQL has no traces elsewhere in a probe's records. */
static struct flow_record likely_flow(uint64_t *rng)
{
	struct flow_record r = random_flow(rng);
	bool tcp = r.proto == IPPROTO_TCP;
	bool icmp = r.proto == IPPROTO_ICMP || r.proto == IPPROTO_ICMPV6;

	if (!tcp && !icmp)
		r.data_rtt_samples = r.rev_data_rtt_samples = 0;
	if (!tcp && r.proto != IPPROTO_UDP)
		r.responses = 0;
	if (r.end_reason == FLOW_END_NO_RESOURCES)
		r.icmp_errors = 0;
	return r;
}

static void put_blocks(struct folder *f, sqlite3 *db, int n)
{
	for (int b = 0; b < n; b++) {
		struct flow_record rows[PER_BLOCK];

		for (size_t i = 0; i < PER_BLOCK; i++) {
			rows[i] = likely_flow(&f->rng);
			if (i % 7 == 0)
				(void)snprintf(rows[i].process, sizeof(rows[i].process), "%s",
					       i % 2 ? "-bash" : "=\"1,2\"");
		}
		sample_add_records(db, 1 + b % N_HOSTS, rows, PER_BLOCK);
	}
}

/* n blocks, most of which are in segments. */
static void make_source(struct folder *f, int n)
{
	static const char *const names[] = {"web1", "db-1.example", "=cmd|'x'!A0"};
	const char *why = "";
	sqlite3 *db, *reader;

	assert_int_equal(db_open_writer(f->from, &db, &why), 0);
	for (int h = 0; h < N_HOSTS; h++)
		sample_add_host(db, 1 + h, names[h], 1700000000000, 0);
	sample_exec(db, "INSERT INTO host_addr (host_id, addr, since_ms)"
			" VALUES (1, CAST('0123456789abcdef' AS BLOB), 0)");
	sample_exec(db,
		    "INSERT INTO coverage_minute (host_id, minute_ms, batches, map_full_packets)"
		    " VALUES (1, 60000, 7, 9)");
	put_blocks(f, db, n);
	assert_int_equal(db_open_reader(f->from, &reader, &why), 0);
	(void)sample_compact(db, reader, 400);
	db_close(reader);
	put_blocks(f, db, 3);
	db_close(db);
}

/* One that knows another host, so that the same have other ids in it. */
static void make_target(struct folder *f)
{
	const char *why = "";
	sqlite3 *db;

	assert_int_equal(db_open_writer(f->to, &db, &why), 0);
	sample_add_host(db, 7, "somebody else", 1000, 0);
	db_close(db);
}

/* Every column but host_id, of all flows, as a table of another file. */
static void make_plain(const char *path, const char *plain, const char *name)
{
	char *columns, *sql;
	sqlite3_stmt *st;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(flows_table_register(db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db,
					    "SELECT group_concat(name) FROM pragma_table_info("
					    "'flows') WHERE name <> 'host_id'",
					    -1, &st, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	columns = sqlite3_mprintf("%s", sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	sql = sqlite3_mprintf("ATTACH %Q AS p; CREATE TABLE p.%s AS SELECT %s FROM flows", plain,
			      name, columns);
	sample_exec(db, sql);
	sqlite3_free(sql);
	sqlite3_free(columns);
	sqlite3_close(db);
}

static void assert_same_flows(struct folder *f)
{
	(void)unlink(f->plain);
	make_plain(f->from, f->plain, "a");
	make_plain(f->to, f->plain, "b");
	assert_true(number(f->plain, "SELECT count(*) FROM a") > 100);
	assert_int_equal(number(f->plain, "SELECT count(*) FROM a"),
			 number(f->plain, "SELECT count(*) FROM b"));
	assert_int_equal(
		number(f->plain, "SELECT count(*) FROM (SELECT * FROM a EXCEPT SELECT * FROM b)"),
		0);
	assert_int_equal(
		number(f->plain, "SELECT count(*) FROM (SELECT * FROM b EXCEPT SELECT * FROM a)"),
		0);
}

/* --- commands ------------------------------------------------------------------------- */

static int run(const struct cli_command *command, const char *db_path, const char *a, const char *b)
{
	return capture_command(&said, command, db_path,
			       (const char *const[CAPTURE_MAX_WORDS]){a, b});
}

static void assert_said(const char *text)
{
	if (!strstr(said.err, text))
		fail_msg("no \"%s\" in: %s", text, said.err);
}

/* What db export says, in f->file. */
static void export_to_file(struct folder *f, const char *format)
{
	int file = open(f->file, O_CREAT | O_TRUNC | O_WRONLY, 0600), saved = dup(STDOUT_FILENO);
	char *argv[] = {(char *)"db", (char *)"--db", f->from, (char *)format};

	assert_true(file >= 0 && saved >= 0);
	(void)fflush(stdout);
	assert_true(dup2(file, STDOUT_FILENO) >= 0);
	assert_int_equal(cli_run(&db_export_command, 4, argv), EXIT_OK);
	(void)fflush(stdout);
	assert_true(dup2(saved, STDOUT_FILENO) >= 0);
	close(saved);
	close(file);
}

static void write_file(struct folder *f, const char *text)
{
	FILE *out = fopen(f->file, "w");

	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
}

/* --- tests ------------------------------------------------------------------------------ */

static void round_trip(const char *format)
{
	struct folder *f = &folder;

	make_source(f, 30);
	make_target(f);
	export_to_file(f, format);
	assert_int_equal(run(&db_import_command, f->to, f->file, NULL), EXIT_OK);
	assert_said("1320 flow records imported");
	assert_same_flows(f);
	assert_int_equal(run(&db_import_command, f->to, f->file, NULL), EXIT_OK);
	assert_said("was imported before; nothing to do");
	assert_same_flows(f);
}

static void test_ndjson_there_and_back(void **state)
{
	(void)state;
	round_trip("--as=ndjson");
}

static void test_csv_there_and_back(void **state)
{
	(void)state;
	round_trip("--as=csv");
}

static void test_database(void **state)
{
	struct folder *f = &folder;

	(void)state;
	make_source(f, 30);
	make_target(f);
	assert_int_equal(run(&db_import_command, f->to, f->from, NULL), EXIT_OK);
	assert_said("1320 flow records imported");
	assert_same_flows(f);
	assert_int_equal(number(f->to, "SELECT count(*) FROM host_addr a JOIN host h"
				       " ON h.id = a.host_id WHERE h.name = 'web1'"),
			 1);
	assert_int_equal(number(f->to,
				"SELECT batches * 10 + map_full_packets FROM coverage_minute m"
				" JOIN host h ON h.id = m.host_id WHERE h.name = 'web1'"),
			 79);
	assert_int_equal(run(&db_import_command, f->to, f->from, NULL), EXIT_OK);
	assert_said("was imported before; nothing to do");
	/* It grows: what it has may be made anew with what comes. */
	{
		const char *why = "";
		sqlite3 *db;

		assert_int_equal(db_open_writer(f->from, &db, &why), 0);
		put_blocks(f, db, 1);
		db_close(db);
	}
	assert_int_equal(run(&db_import_command, f->to, f->from, NULL), EXIT_USAGE);
	assert_said("has grown since");
	assert_int_equal(number(f->to, "SELECT count(*) FROM flows"), 1320);
}

static void test_killed_import_goes_on(void **state)
{
	struct folder *f = &folder;
	int status;
	pid_t child;

	(void)state;
	make_source(f, 300);
	make_target(f);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(run(&db_import_command, f->to, f->from, NULL));
	while (waitpid(child, &status, WNOHANG) == 0 &&
	       number(f->to, "SELECT count(*) FROM import_unit") < 2)
		(void)usleep(1000);
	kill(child, SIGKILL);
	(void)waitpid(child, &status, 0); /* it may be gone already */
	assert_true(number(f->to, "SELECT count(*) FROM import_unit") >= 2);
	assert_int_equal(run(&db_import_command, f->to, f->from, NULL), EXIT_OK);
	assert_same_flows(f);
}

static void test_damage_is_left_out_and_told(void **state)
{
	struct folder *f = &folder;
	int64_t damaged;

	(void)state;
	make_source(f, 30);
	make_target(f);
	exec(f->from, "UPDATE flow_segment SET head = CAST(substr(head, 1, 20) || x'55aa' ||"
		      " substr(head, 23) AS BLOB) WHERE id = 1");
	damaged = number(f->from, "SELECT n_rows FROM flow_segment WHERE id = 1");
	assert_int_equal(run(&db_import_command, f->to, f->from, NULL), EXIT_CHECK);
	assert_said("damaged and were left out");
	assert_int_equal(number(f->to, "SELECT count(*) FROM flows"), 1320 - damaged);
}

static void test_hosts_of_that_name_are_found(void **state)
{
	struct folder *f = &folder;

	(void)state;
	make_target(f);
	write_file(
		f,
		"{\"host\":\"somebody else\",\"src_addr\":\"::1\",\"dst_addr\":\"::2\","
		"\"start_ms\":5000,\"end_ms\":6000}\n"
		" { \"host\" : \"n\\u00e9w\\ud83d\\ude00\" , \"src_addr\":\"10.0.0.1\","
		"\"dst_addr\":\"10.0.0.2\",\"end_ms\":7000,\"duration_us\":10 , \"role\":null }\n");
	assert_int_equal(run(&db_import_command, f->to, f->file, NULL), EXIT_OK);
	assert_int_equal(number(f->to, "SELECT count(*) FROM host"), 2);
	assert_int_equal(number(f->to, "SELECT duration_us FROM flows WHERE host_id = 7"), 1000000);
	assert_int_equal(number(f->to,
				"SELECT count(*) FROM flows WHERE host = 'n\u00e9w\U0001F600'"
				" AND start_ms = 7000 AND flow_id > 0"),
			 1);
	assert_int_equal(number(f->to, "SELECT last_seen_ms FROM host WHERE id <> 7"), 7000);
}

#define GOOD                                                                                       \
	"{\"host\":\"a\",\"src_addr\":\"::1\",\"dst_addr\":\"::2\",\"start_ms\":1,\"end_ms\":2}\n"

static void test_what_is_wrong_is_told_by_its_line(void **state)
{
	static const struct {
		const char *text, *line, *why;
	} cases[] = {
		{GOOD "{\"host\":\"a\",\"src_addr\":\"::1\",\"dst_addr\":\"::2\",\"start_ms\":1,"
		      "\"end_ms\":2,\"src_port\":65536}\n",
		 ":2: ", "src_port is too large"},
		{GOOD GOOD "{\"host\":\"a\",\"src_addr\":\"1.2.3\"}\n",
		 ":3: ", "src_addr is no address"},
		{GOOD "{\"host\":\"a\",\"role\":\"king\"}\n", ":2: ", "role is none of the words"},
		{GOOD "{\"host\":\"a\",\"bytes\":-1}\n", ":2: ", "bytes is no number"},
		{GOOD "{\"host\":\"a\",\"bytes\":1.5}\n", ":2: ", "bytes is no number"},
		{GOOD "{\"host\":\"a\",\"color\":1}\n", ":2: ", "color is no column"},
		{GOOD "{\"host\":\"a\",\"bytes\":1,\"bytes\":1}\n", ":2: ", "bytes comes twice"},
		{GOOD "{\"host\":\"a\",\"data_rtt_hist\":\"1,2\"}\n", ":2: ", "is no histogram"},
		{GOOD "{\"host\":\"a\",\"x\":{}}\n", ":2: ", "no flat JSON object"},
		{GOOD "{\"host\":\"a\"\n", ":2: ", "no flat JSON object"},
		{GOOD "{\"host\":\"a\\u12\"}\n", ":2: ", "no flat JSON object"},
		{GOOD GOOD "nonsense\n", ":3: ", "no JSON object"},
		{GOOD "{\"host\":\"a\",\"src_addr\":\"::1\",\"dst_addr\":\"::2\",\"start_ms\":3,"
		      "\"end_ms\":2}\n",
		 ":2: ", "start_ms is after end_ms"},
		{GOOD "{\"host\":\"a\",\"src_addr\":\"::1\",\"dst_addr\":\"::2\",\"end_ms\":2}\n",
		 ":2: ", "two of start_ms"},
		{GOOD "{\"host\":\"a\",\"src_addr\":\"::1\",\"start_ms\":1,\"end_ms\":2}\n",
		 ":2: ", "dst_addr are needed"},
		{GOOD "{\"src_addr\":\"::1\",\"dst_addr\":\"::2\",\"start_ms\":1,\"end_ms\":2}\n",
		 ":2: ", "host is needed"},
		{"host,src_addr,dst_addr,start_ms,end_ms\r\na,::1,::2,1,2\r\na,::1,::2,1\r\n",
		 ":3: ", "as many cells"},
		{"host,src_addr\r\n\"a,::1\r\n", ":2: ", "quoted cell"},
		{"host,src_addr\r\n\"a\"b,::1\r\n", ":2: ", "quoted cell"},
		{"host,src_addr\r\na,\"", ":2: ", "quoted cell"},
		{"host,src_addr\r\na,\"::1\"\"\r\n", ":2: ", "quoted cell"},
	};
	struct folder *f = &folder;

	(void)state;
	make_target(f);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_file(f, cases[i].text);
		assert_int_equal(run(&db_import_command, f->to, f->file, NULL), EXIT_USAGE);
		assert_said(cases[i].line);
		assert_said(cases[i].why);
		assert_int_equal(number(f->to, "SELECT count(*) FROM flows"), 0);
		assert_int_equal(number(f->to, "SELECT count(*) FROM host"), 1);
		assert_int_equal(number(f->to, "SELECT count(*) FROM import"), 0);
	}
	assert_int_equal(run(&db_import_command, f->to, "/nowhere/file", NULL), EXIT_RUNTIME);
}

static void test_not_while_it_is_served(void **state)
{
	struct folder *f = &folder;
	const char *why = "";
	sqlite3 *db;

	(void)state;
	write_file(f, GOOD);
	assert_int_equal(db_open_writer(f->to, &db, &why), 0);
	assert_int_equal(run(&db_import_command, f->to, f->file, NULL), EXIT_RUNTIME);
	assert_said("stop it first");
	db_close(db);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ndjson_there_and_back),
		TEST(test_csv_there_and_back),
		TEST(test_database),
		TEST(test_killed_import_goes_on),
		TEST(test_damage_is_left_out_and_told),
		TEST(test_hosts_of_that_name_are_found),
		TEST(test_what_is_wrong_is_told_by_its_line),
		TEST(test_not_while_it_is_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
