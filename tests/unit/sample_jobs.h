/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sample_jobs.h - HELLOs, batches and flow records for the tests of the ingest side. */
#ifndef WEIR_TESTS_UNIT_SAMPLE_JOBS_H
#define WEIR_TESTS_UNIT_SAMPLE_JOBS_H

#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "collector/flows_table/flows_table.h"
#include "collector/serve/job.h"
#include "collector/serve/store.h"
#include "common/addr.h"
#include "common/clock.h"
#include "proto/flow_block.h"
#include "proto/message.h"

#define SAMPLE_EPOCH 0xfedcba9876543210ull /* does not fit a signed number as it is */

/* A folder of its own, and where the database in it is. */
struct sample_dir {
	char dir[32], path[64];
};

static inline void sample_dir_make(struct sample_dir *d)
{
	(void)snprintf(d->dir, sizeof(d->dir), "/tmp/weir-test.XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	(void)snprintf(d->path, sizeof(d->path), "%s/weir.db", d->dir);
}

static inline void sample_dir_remove(const struct sample_dir *d)
{
	static const char *const suffixes[] = {"", "-wal", "-shm", "-lock", "-key", "-control"};
	char path[80];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", d->path, suffixes[i]);
		(void)unlink(path);
	}
	assert_int_equal(rmdir(d->dir), 0); /* nothing else is left */
}

/* Reads the database beside the collector, as sqlite3 with the virtual table does. */
static inline sqlite3 *sample_reader(const char *path)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(flows_table_register(db), SQLITE_OK);
	return db;
}

/* The number, or the text, in the only row of an SQL statement. */
static inline int64_t sample_int(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;
	int64_t value;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	value = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return value;
}

static inline void sample_assert_text(sqlite3 *db, const char *sql, const char *wanted)
{
	sqlite3_stmt *st = NULL;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(st, 0), wanted);
	sqlite3_finalize(st);
}

/* The probe of host number n is "host<n>". */
static inline struct hello sample_hello(uint8_t n, uint64_t oldest_seq)
{
	struct hello h = {
		.version_major = 1,
		.probe_id = {n},
		.epoch = SAMPLE_EPOCH,
		.run = SAMPLE_EPOCH,
		.oldest_seq = oldest_seq,
		.build = "0.1.0",
		.kernel = "6.1.0",
		.real_ns = clock_real_ns(),
		.mono_ns = clock_mono_ns(),
		.n_ifaces = 2,
		.ifaces = {{1, "lo", "tcx+tcx"}, {2, "eth0", "xdp+tcx"}},
	};

	(void)snprintf(h.host_name, sizeof(h.host_name), "host%u", n);
	return h;
}

/* A TCP connection that went well, as its server saw it. */
static inline struct flow_record sample_flow(const char *src, const char *dst, uint16_t dst_port,
					     uint64_t end_ms)
{
	static uint64_t last_id;
	struct flow_record r = {
		.flow_id = ++last_id,
		.start_ns = (end_ms - 200) * NS_PER_MS,
		.end_ns = end_ms * NS_PER_MS,
		.src_port = (uint16_t)(32768 + last_id % 28000),
		.dst_port = dst_port,
		.proto = 6,
		.iface = "eth0",
		.direction = FLOW_DIRECTION_INGRESS,
		.role = FLOW_ROLE_SERVER,
		.end_reason = FLOW_END_DETECTED,
		.packets = 10,
		.bytes = 1000,
		.rev_packets = 9,
		.rev_bytes = 9000,
		.total_packets = 10,
		.total_bytes = 1000,
		.rev_total_packets = 9,
		.rev_total_bytes = 9000,
		.tcp_flags = 0x1b, /* FIN SYN PSH ACK */
		.rev_tcp_flags = 0x1b,
		.rtt_us = 300,
		.rtt_client_us = 100,
		.rtt_server_us = 200,
	};

	assert_int_equal(addr_parse(src, r.src_addr), 0);
	assert_int_equal(addr_parse(dst, r.dst_addr), 0);
	return r;
}

/* A batch as it is once it has been unpacked, of n rows. free with batch_free(). */
static inline struct batch *sample_batch_of(uint8_t host, uint64_t seq,
					    const struct flow_record *rows, size_t n)
{
	struct column_codec *codec = NULL;
	uint8_t *block = NULL;
	size_t len = 0;
	struct batch *b;

	if (n)
		assert_int_equal(batch_seal_rows(rows, n, &block, &len), 0);
	b = calloc(1, sizeof(*b) + n * sizeof(*rows) + len);
	assert_non_null(b);
	b->probe_id[0] = host;
	b->epoch = b->run = SAMPLE_EPOCH;
	b->first_seq = b->seq = seq;
	b->rows = (struct flow_record *)(b + 1);
	b->n_rows = n;
	if (n) {
		memcpy(b->rows, rows, n * sizeof(*rows));
		b->block = (uint8_t *)(b->rows + n);
		b->block_len = len;
		memcpy(b->block, block, len);
		assert_int_equal(column_codec_new(n, &codec), 0);
		assert_int_equal(flow_block_check(codec, block, len, &b->summary, NULL), 0);
		column_codec_free(codec);
	}
	free(block);
	return b;
}

/* n copies of row, if there is one; free with batch_free(). */
static inline struct batch *sample_batch(uint8_t host, uint64_t seq, const struct flow_record *row,
					 size_t n)
{
	struct flow_record *rows = calloc(n + 1, sizeof(*rows));
	struct batch *b;

	assert_non_null(rows);
	for (size_t i = 0; i < n; i++)
		rows[i] = *row;
	b = sample_batch_of(host, seq, rows, n);
	free(rows);
	return b;
}

/*
 * Files may not grow above bytes: writing fails as on a full disk, but for the
 * code. The caller ignores SIGXFSZ.
 */
static inline void sample_limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Applies a job in a transaction of its own; what is taken. Returns the job: job_free(). */
static inline struct job *sample_apply(struct store *store, enum job_kind kind, void *what,
				       size_t n)
{
	struct job *job;

	assert_int_equal(job_new(kind, what, n, 0, &job), 0);
	assert_int_equal(store_begin(store), 0);
	assert_int_equal(store_apply(store, job, (int64_t)(clock_real_ns() / NS_PER_MS)), 0);
	assert_int_equal(store_commit(store), 0);
	return job;
}

static inline struct job *sample_apply_hello(struct store *store, uint8_t host, uint64_t oldest_seq)
{
	struct hello *h = malloc(sizeof(*h));

	assert_non_null(h);
	*h = sample_hello(host, oldest_seq);
	return sample_apply(store, JOB_HELLO, h, 0);
}

#endif /* WEIR_TESTS_UNIT_SAMPLE_JOBS_H */
