// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Rollups against SQL over the same flows, whatever segments, retention and damage do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/compactor.h"
#include "collector/flowstore/flow_writer.h"
#include "collector/flowstore/segment.h"
#include "collector/rollup/peer_group.h"
#include "collector/rollup/roller.h"
#include "collector/rollup/rollup.h"
#include "collector/rollup/rollup_ready.h"
#include "collector/rollup/rollup_writer.h"
#include "collector/sqlite/sql_functions.h"
#include "collector/store/db.h"
#include "common/addr.h"
#include "common/clock.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/rollup_fixture.h"

/* The rows that a rollup has to have, of times ?1 ms long. Hosts 1 and 2 own an address each. */
#define FAR	"iif(direction = 'ingress', src_addr, dst_addr)"
#define VERDICT "ifnull(verdict, '')"
#define ENDED	"ifnull(end_reason, 'active') <> 'active'"

static const char wanted_sql[] =
	"CREATE TEMP TABLE wanted AS"
	" WITH addr (a, owner) AS (VALUES ('10.0.0.1', 1), ('10.0.0.2', 2)),"
	" owned AS (SELECT *, ifnull((SELECT owner FROM addr WHERE a = src_addr), 0) AS s,"
	"   ifnull((SELECT owner FROM addr WHERE a = dst_addr), 0) AS d,"
	"   coalesce((SELECT owner FROM addr WHERE a = " FAR "),"
	"     iif(in_prefix(" FAR ", '10.0.0.0/8'), -655360, 0)) AS far FROM plain)"
	" SELECT end_ms / ?1 * ?1, host_id,"
	" iif(dst_port < 32768 OR (role <> 'unknown'"
	"     AND " VERDICT " NOT IN ('refused', 'syn_unanswered', 'half_open')), dst_port, -1),"
	" proto + iif(end_reason = 'no_resources', 256, 0),"
	" CASE direction WHEN 'ingress' THEN 1 WHEN 'egress' THEN 2 ELSE 0 END,"
	" CASE role WHEN 'client' THEN 1 WHEN 'server' THEN 2 ELSE 0 END,"
	" ip_version, iif(?1 = 60000, (far > 0) - (far < 0), far),"
	" CASE WHEN end_reason = 'no_resources' THEN 0 WHEN s + d = 0 THEN -2"
	"  WHEN host_id NOT IN (s, d) THEN 2 * iif(s, s, d) + 1"
	"  WHEN iif(host_id = s, d, s) IN (0, host_id) THEN 0"
	"  WHEN rev_total_packets = 0 THEN iif(host_id = s, 0, 2 * s)"
	"  ELSE iif(min(s, d) < host_id, 2 * min(s, d), 0) END,"
	" count(*), sum(packets = total_packets AND rev_packets = rev_total_packets),"
	" sum(" ENDED "), sum(packets), sum(bytes), sum(rev_packets), sum(rev_bytes),"
	" ifnull(sum(retrans_pkts), 0), ifnull(sum(rev_retrans_pkts), 0),"
	" ifnull(sum(kernel_drops), 0), sum(" VERDICT " = 'refused' AND " ENDED "),"
	" sum(" VERDICT " IN ('syn_unanswered', 'half_open') AND " ENDED "),"
	" sum(" VERDICT " = 'reset' AND " ENDED "),"
	" count(rtt_us), ifnull(sum(rtt_us), 0),"
	" count(response_avg_us), ifnull(sum(response_avg_us), 0),"
	" ifnull(max(rtt_us), 0), ifnull(max(response_max_us), 0)"
	" FROM owned GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9";

#define COLUMNS                                                                                    \
	"start_ms, host_id, dst_port, proto, direction, role, ip_version, peer, claim, records,"   \
	" flows_begun, flows_ended, packets, bytes, rev_packets, rev_bytes, retrans_pkts,"         \
	" rev_retrans_pkts, kernel_drops, refused, unanswered, reset, handshakes, rtt_sum_us,"     \
	" answered, response_sum_us, rtt_max_us, response_max_us"

static void assert_same(struct fixture *f, const char *table, int ms)
{
	sqlite3_stmt *st;
	char sql[2000];

	sample_exec(f->store.reader, "DROP TABLE IF EXISTS temp.wanted");
	assert_int_equal(sqlite3_prepare_v2(f->store.reader, wanted_sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_bind_int(st, 1, ms), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
	(void)snprintf(sql, sizeof(sql),
		       "SELECT (SELECT count(*) FROM (SELECT " COLUMNS " FROM %s EXCEPT"
		       " SELECT * FROM wanted)) + (SELECT count(*) FROM (SELECT * FROM wanted"
		       " EXCEPT SELECT " COLUMNS " FROM %s))",
		       table, table);
	assert_int_equal(number(f, sql), 0);
	assert_true(number(f, "SELECT count(*) FROM wanted") > 0);
}

static void assert_same_as_plain(struct fixture *f)
{
	assert_same(f, "rollup_minute", 60000);
	assert_same(f, "rollup_hour", 3600000);
}

/* Everything that is there now, as plain rows. */
static void keep_plain(struct fixture *f)
{
	sample_exec(f->store.reader, "DROP TABLE IF EXISTS temp.plain");
	sample_exec(f->store.reader, "CREATE TEMP TABLE plain AS SELECT * FROM flows");
}

/* --- rows ----------------------------------------------------------------------------- */

static void test_rows_are_those_of_sql(void **state)
{
	struct fixture *f = *state;

	put_blocks(f, 60);
	keep_plain(f);
	while (number(f, "SELECT count(*) FROM flow_fresh") > 0)
		compact(f, 1);
	put_blocks(f, 20); /* so that no small segment is the last */
	compact(f, 1);
	sample_exec(f->store.db, "DELETE FROM flow_fresh");
	keep_plain(f);
	assert_true(roll_up(f) > 0);
	assert_true(number(f, "SELECT max(records) FROM rollup_hour") > 1);
	assert_same_as_plain(f);
	assert_int_equal(roll_up(f), 0);
}

/* The number that sql gives of the views is that which plain gives. */
static void assert_view(struct fixture *f, const char *view, const char *plain)
{
	assert_int_equal(number(f, view), number(f, plain));
	assert_true(number(f, view) > 0);
}

static void test_views_sum_what_the_records_say(void **state)
{
	struct fixture *f = *state;

	put_blocks(f, 60);
	while (number(f, "SELECT count(*) FROM flow_fresh") > 0)
		compact(f, 1);
	for (struct rollup *r = NULL; rollup_make(f->store.reader, 1, 0, NULL, &r) > 0;
	     rollup_free(r))
		assert_int_equal(store_rollup(f, r), 0);
	keep_plain(f);
	assert_view(
		f, "SELECT sum(sent_bytes * 3 + received_bytes) FROM per_host WHERE host = 'host2'",
		"SELECT sum(iif(direction = 'egress', 3 * bytes + rev_bytes, bytes + 3 * "
		"rev_bytes))"
		" FROM plain WHERE host = 'host2'");
	assert_view(
		f, "SELECT sum(bytes) FROM per_service WHERE dst_port = 443 AND proto_name = 'tcp'",
		"SELECT sum(bytes + rev_bytes) FROM plain WHERE dst_port = 443 AND proto = 6");
	assert_view(f, "SELECT sum(packets) FROM per_pair WHERE host = 'host1' AND peer = 'host2'",
		    "SELECT sum(packets + rev_packets) FROM plain WHERE host = 'host1'"
		    " AND iif(direction = 'ingress', src_addr, dst_addr) = '10.0.0.2'");
	assert_view(f, "SELECT sum(packets) FROM per_pair WHERE peer = '10.0.0.0/24'",
		    "SELECT sum(packets + rev_packets) FROM plain WHERE"
		    " in_prefix(iif(direction = 'ingress', src_addr, dst_addr), '10.0.0.0/24')"
		    " AND iif(direction = 'ingress', src_addr, dst_addr) NOT IN"
		    " ('10.0.0.1', '10.0.0.2')");
	sample_exec(f->store.db, "UPDATE rollup_hour SET peer = -72057594054705157 WHERE peer = 0");
	assert_true(number(f, "SELECT count(*) FROM per_pair WHERE peer = 'fd00:0:0:5::/64'") > 0);
}

/* A small last segment is made new with what comes; its records count once. */
static void test_small_segments_count_once(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 40; round++) {
		put_blocks(f, 1 + round % 5);
		compact(f, 2);
		if (round % 3 == 0)
			(void)roll_up(f);
	}
	assert_true(number(f, "SELECT count(*) FROM flow_segment") > 3);
	assert_true(number(f, "SELECT max(id) - count(*) FROM flow_segment") > 0); /* made new */
	(void)roll_up(f);
	sample_exec(f->store.db,
		    "DELETE FROM flow_segment WHERE id > (SELECT segment_id FROM rollup_state)");
	sample_exec(f->store.db, "DELETE FROM flow_fresh");
	keep_plain(f);
	assert_same_as_plain(f);
}

/* What is in the rollups is not made new, and what was made before is refused. */
static void test_order_of_writing_does_not_matter(void **state)
{
	struct fixture *f = *state;
	struct compactor *c = NULL;
	struct segment *s = NULL;
	struct rollup *r = NULL;

	put_blocks(f, 4);
	compact(f, 2);
	put_blocks(f, 2);
	assert_int_equal(compactor_new(f->store.reader, ROWS, 2, &c), 0);
	assert_int_equal(compactor_make(c, &s), 1);
	assert_int_equal(s->n_segments, 1);
	assert_int_equal(rollup_make(f->store.reader, 1, 0, NULL, &r),
			 1); /* takes the small one, too */
	assert_int_equal(store_rollup(f, r), 0);
	assert_int_equal(store_segment(f, s), -EINVAL);
	segment_free(s);
	assert_int_equal(compactor_make(c, &s), 1);
	assert_int_equal(s->n_segments, 0); /* the small one stays */
	assert_int_equal(store_segment(f, s), 0);
	segment_free(s);
	compactor_free(c);
	assert_int_equal(store_rollup(f, r), -EINVAL); /* twice */
	rollup_free(r);
	assert_int_equal(rollup_make(f->store.reader, 1, 0, NULL, &r), 1);
	assert_int_equal(store_rollup(f, r), 0);
	rollup_free(r);
	keep_plain(f);
	assert_same_as_plain(f);
}

static void test_rollups_outlive_their_segments(void **state)
{
	struct fixture *f = *state;
	size_t rows;
	int64_t half;

	put_blocks(f, 60);
	while (number(f, "SELECT count(*) FROM flow_fresh") > 0)
		compact(f, 1);
	keep_plain(f);
	for (struct rollup *r = NULL; rollup_make(f->store.reader, 1, 0, NULL, &r) > 0;
	     rollup_free(r))
		assert_int_equal(store_rollup(f, r), 0);
	assert_int_equal(flow_writer_expire(f->store.writer, INT64_MAX, SIZE_MAX, &rows), 0);
	assert_int_equal(number(f, "SELECT count(*) FROM flow_segment"), 0);
	assert_same_as_plain(f);

	half = number(f, "SELECT (min(start_ms) + max(start_ms)) / 2 FROM rollup_minute");
	assert_int_equal(rollup_writer_expire(f->rollups, half, 0, SIZE_MAX, &rows), 0);
	assert_true(rows > 0);
	assert_true(number(f, "SELECT min(start_ms) FROM rollup_minute") >= half / 60000 * 60000);
	assert_int_equal(number(f, "SELECT minute_since_ms FROM rollup_state"),
			 half / 60000 * 60000);
	sample_exec(f->store.reader, "DELETE FROM temp.plain WHERE end_ms < (SELECT minute_since_ms"
				     " FROM rollup_state)");
	assert_same(f, "rollup_minute", 60000);
	assert_int_equal(rollup_writer_expire(f->rollups, 0, INT64_MAX, SIZE_MAX, &rows), 0);
	assert_int_equal(number(f, "SELECT count(*) FROM rollup_hour"), 0);
}

static void test_a_damaged_segment_is_a_gap(void **state)
{
	struct fixture *f = *state;

	put_blocks(f, 40);
	while (number(f, "SELECT count(*) FROM flow_fresh") > 0)
		compact(f, 1);
	put_blocks(f, 12);
	compact(f, 1);
	sample_exec(f->store.db,
		    "UPDATE flow_segment SET head = zeroblob(length(head)) WHERE id = 1");
	sample_exec(f->store.db, "DELETE FROM flow_fresh");
	(void)roll_up(f);
	sample_exec(f->store.db,
		    "DELETE FROM flow_segment WHERE id > (SELECT segment_id FROM rollup_state)");
	assert_int_equal(number(f, "SELECT count(*) FROM rollup_gap g JOIN flow_segment s"
				   " ON s.id = g.segment_id AND s.n_rows = g.n_rows"
				   " AND s.min_end_ms = g.min_end_ms"
				   " AND s.max_end_ms = g.max_end_ms WHERE s.id = 1"),
			 1);
	keep_plain(f);
	assert_same_as_plain(f);
}

/* --- segments that are in memory ----------------------------------------------------- */

/* Segments of what is there, whose rows are ready; some are not stored, and made again. */
static void compact_ready(struct fixture *f, struct rollup_ready *ready)
{
	struct flow_columns columns = {{0}};
	struct compactor *c = NULL;
	struct segment *s;

	rollup_table_columns(&columns);
	assert_int_equal(compactor_new(f->store.reader, ROWS, 2, &c), 0);
	compactor_keep(c, &columns);
	for (int i = 0; compactor_make(c, &s) > 0; i++) {
		assert_int_equal(
			rollup_ready_add(ready, f->store.reader, s->id, compactor_block(c)), 0);
		if (i % 3 != 1)
			assert_int_equal(store_segment(f, s), 0);
		segment_free(s);
	}
	compactor_free(c);
}

static void roll_up_ready(struct fixture *f, struct rollup_ready *ready)
{
	for (struct rollup *r = NULL; rollup_make(f->store.reader, 1, 0, ready, &r) > 0;
	     rollup_free(r))
		assert_int_equal(store_rollup(f, r), 0);
}

/* None of them is read: they are damaged by then. */
static void test_rows_made_ready_are_those_of_the_segments(void **state)
{
	struct fixture *f = *state;
	struct rollup_ready ready = {0};

	put_blocks(f, 30);
	compact_ready(f, &ready);
	put_blocks(f, 30);
	compact_ready(f, &ready);
	keep_plain(f);
	assert_true(number(f, "SELECT count(*) FROM flow_segment") > 2);
	assert_true(ready.n > (size_t)number(f, "SELECT count(*) FROM flow_segment"));
	sample_exec(f->store.db, "UPDATE flow_segment SET head = zeroblob(length(head))");
	roll_up_ready(f, &ready);
	assert_same_as_plain(f);
	assert_int_equal(number(f, "SELECT count(*) FROM rollup_gap"), 0);
	rollup_ready_done(&ready);
}

static void test_rows_made_ready_go_by_the_newest_addresses(void **state)
{
	struct fixture *f = *state;
	struct rollup_ready ready = {0};

	sample_exec(f->store.db, "UPDATE host_addr SET since_ms = 1 << 50 WHERE host_id = 2");
	put_blocks(f, 30);
	compact_ready(f, &ready);
	keep_plain(f);
	sample_exec(f->store.db, "UPDATE host_addr SET since_ms = 0");
	roll_up_ready(f, &ready);
	assert_same_as_plain(f);
	assert_int_equal(ready.n, 0);
	rollup_ready_done(&ready);
}

static void test_rows_made_ready_are_forgotten_when_stored(void **state)
{
	struct fixture *f = *state;
	struct rollup_ready ready = {0};

	for (int i = 0; i < 2 * ROLLUP_MAX_SEGMENTS; i++) {
		put_blocks(f, 2);
		compact_ready(f, &ready);
		if (i % 10 == 9)
			roll_up_ready(f, &ready);
	}
	assert_in_range(ready.n, 4, 20); /* since the last time but one */
	keep_plain(f);
	roll_up_ready(f, &ready);
	assert_same_as_plain(f);
	rollup_ready_done(&ready);
}

/* Sums of what a hostile probe may say stay within 63 bits. */
static void test_sums_do_not_run_over(void **state)
{
	struct fixture *f = *state;
	struct flow_record rows[PER_BLOCK];
	struct batch *b;

	for (int i = 0; i < PER_BLOCK; i++) {
		rows[i] = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
		rows[i].bytes = FLOW_COUNT_MAX;
	}
	b = sample_batch_of(1, 1, rows, PER_BLOCK);
	for (int i = 0; i < 10; i++)
		assert_int_equal(
			flow_writer_fresh(f->store.writer, 1, b->block, b->block_len, &b->summary),
			0);
	batch_free(b);
	compact(f, 1);
	sample_exec(f->store.db, "UPDATE rollup_state SET segment_id = 0");
	for (struct rollup *r = NULL; rollup_make(f->store.reader, 1, 0, NULL, &r) > 0;
	     rollup_free(r))
		assert_int_equal(store_rollup(f, r), 0);
	assert_int_equal(number(f, "SELECT bytes FROM rollup_hour"), INT64_C(1) << 55);
	sample_exec(f->store.db, "UPDATE rollup_hour SET bytes = 4611686018427387903");
	sample_exec(f->store.db, "UPDATE rollup_state SET segment_id = 0");
	for (struct rollup *r = NULL; rollup_make(f->store.reader, 1, 0, NULL, &r) > 0;
	     rollup_free(r))
		assert_int_equal(store_rollup(f, r), 0);
	assert_int_equal(number(f, "SELECT bytes FROM rollup_hour"), INT64_C(1) << 62);
}

/* --- when ----------------------------------------------------------------------------- */

static void test_roller_waits_for_the_writer(void **state)
{
	struct fixture *f = *state;
	struct roller roller = {.db = f->store.reader};
	struct rollup *r = NULL, *again = NULL;
	uint64_t now = 1000 * NS_PER_MS;

	put_blocks(f, 4);
	compact(f, 2);
	assert_int_equal(roller_step(&roller, now, &r), 0); /* small, and the last */
	sample_exec(f->store.db, "UPDATE flow_segment SET n_rows = 65536");
	assert_int_equal(roller_step(&roller, now, &r), 0); /* it does not look all the time */
	now += 1000 * NS_PER_MS;
	assert_int_equal(roller_step(&roller, now, &r), 1);
	assert_int_equal(roller_step(&roller, now, &again), 0);
	now += 61000 * NS_PER_MS; /* it got lost */
	assert_int_equal(roller_step(&roller, now, &again), 1);
	assert_int_equal(again->until, r->until);
	assert_int_equal(store_rollup(f, again), 0);
	assert_int_equal(roller_step(&roller, now, &again), 0);
	rollup_free(r);
	rollup_free(again);
}

/* --- keys ------------------------------------------------------------------------------ */

static int64_t group_of(const char *text)
{
	uint8_t addr[16];

	assert_int_equal(addr_parse(text, addr), 0);
	return peer_group(0, addr);
}

static void test_peer_groups(void **state)
{
	uint8_t addr[16] = {0};

	(void)state;
	assert_int_equal(group_of("10.1.2.3"), -(10 << 16 | 1 << 8 | 2));
	assert_int_equal(group_of("10.1.2.255"), group_of("10.1.2.0"));
	assert_int_equal(group_of("172.31.0.1"), -(172 << 16 | 31 << 8));
	assert_int_equal(group_of("172.32.0.1"), 0);
	assert_int_equal(group_of("192.168.7.1"), -(192 << 16 | 168 << 8 | 7));
	assert_int_equal(group_of("100.64.0.1"), -(100 << 16 | 64 << 8));
	assert_int_equal(group_of("8.8.8.8"), 0);
	assert_int_equal(group_of("2001:db8::1"), 0);
	assert_int_equal(group_of("fc00::1"), -(1 << 24));
	assert_int_equal(group_of("fd00:0:0:5::1"), -((INT64_C(1) << 24) + (INT64_C(1) << 56) + 5));
	assert_int_equal(group_of("fd00:0:0:5::1"), group_of("fd00:0:0:5:ffff::"));
	assert_int_equal(peer_group(7, addr), 7);
}

/* --- memory ---------------------------------------------------------------------------- */

static void test_every_allocation_failure_is_clean(void **state)
{
	struct fixture *f = *state;
	int err = 0;

	put_blocks(f, 10);
	compact(f, 2);
	for (unsigned n = 1;; n++) {
		struct rollup *r = NULL;
		bool failed;

		(void)fail_alloc_at(n);
		err = rollup_make(f->store.reader, 1, 0, NULL, &r);
		failed = fail_alloc_at(0);
		rollup_free(r);
		if (!failed)
			break;
		assert_int_equal(err, -ENOMEM);
	}
	assert_int_equal(err, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rows_are_those_of_sql),
		TEST(test_views_sum_what_the_records_say),
		TEST(test_small_segments_count_once),
		TEST(test_order_of_writing_does_not_matter),
		TEST(test_rollups_outlive_their_segments),
		TEST(test_a_damaged_segment_is_a_gap),
		TEST(test_rows_made_ready_are_those_of_the_segments),
		TEST(test_rows_made_ready_go_by_the_newest_addresses),
		TEST(test_rows_made_ready_are_forgotten_when_stored),
		TEST(test_sums_do_not_run_over),
		TEST(test_roller_waits_for_the_writer),
		TEST(test_peer_groups),
		TEST(test_every_allocation_failure_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
