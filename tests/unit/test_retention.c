/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What goes when the database is larger than its limit, and what stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/flowstore/compactor.h"
#include "collector/flowstore/flow_writer.h"
#include "collector/flowstore/segment.h"
#include "collector/serve/retention.h"
#include "tests/unit/rollup_fixture.h"

#define MINUTES "(SELECT count(*) FROM rollup_minute)"
#define HOURS	"(SELECT count(*) FROM rollup_hour)"

static int64_t used_bytes(struct fixture *f)
{
	return number(f, "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count,"
			 " pragma_freelist_count, pragma_page_size");
}

/* Returns how many rows went. */
static size_t keep_within(struct fixture *f, int64_t max_bytes, size_t max_rows)
{
	const struct retention limits = {.max_bytes = (uint64_t)max_bytes};
	size_t rows = 0;

	assert_int_equal(
		retention_apply(&limits, f->store.db, f->store.writer, f->rollups, max_rows, &rows),
		0);
	return rows;
}

/* n minutes and as many hours from 1970 on, each of 20 rows. */
static void add_sums(struct fixture *f, int n)
{
	char sql[600];

	for (int hour = 0; hour < 2; hour++) {
		(void)snprintf(
			sql, sizeof(sql),
			"WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n"
			" WHERE i + 1 < %d) INSERT INTO %s SELECT i / 20 * %d, i %% 20, 0, 6,"
			" 1, 1, 4, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,"
			" 1, 1 FROM n",
			20 * n, hour ? "rollup_hour" : "rollup_minute", hour ? 3600000 : 60000);
		sample_exec(f->store.db, sql);
	}
}

static void test_flow_records_go_while_they_are_most(void **state)
{
	struct fixture *f = *state;
	int64_t flows, newest, used;
	size_t rows;

	put_blocks(f, 100);
	while (number(f, "SELECT count(*) FROM flow_fresh") > 0)
		compact(f, 1);
	put_blocks(f, 4);
	add_sums(f, 3);
	flows = number(f, "SELECT count(*) FROM flows");
	newest = number(f, "SELECT max(max_end_ms) FROM flow_segment");
	used = used_bytes(f);
	assert_int_equal(keep_within(f, 0, SIZE_MAX), 0); /* no limit */
	assert_int_equal(keep_within(f, used, SIZE_MAX), 0);
	rows = keep_within(f, used * 2 / 3, SIZE_MAX);
	assert_in_range(rows, 1, (uintmax_t)flows - 1);
	assert_true(used_bytes(f) <= used * 2 / 3);
	assert_int_equal(number(f, "SELECT count(*) FROM flows"), flows - (int64_t)rows);
	assert_int_equal(number(f, "SELECT max(max_end_ms) FROM flow_segment"), newest);
	assert_int_equal(number(f, "SELECT " MINUTES " + " HOURS), 2 * 3 * 20);
}

static void test_rollups_go_before_the_records_of_the_present(void **state)
{
	struct fixture *f = *state;
	int64_t flows, used;
	size_t rows;

	put_blocks(f, 20);
	compact(f, 1);
	add_sums(f, 1000);
	flows = number(f, "SELECT count(*) FROM flows");
	used = used_bytes(f);
	rows = keep_within(f, used - 65536, 100);
	assert_int_equal(rows, 100); /* in steps, and whole minutes */
	assert_int_equal(number(f, "SELECT min(start_ms) FROM rollup_minute"), 5 * 60000);
	rows += keep_within(f, used - 65536, SIZE_MAX);
	assert_true(used_bytes(f) <= used - 65536);
	assert_int_equal(number(f, "SELECT " MINUTES), 20000 - (int64_t)rows);
	assert_int_equal(rows % 20, 0);
	assert_int_equal(number(f, "SELECT minute_since_ms FROM rollup_state"),
			 (int64_t)rows / 20 * 60000);
	assert_int_equal(number(f, "SELECT " HOURS), 20000);
	(void)keep_within(f, used * 2 / 5, SIZE_MAX); /* then the hours */
	assert_int_equal(number(f, "SELECT " MINUTES), 0);
	assert_in_range(number(f, "SELECT " HOURS), 1, 19999);
	assert_int_equal(number(f, "SELECT hour_since_ms FROM rollup_state"),
			 number(f, "SELECT min(start_ms) FROM rollup_hour"));
	assert_int_equal(number(f, "SELECT count(*) FROM flows"), flows);
}

static void test_all_goes_if_it_must(void **state)
{
	struct fixture *f = *state;

	put_blocks(f, 20);
	compact(f, 1);
	add_sums(f, 100);
	(void)keep_within(f, 4096, SIZE_MAX);
	assert_int_equal(number(f, "SELECT count(*) FROM flows") +
				 number(f, "SELECT " MINUTES " + " HOURS),
			 0);
	assert_int_equal(keep_within(f, 4096, SIZE_MAX), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_flow_records_go_while_they_are_most),
		TEST(test_rollups_go_before_the_records_of_the_present),
		TEST(test_all_goes_if_it_must),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
