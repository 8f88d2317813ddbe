// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "collector/store/db.h"
#include "tests/unit/fault_vfs.h"
#include "tests/unit/sample_store.h"

#define FEW 20 /* changes of files that a commit of 100 pages may take: 14 writes, a sync */

static sqlite3 *open_writer(struct sample_dir *dir)
{
	const char *why = NULL;
	sqlite3 *db = NULL;

	sample_dir_make(dir);
	assert_int_equal(db_open_writer(dir->path, &db, &why), 0);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE t (data BLOB)", NULL, NULL, NULL),
			 SQLITE_OK);
	return db;
}

static int insert(sqlite3 *db, const char *rows)
{
	char *sql = sqlite3_mprintf(
		"INSERT INTO t WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1"
		" FROM series LIMIT %s) SELECT zeroblob(8000) FROM series",
		rows);
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	sqlite3_free(sql);
	return rc;
}

static int64_t rows_seen(const struct sample_dir *dir)
{
	const char *why = NULL;
	sqlite3 *db = NULL;
	int64_t n;

	assert_int_equal(db_open_reader(dir->path, &db, &why), 0);
	sample_assert_text(db, "PRAGMA integrity_check", "ok");
	n = sample_int(db, "SELECT count(*) FROM t");
	db_close(db);
	return n;
}

static void test_pages_are_written_together(void **state)
{
	struct sample_dir dir = {0};
	sqlite3 *db = open_writer(&dir);

	(void)state;
	(void)fault_vfs_at(FAULT_WRITE, FEW, FAULT_ONCE);
	assert_int_equal(insert(db, "100"), SQLITE_OK);
	assert_false(fault_vfs_at(FAULT_WRITE, 0, FAULT_ONCE));
	assert_int_equal(rows_seen(&dir), 100);
	db_close(db);
	sample_dir_remove(&dir);
}

/*
 * A commit after the nth write has failed must not hold a part of the transaction,
 * whether SQLite or what it reads back made that write. Returns whether there was one.
 */
static bool commit_in_spite_of(unsigned n)
{
	struct sample_dir dir = {0};
	sqlite3 *db = open_writer(&dir);
	int64_t before, after;
	bool failed;

	assert_int_equal(insert(db, "10"), SQLITE_OK);
	sample_exec(db, "PRAGMA cache_size = 4"); /* pages; the others wait in the log */
	(void)fault_vfs_at(FAULT_WRITE, n, FAULT_ONCE);
	(void)sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
	(void)insert(db, "60");
	(void)sqlite3_exec(db, "SELECT sum(hex(data) > '') FROM t", NULL, NULL, NULL);
	(void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	failed = fault_vfs_at(FAULT_WRITE, 0, FAULT_ONCE);
	if (!sqlite3_get_autocommit(db))
		(void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	before = rows_seen(&dir);
	assert_true(before == 10 || before == 70);
	assert_int_equal(insert(db, "10"), SQLITE_OK);
	after = rows_seen(&dir);
	assert_int_equal(after, before + 10);
	db_close(db);
	assert_int_equal(rows_seen(&dir), after);
	sample_dir_remove(&dir);
	return failed;
}

static void test_no_part_of_a_transaction(void **state)
{
	unsigned n = 1;

	(void)state;
	while (commit_in_spite_of(n))
		n++;
	assert_true(n > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_are_written_together),
		cmocka_unit_test(test_no_part_of_a_transaction),
	};

	fault_vfs_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
