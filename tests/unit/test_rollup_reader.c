// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The same questions to the rollups and to the records alone: the same answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "collector/once/once.h"
#include "collector/rollup/rollup_reader.h"
#include "tests/unit/rollup_fixture.h"

#define T0	  INT64_C(1700000000000) /* of random_flows.h */
#define WINDOW_MS 11000000
#define MAX_TERMS 3

static const char *const key_names[] = {"host",	     "host_id", "dst_port",   "proto_name",
					"direction", "role",	"ip_version", "proto"};
#define N_KEYS (sizeof(key_names) / sizeof(key_names[0]))

static const struct measure packets = {
	.kind = MEASURE_SUM, .n_columns = 1, .columns = {FLOW_COLUMN_packets}};
static const struct measure measures[] = {
	{.kind = MEASURE_SUM,
	 .n_columns = 2,
	 .columns = {FLOW_COLUMN_bytes, FLOW_COLUMN_rev_bytes}},
	{.kind = MEASURE_SUM, .n_columns = 1, .columns = {FLOW_COLUMN_rev_packets}},
	{.kind = MEASURE_SUM, .n_columns = 1, .columns = {FLOW_COLUMN_retrans_pkts}},
	{.kind = MEASURE_PERCENT,
	 .n_columns = 1,
	 .columns = {FLOW_COLUMN_retrans_pkts},
	 .of = &packets},
	{.kind = MEASURE_SHARE, .n_columns = 1, .columns = {FLOW_COLUMN_bytes}},
};
#define N_MEASURES (sizeof(measures) / sizeof(measures[0]))

struct question {
	struct aggregate_spec spec;
	int64_t since_ms, until_ms;
	struct predicate terms[1 + MAX_TERMS]; /* the window first */
	struct predicate where;
	size_t n_terms;
	bool everything;
};

static uint64_t draw(struct fixture *f, uint64_t n)
{
	return random_u64(&f->rng) % n;
}

/* Times that are whole minutes or hours now and then. */
static int64_t draw_time(struct fixture *f)
{
	static const int64_t units[] = {1, 60000, 3600000};
	int64_t unit = units[draw(f, 3)];

	return (T0 + (int64_t)draw(f, WINDOW_MS)) / unit * unit;
}

static struct predicate range(enum flow_column column, uint64_t low, uint64_t high)
{
	return (struct predicate){
		.kind = PREDICATE_RANGE, .column = column, .low = low, .high = high};
}

static struct predicate draw_term(struct fixture *f)
{
	switch (draw(f, 5)) {
	case 0:
		return range(FLOW_COLUMN_proto, 6, 17);
	case 1:
		return range(FLOW_COLUMN_dst_port, 1, 1000);
	case 2:
		return range(FLOW_COLUMN_dst_port, 40000, 65535);
	case 3:
		return range(FLOW_COLUMN_host_id, 2, 2);
	default:
		return range(FLOW_COLUMN_proto, 6, 6);
	}
}

static void draw_question(struct fixture *f, struct question *q)
{
	*q = (struct question){.since_ms = draw_time(f), .until_ms = draw_time(f)};
	if (q->since_ms > q->until_ms) {
		int64_t t = q->since_ms;

		q->since_ms = q->until_ms;
		q->until_ms = t;
	}
	if (draw(f, 8) == 0)
		q->until_ms = INT64_MIN;
	q->everything = draw(f, 4) == 0;
	q->spec.n_keys = 1 + draw(f, 3);
	for (size_t k = 0; k < q->spec.n_keys; k++)
		assert_true(group_key_find(key_names[draw(f, N_KEYS)], &q->spec.keys[k]));
	q->spec.n_measures = N_MEASURES;
	q->spec.measures = measures;
	q->terms[0] = range(FLOW_COLUMN_end_ms, (uint64_t)q->since_ms,
			    q->until_ms == INT64_MIN ? UINT64_MAX : (uint64_t)q->until_ms - 1);
	q->n_terms = draw(f, MAX_TERMS);
	for (size_t i = 0; i < q->n_terms; i++)
		q->terms[1 + i] = draw_term(f);
	q->where = (struct predicate){
		.kind = PREDICATE_ALL, .children = q->terms, .n_children = 1 + q->n_terms};
}

/* Returns whether the rollups answered. */
static bool ask(struct fixture *f, const struct question *q, bool rollups, struct aggregate **ret,
		struct rollup_use *use)
{
	const struct rollup_question asked = {q->since_ms, q->until_ms, q->terms + 1, q->n_terms};
	struct aggregate_input in = {.predicate = &q->where};
	struct once *once = NULL;
	int found = 0;

	assert_int_equal(aggregate_new(f->store.reader, &q->spec, ret), 0);
	if (!q->everything)
		assert_int_equal(once_open(f->store.reader, &q->where, &once), 0);
	in.once = once;
	if (rollups)
		found = rollup_read(f->store.reader, *ret, &q->spec, &in, &asked, use);
	assert_true(found >= 0);
	if (!found)
		assert_int_equal(aggregate_read(*ret, &in), 0);
	assert_int_equal(aggregate_finish(*ret), 0);
	once_close(once);
	return found;
}

static void assert_same_value(const struct aggregate_value *a, const struct aggregate_value *b)
{
	assert_int_equal(a->type, b->type);
	switch (a->type) {
	case AGGREGATE_INT:
		assert_int_equal(a->integer, b->integer);
		break;
	case AGGREGATE_REAL:
		assert_true(a->real == b->real);
		break;
	case AGGREGATE_TEXT:
		assert_string_equal(a->text, b->text);
		break;
	case AGGREGATE_NULL:
		break;
	}
}

static void assert_same_answer(const struct question *q, struct aggregate *a, struct aggregate *b)
{
	uint32_t *groups_a, *groups_b;
	uint64_t aside_a, aside_b;
	size_t n_a, n_b;

	assert_int_equal(aggregate_select(a, NULL, 0, 0, &groups_a, &n_a), 0);
	assert_int_equal(aggregate_select(b, NULL, 0, 0, &groups_b, &n_b), 0);
	assert_int_equal(n_a, n_b);
	for (size_t i = 0; i < n_a; i++) {
		char text_a[GROUP_KEY_TEXT_MAX], text_b[GROUP_KEY_TEXT_MAX];
		struct aggregate_value x, y;

		for (size_t k = 0; k < q->spec.n_keys; k++) {
			x = aggregate_key(a, groups_a[i], k, text_a);
			y = aggregate_key(b, groups_b[i], k, text_b);
			assert_same_value(&x, &y);
		}
		for (size_t m = 0; m < N_MEASURES; m++) {
			x = aggregate_value(a, groups_a[i], m);
			y = aggregate_value(b, groups_b[i], m);
			assert_same_value(&x, &y);
		}
	}
	free(groups_a);
	free(groups_b);
	(void)aggregate_totals(a, &aside_a);
	(void)aggregate_totals(b, &aside_b);
	assert_int_equal(aside_a, aside_b);
}

/* Asks n questions both ways; *use: all that the rollups gave. Returns how many they answered. */
static int compare(struct fixture *f, int n, struct rollup_use *use)
{
	int answered = 0;

	sample_exec(f->store.reader, "BEGIN");
	for (int i = 0; i < n; i++) {
		struct aggregate *with = NULL, *without = NULL;
		struct rollup_use one = {0};
		struct question q;

		draw_question(f, &q);
		answered += ask(f, &q, true, &with, &one);
		(void)ask(f, &q, false, &without, NULL);
		assert_same_answer(&q, with, without);
		aggregate_free(with);
		aggregate_free(without);
		use->hours += one.hours;
		use->minutes += one.minutes;
		use->unsure += one.unsure;
		use->set_aside += one.set_aside;
	}
	sample_exec(f->store.reader, "COMMIT");
	return answered;
}

/* Hosts with clocks of their own, that report most of the time. */
static void cover(struct fixture *f)
{
	char sql[300];

	sample_exec(f->store.db, "BEGIN");
	for (int host = 1; host <= N_HOSTS; host++) {
		(void)snprintf(sql, sizeof(sql), "UPDATE host SET clock_skew_ms = %d WHERE id = %d",
			       (int)draw(f, 5000) - 2500, host);
		sample_exec(f->store.db, sql);
		for (int64_t t = T0 / 60000 * 60000 - 120000; t < T0 + 2 * WINDOW_MS; t += 60000) {
			if (draw(f, 40) == 0)
				continue;
			(void)snprintf(sql, sizeof(sql),
				       "INSERT INTO coverage_minute (host_id, minute_ms, batches)"
				       " VALUES (%d, %lld, 1)",
				       host, (long long)t);
			sample_exec(f->store.db, sql);
		}
	}
	sample_exec(f->store.db, "COMMIT");
}

/* Most of it is in the rollups, some only in segments and fresh batches. */
static void fill(struct fixture *f)
{
	cover(f);
	put_blocks(f, 100);
	while (number(f, "SELECT count(*) FROM flow_fresh") > 0)
		compact(f, 1);
	put_blocks(f, 20);
	compact(f, 1);
	(void)roll_up(f);
	put_blocks(f, 20);
	compact(f, 1);
	put_blocks(f, 5);
	assert_true(number(f, "SELECT count(*) FROM flow_segment"
			      " WHERE id > (SELECT segment_id FROM rollup_state)") > 0);
	assert_true(number(f, "SELECT count(*) FROM flow_fresh") > 0);
	/* Who claims records has reported then, not, or for a part of it. */
	assert_true(number(f, "SELECT count(*) FROM rollup_minute WHERE claim = -1") > 0);
	assert_true(number(f, "SELECT count(*) FROM rollup_minute WHERE claim > 0") > 0);
}

static void test_answers_are_the_same(void **state)
{
	struct fixture *f = *state;
	struct rollup_use use = {0};
	int answered;

	fill(f);
	answered = compare(f, 600, &use);
	print_message("%d of 600 from rollups: %d hours, %d minutes\n", answered, (int)use.hours,
		      (int)use.minutes);
	assert_true(answered > 200);
	assert_true(use.hours > 10 && use.minutes > 500 && use.set_aside > 0);
	assert_int_equal(use.unsure, 0);
}

/* Minutes that are deleted, and a damaged segment, make no difference. */
static void test_holes_are_read_from_records(void **state)
{
	struct fixture *f = *state;
	struct rollup_use use = {0};
	size_t rows;

	fill(f);
	assert_int_equal(rollup_writer_expire(f->rollups, T0 + 5400000, 0, SIZE_MAX, &rows), 0);
	assert_true(rows > 0);
	assert_true(compare(f, 200, &use) > 50);
	assert_int_equal(rollup_writer_expire(f->rollups, 0, T0 + 5400000, SIZE_MAX, &rows), 0);
	assert_true(rows > 0);
	assert_true(compare(f, 200, &use) > 50);
	sample_exec(f->store.db, "INSERT INTO rollup_gap VALUES (1000000, 1, 0, 9000000000000)");
	assert_int_equal(compare(f, 10, &use), 0);
}

/* Where the records are deleted, the rollups still have what they were. */
static void test_rollups_answer_for_deleted_records(void **state)
{
	struct question q = {
		.spec = {.n_keys = 1, .n_measures = N_MEASURES, .measures = measures},
		.since_ms = T0 / 3600000 * 3600000,
		.until_ms = INT64_MIN,
		.terms = {{.kind = PREDICATE_TRUE}},
		.where = {.kind = PREDICATE_TRUE},
		.everything = true,
	};
	struct fixture *f = *state;
	struct aggregate *before = NULL, *after = NULL;
	struct rollup_use use = {0};
	size_t rows;

	fill(f);
	assert_true(group_key_find("host", &q.spec.keys[0]));
	sample_exec(f->store.db, "DELETE FROM flow_fresh");
	sample_exec(f->store.db,
		    "DELETE FROM flow_segment WHERE id > (SELECT segment_id FROM rollup_state)");
	(void)ask(f, &q, false, &before, NULL);
	assert_int_equal(flow_writer_expire(f->store.writer, INT64_MAX, SIZE_MAX, &rows), 0);
	assert_int_equal(number(f, "SELECT count(*) FROM flows"), 0);
	assert_true(ask(f, &q, true, &after, &use));
	assert_true(use.hours > 1);
	assert_same_answer(&q, before, after);
	aggregate_free(before);
	aggregate_free(after);
}

/* What they cannot answer is left alone. */
static void test_other_questions_are_not_answered(void **state)
{
	static const struct measure wrong[] = {
		{.kind = MEASURE_FLOWS},
		{.kind = MEASURE_COUNT},
		{.kind = MEASURE_AVG, .n_columns = 1, .columns = {FLOW_COLUMN_bytes}},
		{.kind = MEASURE_SUM, .n_columns = 1, .columns = {FLOW_COLUMN_dup_acks}},
	};
	static const char *const wrong_keys[] = {"src_addr", "src_net", "process", "src_port"};
	struct fixture *f = *state;

	fill(f);
	for (size_t i = 0; i < 4; i++) {
		struct question q;
		struct aggregate *a = NULL;
		struct rollup_use use;

		draw_question(f, &q);
		q.spec.measures = &wrong[i];
		q.spec.n_measures = 1;
		assert_false(ask(f, &q, true, &a, &use));
		aggregate_free(a);
		draw_question(f, &q);
		assert_true(group_key_find(wrong_keys[i], &q.spec.keys[0]));
		assert_false(ask(f, &q, true, &a, &use));
		aggregate_free(a);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_answers_are_the_same),
		TEST(test_holes_are_read_from_records),
		TEST(test_rollups_answer_for_deleted_records),
		TEST(test_other_questions_are_not_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
