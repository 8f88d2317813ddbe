// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_backlog.c - several epochs of the backlog at once; test_spool*.c have the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "probe/spool/backlog.h"
#include "proto/frame.h"

#define FRAME_LEN 900u
#define NO_LIMIT  UINT64_MAX

static struct backlog *make(uint64_t epoch)
{
	struct spool_settings settings = {
		.path = SPOOL_IN_MEMORY, .max_bytes = SPOOL_MIN_BYTES, .epoch = epoch};
	struct backlog *b = NULL;

	assert_int_equal(backlog_new(&settings, &b), 0);
	return b;
}

static void commit(struct backlog *b, uint64_t epoch, uint64_t seq, bool damaged)
{
	struct backlog_item item = {
		.epoch = epoch,
		.seq = seq,
		.load = {.rows = 10 * seq},
		.frame = {malloc(FRAME_LEN), FRAME_LEN},
	};

	assert_non_null(item.frame.data);
	memset(item.frame.data, (int)seq, FRAME_LEN);
	frame_seal(item.frame.data, FRAME_BATCH, FRAME_LEN - FRAME_HEADER_BYTES);
	item.frame.data[FRAME_LEN - 1] ^= damaged;
	assert_int_equal(backlog_commit(b, &item, 1), 0);
	free(item.frame.data);
}

static void expect(struct backlog *b, uint64_t epoch, uint64_t seq, bool whole)
{
	struct spool_frame f;

	assert_int_equal(backlog_next(b, epoch, NO_LIMIT, &f), 0);
	assert_int_equal(f.epoch, epoch);
	assert_int_equal(f.seq, seq);
	assert_int_equal(f.len == FRAME_LEN, whole);
}

/* The damage is written down in a transaction that also takes away an epoch before it. */
static void damage_beside_an_epoch_that_ends(void **state)
{
	struct backlog *b = make(1);
	struct spool_stats stats;

	(void)state;
	commit(b, 1, 1, false);
	commit(b, 2, 1, true);
	commit(b, 2, 2, false);
	commit(b, 3, 1, false);
	expect(b, 1, 1, true);
	assert_true(backlog_ack(b, 1, 1)); /* not flushed */
	expect(b, 2, 1, false);
	backlog_stats(b, &stats);
	assert_int_equal(stats.epochs, 2);
	assert_int_equal(stats.dropped.rows, 10);
	assert_true(backlog_in_flight(b) > 0);
	assert_true(backlog_ack(b, 2, 1));
	assert_int_equal(backlog_in_flight(b), 0);
	expect(b, 2, 2, true);
	expect(b, 3, 1, true);
	backlog_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damage_beside_an_epoch_that_ends),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
