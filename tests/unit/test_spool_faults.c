// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_spool_faults.c - the spool's file while each write, sync and allocation
 * of SQLite fails in turn, and after a loss of power at each.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "probe/spool/backlog.h"
#include "proto/frame.h"
#include "tests/unit/fault_vfs.h"

#define EPOCH	  7u
#define FRAME_LEN 9000u
#define MAX_BYTES SPOOL_MIN_BYTES /* some 80 frames */
#define BATCHES	  130u
#define GROUP	  13u
#define NO_LIMIT  UINT64_MAX
#define STEP	  5u /* not each fault: every fifth */

static const uint8_t probe_id[PROBE_ID_BYTES] = "sixteen bytes...";
static char folder[] = "/tmp/test_spool_faults.XXXXXX";
static char path[64];

static struct backlog *make(uint64_t epoch)
{
	struct spool_settings settings = {.path = path, .max_bytes = MAX_BYTES, .epoch = epoch};
	struct backlog *b = NULL;

	memcpy(settings.probe_id, probe_id, sizeof(probe_id));
	assert_int_equal(backlog_new(&settings, &b), 0);
	backlog_set_instance(b, 5);
	return b;
}

/* Batch seq has seq rows. */
static struct backlog_item *items_from(uint64_t first, unsigned n)
{
	struct backlog_item *items = calloc(n, sizeof(*items));

	assert_non_null(items);
	for (unsigned i = 0; i < n; i++) {
		items[i].next = i + 1 < n ? &items[i + 1] : NULL;
		items[i].epoch = EPOCH;
		items[i].seq = first + i;
		items[i].load = (struct spool_load){.rows = first + i};
		items[i].frame = (struct packed){malloc(FRAME_LEN), FRAME_LEN};
		assert_non_null(items[i].frame.data);
		memset(items[i].frame.data, (int)(first + i), FRAME_LEN);
		frame_seal(items[i].frame.data, FRAME_BATCH, FRAME_LEN - FRAME_HEADER_BYTES);
	}
	return items;
}

static void items_free(struct backlog_item *items, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(items[i].frame.data);
	free(items);
}

/* What a collector saw: everything once, as rows or as a loss, in order. */
struct collector {
	uint64_t last_seq, rows, lost;
};

static void collect(struct collector *c, const struct spool_frame *f)
{
	struct frame frame;
	struct batch *b;

	assert_int_equal(frame_open(f->data, f->len, &frame), FRAME_OK);
	assert_true(f->first_seq <= c->last_seq + 1);
	if (f->seq <= c->last_seq)
		return;
	assert_true(f->first_seq > c->last_seq);
	c->last_seq = f->seq;
	if (f->len == FRAME_LEN) {
		c->rows += f->seq;
		return;
	}
	assert_int_equal(batch_unpack(frame.body, frame.body_len, &b, NULL), 0);
	c->lost += b->dropped_rows;
	batch_free(b);
}

/* Takes some and acknowledges them; an error is for the next time. */
static void take(struct backlog *b, struct collector *c, unsigned n)
{
	struct spool_frame f;

	for (; n > 0; n--)
		if (backlog_next(b, EPOCH, NO_LIMIT, &f) == 0)
			collect(c, &f);
	(void)backlog_ack(b, EPOCH, c->last_seq);
	(void)backlog_flush(b);
}

static bool lifted; /* a fault that has happened */

/* Tries until it goes. A fault that stays is lifted after a while. */
static void commit(struct backlog *b, uint64_t first, uint64_t group, enum fault_kind kind)
{
	struct backlog_item *items = items_from(first, GROUP);
	unsigned tries = 0;

	while (backlog_commit(b, items, group) != 0) {
		assert_true(++tries < 10);
		if (tries == 3)
			lifted |= fault_vfs_at(kind, 0, FAULT_ONCE);
	}
	items_free(items, GROUP);
}

static void remove_files(void)
{
	char pattern[80];
	glob_t found = {0};

	(void)snprintf(pattern, sizeof(pattern), "%s*", path);
	if (glob(pattern, 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++)
			(void)unlink(found.gl_pathv[i]);
	globfree(&found);
}

/* Returns whether the n-th has failed. */
static bool survive(enum fault_kind kind, unsigned n, enum fault_span span)
{
	struct collector c = {0};
	struct spool_stats stats;
	uint64_t pushed = 0;
	struct backlog *b;
	bool happened = false;

	lifted = false;
	remove_files();
	fault_vfs_sync_all();
	(void)fault_vfs_at(kind, n, span);
	b = make(EPOCH);
	for (uint64_t first = 1; first <= BATCHES; first += GROUP) {
		commit(b, first, first, kind);
		if (first < BATCHES / 2)
			take(b, &c, 2);
	}
	happened = fault_vfs_at(kind, 0, FAULT_ONCE) || lifted;
	for (uint64_t seq = 1; seq <= BATCHES; seq++)
		pushed += seq;
	backlog_rewind(b, EPOCH);
	take(b, &c, BATCHES);
	backlog_stats(b, &stats);
	assert_int_equal(stats.resets, 0);
	assert_int_equal(c.last_seq, BATCHES);
	assert_int_equal(c.rows + c.lost, pushed);
	assert_true(c.lost > 0);
	assert_int_equal(stats.batches, 0);
	backlog_free(b);
	return happened;
}

static void each_in_turn(enum fault_kind kind, enum fault_span span, unsigned step)
{
	unsigned n = 1;

	while (survive(kind, n, span))
		n += step;
	assert_true(n > 50);
}

static void each_write_may_fail(void **state)
{
	(void)state;
	each_in_turn(FAULT_WRITE, FAULT_ONCE, STEP);
}

static void the_disk_may_stay_full_for_a_while(void **state)
{
	(void)state;
	each_in_turn(FAULT_WRITE, FAULT_FROM_THEN_ON, STEP + 4);
}

static void each_allocation_of_sqlite_may_fail(void **state)
{
	(void)state;
	each_in_turn(FAULT_ALLOCATION, FAULT_ONCE, 40 * STEP);
}

/* Ends at the n-th write; what was committed is there afterwards. Returns whether it came to it. */
static bool end_at(unsigned n, bool power_cut, unsigned keep)
{
	struct spool_backlog all[SPOOL_MAX_EPOCHS];
	struct collector c = {0}, again;
	struct spool_stats stats;
	uint64_t committed = 0, first;
	struct backlog *b;
	bool happened;

	remove_files();
	fault_vfs_sync_all();
	(void)fault_vfs_at(FAULT_WRITE, n, FAULT_FROM_THEN_ON);
	b = make(EPOCH);
	for (first = 1; first <= BATCHES; first += GROUP) {
		struct backlog_item *items = items_from(first, GROUP);
		int err = backlog_commit(b, items, first);

		items_free(items, GROUP);
		if (err)
			break;
		committed = first + GROUP - 1;
		if (first < BATCHES / 2)
			take(b, &c, 2);
	}
	backlog_free(b);
	happened = fault_vfs_at(FAULT_WRITE, 0, FAULT_ONCE);
	if (power_cut)
		fault_vfs_cut_power(keep);
	b = make(EPOCH + 1);
	assert_int_equal(backlog_open(b), 0);
	backlog_stats(b, &stats);
	assert_int_equal(stats.resets, 0);
	again = c; /* the same collector: what it has comes again, or not */
	assert_true(backlog_settled(b).group + GROUP - 1 >= committed || committed == 0);
	if (committed > c.last_seq)
		assert_int_equal(backlog_epochs(b, all), 2);
	take(b, &again, BATCHES);
	assert_true(again.last_seq >= committed);
	backlog_free(b);
	return happened;
}

static void killed_at_any_write(void **state)
{
	(void)state;
	for (unsigned n = 1; end_at(n, false, 0); n += STEP)
		;
}

static void power_fails_at_any_write(void **state)
{
	(void)state;
	for (unsigned n = 1; end_at(n, true, n % 4); n += STEP)
		;
}

static int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/spool.db", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	remove_files();
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_write_may_fail),
		cmocka_unit_test(the_disk_may_stay_full_for_a_while),
		cmocka_unit_test(each_allocation_of_sqlite_may_fail),
		cmocka_unit_test(killed_at_any_write),
		cmocka_unit_test(power_fails_at_any_write),
	};

	fault_vfs_install();
	return cmocka_run_group_tests(tests, setup, teardown);
}
