// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Aggregates over segments and fresh batches, against SQL over the same flows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/array_size.h"
#include "tests/unit/aggregate_check.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/random_flows.h"
#include "tests/unit/random_measures.h"
#include "tests/unit/sample_store.h"

#define N_HOSTS	     3
#define PER_BLOCK    60
#define COLUMN(name) FLOW_COLUMN_##name

#define N_UNDER_WAY 20

struct fixture {
	struct sample_store store;
	uint64_t rng;
	uint64_t n_flows;
	struct under_way {
		uint64_t id, packets, rev_packets; /* so far */
	} under_way[N_HOSTS][N_UNDER_WAY];
};

/* --- the store ------------------------------------------------------------------------ */

/* One record is all of its flow, or the next of one of a few flows of the host. */
static struct flow_record next_flow(struct fixture *f, int64_t host_id)
{
	struct flow_record r = random_flow(&f->rng);
	struct under_way *flow = &f->under_way[host_id - 1][random_u64(&f->rng) % N_UNDER_WAY];

	if (random_u64(&f->rng) % 3) {
		r.flow_id = 1000 + f->n_flows++;
		r.total_packets = r.packets;
		r.rev_total_packets = r.rev_packets;
		if (r.end_reason == FLOW_END_ACTIVE)
			r.end_reason = FLOW_END_IDLE;
		return r;
	}
	if (flow->id == 0)
		flow->id = 1000 + f->n_flows++;
	r.flow_id = flow->id;
	r.packets = 1 + r.packets % 100;
	flow->packets += r.packets;
	flow->rev_packets += r.rev_packets;
	r.total_packets = flow->packets;
	r.rev_total_packets = flow->rev_packets;
	if (random_u64(&f->rng) % 3)
		r.end_reason = FLOW_END_ACTIVE;
	else if (r.end_reason == FLOW_END_ACTIVE)
		r.end_reason = FLOW_END_DETECTED;
	if (r.end_reason != FLOW_END_ACTIVE)
		*flow = (struct under_way){0};
	return r;
}

static void put_block(struct fixture *f, int64_t host_id, size_t n)
{
	struct flow_record rows[PER_BLOCK];

	for (size_t i = 0; i < n; i++)
		rows[i] = next_flow(f, host_id);
	sample_add_records(f->store.db, (int)host_id, rows, n);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	f->rng = 0x123456789abcdefull;
	sample_store_open(&f->store, N_HOSTS);
	sample_exec(f->store.db, "UPDATE host SET name = 'host' || id / 2"); /* two have one name */
	for (int i = 0; i < 100; i++)
		put_block(f, 1 + i % N_HOSTS, 1 + random_u64(&f->rng) % PER_BLOCK);
	/* Many segments: so that there are several threads. */
	assert_true(sample_compact(f->store.db, f->store.reader, 150) > 1);
	for (int i = 0; i < 5; i++)
		put_block(f, 1 + i % N_HOSTS, PER_BLOCK);
	sample_exec(f->store.reader, "CREATE TEMP TABLE plain AS SELECT * FROM flows");
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sample_store_close(&f->store);
	free(f);
	return 0;
}

/* --- questions ------------------------------------------------------------------------------ */

static void ask(struct fixture *f, size_t n_keys, size_t n_measures)
{
	struct measure measures[6] = {{0}}, of[6];
	struct aggregate_spec spec = {
		.n_keys = n_keys, .n_measures = n_measures, .measures = measures};
	struct aggregate_order orders[1] = {{0}};
	const struct aggregate_question q = {
		.spec = &spec,
		.table = "temp.plain",
		.where = random_wheres[random_u64(&f->rng) % RANDOM_N_WHERES],
		.wheres = random_wheres,
		.n_wheres = RANDOM_N_WHERES,
		.orders = orders,
		.n_orders = random_u64(&f->rng) % 2,
		.limit = random_u64(&f->rng) % 3 ? 0 : 1 + random_u64(&f->rng) % 30,
	};

	for (size_t k = 0; k < n_keys; k++)
		assert_true(group_key_find(random_keys[random_u64(&f->rng) % RANDOM_N_KEYS],
					   &spec.keys[k]));
	for (size_t m = 0; m < n_measures; m++)
		measures[m] = random_measure(&f->rng, &of[m]);
	orders[0].measure = random_u64(&f->rng) % n_measures;
	orders[0].rising = random_u64(&f->rng) % 2;
	orders[0].absolute = measures[orders[0].measure].kind == MEASURE_DIFFERENCE;
	if (measures[orders[0].measure].kind == MEASURE_AVG) /* not to the last bit */
		measures[orders[0].measure].kind = MEASURE_SUM;
	if (!aggregate_check(f->store.reader, &q))
		fail();
}

static void test_answers_of_sql(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 400; round++)
		ask(f, 1 + random_u64(&f->rng) % GROUP_MAX_KEYS, 1 + random_u64(&f->rng) % 6);
}

/* --- what one SQL statement does not say ------------------------------------------------------ */

#define SUM(name)                                                                                  \
	{                                                                                          \
		.kind = MEASURE_SUM, .n_columns = 1, .columns = { COLUMN(name) }                   \
	}
#define QUANTILE(name, q_)                                                                         \
	{                                                                                          \
		.kind = MEASURE_QUANTILE, .n_columns = 1, .columns = {COLUMN(name)}, .q = (q_)     \
	}
#define DISTINCT(name)                                                                             \
	{                                                                                          \
		.kind = MEASURE_DISTINCT, .n_columns = 1, .columns = { COLUMN(name) }              \
	}

static struct aggregate *read_in(struct fixture *f, const struct aggregate_spec *spec,
				 const struct aggregate_input *inputs, size_t n)
{
	struct aggregate *a;

	assert_int_equal(aggregate_new(f->store.reader, spec, &a), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(aggregate_read(a, &inputs[i]), 0);
	assert_int_equal(aggregate_finish(a), 0);
	return a;
}

/* All groups by their keys are the rows of sql. */
static void assert_rows(struct fixture *f, struct aggregate *a, const struct aggregate_spec *spec,
			const char *sql)
{
	sqlite3_stmt *st;
	size_t n, row, column;
	uint32_t *groups;

	assert_int_equal(aggregate_select(a, NULL, 0, 0, &groups, &n), 0);
	assert_int_equal(sqlite3_prepare_v2(f->store.reader, sql, -1, &st, NULL), SQLITE_OK);
	if (!aggregate_compare(a, spec, groups, n, st, &row, &column))
		fail_msg("%s: row %zu of %zu, column %zu", sql, row, n, column);
	sqlite3_finalize(st);
	free(groups);
}

/* Both ways of each record, as a matrix has them. */
static void test_two_ways(void **state)
{
	static const struct predicate there = {
		.kind = PREDICATE_RANGE, .column = COLUMN(packets), .low = 1, .high = UINT64_MAX};
	static const struct predicate back = {.kind = PREDICATE_RANGE,
					      .column = COLUMN(rev_packets),
					      .low = 1,
					      .high = UINT64_MAX};
	static const struct measure measures[] = {SUM(bytes), {.kind = MEASURE_FLOWS}},
				    measures_back[] = {SUM(rev_bytes), {.kind = MEASURE_FLOWS}};
	static const struct group_key src = {.kind = FLOWS_ADDR, .column = COLUMN(src_addr)},
				      dst = {.kind = FLOWS_ADDR, .column = COLUMN(dst_addr)};
	const struct aggregate_spec also = {.n_keys = 2,
					    .keys = {dst, src},
					    .n_measures = 2,
					    .measures = measures_back,
					    .where = &back};
	const struct aggregate_spec spec = {.n_keys = 2,
					    .keys = {src, dst},
					    .n_measures = 2,
					    .measures = measures,
					    .where = &there,
					    .also = &also};
	struct fixture *f = *state;
	struct aggregate *a = read_in(f, &spec, &(struct aggregate_input){0}, 1);

	assert_rows(f, a, &spec,
		    "SELECT src, dst, sum(bytes), count(DISTINCT host_id || ' ' || flow_id) FROM ("
		    "SELECT src_addr AS src, dst_addr AS dst, bytes, host_id, flow_id FROM plain"
		    " WHERE packets > 0 UNION ALL SELECT dst_addr, src_addr, rev_bytes, host_id,"
		    " flow_id FROM plain WHERE rev_packets > 0) GROUP BY 1, 2 ORDER BY 1, 2");
	aggregate_free(a);
}

/* Two windows beside each other; then only what is in the first. */
static void test_passes(void **state)
{
	static const struct predicate early = {
		.kind = PREDICATE_RANGE, .column = COLUMN(end_ms), .low = 0, .high = 1700000050000};
	static const struct predicate late = {.kind = PREDICATE_RANGE,
					      .column = COLUMN(end_ms),
					      .low = 1700000050001,
					      .high = UINT64_MAX};
	static const struct measure measures[] = {
		SUM(bytes),
		{.kind = MEASURE_COUNT, .pass = 1},
		{.kind = MEASURE_DISTINCT,
		 .n_columns = 1,
		 .columns = {COLUMN(dst_addr)},
		 .pass = 1},
	};
	struct aggregate_spec spec = {.n_keys = 2, .n_measures = 3, .measures = measures};
	struct aggregate_input inputs[] = {{.predicate = &early}, {.predicate = &late, .pass = 1}};
	struct fixture *f = *state;
	struct aggregate *a;

	assert_true(group_key_find("src_addr", &spec.keys[0]));
	assert_true(group_key_find("process", &spec.keys[1]));
	a = read_in(f, &spec, inputs, 2);
	assert_rows(f, a, &spec,
		    "SELECT src_addr, process, sum(iif(end_ms <= 1700000050000, bytes, 0)),"
		    " sum(end_ms > 1700000050000),"
		    " count(DISTINCT dst_addr) FILTER (WHERE end_ms > 1700000050000)"
		    " FROM plain GROUP BY 1, 2 ORDER BY 1, 2");
	aggregate_free(a);
	inputs[1].known_groups = true;
	a = read_in(f, &spec, inputs, 2);
	assert_rows(f, a, &spec,
		    "SELECT src_addr, process, sum(iif(end_ms <= 1700000050000, bytes, 0)),"
		    " sum(end_ms > 1700000050000),"
		    " count(DISTINCT dst_addr) FILTER (WHERE end_ms > 1700000050000)"
		    " FROM plain GROUP BY 1, 2 HAVING min(end_ms) <= 1700000050000 ORDER BY 1, 2");
	aggregate_free(a);
}

static void test_the_others_and_all(void **state)
{
	static const struct measure measures[] = {
		SUM(bytes),
		QUANTILE(duration_us, 0.5),
		DISTINCT(dst_addr),
		{.kind = MEASURE_MAX, .n_columns = 1, .columns = {COLUMN(process)}},
		{.kind = MEASURE_AVG, .n_columns = 1, .columns = {COLUMN(packets)}},
	};
	static const struct aggregate_order order = {.measure = 0};
	struct aggregate_spec spec = {.n_keys = 1, .n_measures = 5, .measures = measures};
	static const struct {
		uint32_t group;
		const char *where;
	} cases[] = {{AGGREGATE_TOTAL, "1"},
		     {AGGREGATE_OTHER, "src_addr NOT IN (SELECT src_addr FROM plain GROUP BY 1"
				       " ORDER BY sum(bytes) DESC, 1 LIMIT 3)"}};
	struct fixture *f = *state;
	struct aggregate *a;
	uint32_t *groups;
	size_t n;

	assert_true(group_key_find("src_addr", &spec.keys[0]));
	a = read_in(f, &spec, &(struct aggregate_input){0}, 1);
	assert_int_equal(aggregate_select(a, &order, 1, 3, &groups, &n), 0);
	assert_int_equal(n, 3);
	free(groups);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char sql[500];
		sqlite3_stmt *st;

		(void)snprintf(sql, sizeof(sql),
			       "SELECT sum(bytes), quantile(duration_us, 0.5), count(DISTINCT"
			       " dst_addr), max(process), avg(packets) FROM plain WHERE %s",
			       cases[i].where);
		assert_int_equal(sqlite3_prepare_v2(f->store.reader, sql, -1, &st, NULL),
				 SQLITE_OK);
		assert_int_equal(sqlite3_step(st), SQLITE_ROW);
		for (size_t m = 0; m < spec.n_measures; m++) {
			struct aggregate_value v = aggregate_value(a, cases[i].group, m);

			assert_true(aggregate_same(&v, st, (int)m));
		}
		sqlite3_finalize(st);
	}
	aggregate_free(a);
}

static void test_networks(void **state)
{
	static const struct measure measures[] = {SUM(bytes)};
	struct aggregate_spec spec = {.n_keys = 1, .n_measures = 1, .measures = measures};
	static const char *const wrong[] = {"src_net/0", "src_net/33",	  "src_net/24/129",
					    "src_net/",	 "src_nets",	  "src_net/24x",
					    "net",	 "data_rtt_hist", "community_id"};
	struct fixture *f = *state;
	struct aggregate *a;

	assert_true(group_key_find("src_net/31/128", &spec.keys[0]));
	a = read_in(f, &spec, &(struct aggregate_input){0}, 1);
	/* The addresses of random_addr() that are IPv4: 10.0.0.0 to 10.0.0.11. */
	assert_rows(f, a, &spec,
		    "SELECT iif(src_addr LIKE '10.0.0.%', '10.0.0.' ||"
		    " (substr(src_addr, 8) / 2 * 2) || '/31', src_addr || '/128'), sum(bytes)"
		    " FROM plain GROUP BY 1 ORDER BY 1");
	aggregate_free(a);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_false(group_key_find(wrong[i], &spec.keys[0]));
}

static void test_a_sum_too_large(void **state)
{
	static const struct measure measures[] = {SUM(flow_id)};
	struct aggregate_spec spec = {.n_keys = 1, .n_measures = 1, .measures = measures};
	struct fixture *f = *state;
	struct flow_record rows[PER_BLOCK];
	struct aggregate *a;

	assert_true(group_key_find("host", &spec.keys[0]));
	for (size_t i = 0; i < PER_BLOCK; i++) {
		rows[i] = next_flow(f, 1);
		rows[i].flow_id = FLOW_ID_MAX;
	}
	for (int i = 0; i < 1 + 1024 / PER_BLOCK; i++) {
		struct batch *b = sample_batch_of(1, 1, rows, PER_BLOCK);

		assert_int_equal(
			flow_writer_fresh(f->store.writer, 1, b->block, b->block_len, &b->summary),
			0);
		batch_free(b);
	}
	assert_int_equal(aggregate_new(f->store.reader, &spec, &a), 0);
	assert_int_equal(aggregate_read(a, &(struct aggregate_input){0}), 0);
	assert_int_equal(aggregate_finish(a), -EOVERFLOW);
	aggregate_free(a);
}

/* Each allocation fails in turn: an error, or the answer. */
static void test_out_of_memory(void **state)
{
	static const struct measure measures[] = {
		SUM(bytes), QUANTILE(rtt_us, 0.9), DISTINCT(src_addr), {.kind = MEASURE_FLOWS}};
	struct aggregate_spec spec = {.n_keys = 2, .n_measures = 4, .measures = measures};
	struct fixture *f = *state;
	int err = -ENOMEM;

	assert_true(group_key_find("dst_addr", &spec.keys[0]));
	assert_true(group_key_find("process", &spec.keys[1]));
	for (unsigned n = 1; err; n += 1 + n / 16) {
		struct aggregate *a = NULL;

		fail_alloc_at(n);
		err = aggregate_new(f->store.reader, &spec, &a);
		if (!err)
			err = aggregate_read(a, &(struct aggregate_input){0});
		if (!err)
			err = aggregate_finish(a);
		fail_alloc_at(0);
		aggregate_free(a);
		if (err)
			assert_int_equal(err, -ENOMEM);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers_of_sql, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(test_passes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_others_and_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_sum_too_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
