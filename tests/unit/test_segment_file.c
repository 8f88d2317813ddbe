// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What segments take in the file, and what is read of a file of before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/rollup/rollup_writer.h"
#include "collector/serve/retention.h"
#include "tests/unit/random_flows.h"
#include "tests/unit/sample_store.h"

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
	sample_store_open(&f->store, 1);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sample_store_close(&f->store);
	free(f);
	return 0;
}

static void put_blocks(struct fixture *f, int n)
{
	for (int b = 0; b < n; b++) {
		struct flow_record rows[PER_BLOCK];

		for (size_t i = 0; i < PER_BLOCK; i++)
			rows[i] = random_flow(&f->rng);
		sample_add_records(f->store.db, 1, rows, PER_BLOCK);
		f->n_flows += PER_BLOCK;
	}
}

/* --- how full the pages are -------------------------------------------------------- */

static void test_ends_of_columns_fill_pages(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 6; i++) {
		put_blocks(f, 100);
		(void)sample_compact(f->store.db, f->store.reader, 6000);
	}
	assert_true(sample_number(f->store.db, "SELECT count(*) FROM flow_column") > 100);
	/* 29, if they came as they are. */
	assert_in_range(sample_number(f->store.db,
				      "SELECT 100 * sum(unused) / sum(pgsize) FROM dbstat"
				      " WHERE name = 'flow_column' AND pagetype = 'leaf'"),
			1, 18);
}

/* --- segments of before: their columns go by code ----------------------------------- */

static void make_old(struct fixture *f, int64_t segment, struct flow_parts *parts)
{
	char sql[200];

	for (unsigned p = 0; p < FLOW_N_PARTS; p++) {
		int64_t id = segment_column_id(segment, parts, p);

		if (!parts->part[p].elsewhere)
			continue;
		parts->part[p].place = 0;
		(void)snprintf(sql, sizeof(sql), "UPDATE flow_column SET id = %lld WHERE id = %lld",
			       (long long)segment_column_id(segment, parts, p), (long long)id);
		sample_exec(f->store.db, sql);
		assert_int_equal(sqlite3_changes(f->store.db), 1);
	}
}

static void make_head_old(struct fixture *f, int64_t segment)
{
	struct flow_parts parts;
	sqlite3_stmt *get, *put;
	uint8_t *head;
	size_t len;

	assert_int_equal(sqlite3_prepare_v2(f->store.db,
					    "SELECT head FROM flow_segment WHERE id = ?", -1, &get,
					    NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(f->store.db,
					    "UPDATE flow_segment SET head = ?2 WHERE id = ?1", -1,
					    &put, NULL),
			 SQLITE_OK);
	sqlite3_bind_int64(get, 1, segment);
	assert_int_equal(sqlite3_step(get), SQLITE_ROW);
	assert_int_equal(flow_parts_open(sqlite3_column_blob(get, 0),
					 (size_t)sqlite3_column_bytes(get, 0), &parts, NULL),
			 0);
	make_old(f, segment, &parts);
	assert_int_equal(flow_parts_seal(&parts, &head, &len), 0);
	assert_int_equal(head[0], FLOW_BLOCK_VERSION);
	sqlite3_bind_int64(put, 1, segment);
	sqlite3_bind_blob(put, 2, head, (int)len, free);
	assert_int_equal(sqlite3_step(put), SQLITE_DONE);
	sqlite3_finalize(put);
	sqlite3_finalize(get);
}

static void test_segments_of_before_are_read(void **state)
{
	struct fixture *f = *state;
	int64_t segments;

	put_blocks(f, 40);
	sample_exec(f->store.reader, "CREATE TEMP TABLE plain AS SELECT * FROM flows");
	(void)sample_compact(f->store.db, f->store.reader, 1000);
	segments = sample_number(f->store.db, "SELECT count(*) FROM flow_segment");
	assert_true(segments > 1);
	for (int64_t id = 1; id <= segments; id++)
		make_head_old(f, id);
	assert_int_equal(sample_number(f->store.reader, "SELECT count(*) FROM flows"), f->n_flows);
	assert_int_equal(sample_number(f->store.reader, "SELECT count(*) FROM (SELECT * FROM flows"
							" INTERSECT SELECT * FROM temp.plain)"),
			 sample_number(f->store.reader,
				       "SELECT count(*) FROM (SELECT DISTINCT * FROM"
				       " temp.plain)"));
	/* The last one is small: it is made new, and is one of today. */
	put_blocks(f, 80);
	(void)sample_compact(f->store.db, f->store.reader, 5000);
	assert_int_equal(sample_number(f->store.db, "SELECT count(*) FROM flow_segment"), segments);
	assert_int_equal(sample_number(f->store.reader, "SELECT count(*) FROM flows"), f->n_flows);
}

/* --- Community IDs --------------------------------------------------------------------- */

static int64_t count_in(struct fixture *f, const char *table, const char *id, const char *more)
{
	char sql[300];

	(void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s WHERE community_id = '%s'%s",
		       table, id, more);
	return sample_number(f->store.reader, sql);
}

static void assert_pushed_down(struct fixture *f, const char *sql, const char *term, bool wanted)
{
	char explain[300];
	bool found = false;
	sqlite3_stmt *st;

	(void)snprintf(explain, sizeof(explain), "EXPLAIN QUERY PLAN %s", sql);
	assert_int_equal(sqlite3_prepare_v2(f->store.reader, explain, -1, &st, NULL), SQLITE_OK);
	while (sqlite3_step(st) == SQLITE_ROW)
		found |= strstr((const char *)sqlite3_column_text(st, 3), term) != NULL;
	sqlite3_finalize(st);
	assert_int_equal(found, wanted);
}

static void test_community_id_is_a_condition(void **state)
{
	struct fixture *f = *state;
	sqlite3_stmt *st;
	char term[32];
	int n = 0;

	put_blocks(f, 40);
	(void)sample_compact(f->store.db, f->store.reader, 1000);
	sample_exec(f->store.reader, "CREATE TEMP TABLE plain AS SELECT * FROM flows");
	assert_int_equal(sqlite3_prepare_v2(f->store.reader,
					    "SELECT community_id FROM temp.plain"
					    " WHERE community_id IS NOT NULL GROUP BY 1 LIMIT 40",
					    -1, &st, NULL),
			 SQLITE_OK);
	for (; sqlite3_step(st) == SQLITE_ROW; n++) {
		const char *id = (const char *)sqlite3_column_text(st, 0);

		assert_true(count_in(f, "flows", id, "") > 0);
		assert_int_equal(count_in(f, "flows", id, ""), count_in(f, "temp.plain", id, ""));
		assert_int_equal(count_in(f, "flows", id, " AND proto = 6"),
				 count_in(f, "temp.plain", id, " AND proto = 6"));
		assert_int_equal(count_in(f, "flows", id, " OR src_port = 0"),
				 count_in(f, "temp.plain", id, " OR src_port = 0"));
	}
	sqlite3_finalize(st);
	assert_int_equal(n, 40);
	assert_int_equal(count_in(f, "flows", "1:nonsense", ""), 0);
	/* Of a constant only: in a join it would be worked out again and again. */
	(void)snprintf(term, sizeof(term), ";%d 2 ",
		       (int)sample_number(f->store.reader,
					  "SELECT cid FROM pragma_table_info('flows')"
					  " WHERE name = 'community_id'"));
	assert_pushed_down(f, "SELECT * FROM flows WHERE community_id = '1:x'", term, true);
	assert_pushed_down(f,
			   "SELECT * FROM flows a JOIN flows b ON b.community_id = a.community_id",
			   term, false);
}

/* --- holes ------------------------------------------------------------------------- */

static int64_t pragma(struct fixture *f, const char *name)
{
	char sql[64];

	(void)snprintf(sql, sizeof(sql), "PRAGMA %s", name);
	return sample_number(f->store.db, sql);
}

static void test_ingest_with_retention_does_not_grow_the_file(void **state)
{
	struct fixture *f = *state;
	struct rollup_writer *rollups = NULL;
	struct retention limits = {0};
	int64_t pages = 0;
	size_t rows;

	assert_int_equal(rollup_writer_open(f->store.db, &rollups), 0);

	for (int round = 0; round < 30; round++) {
		put_blocks(f, 50);
		(void)sample_compact(f->store.db, f->store.reader, 1500);
		if (round == 9) {
			pages = pragma(f, "page_count");
			limits.max_bytes = (uint64_t)((pages - pragma(f, "freelist_count")) *
						      pragma(f, "page_size"));
		}
		assert_int_equal(retention_apply(&limits, f->store.db, f->store.writer, rollups,
						 SIZE_MAX, &rows),
				 0);
		f->n_flows -= (int64_t)rows;
	}
	rollup_writer_close(rollups);
	/* 20 rounds more, each a tenth of what there is. */
	assert_int_equal(sample_number(f->store.reader, "SELECT count(*) FROM flows"), f->n_flows);
	assert_in_range(pragma(f, "page_count"), pages, pages + pages / 8);
	/* What is deleted is not written over, and nothing is moved. */
	assert_int_equal(pragma(f, "secure_delete"), 0);
	assert_int_equal(pragma(f, "auto_vacuum"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ends_of_columns_fill_pages),
		TEST(test_segments_of_before_are_read),
		TEST(test_community_id_is_a_condition),
		TEST(test_ingest_with_retention_does_not_grow_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
