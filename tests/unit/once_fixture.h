/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* once_fixture.h - a database of a few hosts with clocks that differ, and records between ends. */
#ifndef WEIR_TESTS_UNIT_ONCE_FIXTURE_H
#define WEIR_TESTS_UNIT_ONCE_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "common/addr.h"
#include "common/clock.h"
#include "proto/flow_record.h"
#include "tests/unit/sample_db.h"

#define START_MS 1700000040000 /* a full minute */
#define N_HOSTS	 5

struct fixture {
	sqlite3 *db;
	uint64_t rng;
	uint64_t last_row; /* packets of a record is its number here */
};

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	sqlite3_close(f->db);
	free(f);
	return 0;
}

static inline void tell_addr(struct fixture *f, int host, const char *addr, int64_t since_ms,
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

static inline struct flow_record ends(const char *src, const char *dst, int64_t end_ms, int answers)
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

#endif /* WEIR_TESTS_UNIT_ONCE_FIXTURE_H */
