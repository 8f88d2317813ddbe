// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "collector/filter/filter.h"
#include "collector/filter/filter_lexer.h"
#include "collector/sqlite/query.h"
#include "collector/sqlite/sql_functions.h"
#include "common/array_size.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/sample_db.h"

#define N_ROWS 2000

/* A filter, and the same written by hand in SQL. */
static const struct pair {
	const char *filter, *sql;
} pairs[] = {
	{"", "1"},
	{"  \t ", "1"},
	{"tcp", "proto = 6"},
	{"TCP", "proto = 6"},
	{"icmp6", "proto = 58"},
	{"ip", "instr(src_addr, ':') = 0"},
	{"ip6", "instr(src_addr, ':') > 0"},
	{"ip and tcp", "instr(src_addr, ':') = 0 AND proto = 6"},
	{"host 10.0.0.1", "'10.0.0.1' IN (src_addr, dst_addr)"},
	{"ip 10.0.0.1", "'10.0.0.1' IN (src_addr, dst_addr)"},
	{"ip in [10.0.0.1 10.0.0.2]", "src_addr LIKE '10.0.0.%' OR dst_addr LIKE '10.0.0.%'"},
	{"src host 10.0.0.1", "src_addr = '10.0.0.1'"},
	{"dst ip 2001:0DB8:0::1", "dst_addr = '2001:db8::1'"},
	{"host ::ffff:10.0.0.1", "'10.0.0.1' IN (src_addr, dst_addr)"},
	{"host web1", "host = 'web1'"},
	{"host = \"web1\"", "host = 'web1'"},
	{"host \"web1' OR 1=1 --\"", "0"},
	{"host in [web1, 10.1.0.1]", "host = 'web1' OR '10.1.0.1' IN (src_addr, dst_addr)"},
	{"net 10.0.0.0/8", "src_addr LIKE '10.%' OR dst_addr LIKE '10.%'"},
	{"src net 10.0.0.0/16", "src_addr LIKE '10.0.%'"},
	{"dst net 2001:db8::/32", "dst_addr LIKE '2001:db8:%'"},
	{"dst net in [10.1.0.0/16,192.168.0.0/16]",
	 "dst_addr LIKE '10.1.%' OR dst_addr LIKE '192.168.%'"},
	{"port 443", "443 IN (src_port, dst_port)"},
	{"dst port 443", "dst_port = 443"},
	{"port 80-8080", "src_port BETWEEN 80 AND 8080 OR dst_port BETWEEN 80 AND 8080"},
	{"dst port in [22,80, 8000-9000 65535]",
	 "dst_port IN (22, 80, 65535) OR dst_port BETWEEN 8000 AND 9000"},
	{"src port > 1023", "src_port > 1023"},
	{"port != 443", "src_port <> 443 OR dst_port <> 443"},
	{"proto tcp", "proto = 6"},
	{"proto = 132", "proto = 132"},
	{"proto in [udp, 58]", "proto IN (17, 58)"},
	{"flags S", "coalesce(tcp_flags & 2, 0) <> 0"},
	{"flags sa", "coalesce(tcp_flags & 18, 0) = 18"},
	{"dst flags R", "coalesce(rev_tcp_flags & 4, 0) <> 0"},
	{"flags S and not flags A", "coalesce(tcp_flags, 0) & 18 = 2"},
	{"iface eth0", "iface = 'eth0'"},
	{"iface eth1", "0"},
	{"role client", "role = 'client'"},
	{"role SERVER", "role = 'server'"},
	{"direction egress", "direction = 'egress'"},
	{"end_reason = idle", "end_reason = 'idle'"},
	{"vlan 2", "vlan IS 2"},
	{"vlan != 2", "vlan IS NOT NULL AND vlan <> 2"},
	{"bytes > 1M", "bytes > 1000000"},
	{"bytes>1.5M", "bytes > 1500000"},
	{"packets >= 10 and packets<=20", "packets BETWEEN 10 AND 20"},
	{"rtt > 50ms", "rtt_us IS NOT NULL AND rtt_us > 50000"},
	{"rtt_us > 50000", "rtt_us IS NOT NULL AND rtt_us > 50000"},
	{"rtt < 0.02s", "rtt_us IS NOT NULL AND rtt_us < 20000"},
	{"retrans > 0", "coalesce(retrans_pkts, 0) > 0"},
	{"duration > 2s", "duration_us > 2000000"},
	{"rev_bytes < 500k", "rev_bytes < 500000"},
	{"ip_version 6", "instr(src_addr, ':') > 0"},
	{"host_id = 2", "host_id = 2"},
	{"flow_id == 7", "flow_id = 7"},
	{"end_ms >= 3000", "end_ms >= 3000"},
	{"verdict refused", "coalesce(verdict, '') = 'refused'"},
	{"not verdict = HALF_OPEN", "coalesce(verdict, '') <> 'half_open'"},
	{"tunnel vxlan", "coalesce(tunnel, '') = 'vxlan'"},
	{"community_id \"1:7/+=\"", "community_id IS '1:7/+='"},
	{"data_rtt_avg_us > 15ms", "coalesce(data_rtt_avg_us, 0) > 15000"},
	{"rev_ooo_pkts >= 1", "coalesce(rev_ooo_pkts, 0) > 0"},
	{"mss < 1400", "mss IS NOT NULL AND mss < 1400"},
	{"icmp_error_type 3", "icmp_error_type IS 3"},
	{"tcp dst port 443", "proto = 6 AND dst_port = 443"},
	{"ip port 443 or udp port 53", "instr(src_addr, ':') = 0 AND 443 IN (src_port, dst_port)"
				       " OR proto = 17 AND 53 IN (src_port, dst_port)"},
	{"src or dst port 443", "443 IN (src_port, dst_port)"},
	{"src and dst net 10.0.0.0/8", "src_addr LIKE '10.%' AND dst_addr LIKE '10.%'"},
	{"dst and src port > 1023", "src_port > 1023 AND dst_port > 1023"},
	{"src and dst flags S", "coalesce(tcp_flags & rev_tcp_flags & 2, 0) <> 0"},
	{"portrange 80-8080", "src_port BETWEEN 80 AND 8080 OR dst_port BETWEEN 80 AND 8080"},
	{"vlan in [1, 2]", "vlan IS 1 OR vlan IS 2"},
	{"not dst_port in [22 80]", "dst_port NOT IN (22, 80)"},
	{"iface in [eth0, eth1]", "iface IN ('eth0', 'eth1')"},
	{"role in [client, SERVER]", "role IN ('client', 'server')"},
};

static const struct {
	const char *filter;
	size_t at;
} bad[] = {
	{"nonsense", 0},
	{"tcp udp", 4},
	{"tcp and", 7},
	{"and tcp", 0},
	{"tcp and and udp", 8},
	{"not", 3},
	{"(tcp", 0},
	{"tcp)", 3},
	{"()", 1},
	{"(tcp udp)", 5},
	{"tcp & udp", 4},
	{"tcp | udp", 4},
	{"port", 4},
	{"port 65536", 5},
	{"port -1", 5},
	{"port 0x50", 5},
	{"port 1.5", 5},
	{"port 90-80", 5},
	{"port 80-", 5},
	{"port in 80", 8},
	{"port in []", 9},
	{"port in [80", 11},
	{"port in [80,", 12},
	{"port in [80,,81]", 12},
	{"port >", 6},
	{"port > 70000", 7},
	{"src", 3},
	{"src tcp", 4},
	{"src proto tcp", 4},
	{"src host web1", 9},
	{"host 10.0.0.300", 5},
	{"host 10.0.0.0/8", 5},
	{"host 2001:db8::zz", 5},
	{"ip web1", 3},
	{"net 10.0.0.0/33", 4},
	{"net web1", 4},
	{"net", 3},
	{"proto 256", 6},
	{"proto nothing", 6},
	{"flags SX", 6},
	{"flags \"S A\"", 6},
	{"role boss", 5},
	{"role \"\"", 5},
	{"role client|server", 11},
	{"direction up", 10},
	{"end_reason none", 11},
	{"bytes > lots", 8},
	{"bytes > 1x", 8},
	{"bytes > 1.2.3", 8},
	{"bytes > 99999999999999999999", 8},
	{"bytes > -1", 8},
	{"bytes > > 1", 8},
	{"rtt > 50", 6},
	{"rtt > 50k", 6},
	{"rtt 1e3s", 4},
	{"\"tcp\"", 0},
	{"host \"web1", 5},
	{"verdict nonsense", 8},
	{"tunnel 4", 7},
	{"data_rtt_hist > 1", 0},
	{"host = ", 7},
	{"tcp proto udp", 4},
	{"port 80 tcp", 8},
	{"src and tcp", 8},
	{"src or src port 80", 7},
	{"src and dst", 11},
	{"role in [client, boss]", 17},
	{"rtt in [5ms, 5]", 13},
	{"host != web1", 5},
	{"host web1; DROP TABLE flow", 11},
};

static int open_rows(void **state)
{
	sqlite3 *db = sample_open(":memory:");

	assert_int_equal(sql_functions_register(db), 0);
	sample_fill(db, N_ROWS, 1);
	*state = db;
	return 0;
}

static int close_rows(void **state)
{
	return sqlite3_close(*state);
}

/* How many rows match, and the sum of their ids: equal sets for all we care. */
struct match {
	int64_t rows, ids;
};

static struct match run_query(sqlite3 *db, struct query *q, const char *what)
{
	sqlite3_stmt *st;
	struct match m;
	int err = query_prepare(q, db, &st);

	if (err)
		fail_msg("%s: %s", what, sqlite3_errmsg(db));
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	m = (struct match){sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1)};
	sqlite3_finalize(st);
	return m;
}

static struct match run_filter(sqlite3 *db, const char *filter)
{
	struct filter_error error;
	struct query q;
	struct match m;

	query_init(&q);
	query_add(&q, "SELECT count(*), sum(flow_id) FROM flows WHERE ");
	if (filter_compile(filter, &q, &error))
		fail_msg("'%s' at %zu: %s", filter, error.at, error.text);
	m = run_query(db, &q, filter);
	query_done(&q);
	return m;
}

static struct match run_sql(sqlite3 *db, const char *condition)
{
	struct query q;
	struct match m;

	query_init(&q);
	query_add(&q, "SELECT count(*), sum(flow_id) FROM flows WHERE %s", condition);
	m = run_query(db, &q, condition);
	query_done(&q);
	return m;
}

static void check_same(sqlite3 *db, const char *filter, const char *sql)
{
	struct match a = run_filter(db, filter), b = run_sql(db, sql);

	if (a.rows != b.rows || a.ids != b.ids)
		fail_msg("'%s' finds %ld rows, '%s' %ld", filter, a.rows, sql, b.rows);
}

static void test_filters_mean_their_sql(void **state)
{
	size_t selective = 0;

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		int64_t rows = run_sql(*state, pairs[i].sql).rows;

		check_same(*state, pairs[i].filter, pairs[i].sql);
		selective += rows > 0 && rows < N_ROWS;
	}
	assert_true(selective > ARRAY_SIZE(pairs) - 8); /* the rows tell filters apart */
}

/* Random trees over the pairs, in both languages at once. */
static void grow(char *filter, char *sql, size_t size, int depth)
{
	const struct pair *p = &pairs[2 + (size_t)rand() % (ARRAY_SIZE(pairs) - 2)];
	char f1[1024], s1[1024], f2[1024], s2[1024];
	bool either = rand() % 2, words = rand() % 2;

	if (depth == 0 || rand() % 4 == 0) {
		(void)snprintf(filter, size, "%s", p->filter);
		(void)snprintf(sql, size, "(%s)", p->sql);
		return;
	}
	grow(f1, s1, size / 3, depth - 1);
	grow(f2, s2, size / 3, depth - 1);
	if (rand() % 3 == 0)
		(void)snprintf(filter, size, "%s(%s)", words ? "not " : "!", f1),
			(void)snprintf(sql, size, "(NOT %s)", s1);
	else
		(void)snprintf(filter, size, "(%s) %s (%s)", f1,
			       either ? (words ? "or" : "||") : (words ? "AND" : "&&"), f2),
			(void)snprintf(sql, size, "(%s %s %s)", s1, either ? "OR" : "AND", s2);
}

static void test_random_trees(void **state)
{
	char filter[3072], sql[3072];

	srand(7);
	for (int i = 0; i < 300; i++) {
		grow(filter, sql, 1024, 2);
		check_same(*state, filter, sql);
	}
}

static void test_not_is_the_rest(void **state)
{
	char negated[256];

	for (size_t i = 2; i < ARRAY_SIZE(pairs); i++) {
		(void)snprintf(negated, sizeof(negated), "not (%s)", pairs[i].filter);
		assert_int_equal(run_filter(*state, pairs[i].filter).rows +
					 run_filter(*state, negated).rows,
				 N_ROWS);
	}
}

static void test_precedence(void **state)
{
	check_same(*state, "tcp or udp and port 53",
		   "proto = 6 OR (proto = 17 AND 53 IN (src_port, dst_port))");
	check_same(*state, "not tcp and udp", "proto = 17");
	check_same(*state, "not tcp or udp", "proto <> 6");
	check_same(*state, "!(tcp||udp)&&ip", "proto NOT IN (6, 17) AND instr(src_addr, ':') = 0");
}

static void test_bad_filters_name_the_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct filter_error error = {.at = 999};
		struct query q;

		query_init(&q);
		if (filter_compile(bad[i].filter, &q, &error) != -EINVAL)
			fail_msg("'%s' was taken", bad[i].filter);
		query_done(&q);
		if (error.at != bad[i].at)
			fail_msg("'%s': at %zu, not %zu (%s)", bad[i].filter, error.at, bad[i].at,
				 error.text);
		assert_true(error.text[0]);
	}
}

/* unit repeated n times between before and after, compiled and prepared; 0 or -EINVAL. */
static int try_repeated(sqlite3 *db, const char *before, const char *unit, int n, const char *after)
{
	char text[FILTER_MAX_BYTES * 2] = "";
	struct filter_error error;
	sqlite3_stmt *st = NULL;
	struct query q;
	size_t len = 0;
	int err;

	len += (size_t)snprintf(text, sizeof(text), "%s", before);
	for (int i = 0; i < n && len < sizeof(text) - 64; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", unit);
	(void)snprintf(text + len, sizeof(text) - len, "%s", after);
	query_init(&q);
	query_add(&q, "SELECT * FROM flows WHERE 1 AND ");
	err = filter_compile(text, &q, &error);
	if (!err && query_prepare(&q, db, &st))
		fail_msg("SQLite refuses '%s' times %d: %s", unit, n, sqlite3_errmsg(db));
	sqlite3_finalize(st);
	query_done(&q);
	return err;
}

/* What the parser lets through, SQLite can take. */
static void test_bounds(void **state)
{
	static const char closing[] = "))))))))))))";

	assert_int_equal(strlen(closing), FILTER_MAX_DEPTH);
	assert_int_equal(try_repeated(*state, "", "ip or ip and (", FILTER_MAX_DEPTH, ""), -EINVAL);
	for (int i = 1; i <= FILTER_MAX_DEPTH; i++) {
		const char *close = closing + FILTER_MAX_DEPTH - i;
		char end[64];

		(void)snprintf(end, sizeof(end), "host 10.0.0.1%s", close);
		assert_int_equal(try_repeated(*state, "", "ip or net ::/0 and (", i, end), 0);
	}
	assert_int_equal(try_repeated(*state, "", "!", FILTER_MAX_DEPTH, "tcp"), 0);
	assert_int_equal(try_repeated(*state, "", "!", FILTER_MAX_DEPTH + 1, "tcp"), -EINVAL);
	assert_int_equal(try_repeated(*state, "", "not (ip) or ", 3 * FILTER_MAX_DEPTH, "ip"), 0);
	assert_int_equal(try_repeated(*state, "", "ip or ", FILTER_MAX_TERMS - 1, "ip"), 0);
	assert_int_equal(try_repeated(*state, "", "ip or ", FILTER_MAX_TERMS, "ip"), -EINVAL);
	assert_int_equal(try_repeated(*state, "port in [", "1 ", FILTER_MAX_TERMS - 1, "]"), 0);
	assert_int_equal(try_repeated(*state, "port in [", "1 ", FILTER_MAX_TERMS, "]"), -EINVAL);
	assert_int_equal(try_repeated(*state, "ip", " ", FILTER_MAX_BYTES - 2, ""), 0);
	assert_int_equal(try_repeated(*state, "ip", " ", FILTER_MAX_BYTES - 1, ""), -EINVAL);
	assert_int_equal(try_repeated(*state, "host ", "x", FILTER_WORD_MAX - 1, ""), 0);
	assert_int_equal(try_repeated(*state, "host ", "x", FILTER_WORD_MAX, ""), -EINVAL);
}

/* Each allocation fails in turn. */
static void test_out_of_memory(void **state)
{
	static const char filter[] = "port in [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17] and "
				     "host web1 and net 10.0.0.0/8";
	unsigned n = 0;
	int err;

	do {
		struct filter_error error;
		sqlite3_stmt *st = NULL;
		struct query q;

		fail_alloc_at(++n);
		query_init(&q);
		query_add(&q, "SELECT * FROM flows WHERE ");
		err = filter_compile(filter, &q, &error);
		if (!err)
			err = query_prepare(&q, *state, &st);
		assert_int_equal(err, fail_alloc_at(0) ? -ENOMEM : 0);
		sqlite3_finalize(st);
		query_done(&q);
	} while (err);
	assert_true(n > 3);
}

static void test_numbers(void **state)
{
	static const struct {
		const char *word;
		enum filter_unit unit;
		int64_t value;
	} good[] = {
		{"0", FILTER_UNIT_TIME, 0},
		{"9007199254740993", FILTER_UNIT_COUNT, 9007199254740993},
		{"1K", FILTER_UNIT_COUNT, 1000},
		{"2.5g", FILTER_UNIT_COUNT, 2500000000},
		{"3T", FILTER_UNIT_COUNT, 3000000000000},
		{"7us", FILTER_UNIT_TIME, 7},
		{"1.5ms", FILTER_UNIT_US, 1500},
		{"2m", FILTER_UNIT_TIME, 120000000},
		{"1h", FILTER_UNIT_TIME, 3600000000},
		{"12", FILTER_UNIT_US, 12},
	};
	int64_t value;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_null(filter_number(good[i].word, good[i].unit, &value));
		assert_int_equal(value, good[i].value);
	}
	assert_non_null(filter_number("12", FILTER_UNIT_TIME, &value));
	assert_non_null(filter_number(".", FILTER_UNIT_COUNT, &value));
	assert_non_null(filter_number("", FILTER_UNIT_COUNT, &value));
	assert_non_null(filter_number("9999999999T", FILTER_UNIT_COUNT, &value));
}

static void test_caret(void **state)
{
	static const char filter[] = "host \"w\xc3\xbc\" and nonsense";
	struct filter_error error;
	struct query q;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	query_init(&q);
	assert_int_equal(filter_compile(filter, &q, &error), -EINVAL);
	query_done(&q);
	filter_print_error(out, filter, &error);
	assert_int_equal(fclose(out), 0);
	assert_non_null(strstr(text, "\n  host \"w\xc3\xbc\" and nonsense\n"
				     "                ^\n")); /* 14 columns before it, and 2 */
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filters_mean_their_sql),
		cmocka_unit_test(test_random_trees),
		cmocka_unit_test(test_not_is_the_rest),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_bad_filters_name_the_place),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_caret),
	};

	return cmocka_run_group_tests(tests, open_rows, close_rows);
}
