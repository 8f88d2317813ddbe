// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Flows seen from both ends, by columns, against the view two_ended of the same records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/report/two_ended.h"
#include "collector/sqlite/sql_functions.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/random_flows.h"
#include "tests/unit/sample_db.h"

#define START_MS 1700000040000 /* a full minute */
#define N_HOSTS	 4

struct fixture {
	sqlite3 *db;
	uint64_t rng;
	uint64_t last_flow;
	pthread_mutex_t lock; /* of what is found */
	struct two_ended_flow *found;
	size_t n_found, max_found;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char name[16];

	assert_non_null(f);
	*state = f;
	f->rng = 0x9e3779b97f4a7c15ull;
	(void)pthread_mutex_init(&f->lock, NULL);
	f->db = sample_open("");
	for (int h = 1; h <= N_HOSTS; h++) {
		(void)snprintf(name, sizeof(name), "host%d", h);
		sample_add_host(f->db, h, name, 0, (h - 2) * 900);
	}
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sqlite3_close(f->db);
	free(f->found);
	free(f);
	return 0;
}

static uint64_t draw(struct fixture *f, uint64_t n)
{
	return random_u64(&f->rng) % n;
}

/* --- records -------------------------------------------------------------------- */

/* One host's records of a flow that began at_ms by the collector's clock. */
static void add_side(struct fixture *f, int host, struct flow_record r, int64_t at_ms)
{
	size_t n = 1 + draw(f, 3);

	r.flow_id = ++f->last_flow;
	at_ms += (host - 2) * 900 + (int64_t)draw(f, 7000);
	r.start_ns = (uint64_t)at_ms * NS_PER_MS;
	r.total_packets = r.rev_total_packets = 0;
	for (size_t i = 0; i < n; i++) {
		at_ms += 1 + (int64_t)draw(f, 40000);
		r.end_ns = (uint64_t)at_ms * NS_PER_MS;
		r.total_packets += draw(f, 50);
		r.rev_total_packets += draw(f, 50);
		r.kernel_drops = (uint32_t)draw(f, 3);
		r.end_reason = i + 1 < n || !draw(f, 4) ? FLOW_END_ACTIVE : FLOW_END_IDLE;
		if (!draw(f, 30))
			r.end_reason = FLOW_END_NO_RESOURCES;
		sample_add_records(f->db, host, &r, 1);
	}
}

static void turn_round(struct flow_record *r)
{
	const struct flow_record was = *r;

	memcpy(r->src_addr, was.dst_addr, 16);
	memcpy(r->dst_addr, was.src_addr, 16);
	r->src_port = was.dst_port;
	r->dst_port = was.src_port;
	if (r->proto == IPPROTO_ICMP)
		r->icmp_type = was.icmp_type ? 0 : 8; /* the answer, if the echo was missed */
	if (was.direction != FLOW_DIRECTION_UNKNOWN)
		r->direction = FLOW_DIRECTION_INGRESS + FLOW_DIRECTION_EGRESS - was.direction;
}

/* Addresses whose order as text is not that of their bytes are among them. */
static void add_conversation(struct fixture *f)
{
	static const char *const addrs[] = {"10.0.0.9", "10.0.0.10", "2001:db8::9", "2001:db8::10"};
	static const uint8_t protos[] = {1, 6, 17, 47};
	size_t a = draw(f, 4), b = draw(f, 4);
	int64_t at_ms = START_MS + (int64_t)draw(f, 600000);
	struct flow_record r = {.iface = "eth0"};

	assert_int_equal(addr_parse(addrs[a], r.src_addr), 0);
	assert_int_equal(addr_parse(addrs[b], r.dst_addr), 0);
	r.proto = protos[draw(f, 4)];
	if (r.proto == IPPROTO_ICMP) {
		r.icmp_type = draw(f, 2) ? 8 : 3; /* 3: nothing answers it */
		r.icmp_code = (uint8_t)draw(f, 2);
	} else {
		r.src_port = (uint16_t)(r.proto == 47 ? 0 : draw(f, 3));
		r.dst_port = (uint16_t)(r.proto == 47 ? 0 : draw(f, 3));
	}
	for (size_t i = 1 + draw(f, 4); i > 0; i--) {
		struct flow_record side = r;

		side.direction = (uint8_t)draw(f, FLOW_DIRECTION_MAX);
		side.icmp_code ^= r.proto == IPPROTO_ICMP && !draw(f, 4);
		if (!draw(f, 3))
			turn_round(&side);
		add_side(f, 1 + (int)draw(f, N_HOSTS), side, at_ms);
	}
}

static void lose_something(struct fixture *f)
{
	static const char *const how[] = {"spool_drop", "rejected", "damaged", "map_full",
					  "not_parsed"};
	char sql[200];

	(void)snprintf(sql, sizeof(sql),
		       "INSERT OR IGNORE INTO coverage_minute (host_id, minute_ms, %s_packets)"
		       " VALUES (%d, %lld, 1)",
		       how[draw(f, 5)], 1 + (int)draw(f, N_HOSTS),
		       START_MS + 60000 * (long long)draw(f, 12));
	sample_exec(f->db, sql);
}

/* --- what is found ---------------------------------------------------------------- */

static int worker_open(void *arg, void **ret)
{
	*ret = arg;
	return 0;
}

static int note_flow(void *worker, const struct two_ended_flow *flow)
{
	struct fixture *f = worker;
	bool room;

	(void)pthread_mutex_lock(&f->lock);
	if (f->n_found == f->max_found) {
		f->max_found = 2 * f->max_found + 64;
		f->found = realloc(f->found, f->max_found * sizeof(*f->found));
	}
	room = f->found != NULL;
	if (room)
		f->found[f->n_found++] = *flow;
	(void)pthread_mutex_unlock(&f->lock);
	return room ? 0 : -ENOMEM;
}

static void worker_close(void *worker)
{
	(void)worker;
}

static const struct two_ended_visitor note_all = {worker_open, note_flow, worker_close};

static void put_found(struct fixture *f, struct two_ended *t)
{
	sample_exec(f->db, "CREATE TEMP TABLE found (src_host, dst_host, src_addr, src_port,"
			   " dst_addr, dst_port, proto, known, sent, received, rev_sent,"
			   " rev_received, drops)");
	for (size_t i = 0; i < f->n_found; i++) {
		const struct two_ended_flow *w = &f->found[i];
		char src[ADDR_TEXT_MAX], dst[ADDR_TEXT_MAX];
		char *sql = sqlite3_mprintf(
			"INSERT INTO temp.found VALUES ('host%u', 'host%u', %Q, %u, %Q, %u, %u, %d,"
			" %llu, %llu, %llu, %llu, %llu)",
			w->src_host, w->dst_host, addr_format(two_ended_addr(t, w->src_addr), src),
			w->src_port, addr_format(two_ended_addr(t, w->dst_addr), dst), w->dst_port,
			w->proto, w->known, w->sent_packets, w->received_packets,
			w->rev_sent_packets, w->rev_received_packets, w->kernel_drops);

		sample_exec(f->db, sql);
		sqlite3_free(sql);
	}
	f->n_found = 0;
}

static const char differ_sql[] =
	"WITH wanted AS (SELECT src_host, dst_host, src_addr, src_port, dst_addr, dst_port,"
	"  CASE proto_name WHEN 'icmp' THEN 1 WHEN 'tcp' THEN 6 WHEN 'udp' THEN 17"
	"   WHEN 'gre' THEN 47 END AS proto, lost_packets IS NOT NULL AS known,"
	"  sent_packets, received_packets, rev_sent_packets, rev_received_packets,"
	"  ifnull(src_drops, 0) + ifnull(dst_drops, 0) AS drops FROM two_ended),"
	" w AS (SELECT *, count(*) FROM wanted GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13),"
	" f AS (SELECT *, count(*) FROM temp.found"
	"  GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)"
	"SELECT (SELECT count(*) FROM (SELECT * FROM w EXCEPT SELECT * FROM f))"
	" + (SELECT count(*) FROM (SELECT * FROM f EXCEPT SELECT * FROM w))";

static void test_flows_are_as_the_view_says(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(sql_functions_register(f->db), 0);
	for (int round = 0; round < 8; round++) {
		struct two_ended *t = NULL;

		for (int i = 0; i < 60; i++)
			add_conversation(f);
		if (round % 2)
			lose_something(f);
		assert_int_equal(two_ended_open(f->db, NULL, &t), 0);
		assert_int_equal(two_ended_visit(t, &note_all, f), 0);
		assert_true(f->n_found > 20);
		put_found(f, t);
		two_ended_close(t);
		assert_int_equal(sample_number(f->db, differ_sql), 0);
		sample_exec(f->db, "DROP TABLE temp.found");
	}
	assert_true(sample_number(f->db, "SELECT count(*) FROM two_ended WHERE lost_packets"
					 " IS NOT NULL") > 20);
	assert_true(sample_number(f->db, "SELECT count(*) FROM two_ended WHERE coverage ="
					 " 'unknown' AND ended") > 0);
}

static void test_every_allocation_failure_is_clean(void **state)
{
	struct fixture *f = *state;
	bool failed = true;
	int err = 0;

	for (int i = 0; i < 30; i++)
		add_conversation(f);
	for (unsigned n = 1; failed; n++) {
		struct two_ended *t = NULL;

		f->n_found = 0;
		(void)fail_alloc_at(n);
		err = two_ended_open(f->db, NULL, &t);
		if (!err)
			err = two_ended_visit(t, &note_all, f);
		failed = fail_alloc_at(0);
		two_ended_close(t);
		assert_int_equal(err, failed ? -ENOMEM : 0);
		if (!f->found)
			f->max_found = 0;
	}
	assert_true(f->n_found > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_flows_are_as_the_view_says, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_allocation_failure_is_clean, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
