// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/cli/sandbox.h"
#include "collector/sqlite/sql_functions.h"
#include "common/array_size.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "tests/unit/capture.h"
#include "tests/unit/sample_db.h"

/* --- functions --------------------------------------------------------------- */

static sqlite3 *open_memory(void)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(sql_functions_register(db), 0);
	return db;
}

static void test_functions(void **state)
{
	static const struct {
		const char *sql, *value; /* NULL: SQL NULL */
	} cases[] = {
		{"in_prefix('10.1.2.3', '10.0.0.0/8')", "1"},
		{"in_prefix('11.1.2.3', '10.0.0.0/8')", "0"},
		{"in_prefix('2001:db8::5', '2001:db8::/32')", "1"},
		{"in_prefix('10.0.0.1', '::/0')", "1"},
		{"in_prefix('2001:db8::5', '0.0.0.0/0')", "0"},
		{"in_prefix('no address', '::/0')", "0"},
		{"in_prefix(NULL, '::/0')", NULL},
		{"in_prefix('::1', NULL)", NULL},
		{"proto_name(6)", "tcp"},
		{"proto_name(58)", "icmpv6"},
		{"proto_name(250)", "250"},
		{"proto_name(1000)", "1000"},
		{"proto_name(-1)", "-1"},
		{"proto_name(NULL)", NULL},
		{"tcp_flags(2)", "S"},
		{"tcp_flags(511)", "FSRPAUECN"},
		{"tcp_flags(0)", ""},
		{"tcp_flags(NULL)", NULL},
		{"endpoint('10.0.0.1', 80)", "10.0.0.1:80"},
		{"endpoint('::1', 80)", "[::1]:80"},
		{"endpoint('::1', 0)", "::1"},
		{"endpoint(NULL, 80)", NULL},
		{"time_bucket(61999, 60)", "60000"},
		{"time_bucket(60000, 60)", "60000"},
		{"time_bucket(-1, 60)", "-60000"},
		{"time_bucket(-9223372036854775808, 7)", "-9223372036854775808"},
		{"time_bucket(NULL, 60)", NULL},
		{"hex(addr_blob('10.0.0.1'))", "00000000000000000000FFFF0A000001"},
		{"addr_text(addr_blob('2001:db8:0::5'))", "2001:db8::5"},
		{"addr_text(addr_blob('10.0.0.1'))", "10.0.0.1"},
		{"addr_blob(NULL)", NULL},
		{"addr_text(NULL)", NULL},
		{"distinct_count(NULL)", NULL},
		{"utc(0)", "1970-01-01 00:00:00"},
		{"utc(1795516930999)", "2026-11-24 10:42:10"},
		{"utc(-1)", "1969-12-31 23:59:59"},
		{"utc(9223372036854775807)", "292278994-08-17 07:12:55"},
		{"utc(NULL)", NULL},
	};
	sqlite3 *db = open_memory();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char sql[200];
		sqlite3_stmt *st;
		const char *text;

		(void)snprintf(sql, sizeof(sql), "SELECT %s", cases[i].sql);
		assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_step(st), SQLITE_ROW);
		text = (const char *)sqlite3_column_text(st, 0);
		if (!text != !cases[i].value || (text && strcmp(text, cases[i].value) != 0))
			fail_msg("%s is %s", cases[i].sql, text ? text : "NULL");
		sqlite3_finalize(st);
	}
	sqlite3_close(db);
}

static void test_functions_refuse_nonsense(void **state)
{
	static const char *const bad[] = {
		"SELECT in_prefix('10.0.0.1', '10.0.0.0/33')",
		"SELECT in_prefix('10.0.0.1', '')",
		"SELECT time_bucket(1, 0)",
		"SELECT time_bucket(1, -5)",
		"SELECT time_bucket(1, 9223372036854775807)",
		"SELECT quantile(1, 1.1)",
		"SELECT quantile(1, -0.1)",
		"SELECT addr_blob('10.0.0')",
		"SELECT addr_text(x'0a000001')",
		"SELECT distinct_count(x'')",
		"SELECT distinct_count(x'0102')",
		"SELECT distinct_count(x'03')",
		"SELECT distinct_count('text')",
		"SELECT distinct_count(CAST(x'02' || zeroblob(4095) || x'40' AS BLOB))",
		"SELECT distinct_merge(x'02')",
	};
	sqlite3 *db = open_memory();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(sqlite3_exec(db, bad[i], NULL, NULL, NULL), SQLITE_ERROR);
	sqlite3_close(db);
}

/* --- approx_distinct ---------------------------------------------------------- */

static void test_approx_distinct(void **state)
{
	static const int sizes[] = {0, 1, 100, 512, 513, 2000, 10000, 100000, 400000};
	sqlite3 *db = open_memory();
	char sql[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int n = sizes[i];
		int64_t got;

		/* Each value three times, and NULLs. */
		(void)snprintf(
			sql, sizeof(sql),
			"WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT"
			" %d) SELECT approx_distinct(iif(i < %d, 'value ' || (i %% %d),"
			" NULL)) FROM n",
			3 * n + 5, 3 * n, n ? n : 1);
		got = sample_number(db, sql);
		if (n <= 512)
			assert_int_equal(got, n);
		else
			assert_in_range(got, n * 93 / 100, n * 107 / 100); /* 4.4 sigma */
	}
	/* What is equal is one; what is not is not. */
	assert_int_equal(sample_number(db,
				       "WITH t (x) AS (VALUES (1), (1.0), ('1'), (x'31'), (1.5),"
				       " (NULL), ('1')) SELECT approx_distinct(x) FROM t"),
			 4);
	sqlite3_close(db);
}

static void test_sketches_of_parts_make_the_whole(void **state)
{
	static const char *const sets[] = {"i < 300", "i < 3000", "i < 30000"};
	sqlite3 *db = open_memory();
	char sql[500];

	(void)state;
	sample_exec(db, "CREATE TABLE t AS WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1"
			" FROM n LIMIT 30000) SELECT i FROM n");
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		(void)snprintf(sql, sizeof(sql),
			       "SELECT (SELECT distinct_count(distinct_merge(s)) FROM (SELECT"
			       " distinct_sketch(i) AS s FROM t WHERE %s GROUP BY i %% 7 UNION ALL"
			       " SELECT distinct_sketch(i) FROM t WHERE 0))"
			       " - (SELECT approx_distinct(i) FROM t WHERE %s)",
			       sets[i], sets[i]);
		assert_int_equal(sample_number(db, sql), 0);
	}
	sqlite3_close(db);
}

static int compare_ints(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Random samples with NULLs between, against the definition on a sorted array. */
static void test_quantile(void **state)
{
	sqlite3 *db = open_memory();

	(void)state;
	srand(3);
	sample_exec(db, "CREATE TABLE t (x)");
	for (int round = 0; round < 60; round++) {
		int64_t values[300];
		size_t n = 1 + (size_t)rand() % ARRAY_SIZE(values);
		int percent = round < 2 ? round * 100 : rand() % 101;
		size_t rank = (n * (size_t)percent + 99) / 100;
		char sql[100];

		sample_exec(db, "DELETE FROM t; INSERT INTO t VALUES (NULL)");
		for (size_t i = 0; i < n; i++) {
			values[i] = rand() % 1000 - 500;
			(void)snprintf(sql, sizeof(sql), "INSERT INTO t VALUES (%ld), (NULL)",
				       (long)values[i]);
			sample_exec(db, sql);
		}
		qsort(values, n, sizeof(values[0]), compare_ints);
		(void)snprintf(sql, sizeof(sql), "SELECT quantile(x, %d / 100.0) FROM t", percent);
		assert_int_equal(sample_number(db, sql), values[rank ? rank - 1 : 0]);
	}
	assert_int_equal(sample_number(db, "SELECT quantile(x, 0.5) IS NULL FROM t WHERE 0"), 1);
	assert_int_equal(sample_number(db, "SELECT typeof(quantile(x, 0.5)) = 'integer' FROM t"),
			 1);
	assert_int_equal(sample_number(db, "SELECT quantile(1.5, 0.5) = 1.5"), 1);
	sqlite3_close(db);
}

/* --- sandbox ----------------------------------------------------------------- */

struct lab {
	char folder[32], path[64];
	struct capture capture;
};

static int open_lab(void **state)
{
	static struct lab lab;
	sqlite3 *db;

	strcpy(lab.folder, "/tmp/weir-sql-XXXXXX");
	assert_non_null(mkdtemp(lab.folder));
	(void)snprintf(lab.path, sizeof(lab.path), "%s/w.db", lab.folder);
	db = sample_open(lab.path);
	sample_exec(db, "BEGIN");
	sample_fill(db, 3000, 5);
	sample_exec(db, "COMMIT");
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	*state = &lab;
	return 0;
}

static int close_lab(void **state)
{
	struct lab *lab = *state;

	assert_int_equal(unlink(lab->path), 0);
	return rmdir(lab->folder); /* fails if an attack left a file */
}

static int run_in(struct lab *lab, const struct sandbox *sandbox, const char *sql)
{
	int code;

	capture_start(&lab->capture);
	code = sandbox_run(sandbox, sql);
	capture_stop(&lab->capture);
	return code;
}

static int run(struct lab *lab, const char *sql, uint64_t timeout_ms, uint64_t max_rows)
{
	const struct sandbox sandbox = {
		.db = lab->path,
		.timeout_ms = timeout_ms,
		.max_rows = max_rows,
		.style = {.format = OUTPUT_CSV},
	};

	return run_in(lab, &sandbox, sql);
}

static void test_sandbox_answers(void **state)
{
	struct lab *lab = *state;

	assert_int_equal(run(lab, "SELECT 1 AS a, 'x' AS b, x'00ff' AS c, NULL AS d", 1000, 0), 0);
	assert_string_equal(lab->capture.out, "a,b,c,d\r\n1,x,00ff,\r\n");
	assert_int_equal(run(lab, "SELECT count(*) AS n FROM flows; -- all\n ;", 1000, 0), 0);
	assert_string_equal(lab->capture.out, "n\r\n3000\r\n");
	assert_int_equal(run(lab,
			     "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c"
			     " LIMIT 3) SELECT x FROM c",
			     1000, 3),
			 0);
	assert_string_equal(lab->capture.out, "x\r\n1\r\n2\r\n3\r\n");
	assert_string_equal(lab->capture.err, "");
	assert_int_equal(run(lab, "SELECT quantile(rtt_us, 0.5) > 0 AS yes FROM flows", 1000, 0),
			 0);
	assert_string_equal(lab->capture.out, "yes\r\n1\r\n");
}

/* --since and --until: flows is narrower, the statement the same; writing stays refused. */
static void test_sandbox_window(void **state)
{
	struct lab *lab = *state;
	struct sandbox sandbox = {
		.db = lab->path,
		.timeout_ms = 5000,
		.style = {.format = OUTPUT_CSV},
	};
	long long middle;
	char sql[96], want[16];

	assert_int_equal(run(lab, "SELECT avg(end_ms) / 1 AS m FROM flows", 5000, 0), 0);
	middle = (long long)strtod(strchr(lab->capture.out, '\n') + 1, NULL);
	(void)snprintf(sql, sizeof(sql), "SELECT count(*) AS n FROM flows WHERE end_ms >= %lld",
		       middle);
	assert_int_equal(run(lab, sql, 5000, 0), 0);
	assert_in_range(strlen(lab->capture.out), 1, sizeof(want) - 1);
	memcpy(want, lab->capture.out, strlen(lab->capture.out) + 1);

	sandbox.windowed = true;
	sandbox.since_ms = middle;
	sandbox.until_ms = INT64_MAX;
	assert_int_equal(run_in(lab, &sandbox, "SELECT count(*) AS n FROM flows"), 0);
	assert_string_equal(lab->capture.out, want);
	sandbox.until_ms = middle;
	assert_int_equal(run_in(lab, &sandbox, "SELECT count(*) AS n FROM flows"), 0);
	assert_string_equal(lab->capture.out, "n\r\n0\r\n");
	assert_int_equal(run_in(lab, &sandbox, "CREATE TEMP VIEW x AS SELECT 1"), EXIT_USAGE);
	assert_int_equal(run_in(lab, &sandbox, "DROP VIEW temp.flows"), EXIT_USAGE);
}

static void test_sandbox_cuts_rows(void **state)
{
	struct lab *lab = *state;

	assert_int_equal(run(lab,
			     "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
			     " SELECT x FROM c",
			     5000, 2),
			 0);
	assert_string_equal(lab->capture.out, "x\r\n1\r\n2\r\n");
	assert_non_null(strstr(lab->capture.err, "first 2 rows"));
}

#define FOREVER "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "

static void test_sandbox_refuses(void **state)
{
	static const struct {
		const char *sql;
		int code;
	} attacks[] = {
		{"ATTACH '/tmp/weir-attack.db' AS a", EXIT_USAGE},
		{"DETACH main", EXIT_USAGE},
		{"PRAGMA query_only = 0", EXIT_USAGE},
		{"PRAGMA writable_schema = 1", EXIT_USAGE},
		{"SELECT * FROM pragma_table_info('flow')", EXIT_USAGE},
		{"VACUUM", EXIT_USAGE},
		{"VACUUM INTO '/tmp/weir-attack.db'", EXIT_USAGE},
		{"SELECT load_extension('/tmp/x.so')", EXIT_USAGE},
		{"SELECT writefile('/tmp/weir-attack', 'x')", EXIT_USAGE},
		{"SELECT readfile('/etc/passwd')", EXIT_USAGE},
		{"SELECT fts3_tokenizer('simple')", EXIT_USAGE},
		{"DELETE FROM flow_segment", EXIT_USAGE},
		{"UPDATE flow_fresh SET n_rows = 0", EXIT_USAGE},
		{"INSERT INTO refusal VALUES ('x', 'x', 1, 1, 1)", EXIT_USAGE},
		{"DROP TABLE flow_segment", EXIT_USAGE},
		{"CREATE TEMP TABLE t (x)", EXIT_USAGE},
		{"CREATE VIRTUAL TABLE t USING fts5(x)", EXIT_USAGE},
		{"BEGIN", EXIT_USAGE},
		{"SAVEPOINT s", EXIT_USAGE},
		{"ANALYZE", EXIT_USAGE},
		{"REINDEX", EXIT_USAGE},
		{"SELECT 1; SELECT 2", EXIT_USAGE},
		{"SELECT 1; DROP TABLE flow_segment", EXIT_USAGE},
		{"SELECT 1; nonsense", EXIT_USAGE},
		{"SELECT ?1", EXIT_USAGE},
		{"SELECT", EXIT_USAGE},
		{"", EXIT_USAGE},
		{"-- nothing", EXIT_USAGE},
		{"SELECT printf('%900000000d', 1)", EXIT_OK}, /* gives NULL, and at once */
		{"SELECT zeroblob(2000000000)", EXIT_RUNTIME},
		{"SELECT hex(randomblob(1000000000))", EXIT_RUNTIME},
		{"SELECT replace(replace(hex(zeroblob(900)), '0', hex(zeroblob(900))), '0',"
		 " hex(zeroblob(900)))",
		 EXIT_RUNTIME},
		{FOREVER "SELECT count(*) FROM c", EXIT_RUNTIME},
		{FOREVER "SELECT group_concat(x) FROM c", EXIT_RUNTIME},
		{FOREVER "SELECT quantile(x, 0.5) FROM c", EXIT_RUNTIME},
		{FOREVER "SELECT x FROM c ORDER BY -x", EXIT_RUNTIME},
		{"SELECT count(*) FROM flows a, flows b, flows c WHERE a.bytes + b.bytes = c.bytes",
		 EXIT_RUNTIME},
		{"SELECT 'a' LIKE "
		 "'%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a"
		 "%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a"
		 "%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%"
		 "a'",
		 EXIT_RUNTIME},
	};
	struct lab *lab = *state;

	for (size_t i = 0; i < ARRAY_SIZE(attacks); i++) {
		uint64_t start_ns = clock_mono_ns();
		int code = run(lab, attacks[i].sql, 500, 100);

		if (code != attacks[i].code)
			fail_msg("%s: exit status %d: %s", attacks[i].sql, code, lab->capture.err);
		if (code && !strstr(lab->capture.err, "sql: "))
			fail_msg("%s: refused without a word", attacks[i].sql);
		if (clock_mono_ns() - start_ns > 2 * NS_PER_SEC)
			fail_msg("%s: took too long", attacks[i].sql);
	}
	assert_int_equal(run(lab, "SELECT count(*) AS n FROM flows", 1000, 0), 0);
	assert_string_equal(lab->capture.out, "n\r\n3000\r\n");
	assert_int_equal(access("/tmp/weir-attack.db", F_OK), -1);
	assert_int_equal(access("/tmp/weir-attack", F_OK), -1);
}

static void test_sandbox_bounds_memory(void **state)
{
	struct lab *lab = *state;
	struct rusage usage;

	assert_int_equal(run(lab, FOREVER "SELECT quantile(x, 0.5) FROM c", 20000, 0),
			 EXIT_RUNTIME);
	assert_non_null(strstr(lab->capture.err, "64 MiB within SQLite"));
	assert_int_equal(getrusage(RUSAGE_CHILDREN, &usage), 0); /* the largest of all children */
#ifndef __SANITIZE_ADDRESS__					 /* its shadow counts too */
	assert_true(usage.ru_maxrss < 160 * 1024); /* KiB: the heap limit, and the program */
#endif
}

static void test_sandbox_needs_our_database(void **state)
{
	struct lab *lab = *state;
	struct lab other = *lab;

	strcpy(other.path, "/tmp/weir-no-such-file.db");
	assert_int_equal(run(&other, "SELECT 1", 1000, 0), EXIT_RUNTIME);
	assert_non_null(strstr(other.capture.err, "/tmp/weir-no-such-file.db: "));
	strcpy(other.path, "/proc/self/exe");
	assert_int_equal(run(&other, "SELECT 1", 1000, 0), EXIT_NOT_OURS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_functions),
		cmocka_unit_test(test_functions_refuse_nonsense),
		cmocka_unit_test(test_quantile),
		cmocka_unit_test(test_approx_distinct),
		cmocka_unit_test(test_sketches_of_parts_make_the_whole),
		cmocka_unit_test(test_sandbox_answers),
		cmocka_unit_test(test_sandbox_window),
		cmocka_unit_test(test_sandbox_cuts_rows),
		cmocka_unit_test(test_sandbox_refuses),
		cmocka_unit_test(test_sandbox_bounds_memory),
		cmocka_unit_test(test_sandbox_needs_our_database),
	};

	return cmocka_run_group_tests(tests, open_lab, close_lab);
}
