/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* detection_fixture.h - a store that is filled with records of chosen minutes, which are judged. */
#ifndef WEIR_TESTS_UNIT_DETECTION_FIXTURE_H
#define WEIR_TESTS_UNIT_DETECTION_FIXTURE_H

#include "collector/detect/detection.h"
#include "collector/store/db.h"
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

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	db_close(f->reader);
	store_close(f->store);
	sample_dir_remove(&f->dir);
	free(f->rows);
	free(f);
	return 0;
}

static inline void flush(struct fixture *f)
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
static inline void add(struct fixture *f, uint8_t host, const struct flow_record *r)
{
	if (f->host != host || f->n_rows == ROWS)
		flush(f);
	f->host = host;
	f->rows[f->n_rows++] = *r;
}

/* Judges [from, from + length), stores what it finds, returns how many incidents there are now. */
static inline int64_t judge(struct fixture *f, int64_t from_ms, int64_t length_ms)
{
	struct detection *d = NULL;

	flush(f);
	assert_int_equal(detection_new(f->reader, &limits, from_ms, from_ms + length_ms, &d), 0);
	d->done_until_ms = f->done_until_ms;
	job_free(sample_apply(f->store, JOB_DETECTION, d, 0));
	f->done_until_ms = from_ms + length_ms;
	return sample_int(f->reader, "SELECT count(*) FROM incident");
}

static inline int64_t judge_minute(struct fixture *f, int64_t from_ms)
{
	return judge(f, from_ms, MINUTE);
}

/* The evidence of the only incident, as it is stored, runs and gives so many flows. */
static inline void assert_evidence(struct fixture *f, int64_t n_flows)
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
static inline struct flow_record refused(const char *src, const char *dst, uint16_t port,
					 uint64_t end_ms)
{
	struct flow_record r = sample_flow(src, dst, port, end_ms);

	r.packets = r.total_packets = r.rev_packets = r.rev_total_packets = 1;
	r.tcp_flags = 0x02;
	r.rev_tcp_flags = 0x14;
	r.rtt_us = r.rtt_client_us = r.rtt_server_us = 0;
	return r;
}

static inline struct flow_record as_sender(struct flow_record r)
{
	r.direction = FLOW_DIRECTION_EGRESS;
	r.role = FLOW_ROLE_CLIENT;
	return r;
}

static inline const char *addr(unsigned n)
{
	static char text[4][ADDR_TEXT_MAX];
	static unsigned next;
	char *buf = text[next++ % 4];

	(void)snprintf(buf, ADDR_TEXT_MAX, "10.1.%u.%u", n / 250, n % 250 + 1);
	return buf;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif /* WEIR_TESTS_UNIT_DETECTION_FIXTURE_H */
