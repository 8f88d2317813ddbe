// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Segments, compaction, scans and the virtual table flows, against plain rows of the same flows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flows_table/gather.h"
#include "collector/flowstore/scan.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/random_flows.h"
#include "tests/unit/sample_store.h"

#define N_HOSTS	  3
#define N_BLOCKS  40
#define PER_BLOCK 60

struct fixture {
	struct sample_store store;
	uint64_t rng;
	int64_t n_flows;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	f->rng = 0x123456789abcdefull;
	sample_store_open(&f->store, N_HOSTS);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sample_store_close(&f->store);
	free(f);
	return 0;
}

static void put_block(struct fixture *f, int64_t host_id, size_t n)
{
	struct flow_record rows[PER_BLOCK];

	for (size_t i = 0; i < n; i++)
		rows[i] = random_flow(&f->rng);
	sample_add_records(f->store.db, (int)host_id, rows, n);
	f->n_flows += (int64_t)n;
}

static void put_blocks(struct fixture *f)
{
	for (int i = 0; i < N_BLOCKS; i++)
		put_block(f, 1 + i % N_HOSTS, 1 + random_u64(&f->rng) % PER_BLOCK);
}

static int64_t number(struct fixture *f, const char *sql)
{
	return sample_int(f->store.reader, sql);
}

static void assert_same_rows(struct fixture *f)
{
	assert_int_equal(number(f, "SELECT count(*) FROM flows"), f->n_flows);
	assert_int_equal(number(f, "SELECT count(*) FROM (SELECT * FROM flows EXCEPT"
				   " SELECT * FROM temp.plain)"),
			 0);
	assert_int_equal(number(f, "SELECT count(*) FROM (SELECT * FROM temp.plain EXCEPT"
				   " SELECT * FROM flows)"),
			 0);
}

static void test_compaction_changes_no_row(void **state)
{
	struct fixture *f = *state;

	put_blocks(f);
	sample_exec(f->store.reader, "CREATE TEMP TABLE plain AS SELECT * FROM flows");
	assert_int_equal(number(f, "SELECT count(*) FROM temp.plain"), f->n_flows);
	assert_true(sample_compact(f->store.db, f->store.reader, 500) > 1);
	assert_true(number(f, "SELECT count(*) FROM flow_segment") > 1);
	assert_same_rows(f);
	/* What is left over goes into a small segment, which is made new with what comes. */
	(void)sample_compact(f->store.db, f->store.reader, 1);
	assert_int_equal(number(f, "SELECT count(*) FROM flow_fresh"), 0);
	assert_same_rows(f);
	assert_int_equal(number(f, "SELECT sum(n_rows) FROM flow_segment"), f->n_flows);
}

static void test_small_segments_grow(void **state)
{
	struct fixture *f = *state;
	struct compactor *c = NULL;
	struct segment *s;

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 4; i++)
			put_block(f, 1, 10);
		assert_int_equal(compactor_new(f->store.reader, 100000, 4, &c), 0);
		assert_int_equal(compactor_make(c, &s), 1);
		sample_exec(f->store.db, "BEGIN IMMEDIATE");
		assert_int_equal(flow_writer_segment(f->store.writer, s), 0);
		sample_exec(f->store.db, "COMMIT");
		segment_free(s);
		compactor_free(c);
	}
	assert_int_equal(number(f, "SELECT count(*) FROM flow_segment"), 1);
	assert_int_equal(number(f, "SELECT count(*) FROM flows"), 200);
	assert_int_equal(number(f, "SELECT count(*) FROM flow_column WHERE id >> 16 NOT IN"
				   " (SELECT id FROM flow_segment)"),
			 0);
}

/* A column may be there because another one's being NULL depends on it. */
static void test_column_that_came_with_another(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 10; i++)
		put_block(f, 1, PER_BLOCK);
	(void)sample_compact(f->store.db, f->store.reader, 600);
	assert_int_equal(number(f, "SELECT count(icmp_error_code) * 0 + count(icmp_errors)"
				   " FROM flows"),
			 number(f, "SELECT count(*) FROM flows"
				   " WHERE end_reason IS NOT 'no_resources'"));
}

static void test_zones_leave_segments_out(void **state)
{
	struct predicate p = {.kind = PREDICATE_RANGE, .column = FLOW_COLUMN_host_id};
	struct flow_columns columns = {{0}};
	struct fixture *f = *state;
	struct scan_rows *rows = NULL;
	struct scan_totals t;
	struct scan *scan;
	size_t n = 0;

	for (int h = 1; h <= N_HOSTS; h++) {
		for (int i = 0; i < 4; i++)
			put_block(f, h, 50);
		(void)sample_compact(f->store.db, f->store.reader, 200);
	}
	p.low = p.high = 2;
	flow_columns_add(&columns, FLOW_COLUMN_bytes);
	assert_int_equal(scan_open(f->store.reader, &p, &columns, &scan), 0);
	while (scan_next(scan, &rows) > 0)
		n += rows->n_selected;
	t = scan_totals(scan);
	scan_rows_free(rows);
	scan_close(scan);
	assert_int_equal(n, 200);
	assert_int_equal(t.blocks, 3);
	assert_int_equal(t.blocks_skipped, 2);
	assert_int_equal(t.damaged_blocks, 0);
}

static void test_of_one_host_only_its_rows_are_decoded(void **state)
{
	struct predicate p = {.kind = PREDICATE_RANGE, .column = FLOW_COLUMN_host_id};
	struct flow_columns columns = {{0}};
	struct fixture *f = *state;
	struct scan_rows *rows = NULL;
	struct scan *scan;
	int64_t n = 0;

	put_blocks(f);
	assert_true(sample_compact(f->store.db, f->store.reader, 600) > 0);
	p.low = p.high = 2;
	flow_columns_add(&columns, FLOW_COLUMN_bytes);
	assert_int_equal(scan_open(f->store.reader, &p, &columns, &scan), 0);
	while (scan_next(scan, &rows) > 0) {
		assert_int_equal(rows->n_selected, rows->block.n_rows);
		n += (int64_t)rows->n_selected;
	}
	scan_rows_free(rows);
	scan_close(scan);
	assert_int_equal(n, number(f, "SELECT count(*) FROM flows WHERE +host_id = 2"));
	assert_true(n > 0 && n < f->n_flows / 2);
	sample_exec(f->store.reader,
		    "CREATE TEMP TABLE plain AS SELECT rowid AS row, * FROM flows");
	assert_int_equal(number(f, "SELECT count(*) FROM (SELECT rowid, * FROM flows WHERE"
				   " host_id = 2 EXCEPT SELECT * FROM temp.plain)"),
			 0);
}

/* --- rows in the order of a GROUP BY -------------------------------------------------- */

struct grouping {
	struct flow_columns needed;
	struct gather_key keys[2];
	struct host_names hosts;
};

static const struct flows_column *column_named(const char *name)
{
	size_t n;
	const struct flows_column *columns = flows_columns(&n);

	while (n-- > 0)
		if (strcmp(columns[n].name, name) == 0)
			return &columns[n];
	fail_msg("no column %s", name);
	return NULL;
}

/* "bytes" or "bytes DESC" */
static void set_key(struct grouping *group, size_t k, const char *term)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(term, " "), term);
	group->keys[k] = (struct gather_key){column_named(name), strchr(term, ' ') != NULL};
	flows_column_needs(group->keys[k].column, &group->needed);
}

static size_t gather_parts(struct fixture *f, const struct grouping *group, size_t max_bytes,
			   sqlite3_stmt *st)
{
	struct gather_rows rows;
	struct gather *g;
	size_t parts = 0;

	assert_int_equal(gather_open(f->store.reader, NULL, &group->needed, group->keys, 2,
				     &group->hosts, max_bytes, &g),
			 0);
	for (; gather_next(g, &rows) > 0; parts++) {
		for (size_t k = 0; k < rows.n; k++) {
			assert_int_equal(sqlite3_step(st), SQLITE_ROW);
			assert_int_equal(gather_row_key(g, rows.order[k]),
					 sqlite3_column_int64(st, 0));
		}
	}
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	gather_close(g);
	return parts;
}

/* In parts of a few rows, and all at once, what SQLite's own sorting gives. */
static void test_gathered_rows_are_in_order(void **state)
{
	static const char *const orders[][2] = {
		{"dst_addr DESC", "rtt_us"},	 {"proto_name", "host DESC"},
		{"iface DESC", "verdict"},	 {"host", "src_addr"},
		{"ip_version DESC", "dst_port"}, {"vlan DESC", "bytes"},
		{"mss", "dns_qname DESC"},
	};
	struct fixture *f = *state;
	struct grouping group = {0};
	size_t parts = 0;

	put_blocks(f);
	(void)sample_compact(f->store.db, f->store.reader, 600);
	assert_int_equal(host_names_read(&group.hosts, f->store.reader), SQLITE_OK);
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		char sql[160];
		sqlite3_stmt *st;

		set_key(&group, 0, orders[i][0]);
		set_key(&group, 1, orders[i][1]);
		(void)snprintf(sql, sizeof(sql), "SELECT rowid FROM flows ORDER BY %s, %s, rowid",
			       orders[i][0], orders[i][1]);
		assert_int_equal(sqlite3_prepare_v2(f->store.reader, sql, -1, &st, NULL),
				 SQLITE_OK);
		parts += gather_parts(f, &group, 5000, st);
		assert_int_equal(sqlite3_reset(st), SQLITE_OK);
		assert_int_equal(gather_parts(f, &group, GATHER_BYTES, st), 1);
		assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
	}
	assert_true(parts > 20);
	host_names_done(&group.hosts);
}

static void test_gathering_without_memory(void **state)
{
	struct fixture *f = *state;
	struct grouping group = {0};
	int err = -ENOMEM;

	for (int i = 0; i < 6; i++)
		put_block(f, 1 + i % N_HOSTS, 20);
	assert_int_equal(host_names_read(&group.hosts, f->store.reader), SQLITE_OK);
	set_key(&group, 0, "src_addr");
	set_key(&group, 1, "iface");
	for (unsigned n = 1; err; n++) {
		struct gather_rows rows;
		struct gather *g = NULL;
		bool failed;

		(void)fail_alloc_at(n);
		err = gather_open(f->store.reader, NULL, &group.needed, group.keys, 2, &group.hosts,
				  2000, &g);
		while (!err && (err = gather_next(g, &rows)) > 0)
			err = 0;
		failed = fail_alloc_at(0);
		gather_close(g);
		assert_int_equal(err, failed ? -ENOMEM : 0);
	}
	host_names_done(&group.hosts);
}

/* --- damage --------------------------------------------------------------------------- */

static void flip(struct fixture *f, const char *table, const char *column, int64_t id, int at)
{
	char sql[300];

	(void)snprintf(sql, sizeof(sql),
		       "UPDATE %s SET %s = CAST(substr(%s, 1, %d) || CASE substr(%s, %d + 1, 1)"
		       " WHEN x'5a' THEN x'5b' ELSE x'5a' END || substr(%s, %d + 2) AS BLOB)"
		       " WHERE id = %lld",
		       table, column, column, at, column, at, column, at, (long long)id);
	sample_exec(f->store.db, sql);
}

static int64_t rows_left(struct fixture *f, uint64_t *ret_damaged)
{
	struct flow_columns all = flow_columns_all();
	struct scan_rows *rows = NULL;
	struct scan *scan;
	int64_t n = 0;
	int found;

	assert_int_equal(scan_open(f->store.reader, NULL, &all, &scan), 0);
	while ((found = scan_next(scan, &rows)) > 0)
		n += (int64_t)rows->n_selected;
	assert_int_equal(found, 0);
	*ret_damaged = scan_totals(scan).damaged_rows;
	scan_rows_free(rows);
	scan_close(scan);
	return n;
}

static void test_damage_is_found_and_left_out(void **state)
{
	struct fixture *f = *state;
	int64_t segments, columns;
	uint64_t damaged;

	for (int i = 0; i < 12; i++)
		put_block(f, 1 + i % N_HOSTS, 50);
	(void)sample_compact(f->store.db, f->store.reader, 200);
	put_block(f, 1, 50);
	segments = number(f, "SELECT count(*) FROM flow_segment");
	columns = number(f, "SELECT count(*) FROM flow_column");
	assert_true(segments > 1 && columns >= 0);
	assert_int_equal(rows_left(f, &damaged), f->n_flows);
	assert_int_equal(damaged, 0);
	for (int at = 0; at < 300; at += 37) { /* a head, byte by byte */
		sample_exec(f->store.db, "SAVEPOINT whole");
		flip(f, "flow_segment", "head", 1, at);
		sample_exec(f->store.db, "RELEASE whole");
		assert_int_equal(rows_left(f, &damaged) + (int64_t)damaged, f->n_flows);
		assert_int_equal(damaged,
				 number(f, "SELECT n_rows FROM flow_segment WHERE id = 1"));
		flip(f, "flow_segment", "head", 1, at); /* not back: it stays damaged */
	}
	flip(f, "flow_fresh", "data", number(f, "SELECT min(id) FROM flow_fresh"), 30);
	assert_int_equal(rows_left(f, &damaged) + (int64_t)damaged, f->n_flows);
	assert_true(damaged > 50);
	/* What is left answers; the compactor leaves the damaged one where it is. */
	assert_true(number(f, "SELECT count(*) FROM flows WHERE bytes >= 0") > 0);
	assert_int_equal(sample_compact(f->store.db, f->store.reader, 1), 0);
	assert_int_equal(number(f, "SELECT count(*) FROM flow_fresh"), 1);
}

static void test_lost_column_is_damage(void **state)
{
	struct fixture *f = *state;
	uint64_t damaged;

	for (int i = 0; i < 100; i++) /* as many as make columns of their own */
		put_block(f, 1, PER_BLOCK);
	(void)sample_compact(f->store.db, f->store.reader, 6000);
	assert_true(number(f, "SELECT count(*) FROM flow_column") > 10);
	flip(f, "flow_column", "data", number(f, "SELECT min(id) FROM flow_column"), 500);
	assert_int_equal(rows_left(f, &damaged), 0);
	assert_int_equal(damaged, f->n_flows);
	sample_exec(f->store.db,
		    "DELETE FROM flow_column WHERE id = (SELECT min(id) FROM flow_column)");
	assert_int_equal(rows_left(f, &damaged), 0);
	assert_int_equal(damaged, f->n_flows);
}

/* --- memory -------------------------------------------------------------------------------- */

static void test_every_allocation_failure_is_clean(void **state)
{
	struct flow_columns all = flow_columns_all();
	struct fixture *f = *state;
	int err = 0;

	for (int i = 0; i < 6; i++)
		put_block(f, 1 + i % N_HOSTS, 20);
	for (unsigned n = 1;; n++) {
		struct compactor *c = NULL;
		struct segment *s = NULL;
		struct scan_rows *rows = NULL;
		struct scan *scan = NULL;
		bool failed;

		(void)fail_alloc_at(n);
		err = compactor_new(f->store.reader, 100, 0, &c);
		if (!err)
			err = compactor_make(c, &s);
		if (err >= 0)
			err = scan_open(f->store.reader, NULL, &all, &scan);
		while (err >= 0 && (err = scan_next(scan, &rows)) > 0)
			;
		failed = fail_alloc_at(0);
		scan_rows_free(rows);
		scan_close(scan);
		segment_free(s);
		compactor_free(c);
		if (!failed)
			break;
		assert_int_equal(err, -ENOMEM);
	}
	assert_int_equal(err, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_compaction_changes_no_row),
		TEST(test_small_segments_grow),
		TEST(test_column_that_came_with_another),
		TEST(test_zones_leave_segments_out),
		TEST(test_of_one_host_only_its_rows_are_decoded),
		TEST(test_gathered_rows_are_in_order),
		TEST(test_gathering_without_memory),
		TEST(test_damage_is_found_and_left_out),
		TEST(test_lost_column_is_damage),
		TEST(test_every_allocation_failure_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
