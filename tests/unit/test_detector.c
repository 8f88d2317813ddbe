/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>

#include "collector/store/db.h"
#include "collector/detect/detection.h"
#include "collector/serve/detector.h"
#include "collector/serve/writer.h"
#include "common/queue.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/sample_jobs.h"

#define MINUTE 60000
#define BUCKET (100 * MINUTE) /* where the bucket under test begins */
#define ROWS   4096

#define LIMITS                                                                                     \
	{                                                                                          \
		.rate_floor = 6000, .half_open = 200, .scan_ports = 15, .sweep_hosts = 15          \
	}

static const struct detection_limits limits = LIMITS;

struct fixture {
	struct sample_dir dir;
	struct store *store;
	sqlite3 *reader;
	uint64_t seq[256];	  /* by host */
	struct flow_record *rows; /* what add() collects for host */
	size_t n_rows;
	uint8_t host;
	int64_t done_until_ms;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *why = NULL;

	assert_non_null(f);
	*state = f;
	f->rows = calloc(ROWS, sizeof(*f->rows));
	assert_non_null(f->rows);
	sample_dir_make(&f->dir);
	assert_int_equal(store_open(f->dir.path, &f->store, &why), 0);
	assert_int_equal(db_open_reader(f->dir.path, &f->reader, &why), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	db_close(f->reader);
	store_close(f->store);
	sample_dir_remove(&f->dir);
	free(f->rows);
	free(f);
	return 0;
}

static void flush(struct fixture *f)
{
	struct job *job;

	if (f->n_rows == 0)
		return;
	if (f->seq[f->host] == 0)
		job_free(sample_apply_hello(f->store, f->host, 1));
	job = sample_apply(f->store, JOB_BATCH,
			   sample_batch_of(f->host, ++f->seq[f->host], f->rows, f->n_rows), 0);
	assert_int_equal(job->outcome, JOB_DONE);
	job_free(job);
	f->n_rows = 0;
}

/* Records go to the database through host, as its probe would report them. */
static void add(struct fixture *f, uint8_t host, const struct flow_record *r)
{
	if (f->host != host || f->n_rows == ROWS)
		flush(f);
	f->host = host;
	f->rows[f->n_rows++] = *r;
}

/* Judges [from, from + length), stores what it finds, returns how many incidents there are now. */
static int64_t judge(struct fixture *f, int64_t from_ms, int64_t length_ms)
{
	struct detection *d = NULL;

	flush(f);
	assert_int_equal(detection_new(f->reader, &limits, from_ms, from_ms + length_ms, &d), 0);
	d->done_until_ms = f->done_until_ms;
	job_free(sample_apply(f->store, JOB_DETECTION, d, 0));
	f->done_until_ms = from_ms + length_ms;
	return sample_int(f->reader, "SELECT count(*) FROM incident");
}

static int64_t judge_minute(struct fixture *f, int64_t from_ms)
{
	return judge(f, from_ms, MINUTE);
}

/* The evidence of the only incident, as it is stored, runs and gives so many flows. */
static void assert_evidence(struct fixture *f, int64_t n_flows)
{
	sqlite3_stmt *st = NULL;
	char *sql;

	assert_int_equal(
		sqlite3_prepare_v2(f->reader,
				   "SELECT printf('SELECT count(*) FROM (%s)', evidence_sql)"
				   " FROM incident",
				   -1, &st, NULL),
		SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	sql = sqlite3_mprintf("%s", sqlite3_column_text(st, 0));
	sqlite3_finalize(st);
	assert_int_equal(sample_int(f->reader, sql), n_flows);
	sqlite3_free(sql);
}

/* A port that answers with RST, as its host sees it. */
static struct flow_record refused(const char *src, const char *dst, uint16_t port, uint64_t end_ms)
{
	struct flow_record r = sample_flow(src, dst, port, end_ms);

	r.packets = r.total_packets = r.rev_packets = r.rev_total_packets = 1;
	r.tcp_flags = 0x02;
	r.rev_tcp_flags = 0x14;
	r.rtt_us = r.rtt_client_us = r.rtt_server_us = 0;
	return r;
}

/* SYN in, SYN-ACK out, no more. */
static struct flow_record half_open(const char *src, uint64_t end_ms)
{
	struct flow_record r = refused(src, "10.0.0.2", 80, end_ms);

	r.rev_tcp_flags = 0x12;
	return r;
}

static struct flow_record ping(const char *src, const char *dst, uint64_t end_ms)
{
	struct flow_record r = refused(src, dst, 0, end_ms);

	r.proto = 1;
	r.icmp_type = 8;
	r.src_port = r.tcp_flags = r.rev_tcp_flags = 0;
	return r;
}

static struct flow_record as_sender(struct flow_record r)
{
	r.direction = FLOW_DIRECTION_EGRESS;
	r.role = FLOW_ROLE_CLIENT;
	return r;
}

static const char *addr(unsigned n)
{
	static char text[4][ADDR_TEXT_MAX];
	static unsigned next;
	char *buf = text[next++ % 4];

	(void)snprintf(buf, ADDR_TEXT_MAX, "10.1.%u.%u", n / 250, n % 250 + 1);
	return buf;
}

/* --- what must raise ------------------------------------------------------------ */

static void test_port_scan(void **state)
{
	struct fixture *f = *state;

	for (uint16_t port = 1; port <= 100; port++) {
		struct flow_record r = refused("10.0.0.9", "10.0.0.2", port, BUCKET + 10 * port);
		struct flow_record other_end = as_sender(r);

		add(f, 1, &r);
		add(f, 2, &other_end);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
	sample_assert_text(
		f->reader,
		"SELECT kind || ' ' || src_addr || ' ' || dst_addr || ' ' || value || ' '"
		" || threshold || ' ' || unit || ' ' || hosts || ' ' || proto || ' ' ||"
		" minutes || ' ' || ifnull(baseline, 'NULL') FROM incident",
		"port_scan 10.0.0.9 10.0.0.2 100.0 15.0 ports host1,host2 6 1 NULL");
	assert_int_equal(sample_int(f->reader, "SELECT start_ms FROM incident"), BUCKET);
	assert_int_equal(sample_int(f->reader, "SELECT end_ms FROM incident"), BUCKET + MINUTE);
	assert_evidence(f, 200);
}

/* Each port is seen by both ends: 14 are 14. */
static void test_ports_are_not_counted_twice(void **state)
{
	struct fixture *f = *state;

	for (uint16_t port = 1; port <= 14; port++) {
		struct flow_record r = refused("10.0.0.9", "10.0.0.2", port, BUCKET);
		struct flow_record other_end = as_sender(r);

		add(f, 1, &r);
		add(f, 2, &other_end);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

static void test_udp_scan(void **state)
{
	struct fixture *f = *state;

	for (uint16_t port = 1; port <= 20; port++) {
		struct flow_record r = refused("10.0.0.9", "10.0.0.2", port, BUCKET);

		r.proto = 17;
		r.rev_packets = r.rev_total_packets = r.tcp_flags = r.rev_tcp_flags = 0;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
	sample_assert_text(f->reader, "SELECT kind || proto FROM incident", "port_scan17");
}

/* FIN, NULL and XMAS scans have no SYN. */
static void test_scan_without_syn(void **state)
{
	static const uint16_t flags[] = {0x01, 0x00, 0x29};
	struct fixture *f = *state;

	for (uint16_t port = 1; port <= 15; port++) {
		struct flow_record r = refused("10.0.0.9", "10.0.0.2", port, BUCKET);

		r.tcp_flags = flags[port % 3];
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
}

/* Cut by the edge of a bucket into parts that are too small each. */
static void test_scan_across_two_buckets(void **state)
{
	struct fixture *f = *state;

	for (uint16_t port = 1; port <= 30; port++) {
		struct flow_record r =
			refused("10.0.0.9", "10.0.0.2", port, BUCKET - 10 + (uint64_t)port);

		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET - MINUTE), 0);
	assert_int_equal(judge_minute(f, BUCKET), 1);
	assert_int_equal(sample_int(f->reader, "SELECT value FROM incident"), 30);
	assert_int_equal(sample_int(f->reader, "SELECT start_ms FROM incident"), BUCKET - MINUTE);
	assert_evidence(f, 30);
	assert_int_equal(judge_minute(f, BUCKET + MINUTE), 1); /* nothing new: it is over */
	assert_int_equal(sample_int(f->reader, "SELECT minutes FROM incident"), 2);
}

static void test_incident_that_goes_on_is_one_row(void **state)
{
	static const uint16_t ports[] = {20, 60, 30};
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		for (uint16_t port = 1; port <= ports[i]; port++) {
			struct flow_record r =
				refused("10.0.0.9", "10.0.0.2", (uint16_t)(1000 * i + port),
					BUCKET + (uint64_t)i * MINUTE);

			if (i == 2) {
				r.proto = 17;
				r.rev_packets = r.rev_total_packets = 0;
			}
			add(f, 1, &r);
		}
		assert_int_equal(judge_minute(f, BUCKET + i * MINUTE), 1);
	}
	assert_int_equal(sample_int(f->reader, "SELECT minutes FROM incident"), 3);
	assert_int_equal(sample_int(f->reader, "SELECT value FROM incident"), 90); /* 60 + 30 */
	assert_int_equal(sample_int(f->reader, "SELECT end_ms - start_ms FROM incident"),
			 3 * MINUTE);
	assert_evidence(f, 110);
	for (uint16_t port = 1; port <= 20; port++) {
		struct flow_record r = refused("10.0.0.9", "10.0.0.2", port, BUCKET + 10 * MINUTE);

		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET + 10 * MINUTE), 2); /* much later: another one */
}

/* 20 hosts report one attempt each: only together it is a sweep. */
static void test_sweep_is_seen_across_hosts(void **state)
{
	struct fixture *f = *state;

	for (uint8_t host = 1; host <= 20; host++) {
		struct flow_record r = refused("10.0.0.9", addr(host), 22, BUCKET + host);

		add(f, host, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
	sample_assert_text(
		f->reader,
		"SELECT kind || ' ' || src_addr || ' ' || dst_port || ' ' || proto || ' '"
		" || value || ' ' || ifnull(dst_addr, 'NULL') FROM incident",
		"host_sweep 10.0.0.9 22 6 20.0 NULL");
	assert_evidence(f, 20);
}

static void test_ping_sweep(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 15; n++) {
		struct flow_record r = as_sender(ping("10.0.0.9", addr(n), BUCKET + n));

		r.rev_packets = r.rev_total_packets = n % 3 == 0;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
	sample_assert_text(f->reader,
			   "SELECT kind || ' ' || proto || ' ' || ifnull(dst_port, 'NULL')"
			   " FROM incident",
			   "host_sweep 1 NULL");
	assert_evidence(f, 15);
}

static void test_syn_flood(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 600; n++) {
		struct flow_record r = half_open(addr(n), BUCKET + n);

		add(f, 1, &r);
	}
	for (unsigned n = 0; n < 20; n++) { /* and some who still get through */
		struct flow_record r = sample_flow(addr(700 + n), "10.0.0.2", 80, BUCKET + n);

		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
	sample_assert_text(f->reader,
			   "SELECT kind || ' ' || severity || ' ' || dst_addr || ' ' || dst_port ||"
			   " ' ' || value || ' ' || ifnull(src_addr, 'NULL') FROM incident",
			   "syn_flood crit 10.0.0.2 80 600.0 NULL");
	assert_evidence(f, 600);
}

/* The victim's queue is full: it does not even answer. */
static void test_syn_flood_without_answers(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 300; n++) {
		struct flow_record r = half_open("10.0.0.9", BUCKET + n);

		r.rev_packets = r.rev_total_packets = r.rev_tcp_flags = 0;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
	sample_assert_text(f->reader, "SELECT kind FROM incident", "syn_flood");
}

/* Ten buckets of about base packets of one source to one service, then one of last. */
static int64_t judge_rates(struct fixture *f, uint64_t base, uint64_t last)
{
	int64_t n = 0;

	for (int i = 0; i <= 10; i++) {
		struct flow_record r =
			sample_flow("10.0.0.9", "10.0.0.2", 80, BUCKET + (uint64_t)i * MINUTE);
		struct flow_record other_end = as_sender(r);

		r.packets = i < 10 ? base + base / 20 * (uint64_t)(i % 3) : last;
		other_end.packets = r.packets;
		add(f, 1, &r);
		add(f, 2, &other_end);
		n = judge_minute(f, BUCKET + i * MINUTE);
		if (i < 10)
			assert_int_equal(n, 0);
	}
	return n;
}

static void test_rate_spike_of_source_and_service(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(judge_rates(f, 1000, 50000), 2);
	assert_int_equal(sample_int(f->reader, "SELECT count(*) FROM incident"
					       " WHERE kind = 'rate_spike' AND value = 50000"
					       " AND baseline BETWEEN 1000 AND 1100"
					       " AND threshold = 6000"
					       " AND hosts = 'host1,host2'"),
			 2);
	assert_int_equal(sample_int(f->reader, "SELECT count(*) FROM incident"
					       " WHERE src_addr = '10.0.0.9' AND dst_addr IS NULL"),
			 1);
	assert_int_equal(sample_int(f->reader, "SELECT count(*) FROM incident WHERE dst_port = 80"
					       " AND dst_addr = '10.0.0.2' AND src_addr IS NULL"),
			 1);
	/* What raised is not learnt. */
	assert_int_equal(sample_int(f->reader, "SELECT max(minutes) FROM baseline"), 10);
	assert_true(sample_int(f->reader, "SELECT max(mean) FROM baseline") < 1200);
}

static void test_rate_that_is_usual_for_the_source(void **state)
{
	assert_int_equal(judge_rates(*state, 40000, 70000), 0);
}

static void test_rate_below_the_floor(void **state)
{
	assert_int_equal(judge_rates(*state, 10, 5900), 0);
}

/* --- what must not --------------------------------------------------------------- */

static void test_first_buckets_only_learn(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 5; i++) {
		struct flow_record r =
			sample_flow("10.0.0.9", "10.0.0.2", 80, BUCKET + (uint64_t)i * MINUTE);

		r.packets = i ? 1000000 : 1;
		add(f, 1, &r);
		assert_int_equal(judge_minute(f, BUCKET + i * MINUTE), 0);
	}
}

static void test_busy_server_with_500_clients(void **state)
{
	struct fixture *f = *state;

	for (int minute = 0; minute < 7; minute++) {
		for (unsigned n = 0; n < 500; n++) {
			struct flow_record r = sample_flow(addr(n), "10.0.0.2", 443,
							   BUCKET + (uint64_t)minute * MINUTE + n);

			add(f, 1, &r);
		}
		assert_int_equal(judge_minute(f, BUCKET + minute * MINUTE), 0);
	}
}

/* 30 connections to one server, as many to as many servers, DNS for all of them. */
static void test_browser(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 30; n++) {
		struct flow_record one =
			as_sender(sample_flow("10.0.0.9", "10.0.0.2", 443, BUCKET));
		struct flow_record each = as_sender(sample_flow("10.0.0.9", addr(n), 443, BUCKET));
		struct flow_record dns = as_sender(refused("10.0.0.9", "10.0.0.53", 53, BUCKET));

		dns.proto = 17;
		dns.tcp_flags = dns.rev_tcp_flags = 0;
		add(f, 1, &one);
		add(f, 1, &each);
		add(f, 1, &dns);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

/* A resolver asks many servers one question each, and is answered. */
static void test_resolver(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 50; n++) {
		struct flow_record r = as_sender(refused("10.0.0.53", addr(n), 53, BUCKET));

		r.proto = 17;
		r.tcp_flags = r.rev_tcp_flags = 0;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

static void test_traceroute(void **state)
{
	struct fixture *f = *state;

	for (uint16_t n = 0; n < 90; n++) {
		struct flow_record r =
			as_sender(refused("10.0.0.9", "10.0.0.2", 33434 + n, BUCKET));

		r.proto = 17;
		r.rev_packets = r.rev_total_packets = r.tcp_flags = r.rev_tcp_flags = 0;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

/* A management server with an idle connection to each of 40 hosts: one keep-alive a minute. */
static void test_idle_connections(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 40; n++) {
		struct flow_record r = as_sender(sample_flow("10.0.0.9", addr(n), 22, BUCKET));

		r.packets = r.rev_packets = 1;
		r.total_packets = r.rev_total_packets = 500;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

/* The probe has started in the middle of connections and takes the server for their source. */
static void test_connections_seen_from_the_middle(void **state)
{
	struct fixture *f = *state;

	for (uint16_t n = 0; n < 100; n++) {
		struct flow_record r =
			as_sender(refused("10.0.0.2", "10.0.0.9", 40000 + n, BUCKET));

		r.src_port = 443;
		r.tcp_flags = r.rev_tcp_flags = 0x10;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

/* Clients that hammer a host that is away, or a port that is closed: no flood. */
static void test_server_that_is_away(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 1000; n++) {
		struct flow_record away = as_sender(half_open(addr(n % 10), BUCKET + n));
		struct flow_record closed = refused(addr(n % 10), "10.0.0.3", 80, BUCKET + n);

		away.rev_packets = away.rev_total_packets = away.rev_tcp_flags = 0;
		add(f, 1, &away);
		add(f, 1, &closed);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

/* A record of the open handshake, then one of the finished connection. */
static void test_slow_handshakes(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 300; n++) {
		struct flow_record done = sample_flow(addr(n), "10.0.0.2", 80, BUCKET + 20000);
		struct flow_record early = done;

		early.end_ns -= 15 * NS_PER_SEC;
		early.tcp_flags = 0x02;
		early.rev_tcp_flags = 0x12;
		early.end_reason = FLOW_END_ACTIVE;
		add(f, 1, &early);
		add(f, 1, &done);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

static void test_catch_all_is_no_source(void **state)
{
	struct fixture *f = *state;
	struct flow_record r = sample_flow("::", "::", 0, BUCKET);

	r.proto = 0;
	r.end_reason = FLOW_END_NO_RESOURCES;
	add(f, 1, &r);
	assert_int_equal(judge_minute(f, BUCKET), 0);
	assert_int_equal(sample_int(f->reader, "SELECT count(*) FROM baseline"), 0);
}

/* Rates are per minute, and floods scaled, whatever the bucket. */
static void test_short_buckets(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 20; n++) {
		struct flow_record r = half_open(addr(n), BUCKET + n);

		add(f, 1, &r);
	}
	assert_int_equal(judge(f, BUCKET, 5000), 1);
	assert_int_equal(sample_int(f->reader, "SELECT value FROM incident"), 240);
	assert_int_equal(sample_int(f->reader, "SELECT mean FROM baseline"
					       " WHERE subject = 'service 10.0.0.2 6 80'"),
			 240);
}

static void test_every_allocation_failure_is_clean(void **state)
{
	struct fixture *f = *state;
	struct flow_record r = sample_flow("10.0.0.9", "10.0.0.2", 80, BUCKET);
	int err;

	add(f, 1, &r);
	flush(f);
	for (unsigned n = 1;; n++) {
		struct detection *d = NULL;

		(void)fail_alloc_at(n);
		err = detection_new(f->reader, &limits, BUCKET, BUCKET + MINUTE, &d);
		if (!fail_alloc_at(0)) {
			assert_int_equal(err, 0);
			detection_free(d);
			return;
		}
		assert_int_equal(err, -ENOMEM);
		assert_null(d);
	}
}

/* --- the thread -------------------------------------------------------------------- */

struct threads {
	struct fixture *f;
	struct queue *jobs, *replies;
	int stop_fd;
	pthread_t detector, writer;
};

static void *run_detector(void *arg)
{
	const struct detector_settings settings = {
		.interval_ms = 1000,
		.delay_ms = 0,
		.limits = LIMITS,
	};
	struct threads *t = arg;

	detector_run(t->f->dir.path, &settings, t->jobs, t->stop_fd);
	return NULL;
}

static void *run_writer(void *arg)
{
	static const struct writer_settings settings = {.commit_interval_ms = 1};
	struct threads *t = arg;

	writer_run(t->f->store, &settings, t->jobs, t->replies);
	return NULL;
}

static void start(struct threads *t, struct fixture *f)
{
	t->f = f;
	t->stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(queue_new(64, SIZE_MAX, job_free, &t->jobs), 0);
	assert_int_equal(queue_new(64, SIZE_MAX, job_free, &t->replies), 0);
	assert_int_equal(pthread_create(&t->writer, NULL, run_writer, t), 0);
	assert_int_equal(pthread_create(&t->detector, NULL, run_detector, t), 0);
}

static void stop(struct threads *t)
{
	assert_int_equal(eventfd_write(t->stop_fd, 1), 0);
	assert_int_equal(pthread_join(t->detector, NULL), 0);
	queue_close(t->jobs);
	assert_int_equal(pthread_join(t->writer, NULL), 0);
	queue_free(t->jobs);
	queue_free(t->replies);
	close(t->stop_fd);
}

static int64_t wait_for_state(struct fixture *f, int64_t at_least)
{
	int64_t done = 0;

	for (int i = 0; i < 100 && done < at_least; i++) {
		usleep(50000);
		done = sample_int(f->reader, "SELECT max(done_until_ms) FROM detector_state");
	}
	return done;
}

/* Judges what is closed, and after a restart neither again nor too little. */
static void test_detector_goes_on_where_it_stopped(void **state)
{
	const int64_t now = (int64_t)(clock_real_ns() / NS_PER_MS) / 1000 * 1000;
	struct fixture *f = *state;
	struct detection *begin = calloc(1, sizeof(*begin));
	struct threads t;

	assert_non_null(begin);
	begin->until_ms = now - 600000;
	job_free(sample_apply(f->store, JOB_DETECTION, begin, 0));
	for (uint16_t port = 1; port <= 20; port++) {
		struct flow_record r =
			refused("10.0.0.9", "10.0.0.2", port, (uint64_t)now - 300000);

		add(f, 1, &r);
	}
	flush(f);
	start(&t, f);
	assert_int_equal(wait_for_state(f, now - 299000), now - 299000);
	stop(&t);
	assert_int_equal(sample_int(f->reader, "SELECT count(*) FROM incident"), 1);
	for (uint16_t port = 1; port <= 20; port++) {
		struct flow_record r =
			refused("10.0.0.8", "10.0.0.2", port, (uint64_t)now - 200000);

		add(f, 1, &r);
	}
	flush(f);
	start(&t, f);
	assert_int_equal(wait_for_state(f, now - 199000), now - 199000);
	stop(&t);
	assert_int_equal(sample_int(f->reader, "SELECT count(*) FROM incident"), 2);
	assert_int_equal(sample_int(f->reader, "SELECT sum(minutes) FROM incident"), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_port_scan),
		TEST(test_ports_are_not_counted_twice),
		TEST(test_udp_scan),
		TEST(test_scan_without_syn),
		TEST(test_scan_across_two_buckets),
		TEST(test_incident_that_goes_on_is_one_row),
		TEST(test_sweep_is_seen_across_hosts),
		TEST(test_ping_sweep),
		TEST(test_syn_flood),
		TEST(test_syn_flood_without_answers),
		TEST(test_rate_spike_of_source_and_service),
		TEST(test_rate_that_is_usual_for_the_source),
		TEST(test_rate_below_the_floor),
		TEST(test_first_buckets_only_learn),
		TEST(test_busy_server_with_500_clients),
		TEST(test_browser),
		TEST(test_resolver),
		TEST(test_traceroute),
		TEST(test_idle_connections),
		TEST(test_connections_seen_from_the_middle),
		TEST(test_server_that_is_away),
		TEST(test_slow_handshakes),
		TEST(test_catch_all_is_no_source),
		TEST(test_short_buckets),
		TEST(test_every_allocation_failure_is_clean),
		TEST(test_detector_goes_on_where_it_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
