/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sample_db.h - a database with weir's schema, and rows for it, for the tests of the query side. */
#ifndef WEIR_TESTS_UNIT_SAMPLE_DB_H
#define WEIR_TESTS_UNIT_SAMPLE_DB_H

#include <sqlite3.h>
#include <stdint.h>
#include <stdlib.h>

#include "collector/flows_table/flows_table.h"
#include "collector/flowstore/flow_writer.h"
#include "collector/store/db.h"
#include "common/addr.h"
#include "common/clock.h"
#include "migrations.h" /* generated */
#include "proto/flow_block.h"
#include "proto/message.h"

/* What the tests vary of a record; the rest has fixed values. */
struct sample_flow {
	int host_id;
	int64_t flow_id, start_ms, end_ms;
	const char *src_addr, *dst_addr;
	int src_port, dst_port, proto;
	int direction, role, end_reason; /* as in proto/flow_record.h */
	int64_t packets, bytes, rev_packets, rev_bytes;
	int rtt_us, retrans_pkts; /* -1: NULL */
	int vlan, tcp_flags;	  /* -1: NULL */
};

static inline void sample_exec(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sqlite3_errmsg(db), sql);
}

/* A new database at path, with every migration and no rows. */
static inline sqlite3 *sample_open(const char *path)
{
	char sql[100];
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(flows_table_register(db), SQLITE_OK);
	for (size_t i = 0; i < sizeof(migrations) / sizeof(migrations[0]); i++)
		sample_exec(db, migrations[i]);
	(void)snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %zu",
		       DB_APPLICATION_ID, sizeof(migrations) / sizeof(migrations[0]));
	sample_exec(db, sql);
	return db;
}

static inline void sample_add_host(sqlite3 *db, int id, const char *name, int64_t last_seen_ms,
				   int64_t skew_ms)
{
	char *sql = sqlite3_mprintf(
		"INSERT INTO host (id, probe_id, name, kernel, build, boot_id, ifaces,"
		" first_seen_ms, last_seen_ms, clock_skew_ms, run)"
		" VALUES (%d, CAST(printf('%%016d', %d) AS BLOB), %Q, '6.1.0',"
		" '0.1.0', x'00', 'eth0 xdp+tcx', 1000, %lld, %lld, %d);"
		"INSERT INTO epoch (host_id, epoch, last_seq, started_ms, batches)"
		" VALUES (%d, %d, 1, 1000, 1);"
		"INSERT INTO probe_run (host_id, run, started_ms) VALUES (%d, %d, 1000)",
		id, id, name, last_seen_ms, skew_ms, 100 + id, id, 100 + id, id, 100 + id);

	sample_exec(db, sql);
	sqlite3_free(sql);
}

static inline uint32_t sample_known(int value)
{
	return value < 0 ? 0 : (uint32_t)value;
}

static inline struct flow_record sample_record(const struct sample_flow *f)
{
	struct flow_record r = {
		.flow_id = (uint64_t)f->flow_id,
		.start_ns = (uint64_t)f->start_ms * NS_PER_MS,
		.end_ns = (uint64_t)f->end_ms * NS_PER_MS,
		.src_port = (uint16_t)f->src_port,
		.dst_port = (uint16_t)f->dst_port,
		.proto = (uint8_t)f->proto,
		.iface = "eth0",
		.direction = (uint8_t)f->direction,
		.role = (uint8_t)f->role,
		.end_reason = (uint8_t)f->end_reason,
		.packets = (uint64_t)f->packets,
		.bytes = (uint64_t)f->bytes,
		.rev_packets = (uint64_t)f->rev_packets,
		.rev_bytes = (uint64_t)f->rev_bytes,
		.total_packets = (uint64_t)f->packets,
		.total_bytes = (uint64_t)f->bytes,
		.rev_total_packets = (uint64_t)f->rev_packets,
		.rev_total_bytes = (uint64_t)f->rev_bytes,
		.rtt_us = sample_known(f->rtt_us),
		.retrans_pkts = sample_known(f->retrans_pkts),
		.rev_retrans_pkts = sample_known(f->retrans_pkts),
		.vlan = (uint16_t)sample_known(f->vlan),
		.tcp_flags = (uint16_t)sample_known(f->tcp_flags),
		.rev_tcp_flags = (uint16_t)sample_known(f->tcp_flags),
	};

	assert_int_equal(addr_parse(f->src_addr, r.src_addr), 0);
	assert_int_equal(addr_parse(f->dst_addr, r.dst_addr), 0);
	return r;
}

/* As a batch of that host that has come in. */
static inline void sample_add_records(sqlite3 *db, int host_id, const struct flow_record *rows,
				      size_t n)
{
	struct flow_writer *writer = NULL;
	struct column_codec *codec = NULL;
	struct flow_summary summary;
	uint8_t *block;
	size_t len;

	assert_int_equal(batch_seal_rows(rows, n, &block, &len), 0);
	assert_int_equal(column_codec_new(n, &codec), 0);
	assert_int_equal(flow_block_check(codec, block, len, &summary, NULL), 0);
	assert_int_equal(flow_writer_open(db, &writer), 0);
	assert_int_equal(flow_writer_fresh(writer, host_id, block, len, &summary), 0);
	flow_writer_close(writer);
	column_codec_free(codec);
	free(block);
}

static inline void sample_add(sqlite3 *db, const struct sample_flow *f)
{
	const struct flow_record r = sample_record(f);

	sample_add_records(db, f->host_id, &r, 1);
}

/* The one number that sql gives. */
static inline int64_t sample_number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st;
	int64_t n;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sqlite3_errmsg(db), sql);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return n;
}

/* Columns that are there in some records only. */
static inline void sample_vary(struct flow_record *r, int i)
{
	r->verdict = (uint8_t)(i % 8);
	r->tunnel = (uint8_t)(i % 7);
	r->data_rtt_samples = (uint32_t)i % 3;
	r->data_rtt_avg_us = (uint32_t)i % 3 * 10000;
	r->mss = (uint16_t)(i % 2 * i);
	r->rev_ooo_pkts = (uint32_t)i % 3;
	r->icmp_errors = i % 5 != 4;
	r->icmp_error_type = (uint8_t)(i % 5);
}

/* n records of 3 hosts, drawn from small sets so that filters find some. */
static inline void sample_fill(sqlite3 *db, int n, unsigned seed)
{
	static const char *const addrs[] = {"10.0.0.1",	   "10.0.0.2",	  "10.1.0.1", "192.168.7.9",
					    "2001:db8::1", "2001:db8::2", "fe80::1",  "::1"};
	static const int ports[] = {0, 22, 53, 80, 443, 8080, 8443, 65535};
	static const int protos[] = {1, 6, 6, 6, 17, 17, 58, 132};

	srand(seed);
	sample_add_host(db, 1, "web1", 1000, 0);
	sample_add_host(db, 2, "web2", 1000, 0);
	sample_add_host(db, 3, "db-1.example", 1000, 0);
	for (int i = 0; i < n; i++) {
		int proto = protos[rand() % 8], tcp = proto == 6;
		struct sample_flow f = {
			.host_id = 1 + rand() % 3,
			.flow_id = i + 1,
			.start_ms = 1000 + rand() % 1000,
			.end_ms = 2000 + rand() % 3000,
			.src_addr = addrs[rand() % 8],
			.dst_addr = addrs[rand() % 8],
			.src_port = ports[rand() % 8],
			.dst_port = ports[rand() % 8],
			.proto = proto,
			.direction = rand() % 3,
			.role = rand() % 3,
			.end_reason = 1 + rand() % 5,
			.packets = rand() % 100,
			.bytes = rand() % 3000000,
			.rev_packets = rand() % 100,
			.rev_bytes = rand() % 3000000,
			.rtt_us = tcp && rand() % 2 ? rand() % 100000 : -1,
			.retrans_pkts = tcp ? rand() % 3 : -1,
			.vlan = rand() % 3 ? -1 : rand() % 4,
			.tcp_flags = tcp ? rand() % 512 : -1,
		};

		struct flow_record r = sample_record(&f);

		sample_vary(&r, i + 1);
		sample_add_records(db, f.host_id, &r, 1);
	}
}

#endif /* WEIR_TESTS_UNIT_SAMPLE_DB_H */
