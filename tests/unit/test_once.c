// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Which record of a conversation counts: claims by address, and the records alone against SQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/once/address_book.h"
#include "collector/flowstore/compactor.h"
#include "collector/once/evidence.h"
#include "collector/once/once.h"
#include "collector/once/host_minutes.h"
#include "collector/flowstore/scan.h"
#include "collector/flowstore/segment.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/random_flows.h"
#include "tests/unit/sample_db.h"

#define START_MS 1700000040000 /* a full minute */
#define N_HOSTS	 5

struct fixture {
	sqlite3 *db;
	uint64_t rng;
	uint64_t last_row; /* packets of a record is its number here */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char name[16];

	assert_non_null(f);
	*state = f;
	f->rng = 0x2545f4914f6cdd1dull;
	f->db = sample_open("");
	for (int h = 1; h <= N_HOSTS; h++) {
		(void)snprintf(name, sizeof(name), "host%d", h);
		sample_add_host(f->db, h, name, 0, (h - 3) * 700);
	}
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sqlite3_close(f->db);
	free(f);
	return 0;
}

static uint64_t draw(struct fixture *f, uint64_t n)
{
	return random_u64(&f->rng) % n;
}

static void tell_addr(struct fixture *f, int host, const char *addr, int64_t since_ms,
		      const char *until_ms)
{
	uint8_t bytes[16];
	char sql[300], hex[33];

	assert_int_equal(addr_parse(addr, bytes), 0);
	for (int i = 0; i < 16; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
	(void)snprintf(sql, sizeof(sql), "INSERT INTO host_addr VALUES (%d, x'%s', %lld, %s)", host,
		       hex, (long long)since_ms, until_ms);
	sample_exec(f->db, sql);
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

/* --- claims -------------------------------------------------------------------- */

static void test_addresses_of_hosts(void **state)
{
	static const char *const of_host[] = {"10.0.0.1", "192.0.2.7", "2001:db8::1", "fd00::1"};
	static const char *const not [] = {"127.0.0.1", "::1",	     "169.254.1.1",
					   "fe80::1",	"224.0.0.1", "ff02::fb",
					   "0.0.0.0",	"::",	     "255.255.255.255"};
	uint8_t addr[16];

	(void)state;
	for (size_t i = 0; i < sizeof(of_host) / sizeof(of_host[0]); i++) {
		assert_int_equal(addr_parse(of_host[i], addr), 0);
		assert_true(addr_is_of_host(addr));
	}
	for (size_t i = 0; i < sizeof(not ) / sizeof(not [0]); i++) {
		assert_int_equal(addr_parse(not [i], addr), 0);
		assert_false(addr_is_of_host(addr));
	}
}

/* Hosts 1, 2, 3 have 10.0.0.1 to 3; 1 and 2 share 10.0.0.9; nobody has 192.0.2.x. */
static const struct {
	int host;
	const char *src, *dst;
	int answers;
	uint32_t claim;
	const char *why;
} cases[] = {
	{1, "10.0.0.1", "10.0.0.2", 1, 0, "the lower of two counts"},
	{2, "10.0.0.1", "10.0.0.2", 1, 1, "and the other leaves it to it"},
	{1, "10.0.0.2", "10.0.0.1", 1, 0, "whoever began"},
	{2, "10.0.0.2", "10.0.0.1", 1, 1, "whoever began"},
	{1, "10.0.0.2", "10.0.0.1", 0, 2, "unanswered: who sent counts"},
	{2, "10.0.0.2", "10.0.0.1", 0, 0, "unanswered: who sent counts"},
	{2, "10.0.0.1", "10.0.0.2", 0, 1, "unanswered: who sent counts"},
	{1, "10.0.0.1", "192.0.2.1", 1, 0, "nobody else is at an end"},
	{1, "192.0.2.1", "10.0.0.1", 1, 0, "nobody else is at an end"},
	{1, "192.0.2.1", "10.0.0.1", 0, 0, "nobody else is at an end"},
	{1, "10.0.0.1", "10.0.0.1", 1, 0, "both ends are its own"},
	{3, "10.0.0.1", "10.0.0.2", 1, 1, "a router leaves it to src"},
	{3, "10.0.0.2", "10.0.0.1", 0, 2, "a router leaves it to src"},
	{3, "192.0.2.1", "10.0.0.2", 1, 2, "or to dst"},
	{3, "192.0.2.1", "192.0.2.2", 1, ADDRESS_BOOK_UNOWNED, "nobody's"},
	{1, "10.0.0.9", "192.0.2.2", 1, ADDRESS_BOOK_UNOWNED, "several have it: nobody's"},
	{1, "10.0.0.9", "10.0.0.3", 1, 3, "several have it: left to the other end"},
	{3, "10.0.0.9", "10.0.0.3", 1, 0, "and there it counts"},
	{5, "10.0.0.5", "10.0.0.3", 1, 3, "a host that never told"},
	{1, "127.0.0.1", "127.0.0.1", 1, 0, "loopback"},
	{1, "::1", "::1", 1, 0, "loopback"},
};

static struct flow_record ends(const char *src, const char *dst, int64_t end_ms, int answers)
{
	struct flow_record r = {
		.flow_id = 1,
		.start_ns = (uint64_t)(end_ms - 100) * NS_PER_MS,
		.end_ns = (uint64_t)end_ms * NS_PER_MS,
		.proto = 17,
		.iface = "eth0",
		.end_reason = FLOW_END_IDLE,
		.rev_total_packets = (uint64_t)answers,
	};

	assert_int_equal(addr_parse(src, r.src_addr), 0);
	assert_int_equal(addr_parse(dst, r.dst_addr), 0);
	return r;
}

static uint32_t claim_of(const struct address_book *book, int host, const struct flow_record *r)
{
	struct flow_block b;
	uint32_t claim;

	assert_int_equal(flow_block_from_rows(r, 1, &b), 0);
	if (!FLOW_COL_U32(&b, host_id))
		b.column[FLOW_COLUMN_host_id].u32 = (uint32_t[]){(uint32_t)host};
	else
		FLOW_COL_U32(&b, host_id)[0] = (uint32_t)host;
	assert_int_equal(address_book_claims(book, &b, &claim), 0);
	flow_block_done(&b);
	return claim;
}

static void test_claims(void **state)
{
	struct fixture *f = *state;
	struct address_book *book = NULL;
	struct flow_record r;

	tell_addr(f, 1, "10.0.0.1", 0, "NULL");
	tell_addr(f, 2, "10.0.0.2", 0, "NULL");
	tell_addr(f, 3, "10.0.0.3", 0, "NULL");
	tell_addr(f, 1, "10.0.0.9", 0, "NULL");
	tell_addr(f, 2, "10.0.0.9", 0, "NULL");
	tell_addr(f, 4, "127.0.0.1", 0, "NULL");
	assert_int_equal(address_book_load(f->db, &book), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		r = ends(cases[i].src, cases[i].dst, START_MS, cases[i].answers);
		if (claim_of(book, cases[i].host, &r) != cases[i].claim)
			fail_msg("host %d, %s to %s, %d answers: claim %u, wanted %u (%s)",
				 cases[i].host, cases[i].src, cases[i].dst, cases[i].answers,
				 claim_of(book, cases[i].host, &r), cases[i].claim, cases[i].why);
	}
	r = ends("10.0.0.1", "10.0.0.2", START_MS, 1);
	r.end_reason = FLOW_END_NO_RESOURCES;
	assert_int_equal(claim_of(book, 2, &r), ADDRESS_BOOK_NONE);
	address_book_free(book);
}

/* 10.0.0.7 was host 1's until a time, and nobody's, and then host 2's. */
static void test_addresses_that_move(void **state)
{
	static const struct {
		int64_t after_ms;
		uint32_t owner;
	} at[] = {{-5000000, 1}, {-1, 1}, {0, 0}, {999, 0}, {1000, 2}, {5000000, 2}};
	struct fixture *f = *state;
	struct address_book *book = NULL;
	struct flow_record rows[6];
	uint32_t claims[6];
	struct flow_block b;
	uint8_t addr[16];
	char until[32];

	(void)snprintf(until, sizeof(until), "%lld", START_MS + 0ll);
	tell_addr(f, 1, "10.0.0.7", 0, until);
	tell_addr(f, 2, "10.0.0.7", START_MS + 1000, "NULL");
	assert_int_equal(address_book_load(f->db, &book), 0);
	assert_int_equal(addr_parse("10.0.0.7", addr), 0);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(address_book_owner(book, addr, START_MS + at[i].after_ms),
				 at[i].owner);
		rows[i] = ends("192.0.2.1", "10.0.0.7", START_MS + at[i].after_ms, 1);
	}
	assert_int_equal(flow_block_from_rows(rows, 6, &b), 0);
	b.column[FLOW_COLUMN_host_id].u32 = (uint32_t[]){3, 3, 3, 3, 3, 3};
	assert_int_equal(address_book_claims(book, &b, claims), 0);
	for (int i = 0; i < 6; i++)
		assert_int_equal(claims[i], at[i].owner ? at[i].owner : ADDRESS_BOOK_UNOWNED);
	flow_block_done(&b);
	address_book_free(book);
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

static void compact(struct fixture *f)
{
	struct flow_writer *writer = NULL;
	struct compactor *c = NULL;
	struct segment *s;

	assert_int_equal(compactor_new(f->db, 200, 1000, &c), 0);
	assert_int_equal(flow_writer_open(f->db, &writer), 0);
	while (compactor_make(c, &s) > 0) {
		assert_int_equal(flow_writer_segment(writer, s), 0);
		segment_free(s);
	}
	flow_writer_close(writer);
	compactor_free(c);
}

/* --- the records alone, against SQL -------------------------------------------------- */

#define SLACK "2000"

static const char traffic_sql[] =
	"CREATE TEMP TABLE traffic AS SELECT f.*,"
	" max(ifnull(lag(f.end_ms) OVER (PARTITION BY f.host_id, f.flow_id ORDER BY f.end_ms),"
	"            f.start_ms), %lld) - h.clock_skew_ms AS from_ms,"
	" f.end_ms - h.clock_skew_ms AS to_ms,"
	" f.direction = 'egress' AS sent,"
	" CASE WHEN f.end_reason = 'no_resources' OR f.src_addr GLOB '127.*' OR f.src_addr = '::1'"
	"      THEN NULL"
	"      WHEN (f.src_addr, f.src_port) < (f.dst_addr, f.dst_port)"
	"      THEN f.src_addr || ' ' || f.src_port || ' ' || f.dst_addr || ' ' || f.dst_port"
	"      ELSE f.dst_addr || ' ' || f.dst_port || ' ' || f.src_addr || ' ' || f.src_port"
	"      END || ' ' || f.proto || ' ' || ifnull(f.icmp_id, '') AS conversation"
	" FROM flows f JOIN host h ON h.id = f.host_id WHERE %s;"
	"CREATE INDEX temp.traffic_by_conversation ON traffic"
	" (conversation, from_ms, to_ms, host_id, sent);"
	"DELETE FROM traffic AS copy WHERE EXISTS ("
	" SELECT 1 FROM traffic t"
	"  WHERE t.conversation = copy.conversation AND t.host_id <> copy.host_id"
	"    AND t.from_ms <= copy.to_ms + " SLACK " AND t.to_ms >= copy.from_ms - " SLACK
	"    AND (t.sent, copy.host_id) > (copy.sent, t.host_id))";

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
			compact(f);
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
	compact(f);
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
	compact(f);
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
	compact(f);
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
	compact(f);
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
		cmocka_unit_test(test_addresses_of_hosts),
		cmocka_unit_test_setup_teardown(test_claims, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses_that_move, setup, teardown),
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
