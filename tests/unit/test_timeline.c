// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Records in the order of their time, a span after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/flows_table/timeline.h"
#include "collector/flowstore/scan.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/sample_store.h"

#define PER_BLOCK 1000
#define T0	  1000000

struct fixture {
	struct sample_store store;
	struct host_names hosts;
	struct flow_columns needed;
	struct gather_key key;
	int64_t n_flows;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	size_t n;

	assert_non_null(f);
	*state = f;
	sample_store_open(&f->store, 1);
	assert_int_equal(host_names_read(&f->hosts, f->store.reader), SQLITE_OK);
	f->key.column = flows_columns(&n);
	while (f->key.column->kind != FLOWS_NUMBER || f->key.column->column != FLOW_COLUMN_end_ms)
		f->key.column++;
	flows_column_needs(f->key.column, &f->needed);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	host_names_done(&f->hosts);
	sample_store_close(&f->store);
	free(f);
	return 0;
}

/* Blocks of records whose times begin at from_ms and are step_ms apart. */
static void put_blocks(struct fixture *f, int blocks, int64_t from_ms, int64_t step_ms)
{
	struct flow_record rows[PER_BLOCK];

	for (int b = 0; b < blocks; b++) {
		for (int i = 0; i < PER_BLOCK; i++) {
			rows[i] = sample_flow("10.0.0.1", "10.0.0.2", 80,
					      (uint64_t)(from_ms + (b * PER_BLOCK + i) * step_ms));
			rows[i].flow_id = (uint64_t)++f->n_flows;
		}
		sample_add_records(f->store.db, 1, rows, PER_BLOCK);
	}
}

static struct timeline *open_timeline(struct fixture *f, const struct predicate *p, bool falling)
{
	struct timeline *t = NULL;

	f->key.falling = falling;
	assert_int_equal(timeline_open(f->store.reader, p, &f->needed, &f->key, &f->hosts, &t), 0);
	return t;
}

/* How many rows there are; they are in order, and each is another one. */
static int64_t walk(struct fixture *f, const struct predicate *p, bool falling)
{
	struct timeline *t = open_timeline(f, p, falling);
	uint64_t last = falling ? UINT64_MAX : 0;
	struct gather_rows rows;
	int64_t n = 0;
	int found;

	sample_exec(f->store.reader, "CREATE TEMP TABLE seen (id INTEGER PRIMARY KEY)");
	while ((found = timeline_next(t, &rows)) > 0) {
		for (size_t k = 0; k < rows.n; k++, n++) {
			uint64_t ms = FLOW_COL_U64(rows.block, end_ms)[rows.order[k]];
			char sql[80];

			assert_true(falling ? ms <= last : ms >= last);
			last = ms;
			if (n % 97)
				continue; /* SQL takes its time */
			(void)snprintf(sql, sizeof(sql), "INSERT INTO seen VALUES (%lld)",
				       (long long)timeline_row_key(t, rows.order[k]));
			sample_exec(f->store.reader, sql);
		}
	}
	assert_int_equal(found, 0);
	timeline_close(t);
	sample_exec(f->store.reader, "DROP TABLE temp.seen");
	return n;
}

/* Segments, batches, more rows of one time than are sorted at once, and a hole of years. */
static void test_every_record_comes_once_in_order(void **state)
{
	struct fixture *f = *state;
	struct predicate some = {.kind = PREDICATE_RANGE, .column = FLOW_COLUMN_end_ms};

	put_blocks(f, 30, T0, 7);
	put_blocks(f, 70, T0 + 5000, 0);
	put_blocks(f, 5, T0 + INT64_C(100000000000), 3);
	(void)sample_compact(f->store.db, f->store.reader, 20000);
	put_blocks(f, 3, T0 + 100, 11);
	assert_int_equal(walk(f, NULL, false), f->n_flows);
	assert_int_equal(walk(f, NULL, true), f->n_flows);
	some.low = T0 + 5000;
	some.high = T0 + 5001;
	assert_int_equal(walk(f, &some, true),
			 sample_int(f->store.reader, "SELECT count(*) FROM flows WHERE end_ms"
						     " BETWEEN 1005000 AND 1005001"));
	some.high = 0;
	assert_int_equal(walk(f, &some, false), 0);
}

/* Who asks for the newest records does not wait for the others. */
static void test_the_first_rows_come_before_all_are_read(void **state)
{
	struct fixture *f = *state;
	struct gather_rows rows;
	struct timeline *t;

	put_blocks(f, 100, T0, 10);
	(void)sample_compact(f->store.db, f->store.reader, 5000);
	for (int falling = 0; falling < 2; falling++) {
		t = open_timeline(f, NULL, falling);
		assert_int_equal(timeline_next(t, &rows), 1);
		assert_in_range(rows.n, 1, 10000);
		assert_int_equal(FLOW_COL_U64(rows.block, end_ms)[rows.order[0]],
				 falling ? T0 + 999990 : T0);
		timeline_close(t);
	}
	assert_int_equal(sample_int(f->store.reader, "SELECT max(end_ms) FROM flows"), T0 + 999990);
}

/* The order is ours, not that of a sort. */
static void test_sql_counts_on_the_order(void **state)
{
	static const char *const plans[] = {
		"SELECT * FROM flows ORDER BY end_ms DESC",
		"SELECT host FROM flows WHERE bytes > 5 ORDER BY end_ms LIMIT 3",
		"SELECT DISTINCT end_ms FROM flows ORDER BY end_ms",
	};
	struct fixture *f = *state;
	char sql[200];

	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
		sqlite3_stmt *st;

		(void)snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", plans[i]);
		assert_int_equal(sqlite3_prepare_v2(f->store.reader, sql, -1, &st, NULL),
				 SQLITE_OK);
		assert_int_equal(sqlite3_step(st), SQLITE_ROW);
		assert_non_null(strstr((const char *)sqlite3_column_text(st, 3), "flows"));
		assert_int_equal(sqlite3_step(st), SQLITE_DONE); /* no temporary tree */
		assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
	}
}

static void test_without_memory(void **state)
{
	struct fixture *f = *state;
	int err = -ENOMEM;

	put_blocks(f, 2, T0, 1);
	for (unsigned n = 1; err; n++) {
		struct timeline *t = NULL;
		struct gather_rows rows;
		bool failed;

		(void)fail_alloc_at(n);
		err = timeline_open(f->store.reader, NULL, &f->needed, &f->key, &f->hosts, &t);
		while (!err && (err = timeline_next(t, &rows)) > 0)
			err = 0;
		failed = fail_alloc_at(0);
		timeline_close(t);
		assert_int_equal(err, failed ? -ENOMEM : 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_record_comes_once_in_order),
		TEST(test_the_first_rows_come_before_all_are_read),
		TEST(test_sql_counts_on_the_order),
		TEST(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
