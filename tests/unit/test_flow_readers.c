// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Readers while batches come in, segments take their place, small segments are
 * made anew and the oldest are deleted: at every moment each sees each flow once.
 *
 * Batch k has ROWS flows with flow_id k, and k bytes each. What is there is
 * always the batches from some first one, which only rises, to some last one,
 * which only rises; so count, sum, smallest and largest of one answer tell
 * whether any is missing or twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/aggregate/aggregate.h"
#include "collector/flowstore/compactor.h"
#include "collector/flowstore/flow_writer.h"
#include "collector/flowstore/scan.h"
#include "collector/flowstore/segment.h"
#include "collector/sqlite/sql_functions.h"
#include "collector/store/db.h"
#include "tests/unit/sample_db.h"
#include "tests/unit/sample_jobs.h"

#define ROWS	     7
#define SEGMENT	     200 /* flows; below half of it, the last one is made anew */
#define STEP_MS	     10	 /* of the flows' time, from batch to batch */
#define KEPT	     60	 /* batches that retention leaves, at least */
#define START_MS     1700000000000
#define MIN_ANSWERS  40 /* of each reader */
#define MIN_SEGMENTS 100
#define MAX_BATCHES  20000 /* a reader that has not got far by then never does */

struct scene {
	struct sample_dir dir;
	sqlite3 *db; /* writes */
	struct flow_writer *writer;
	pthread_mutex_t writing; /* db */
	atomic_bool stop;
	atomic_llong committed, committing; /* batches up to this; perhaps this one, too */
	atomic_llong oldest_kept;	    /* batches from this on are there */
	atomic_int segments, remade;
	atomic_llong deleted; /* flows */
};

struct answer {
	int64_t flows, batches, first, last, bytes;
};

struct reader {
	struct scene *s;
	const char *name;
	int (*ask)(sqlite3 *db, struct answer *ret);
	pthread_t thread;
	atomic_int answers;
	atomic_bool failed;
	char wrong[256]; /* what was; read after the thread */
};

static sqlite3 *open_reader(const struct scene *s)
{
	const char *why = NULL;
	sqlite3 *db = NULL;

	if (db_open_reader(s->dir.path, &db, &why) != 0 || sql_functions_register(db) != 0)
		return NULL;
	return db;
}

/* --- ways to ask ---------------------------------------------------------------------- */

static int ask_sql(sqlite3 *db, const char *sql, struct answer *ret)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW)
		*ret = (struct answer){sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1),
				       sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3),
				       sqlite3_column_int64(st, 4)};
	(void)sqlite3_finalize(st); /* repeats rc */
	return rc == SQLITE_ROW ? 0 : -EIO;
}

static int ask_sums(sqlite3 *db, struct answer *ret)
{
	return ask_sql(db,
		       "SELECT count(*), count(DISTINCT flow_id), min(flow_id), max(flow_id),"
		       " sum(bytes) FROM flows",
		       ret);
}

/* Reads the table three times: all within one statement is of one moment. */
static int ask_by_parts(sqlite3 *db, struct answer *ret)
{
	return ask_sql(db,
		       "SELECT (SELECT count(*) FROM flows WHERE host = 'one') +"
		       " (SELECT count(*) FROM flows WHERE host <> 'one'),"
		       " (SELECT count(*) FROM (SELECT 1 FROM flows GROUP BY flow_id)),"
		       " (SELECT min(flow_id) FROM flows WHERE end_ms > 0),"
		       " (SELECT max(flow_id) FROM flows WHERE src_port IN (1, 2, 3, 4, 5, 6, 7)"
		       " OR dst_port = 80),"
		       " (SELECT sum(bytes) FROM flows WHERE src_port <= 3 OR src_port > 3)",
		       ret);
}

/* Two statements in one transaction, with time for the compactor between. */
static int ask_twice(sqlite3 *db, struct answer *ret)
{
	struct answer before = {0};
	int err = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;

	if (!err)
		err = ask_sums(db, &before);
	(void)sqlite3_sleep(20);
	if (!err)
		err = ask_sums(db, ret);
	if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		err = -EIO;
	return err || memcmp(&before, ret, sizeof(before)) == 0 ? err : -EINVAL;
}

static int ask_scan(sqlite3 *db, struct answer *ret)
{
	struct flow_columns columns = {{0}};
	struct scan_rows *rows = NULL;
	struct answer a = {.first = INT64_MAX};
	struct scan *scan = NULL;
	int err;

	flow_columns_add(&columns, FLOW_COLUMN_flow_id);
	flow_columns_add(&columns, FLOW_COLUMN_bytes);
	err = scan_open(db, NULL, &columns, &scan);
	while (err >= 0 && (err = scan_next(scan, &rows)) > 0) {
		for (size_t k = 0; k < rows->n_selected; k++) {
			uint32_t i = rows->selected[k];
			int64_t id = (int64_t)FLOW_COL_U64(&rows->block, flow_id)[i];

			a.flows++;
			a.first = id < a.first ? id : a.first;
			a.last = id > a.last ? id : a.last;
			a.bytes += (int64_t)FLOW_COL_U64(&rows->block, bytes)[i];
		}
	}
	scan_rows_free(rows);
	scan_close(scan);
	a.batches = a.last - a.first + 1; /* it does not tell them apart */
	*ret = a;
	return err;
}

/* As reports do it, by several threads. */
static int ask_aggregate(sqlite3 *db, struct answer *ret)
{
	static const struct measure measures[] = {
		{.kind = MEASURE_COUNT},
		{.kind = MEASURE_DISTINCT, .n_columns = 1, .columns = {FLOW_COLUMN_flow_id}},
		{.kind = MEASURE_MIN, .n_columns = 1, .columns = {FLOW_COLUMN_flow_id}},
		{.kind = MEASURE_MAX, .n_columns = 1, .columns = {FLOW_COLUMN_flow_id}},
		{.kind = MEASURE_SUM, .n_columns = 1, .columns = {FLOW_COLUMN_bytes}},
	};
	const struct aggregate_spec spec = {.n_measures = 5, .measures = measures};
	struct aggregate *a = NULL;
	int err = aggregate_new(db, &spec, &a);

	if (!err)
		err = aggregate_read(a, &(struct aggregate_input){0});
	if (!err)
		err = aggregate_finish(a);
	if (!err)
		*ret = (struct answer){aggregate_value(a, AGGREGATE_TOTAL, 0).integer,
				       aggregate_value(a, AGGREGATE_TOTAL, 1).integer,
				       aggregate_value(a, AGGREGATE_TOTAL, 2).integer,
				       aggregate_value(a, AGGREGATE_TOTAL, 3).integer,
				       aggregate_value(a, AGGREGATE_TOTAL, 4).integer};
	aggregate_free(a);
	return err;
}

/* --- what an answer must be ------------------------------------------------------------- */

struct bounds {
	int64_t first, last; /* known before the question */
};

static const char *judge(const struct scene *s, const struct bounds *before, const struct answer *a)
{
	int64_t n = a->last - a->first + 1;

	if (a->batches != n || a->flows != n * ROWS)
		return "a gap, or one twice";
	if (a->bytes != ROWS * (a->first + a->last) * n / 2)
		return "the sum is another";
	if (a->last < before->last || a->last > atomic_load(&s->committing))
		return "not what was committed by then";
	if (a->first > atomic_load(&s->oldest_kept) || a->first < before->first)
		return "not what retention leaves";
	return NULL;
}

static void *keep_asking(void *arg)
{
	struct reader *r = arg;
	sqlite3 *db = open_reader(r->s);
	struct bounds before = {0};

	while (db && !atomic_load(&r->failed) && !atomic_load(&r->s->stop)) {
		struct answer a = {0};
		const char *why;
		int err;

		before.last = atomic_load(&r->s->committed);
		err = r->ask(db, &a);
		why = err ? "an error" : judge(r->s, &before, &a);
		if (why)
			(void)snprintf(r->wrong, sizeof(r->wrong),
				       "%s: %s (%d): %lld flows, %lld batches, %lld to %lld, %lld"
				       " bytes",
				       r->name, why, err, (long long)a.flows, (long long)a.batches,
				       (long long)a.first, (long long)a.last, (long long)a.bytes);
		atomic_store(&r->failed, why != NULL);
		before.first = a.first; /* from answer to answer it only rises */
		atomic_fetch_add(&r->answers, 1);
	}
	db_close(db);
	return NULL;
}

/* --- what happens meanwhile ---------------------------------------------------------------- */

static void put_batch(struct scene *s, int64_t k)
{
	struct flow_record rows[ROWS];
	struct batch *b;

	for (int i = 0; i < ROWS; i++) {
		rows[i] =
			sample_flow("10.0.0.1", "10.0.0.2", 80, (uint64_t)(START_MS + k * STEP_MS));
		rows[i].flow_id = (uint64_t)k;
		rows[i].bytes = (uint64_t)k;
		rows[i].src_port = (uint16_t)(i + 1);
	}
	b = sample_batch_of(1, 1, rows, ROWS);
	atomic_store(&s->committing, k);
	(void)pthread_mutex_lock(&s->writing);
	assert_int_equal(
		flow_writer_fresh(s->writer, 1 + k % 2, b->block, b->block_len, &b->summary), 0);
	(void)pthread_mutex_unlock(&s->writing);
	atomic_store(&s->committed, k);
	batch_free(b);
}

/* Whole segments and batches that ended before the last KEPT. */
static void delete_oldest(struct scene *s, int64_t k)
{
	int64_t from = k - KEPT;
	size_t rows = 0;

	if (from < 1)
		return;
	atomic_store(&s->oldest_kept, from);
	(void)pthread_mutex_lock(&s->writing);
	sample_exec(s->db, "BEGIN IMMEDIATE");
	assert_int_equal(
		flow_writer_expire(s->writer, START_MS + from * STEP_MS, SEGMENT / 2, &rows), 0);
	sample_exec(s->db, "COMMIT");
	(void)pthread_mutex_unlock(&s->writing);
	atomic_fetch_add(&s->deleted, (long long)rows);
}

static void store_segment(struct scene *s, struct segment *segment)
{
	int err;

	(void)pthread_mutex_lock(&s->writing);
	sample_exec(s->db, "BEGIN IMMEDIATE");
	err = flow_writer_segment(s->writer, segment);
	sample_exec(s->db, err ? "ROLLBACK" : "COMMIT"); /* -EINVAL: retention was faster */
	(void)pthread_mutex_unlock(&s->writing);
	assert_true(err == 0 || err == -EINVAL);
	if (!err) {
		atomic_fetch_add(&s->segments, 1);
		atomic_fetch_add(&s->remade, (int)segment->n_segments);
	}
	segment_free(segment);
}

static void *keep_compacting(void *arg)
{
	struct scene *s = arg;
	sqlite3 *db = open_reader(s);
	struct compactor *c = NULL;

	assert_non_null(db);
	assert_int_equal(compactor_new(db, SEGMENT, 5, &c), 0);
	while (!atomic_load(&s->stop)) {
		struct segment *segment = NULL;
		int found = compactor_make(c, &segment);

		assert_true(found >= 0);
		if (found > 0 && segment)
			store_segment(s, segment);
		else
			(void)sqlite3_sleep(1);
	}
	compactor_free(c);
	db_close(db);
	return NULL;
}

/* --- the test --------------------------------------------------------------------------------- */

static struct reader readers[] = {
	{.name = "sums", .ask = ask_sums},	     {.name = "by parts", .ask = ask_by_parts},
	{.name = "twice", .ask = ask_twice},	     {.name = "scan", .ask = ask_scan},
	{.name = "aggregate", .ask = ask_aggregate},
};
#define N_READERS (sizeof(readers) / sizeof(readers[0]))

static bool is_enough(struct scene *s)
{
	bool enough = atomic_load(&s->segments) >= MIN_SEGMENTS &&
		      atomic_load(&s->remade) >= MIN_SEGMENTS / 4 &&
		      atomic_load(&s->deleted) >= MIN_SEGMENTS * ROWS;

	for (size_t i = 0; i < N_READERS; i++) {
		enough &= atomic_load(&readers[i].answers) >= MIN_ANSWERS;
		if (atomic_load(&readers[i].failed))
			return true;
	}
	return enough;
}

static void open_scene(struct scene *s)
{
	const char *why = NULL;

	sample_dir_make(&s->dir);
	assert_int_equal(db_open_writer(s->dir.path, &s->db, &why), 0);
	assert_int_equal(flow_writer_open(s->db, &s->writer), 0);
	sample_exec(s->db,
		    "INSERT INTO host (id, probe_id, name, kernel, build, boot_id, ifaces,"
		    " first_seen_ms, last_seen_ms) VALUES"
		    " (1, x'00000000000000000000000000000001', 'one', '', '', x'', '', 0, 0),"
		    " (2, x'00000000000000000000000000000002', 'two', '', '', x'', '', 0, 0)");
	assert_int_equal(pthread_mutex_init(&s->writing, NULL), 0);
	atomic_store(&s->oldest_kept, 1);
	put_batch(s, 1); /* there is a first and a last one */
}

static void close_scene(struct scene *s)
{
	flow_writer_close(s->writer);
	db_close(s->db);
	(void)pthread_mutex_destroy(&s->writing);
	sample_dir_remove(&s->dir);
}

static void test_each_flow_once_at_every_moment(void **state)
{
	struct scene s = {0};
	pthread_t compactor;
	int64_t k = 1;

	(void)state;
	open_scene(&s);
	assert_int_equal(pthread_create(&compactor, NULL, keep_compacting, &s), 0);
	for (size_t i = 0; i < N_READERS; i++) {
		readers[i].s = &s;
		assert_int_equal(pthread_create(&readers[i].thread, NULL, keep_asking, &readers[i]),
				 0);
	}
	while (k < MAX_BATCHES && !is_enough(&s)) {
		put_batch(&s, ++k);
		if (k % 20 == 0)
			delete_oldest(&s, k);
	}
	atomic_store(&s.stop, true);
	assert_int_equal(pthread_join(compactor, NULL), 0);
	for (size_t i = 0; i < N_READERS; i++) {
		assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
		if (readers[i].wrong[0])
			fail_msg("%s", readers[i].wrong);
	}
	print_message("%lld batches, %d segments, %d of them made anew, %lld flows deleted\n",
		      (long long)k, atomic_load(&s.segments), atomic_load(&s.remade),
		      (long long)atomic_load(&s.deleted));
	assert_true(k < MAX_BATCHES);
	close_scene(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_flow_once_at_every_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
