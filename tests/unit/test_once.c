// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Which record of a conversation counts: by claims, and the records alone against SQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/scan.h"
#include "collector/once/evidence.h"
#include "collector/once/host_minutes.h"
#include "collector/once/once.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/once_fixture.h"
#include "tests/unit/random_flows.h"
#include "tests/unit/sample_store.h"
#include "tests/unit/traffic_sql.h"

static uint64_t draw(struct fixture *f, uint64_t n)
{
	return random_u64(&f->rng) % n;
}

/* Something of the host has come in each of the minutes from the first on. */
static void cover(struct fixture *f, int host, int first, int n)
{
	char sql[300];

	for (int m = first; m < first + n; m++) {
		(void)snprintf(sql, sizeof(sql),
			       "INSERT INTO coverage_minute (host_id, minute_ms, batches)"
			       " VALUES (%d, %lld, 1)",
			       host, START_MS + m * 60000ll);
		sample_exec(f->db, sql);
	}
}

/* --- what counts ----------------------------------------------------------------- */

/* Of those that q finds, which count among those of p, by their numbers. */
static uint8_t *what_counts_of(struct fixture *f, const struct predicate *p,
			       const struct predicate *q, uint64_t *ret_set_aside)
{
	uint8_t *kept = calloc(f->last_row + 1, 1);
	struct flow_columns columns = {{0}};
	struct once_memory *memory = NULL;
	struct scan_rows *rows = NULL;
	struct once *once = NULL;
	struct scan *scan = NULL;
	int found;

	assert_non_null(kept);
	*ret_set_aside = 0;
	sample_exec(f->db, "BEGIN");
	assert_int_equal(once_open(f->db, p, &once), 0);
	flow_columns_add(&columns, FLOW_COLUMN_packets);
	once_columns(once, &columns);
	assert_int_equal(scan_open(f->db, q, &columns, &scan), 0);
	while ((found = scan_next(scan, &rows)) > 0) {
		assert_int_equal(once_select(once, &memory, rows, ret_set_aside), 0);
		for (size_t k = 0; k < rows->n_selected; k++)
			kept[FLOW_COL_U64(&rows->block, packets)[rows->selected[k]]]++;
	}
	assert_int_equal(found, 0);
	scan_rows_free(rows);
	scan_close(scan);
	once_memory_free(memory);
	once_close(once);
	sample_exec(f->db, "COMMIT");
	return kept;
}

static uint8_t *what_counts(struct fixture *f, const struct predicate *p, uint64_t *ret_set_aside)
{
	return what_counts_of(f, p, p, ret_set_aside);
}

static void add_rows(struct fixture *f, int host, struct flow_record *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		rows[i].packets = ++f->last_row;
	sample_add_records(f->db, host, rows, n);
}

/* --- the records alone, against SQL -------------------------------------------------- */

static const char traffic_sql[] =
	"CREATE TEMP TABLE traffic AS SELECT f.*,"
	" max(ifnull(lag(f.end_ms) OVER (PARTITION BY f.host_id, f.flow_id ORDER BY f.end_ms),"
	"            f.start_ms), %lld) - h.clock_skew_ms AS from_ms,"
	" f.end_ms - h.clock_skew_ms AS to_ms,"
	" f.direction = 'egress' AS sent," TRAFFIC_CONVERSATION
	" FROM flows f JOIN host h ON h.id = f.host_id WHERE %s;" TRAFFIC_SET_ASIDE("2000");

/* Returns how many were set aside. */
static uint64_t assert_as_sql(struct fixture *f, const struct predicate *p, int64_t since_ms,
			      const char *where)
{
	uint64_t set_aside = 0, n_kept = 0;
	uint8_t *kept = what_counts(f, p, &set_aside);
	char sql[sizeof(traffic_sql) + 200];
	sqlite3_stmt *st = NULL;

	(void)snprintf(sql, sizeof(sql), traffic_sql, (long long)since_ms, where);
	sample_exec(f->db, sql);
	assert_int_equal(
		sqlite3_prepare_v2(f->db, "SELECT packets FROM temp.traffic", -1, &st, NULL),
		SQLITE_OK);
	while (sqlite3_step(st) == SQLITE_ROW) {
		n_kept++;
		if (kept[sqlite3_column_int64(st, 0)] != 1)
			fail_msg("%s: record %lld counts %d times", where,
				 (long long)sqlite3_column_int64(st, 0),
				 kept[sqlite3_column_int64(st, 0)]);
	}
	sqlite3_finalize(st);
	for (uint64_t i = 0; i <= f->last_row; i++)
		n_kept -= kept[i];
	assert_int_equal(n_kept, 0);
	(void)snprintf(sql, sizeof(sql),
		       "SELECT (SELECT count(*) FROM flows WHERE %s) - count(*)"
		       " FROM temp.traffic",
		       where);
	assert_int_equal(sample_number(f->db, sql), set_aside);
	sample_exec(f->db, "DROP TABLE temp.traffic");
	free(kept);
	return set_aside;
}

/* A flow of one host, in records one after another. */
static void add_flow(struct fixture *f, int host)
{
	static const char *const addrs[] = {"10.0.0.1",	   "10.0.0.2",	"10.0.0.3",
					    "2001:db8::1", "127.0.0.1", "192.0.2.1"};
	static const uint8_t protos[] = {1, 6, 17, 58};
	size_t n = 1 + draw(f, 4), a = draw(f, 6), b = draw(f, 6);
	int64_t at_ms = START_MS + (int64_t)draw(f, 600000);
	struct flow_record rows[4], first;

	a = a == 4 ? b : a; /* loopback only speaks to itself */
	b = a == 4 || b == 4 ? a : b;
	first = ends(addrs[a], addrs[b], at_ms, 1);
	first.flow_id = f->last_row * 8 + (uint64_t)host;
	first.src_port = (uint16_t)draw(f, 3);
	first.dst_port = (uint16_t)draw(f, 3);
	first.proto = protos[draw(f, 4)];
	first.icmp_id = (uint16_t)draw(f, 2);
	first.direction = (uint8_t)draw(f, 3);
	first.end_reason = draw(f, 20) ? FLOW_END_ACTIVE : FLOW_END_NO_RESOURCES;
	first.start_ns = (uint64_t)at_ms * NS_PER_MS;
	for (size_t i = 0; i < n; i++) {
		at_ms += 1 + (int64_t)draw(f, 8000);
		rows[i] = first;
		rows[i].end_ns = (uint64_t)at_ms * NS_PER_MS;
	}
	add_rows(f, host, rows, n);
}

static void test_records_alone_are_as_sql_says(void **state)
{
	struct fixture *f = *state;
	const int64_t since_ms = START_MS + 200000;
	const struct predicate window = {.kind = PREDICATE_RANGE,
					 .column = FLOW_COLUMN_end_ms,
					 .low = (uint64_t)since_ms,
					 .high = UINT64_MAX};
	const struct predicate host = {
		.kind = PREDICATE_RANGE, .column = FLOW_COLUMN_host_id, .low = 2, .high = 4};
	const struct predicate both[] = {window, host};
	const struct predicate all = {.kind = PREDICATE_ALL, .children = both, .n_children = 2};

	uint64_t set_aside = 0;

	for (int round = 0; round < 6; round++) {
		for (int i = 0; i < 300; i++)
			add_flow(f, 1 + (int)draw(f, N_HOSTS));
		if (round % 2)
			(void)sample_compact(f->db, f->db, 200);
		assert_true(assert_as_sql(f, NULL, INT64_MIN, "1") > 0);
		(void)assert_as_sql(f, &window, since_ms, "end_ms >= 1700000240000");
		(void)assert_as_sql(f, &host, INT64_MIN, "host_id BETWEEN 2 AND 4");
		set_aside += assert_as_sql(f, &all, since_ms,
					   "end_ms >= 1700000240000 AND host_id BETWEEN 2 AND 4");
	}
	assert_true(set_aside > 0);
}

/* A scan that finds less, and only parts of segments. */
static void test_part_of_what_was_asked(void **state)
{
	struct fixture *f = *state;
	uint64_t set_aside = 0, of_hosts = 0;
	uint8_t *all, *some;

	for (int i = 0; i < 600; i++)
		add_flow(f, 1 + (int)draw(f, N_HOSTS));
	(void)sample_compact(f->db, f->db, 200);
	all = what_counts(f, NULL, &set_aside);
	for (uint64_t h = 1; h <= N_HOSTS; h++) {
		const struct predicate host = {.kind = PREDICATE_RANGE,
					       .column = FLOW_COLUMN_host_id,
					       .low = h,
					       .high = h};
		uint64_t n;

		some = what_counts_of(f, NULL, &host, &n);
		of_hosts += n;
		for (uint64_t i = 0; i <= f->last_row; i++)
			all[i] -= some[i];
		free(some);
	}
	assert_int_equal(of_hosts, set_aside);
	for (uint64_t i = 0; i <= f->last_row; i++)
		assert_int_equal(all[i], 0);
	free(all);
}

/* Hundreds of records of one conversation, of all hosts, both ways: no pair is left out. */
static void test_one_long_conversation_is_as_sql_says(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 400; i++) {
		struct flow_record r = ends("10.0.0.1", "10.0.0.2",
					    START_MS + 1000 + (int64_t)draw(f, 2000000), 1);

		r.flow_id = 1 + (uint64_t)i;
		r.direction = (uint8_t)draw(f, 3);
		add_rows(f, 1 + (int)draw(f, N_HOSTS), &r, 1);
	}
	assert_true(assert_as_sql(f, NULL, INT64_MIN, "1") > 0);
}

/* With a book, those without an owner are compared as before, and only those. */
static void test_unowned_records_are_as_sql_says(void **state)
{
	struct fixture *f = *state;
	uint64_t set_aside = 0, n = 0;
	uint8_t *kept;

	for (int i = 0; i < 600; i++)
		add_flow(f, 1 + (int)draw(f, N_HOSTS));
	(void)sample_compact(f->db, f->db, 200);
	tell_addr(f, 1, "198.51.100.1", 0, "NULL"); /* of no record */
	assert_true(assert_as_sql(f, NULL, INT64_MIN, "1") > 0);
	tell_addr(f, 1, "10.0.0.1", 0, "NULL"); /* the others know it did not report */
	kept = what_counts(f, NULL, &set_aside);
	for (uint64_t i = 0; i <= f->last_row; i++)
		n += kept[i];
	assert_int_equal(n + set_aside, f->last_row);
	free(kept);
}

static void test_too_many_records_are_told(void **state)
{
	struct fixture *f = *state;
	struct host_minutes *presence = NULL;
	struct evidence *e = NULL;
	struct evidence_question q = {.max_records = 99};
	struct flow_columns columns = {{0}};
	struct scan_rows *rows = NULL;
	struct scan *scan = NULL;

	for (int i = 0; i < 100; i++)
		add_flow(f, 1 + (int)draw(f, N_HOSTS));
	assert_int_equal(
		host_minutes_load(f->db, HOST_MINUTES_REPORTED, 0, START_MS * 2, &presence), 0);
	assert_int_equal(scan_open(f->db, NULL, &columns, &scan), 0);
	assert_int_equal(scan_next(scan, &rows), 1);
	q.presence = presence;
	assert_int_equal(evidence_gather(rows, &q, &e), -E2BIG);
	q.max_records = f->last_row;
	assert_int_equal(evidence_gather(rows, &q, &e), 0);
	evidence_free(e);
	scan_rows_free(rows);
	scan_close(scan);
	host_minutes_free(presence);
}

/* --- by claims --------------------------------------------------------------------- */

static void assert_counts(struct fixture *f, const char *wanted)
{
	uint64_t set_aside;
	uint8_t *kept = what_counts(f, NULL, &set_aside);
	char text[64] = "";

	for (uint64_t i = 1; i <= f->last_row; i++)
		text[i - 1] = kept[i] ? '1' : '0';
	assert_string_equal(text, wanted);
	free(kept);
}

/* Minutes of the collector: host n's clock is (n - 3) * 700 ms ahead. */
static void add_ends(struct fixture *f, int host, const char *src, const char *dst, int minute,
		     int answers)
{
	struct flow_record r =
		ends(src, dst, START_MS + minute * 60000ll + 30000 + (host - 3) * 700, answers);

	add_rows(f, host, &r, 1);
}

/* A claim holds only while its host reported. */
static void test_claim_of_a_host_that_was_away(void **state)
{
	struct fixture *f = *state;

	for (int h = 1; h <= 3; h++) {
		char addr[16];

		(void)snprintf(addr, sizeof(addr), "10.0.0.%d", h);
		tell_addr(f, h, addr, 0, "NULL");
	}
	cover(f, 1, 0, 3);
	cover(f, 1, 6, 2);
	cover(f, 2, 0, 7);
	for (int minute = 1; minute < 8; minute += 2) /* 3 and 5: host 1 away; 7: 2, too */
		add_ends(f, 2, "10.0.0.1", "10.0.0.2", minute, 1);
	assert_counts(f, "0110");
	for (int minute = 1; minute < 8; minute += 2) /* a router: either end will do */
		add_ends(f, 3, "10.0.0.1", "10.0.0.2", minute, 1);
	assert_counts(f, "01100000");
	add_ends(f, 3, "10.0.0.1", "10.0.0.2", 9, 1); /* neither was there */
	assert_counts(f, "011000001");
}

/* The minute of a record is that of the claiming host's clock. */
static void test_clocks_that_differ(void **state)
{
	struct fixture *f = *state;
	struct flow_record r;

	tell_addr(f, 1, "10.0.0.1", 0, "NULL");
	tell_addr(f, 2, "10.0.0.2", 0, "NULL");
	sample_exec(f->db, "UPDATE host SET clock_skew_ms = iif(id = 1, 3600000, -3600000)");
	cover(f, 1, 60 + 5, 1); /* minute 5 of the collector */
	r = ends("10.0.0.1", "10.0.0.2", START_MS + 5 * 60000ll + 30000 - 3600000, 1);
	add_rows(f, 2, &r, 1);
	r = ends("10.0.0.1", "10.0.0.2", START_MS + 6 * 60000ll + 30000 - 3600000, 1);
	add_rows(f, 2, &r, 1);
	assert_counts(f, "01");
}

/*
 * A fleet in which everybody on the way reports: the ends that are hosts, and two
 * routers. Each conversation counts once, with addresses that are owned, shared,
 * of nobody; and the same when the predicate takes all hosts' views one by one.
 */
static void test_each_conversation_counts_once(void **state)
{
	static const char *const addrs[] = {"10.0.0.1", "10.0.0.2",  "10.0.0.3",
					    "10.0.0.9", "192.0.2.1", "192.0.2.2"};
	struct fixture *f = *state;
	uint64_t first_row[500], set_aside = 0;
	uint8_t *kept;

	for (int h = 1; h <= N_HOSTS; h++) {
		cover(f, h, 0, 20);
		if (h > 3)
			continue;
		tell_addr(f, h, addrs[h - 1], 0, "NULL");
		if (h < 3)
			tell_addr(f, h, "10.0.0.9", 0, "NULL");
	}
	for (int i = 0; i < 500; i++) {
		size_t a = draw(f, 6), b = draw(f, 6);
		int minute = (int)draw(f, 20), answers = (int)draw(f, 2);

		b = a == b ? (b + 1) % 6 : b;
		first_row[i] = f->last_row + 1;
		for (int h = 1; h <= N_HOSTS; h++) {
			struct flow_record r = ends(addrs[a], addrs[b], 0, answers);
			bool at_a = (int)a == h - 1, at_b = (int)b == h - 1;

			if (h <= 3 && !at_a && !at_b)
				continue;
			r.end_ns = (uint64_t)(START_MS + minute * 60000ll + (h - 3) * 700 + 5000) *
				   NS_PER_MS;
			r.start_ns = r.end_ns - NS_PER_MS;
			r.src_port = (uint16_t)i;
			r.flow_id = (uint64_t)i * 8 + (uint64_t)h;
			r.direction = at_a ? FLOW_DIRECTION_EGRESS : FLOW_DIRECTION_INGRESS;
			add_rows(f, h, &r, 1);
		}
	}
	(void)sample_compact(f->db, f->db, 200);
	kept = what_counts(f, NULL, &set_aside);
	for (int i = 0; i < 500; i++) {
		uint64_t last = i < 499 ? first_row[i + 1] - 1 : f->last_row, n = 0;

		for (uint64_t row = first_row[i]; row <= last; row++)
			n += kept[row];
		assert_int_equal(n, 1);
	}
	assert_int_equal(set_aside, f->last_row - 500);
	free(kept);
}

/* A filter that one host's record passes and not the other's still finds the conversation. */
static void test_views_are_compared_among_themselves(void **state)
{
	const struct predicate one = {
		.kind = PREDICATE_RANGE, .column = FLOW_COLUMN_host_id, .low = 2, .high = 2};
	const struct predicate two = {
		.kind = PREDICATE_RANGE, .column = FLOW_COLUMN_host_id, .low = 2, .high = 3};
	struct fixture *f = *state;
	uint64_t set_aside = 0;
	uint8_t *kept;

	tell_addr(f, 1, "10.0.0.1", 0, "NULL");
	tell_addr(f, 2, "10.0.0.2", 0, "NULL");
	for (int h = 1; h <= 3; h++)
		cover(f, h, 0, 5);
	for (int h = 1; h <= 3; h++)
		add_ends(f, h, "10.0.0.1", "10.0.0.2", 1, 1);
	assert_counts(f, "100");
	kept = what_counts(f, &one, &set_aside);
	assert_int_equal(kept[2], 1);
	assert_int_equal(set_aside, 0);
	free(kept);
	kept = what_counts(f, &two, &set_aside);
	assert_int_equal(kept[2], 1);
	assert_int_equal(kept[3], 0);
	assert_int_equal(set_aside, 1);
	free(kept);
}

static int select_all(struct fixture *f)
{
	struct flow_columns columns = {{0}};
	struct once_memory *memory = NULL;
	struct scan_rows *rows = NULL;
	struct once *once = NULL;
	struct scan *scan = NULL;
	uint64_t set_aside = 0;
	int err = once_open(f->db, NULL, &once);

	if (!err) {
		once_columns(once, &columns);
		err = scan_open(f->db, NULL, &columns, &scan);
	}
	while (!err && (err = scan_next(scan, &rows)) > 0)
		err = once_select(once, &memory, rows, &set_aside);
	scan_rows_free(rows);
	scan_close(scan);
	once_memory_free(memory);
	once_close(once);
	return err;
}

static void test_every_allocation_failure_is_clean(void **state)
{
	struct fixture *f = *state;
	bool failed = true;
	int err = 0;

	for (int i = 0; i < 50; i++)
		add_flow(f, 1 + (int)draw(f, N_HOSTS));
	(void)sample_compact(f->db, f->db, 200);
	tell_addr(f, 1, "10.0.0.1", 0, "NULL");
	for (unsigned n = 1; failed; n++) {
		(void)fail_alloc_at(n);
		err = select_all(f);
		failed = fail_alloc_at(0);
		assert_int_equal(err, failed ? -ENOMEM : 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_records_alone_are_as_sql_says, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_part_of_what_was_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_long_conversation_is_as_sql_says, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_unowned_records_are_as_sql_says, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_too_many_records_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(test_claim_of_a_host_that_was_away, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_clocks_that_differ, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_conversation_counts_once, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_views_are_compared_among_themselves, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_every_allocation_failure_is_clean, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
