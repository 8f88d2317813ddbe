// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "probe/spool/spool.h"
#include "probe/uplink/export.h"
#include "proto/frame.h"
#include "tests/unit/fail_alloc.h"

#define EPOCH	 99u
#define NO_LIMIT UINT64_MAX

static const uint8_t probe_id[PROBE_ID_BYTES] = "sixteen bytes...";

struct fixture {
	struct spool *spool;
	struct export *export;
};

static int setup(void **state)
{
	struct spool_settings settings;
	static struct fixture f;

	log_set_level(LOG_LEVEL_ERROR); /* losses are on purpose here */
	settings = (struct spool_settings){
		.path = SPOOL_IN_MEMORY, .max_bytes = 1 << 24, .epoch = EPOCH};
	memcpy(settings.probe_id, probe_id, sizeof(settings.probe_id));
	if (spool_open(&settings, &f.spool) != 0 || spool_start(f.spool, 1, 0) != 0 ||
	    spool_wait(f.spool, 60000) != 0)
		return -1;
	if (export_new(probe_id, EPOCH, f.spool, &f.export) != 0)
		return -1;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	export_free(f->export);
	spool_close(f->spool);
	return 0;
}

/* 3 packets and 4 back, 300 and 400 bytes. */
static void record(struct fixture *f, uint64_t flow_id)
{
	struct flow_record r = {.flow_id = flow_id,
				.start_ns = 1000,
				.end_ns = 2000,
				.proto = 6,
				.iface = "eth0",
				.end_reason = FLOW_END_IDLE,
				.packets = 3,
				.bytes = 300,
				.rev_packets = 4,
				.rev_bytes = 400};

	export_record(f->export, &r);
}

/* The next batch in the spool, NULL if there is none; the caller frees it. */
static struct batch *next(struct fixture *f)
{
	struct spool_frame out;
	struct frame frame;
	struct batch *b;

	struct spool_backlog epochs[SPOOL_MAX_EPOCHS];
	size_t n;

	if (spool_gathered(f->spool) > 0)
		assert_int_equal(spool_submit(f->spool, 1), 0);
	assert_int_equal(spool_wait(f->spool, 60000), 0);
	n = spool_epochs(f->spool, epochs);
	if (spool_next(f->spool, epochs[n - 1].epoch, NO_LIMIT, &out) != 0)
		return NULL;
	assert_int_equal(frame_open(out.data, out.len, &frame), FRAME_OK);
	assert_int_equal(frame.type, FRAME_BATCH);
	assert_int_equal(batch_unpack(frame.body, frame.body_len, &b, NULL), 0);
	assert_int_equal(b->first_seq, out.first_seq);
	assert_int_equal(b->seq, out.seq);
	return b;
}

static void expect(struct fixture *f, uint64_t seq, size_t rows)
{
	struct batch *b = next(f);

	assert_non_null(b);
	assert_int_equal(b->seq, seq);
	assert_int_equal(b->kind, BATCH_FLOWS);
	assert_int_equal(b->epoch, EPOCH);
	assert_memory_equal(b->probe_id, probe_id, PROBE_ID_BYTES);
	assert_int_equal(b->n_rows, rows);
	batch_free(b);
}

static void a_flush_makes_one_batch(void **state)
{
	struct fixture *f = *state;
	struct flow_record *rows;
	struct batch *b;

	record(f, 11);
	record(f, 12);
	assert_null(next(f)); /* not before the flush */
	export_flush(f->export, 1, false);
	b = next(f);
	assert_non_null(b);
	assert_int_equal(b->seq, 1);
	assert_int_equal(b->n_rows, 2);
	assert_int_equal(batch_rows(b, &rows), 0);
	assert_int_equal(rows[1].flow_id, 12);
	assert_int_equal(rows[1].rev_bytes, 400);
	assert_string_equal(rows[1].iface, "eth0");
	free(rows);
	batch_free(b);
	record(f, 13);
	export_flush(f->export, 2, false);
	expect(f, 2, 1);
	assert_int_equal(export_records(f->export), 3);
}

static void a_full_batch_goes_by_itself(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 1; i <= BATCH_MAX_ROWS + 1; i++)
		record(f, i);
	expect(f, 1, BATCH_MAX_ROWS);
	assert_null(next(f));
	export_flush(f->export, 1, false);
	expect(f, 2, 1);
}

static void counters_travel_alone_when_it_is_quiet(void **state)
{
	struct fixture *f = *state;

	record(f, 1);
	export_flush(f->export, 50, false);
	expect(f, 1, 1);
	export_flush(f->export, 50 + EXPORT_QUIET_NS - 1, false);
	assert_null(next(f));
	export_flush(f->export, 50 + EXPORT_QUIET_NS, false);
	expect(f, 2, 0);
	export_flush(f->export, 51 + EXPORT_QUIET_NS, false);
	assert_null(next(f));
	export_flush(f->export, 51 + EXPORT_QUIET_NS, true); /* the last one */
	expect(f, 3, 0);
}

static void counters_keep_their_name_and_last_value(void **state)
{
	struct fixture *f = *state;
	struct batch *b;

	assert_int_equal(export_set_counter(f->export, "packets_seen", 5), 0);
	assert_int_equal(export_set_counter(f->export, "flows_refused", 1), 0);
	assert_int_equal(export_set_counter(f->export, "packets_seen", 7), 0);
	export_flush(f->export, 1, true);
	b = next(f);
	assert_non_null(b);
	assert_int_equal(b->n_counters, 2);
	assert_string_equal(b->counters[0].name, "packets_seen");
	assert_int_equal(b->counters[0].value, 7);
	assert_string_equal(b->counters[1].name, "flows_refused");
	batch_free(b);
}

static void counters_are_bounded(void **state)
{
	struct fixture *f = *state;
	char name[COUNTER_NAME_MAX + 1];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(export_set_counter(f->export, name, 1), -EINVAL);
	assert_int_equal(export_set_counter(f->export, "", 1), -EINVAL);
	for (int i = 0; i < BATCH_MAX_COUNTERS; i++) {
		(void)snprintf(name, sizeof(name), "c%d", i);
		assert_int_equal(export_set_counter(f->export, name, 1), 0);
	}
	assert_int_equal(export_set_counter(f->export, "one_more", 1), -ENOSPC);
	assert_int_equal(export_set_counter(f->export, "c7", 2), 0);
}

static void a_new_epoch_counts_from_1(void **state)
{
	struct fixture *f = *state;
	struct batch *first, *second;

	record(f, 1);
	export_flush(f->export, 1, false);
	first = next(f);
	spool_ask_epoch(f->spool);
	for (uint64_t seq = 1; seq <= 2; seq++) {
		record(f, 2);
		export_flush(f->export, 2, false);
		second = next(f);
		assert_int_equal(second->seq, seq);
		assert_true(second->epoch != EPOCH && second->epoch != 0);
		assert_int_equal(second->run, EPOCH);
		assert_true(second->counters_ns > first->counters_ns);
		batch_free(second);
	}
	batch_free(first);
}

/* Whatever allocation fails: delivered and lost packets are those that were recorded. */
static void no_memory_never_loses_silently(void **state)
{
	struct fixture *f = *state;
	uint64_t delivered = 0, lost = 0, last_seq = 0;
	unsigned recorded = 0;
	struct flow_record *rows;
	struct batch *b;
	bool failed;

	for (unsigned n = 1;; n++) {
		record(f, n);
		recorded++;
		fail_alloc_at(n);
		export_flush(f->export, n, false);
		failed = fail_alloc_at(0);
		if (!failed)
			break;
	}
	assert_true(recorded > 3);
	while ((b = next(f))) {
		assert_int_equal(b->first_seq, last_seq + 1);
		last_seq = b->seq;
		lost += b->dropped_packets;
		assert_int_equal(batch_rows(b, &rows), 0);
		for (size_t i = 0; i < b->n_rows; i++)
			delivered += rows[i].packets + rows[i].rev_packets;
		free(rows);
		batch_free(b);
	}
	assert_true(lost > 0);
	assert_int_equal(delivered + lost, recorded * 7);
}

static void new_may_fail(void **state)
{
	struct export *x = NULL;
	unsigned n;

	(void)state;
	for (n = 1;; n++) {
		int err;

		fail_alloc_at(n);
		err = export_new(probe_id, EPOCH, NULL, &x);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(x);
	}
	assert_int_equal(n, 3);
	export_free(x);
	export_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_flush_makes_one_batch),
		TEST(a_full_batch_goes_by_itself),
		TEST(counters_travel_alone_when_it_is_quiet),
		TEST(counters_keep_their_name_and_last_value),
		TEST(counters_are_bounded),
		TEST(a_new_epoch_counts_from_1),
		TEST(no_memory_never_loses_silently),
		cmocka_unit_test(new_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
