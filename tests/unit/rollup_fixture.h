/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* rollup_fixture.h - a database with random flows of three hours, compacted and rolled up at will.
 */
#ifndef WEIR_TESTS_UNIT_ROLLUP_FIXTURE_H
#define WEIR_TESTS_UNIT_ROLLUP_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "collector/rollup/rollup.h"
#include "collector/rollup/rollup_writer.h"
#include "tests/unit/random_flows.h"
#include "tests/unit/sample_store.h"

#define N_HOSTS	  3
#define PER_BLOCK 60
#define ROWS	  500 /* of a segment here */

struct fixture {
	struct sample_store store;
	struct rollup_writer *rollups;
	uint64_t rng;
};

static inline int64_t number(struct fixture *f, const char *sql)
{
	return sample_int(f->store.reader, sql);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	f->rng = 0x123456789abcdefull;
	sample_store_open(&f->store, N_HOSTS);
	assert_int_equal(rollup_writer_open(f->store.db, &f->rollups), 0);
	sample_exec(f->store.db, "INSERT INTO host_addr (host_id, addr, since_ms) VALUES"
				 " (1, x'00000000000000000000ffff0a000001', 0),"
				 " (2, x'00000000000000000000ffff0a000002', 0)");
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	rollup_writer_close(f->rollups);
	sample_store_close(&f->store);
	free(f);
	return 0;
}

/* Few services and small counts, so that many records share a row; times of three hours. */
static inline struct flow_record flow(struct fixture *f)
{
	static const uint16_t ports[] = {0, 53, 80, 443, 32767, 32768, 40000, 65535};
	struct flow_record r = random_flow(&f->rng);
	uint64_t x = random_u64(&f->rng);

	r.end_ns += x % 10800 * 1000000000;
	r.start_ns = r.end_ns - x % 1000 * 1000000;
	r.dst_port = ports[(x >> 16) % 8];
	if ((x >> 20) % 2)
		r.proto = IPPROTO_TCP;
	r.packets %= 1000000;
	r.bytes %= 1000000;
	r.rev_packets %= 1000000;
	r.rev_bytes %= 1000000;
	r.retrans_pkts %= 1000;
	r.rev_retrans_pkts %= 1000;
	if ((x >> 24) % 2) {
		r.total_packets = r.packets;
		r.rev_total_packets = r.rev_packets;
	}
	return r;
}

static inline void put_block(struct fixture *f, int64_t host_id, size_t n)
{
	struct flow_record rows[PER_BLOCK];

	for (size_t i = 0; i < n; i++)
		rows[i] = flow(f);
	sample_add_records(f->store.db, (int)host_id, rows, n);
}

static inline void put_blocks(struct fixture *f, int n)
{
	for (int i = 0; i < n; i++)
		put_block(f, 1 + i % N_HOSTS, 1 + random_u64(&f->rng) % PER_BLOCK);
}

static inline int store_segment(struct fixture *f, const struct segment *s)
{
	int err;

	sample_exec(f->store.db, "BEGIN IMMEDIATE");
	err = flow_writer_segment(f->store.writer, s);
	sample_exec(f->store.db, err ? "ROLLBACK" : "COMMIT");
	return err;
}

/* One segment of what is there, at least that many batches. */
static inline void compact(struct fixture *f, size_t batches)
{
	struct compactor *c = NULL;
	struct segment *s;

	assert_int_equal(compactor_new(f->store.reader, ROWS, batches, &c), 0);
	if (compactor_make(c, &s) > 0) {
		assert_int_equal(store_segment(f, s), 0);
		segment_free(s);
	}
	compactor_free(c);
}

static inline int store_rollup(struct fixture *f, const struct rollup *r)
{
	int err;

	sample_exec(f->store.db, "BEGIN IMMEDIATE");
	err = rollup_writer_add(f->rollups, r);
	sample_exec(f->store.db, err ? "ROLLBACK" : "COMMIT");
	return err;
}

/* Returns how many were made. */
static inline int roll_up(struct fixture *f)
{
	struct rollup *r = NULL;
	int made = 0, found;

	while ((found = rollup_make(f->store.reader, 1, ROWS / 2, NULL, &r)) > 0) {
		assert_int_equal(store_rollup(f, r), 0);
		rollup_free(r);
		made++;
	}
	assert_int_equal(found, 0);
	return made;
}

#endif /* WEIR_TESTS_UNIT_ROLLUP_FIXTURE_H */
