/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The fresh batches in memory: all after an id or none; and segments made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/compactor.h"
#include "collector/flowstore/flow_writer.h"
#include "collector/flowstore/fresh_cache.h"
#include "collector/flowstore/segment.h"
#include "tests/unit/rollup_fixture.h"

static void add(struct fresh_cache *c, int64_t id, size_t rows, size_t len)
{
	uint8_t *data = calloc(1, len);

	assert_non_null(data);
	data[0] = (uint8_t)id;
	fresh_cache_add(c, &(struct fresh_batch){id, 7, rows, data, len});
	free(data);
}

static void assert_taken(struct fresh_cache *c, int64_t after, size_t rows, size_t max,
			 int64_t first_id, int n)
{
	struct fresh_batch *b = NULL;

	assert_int_equal(fresh_cache_take(c, after, rows, max, &b), n);
	for (int i = 0; i < n; i++) {
		assert_int_equal(b[i].id, first_id + i);
		assert_int_equal(b[i].data[0], (uint8_t)b[i].id);
		assert_int_equal(b[i].host_id, 7);
		free(b[i].data);
	}
	free(b);
}

static void test_batches_are_taken_in_order(void **state)
{
	struct fresh_cache *c = NULL;

	(void)state;
	assert_int_equal(fresh_cache_new(1000, &c), 0);
	assert_taken(c, 5, 1, 1, 0, -ENODATA); /* what is in the database, nobody has said */
	for (int64_t id = 10; id < 20; id++)
		add(c, id, 5, 10);
	assert_taken(c, 8, 1, 1, 0, -ENODATA); /* 9 is not here */
	assert_taken(c, 9, 20, 100, 10, 4);
	assert_taken(c, 13, 100, 100, 0, 0); /* not so many yet */
	assert_taken(c, 13, 100, 3, 14, 3);  /* but enough batches */
	assert_taken(c, 17, 1, 100, 18, 1);  /* 17 came another way */
	add(c, 20, 5, 10);
	assert_taken(c, 18, 10, 100, 19, 2);
	assert_taken(c, 20, 1, 100, 0, 0);
	fresh_cache_free(c);
}

static void test_old_ones_give_way(void **state)
{
	struct fresh_cache *c = NULL;

	(void)state;
	assert_int_equal(fresh_cache_new(1000, &c), 0);
	for (int64_t id = 1; id <= 20; id++)
		add(c, id, 5, 100);
	assert_taken(c, 5, 1, 1, 0, -ENODATA);
	assert_taken(c, 10, 1, 1, 11, 1);
	fresh_cache_clear(c);
	assert_taken(c, 15, 1, 1, 0, -ENODATA);
	assert_taken(c, 20, 1, 1, 0, 0);
	for (int64_t id = 21; id < 30021; id++)
		add(c, id, 1, 1); /* of few bytes: bounded all the same */
	assert_taken(c, 20, 1, 1, 0, -ENODATA);
	fresh_cache_free(c);
}

/* --- segments ------------------------------------------------------------------------ */

/* As the writer does. */
static void put_batches(struct fixture *f, struct fresh_cache *cache, int n)
{
	int64_t last = number(f, "SELECT ifnull(max(seq), 0) FROM sqlite_sequence"
				 " WHERE name = 'flow_fresh'");
	sqlite3_stmt *st;

	put_blocks(f, n);
	assert_int_equal(sqlite3_prepare_v2(f->store.reader,
					    "SELECT id, host_id, n_rows, data FROM flow_fresh"
					    " WHERE id > ? ORDER BY id",
					    -1, &st, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_bind_int64(st, 1, last), SQLITE_OK);
	while (sqlite3_step(st) == SQLITE_ROW)
		fresh_cache_add(cache, &(struct fresh_batch){sqlite3_column_int64(st, 0),
							     (uint32_t)sqlite3_column_int64(st, 1),
							     (size_t)sqlite3_column_int64(st, 2),
							     (uint8_t *)sqlite3_column_blob(st, 3),
							     (size_t)sqlite3_column_bytes(st, 3)});
	sqlite3_finalize(st);
}

static void make_segments(struct fixture *f, struct compactor *c)
{
	struct segment *s;

	while (compactor_make(c, &s) > 0) {
		assert_int_equal(store_segment(f, s), 0);
		segment_free(s);
	}
}

#define SUMS "SELECT sum(bytes) % 1000003 + sum(packets) % 1000003 * 7 + count(*) FROM flows"

/* The blobs in the database are damaged by then, so it cannot be these that are read. */
static void test_segments_are_made_of_the_cache(void **state)
{
	struct fixture *f = *state;
	struct fresh_cache *cache = NULL;
	struct compactor *c = NULL;

	assert_int_equal(fresh_cache_new(1 << 20, &cache), 0);
	assert_int_equal(compactor_new(f->store.reader, ROWS, 1, &c), 0);
	compactor_use_cache(c, cache);
	put_batches(f, cache, 5);
	make_segments(f, c); /* the first one is read */
	for (int round = 0; round < 5; round++) {
		int64_t wanted;

		put_batches(f, cache, 20);
		wanted = number(f, SUMS);
		sample_exec(f->store.db, "UPDATE flow_fresh SET data = zeroblob(length(data))");
		make_segments(f, c);
		assert_int_equal(number(f, "SELECT count(*) FROM flow_fresh"), 0);
		assert_int_equal(number(f, SUMS), wanted);
	}
	compactor_free(c);
	fresh_cache_free(cache);
}

/* A segment that is not stored, or a cache that lacks some, loses nothing. */
static void test_segments_are_made_of_what_the_cache_lacks(void **state)
{
	struct fixture *f = *state;
	struct fresh_cache *cache = NULL;
	struct compactor *c = NULL;
	struct segment *s = NULL;

	assert_int_equal(fresh_cache_new(10000, &cache), 0);
	assert_int_equal(compactor_new(f->store.reader, ROWS, 1, &c), 0);
	compactor_use_cache(c, cache);
	for (int round = 0; round < 20; round++) {
		int64_t wanted;

		put_batches(f, cache, 1 + round * 3);
		wanted = number(f, SUMS);
		if (round % 3 == 1) {
			assert_int_equal(compactor_make(c, &s), 1);
			segment_free(s);
			compactor_forget(c);
		}
		if (round % 4 == 2)
			fresh_cache_clear(cache);
		make_segments(f, c);
		assert_int_equal(number(f, "SELECT count(*) FROM flow_fresh"), 0);
		assert_int_equal(number(f, SUMS), wanted);
	}
	compactor_free(c);
	fresh_cache_free(cache);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batches_are_taken_in_order),
		cmocka_unit_test(test_old_ones_give_way),
		TEST(test_segments_are_made_of_the_cache),
		TEST(test_segments_are_made_of_what_the_cache_lacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
