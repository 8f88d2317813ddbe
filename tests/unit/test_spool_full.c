// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A spool that is full: on disk, what it drops and what it keeps; and in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/spool_fixture.h"

static uint64_t bytes_on_disk(void)
{
	char journal[80];
	struct stat st;
	uint64_t sum;

	assert_int_equal(stat(path, &st), 0);
	sum = (uint64_t)st.st_blocks * 512;
	(void)snprintf(journal, sizeof(journal), "%s-journal", path);
	if (stat(journal, &st) == 0)
		sum += (uint64_t)st.st_blocks * 512;
	return sum;
}

static void full_drops_the_oldest_into_one_tombstone(void **state)
{
	struct spool *s = make();
	struct spool_frame f;
	uint64_t seq, rows = 0;
	struct batch *b;

	(void)state;
	for (seq = 1; seq <= 300; seq++) {
		store(s, seq, seq);
		assert_true(bytes_on_disk() <= FEW_BYTES + FEW_BYTES / 100);
	}
	assert_int_equal(oldest(s), 1); /* the tombstone speaks for it */
	assert_true(stats(s).dropped_batches > 150);
	assert_true(stats(s).batches > 50);
	assert_int_equal(stats(s).dropped.packets, stats(s).dropped.rows * 10);
	/* The first batch of all went out at once: a sender had sent all that was there. */
	expect_batch(s, 1);
	assert_int_equal(spool_next(s, EPOCH, NO_LIMIT, &f), 0);
	b = tombstone(&f);
	for (seq = f.first_seq; seq <= f.seq; seq++)
		rows += seq;
	assert_int_equal(b->dropped_rows, rows);
	assert_int_equal(b->dropped_rows, stats(s).dropped.rows);
	assert_int_equal(f.seq - f.first_seq + 1, stats(s).dropped_batches);
	batch_free(b);
	while (seq <= 300)
		expect_batch(s, seq++);
	expect_none(s);
	spool_close(s);
}

/* The collector may have it: in a tombstone it would count twice. */
static void what_was_sent_is_not_dropped(void **state)
{
	struct spool *s = make();
	uint64_t seq;

	(void)state;
	store(s, 1, 70);
	for (seq = 1; seq <= 10; seq++)
		expect_batch(s, seq);
	spool_close(s); /* not after a new start either */
	s = open_epoch(EPOCH + 1, FEW_BYTES);
	for (seq = 1; seq <= 90; seq++)
		store(s, seq, seq);
	assert_true(stats(s).dropped_batches > 0);
	for (seq = 1; seq <= 10; seq++)
		expect_batch(s, seq);
	spool_close(s);
}

/* More than all the room on its way: it waits in memory, for an acknowledgement. */
static void without_room_it_waits(void **state)
{
	struct spool *s = make();
	uint64_t seq = 0, sent = 0;
	struct spool_frame f;

	(void)state;
	do {
		push(s, ++seq);
		assert_int_equal(spool_submit(s, ++group), 0);
		if (spool_wait(s, 200) != 0)
			break;
		while (spool_next(s, EPOCH, NO_LIMIT, &f) == 0)
			sent = f.seq;
	} while (seq < 300);
	assert_in_range(seq, 50, 120);
	assert_int_equal(stats(s).dropped_batches, 0);
	assert_true(stats(s).failing);
	assert_int_equal(stats(s).memory_bytes / FRAME_LEN, 1);
	push(s, ++seq);
	assert_int_equal(spool_submit(s, ++group), -EAGAIN);
	group--;
	spool_ack(s, EPOCH, sent);
	assert_int_equal(spool_wait(s, PATIENCE), 0);
	assert_false(stats(s).failing);
	commit(s);
	while (spool_next(s, EPOCH, NO_LIMIT, &f) == 0)
		sent = f.seq;
	assert_int_equal(sent, seq);
	spool_close(s);
}

static void memory_is_bounded(void **state)
{
	struct spool *s = make();
	uint64_t seq = 0;

	(void)state;
	while (!spool_full(s))
		push(s, ++seq);
	assert_in_range(seq, 10, 60);
	assert_true(spool_gathered(s) >= seq * FRAME_LEN);
	commit(s);
	assert_false(spool_full(s));
	spool_close(s);
}

/* The newest counters that a tombstone stands for go on with it. */
static void a_tombstone_keeps_the_counters(void **state)
{
	struct spool *s = make();
	struct batch b = {.epoch = EPOCH, .kind = BATCH_FLOWS, .n_counters = 60}, *got;
	const struct spool_load load = load_of(1);
	struct packed frame;
	struct spool_frame f;

	(void)state;
	memcpy(b.probe_id, probe_id, sizeof(b.probe_id));
	for (size_t i = 0; i < b.n_counters; i++)
		(void)snprintf(b.counters[i].name, COUNTER_NAME_MAX, "a_rather_long_name_%zu", i);
	store(s, 1, 1);
	expect_batch(s, 1);
	for (b.seq = 2; stats(s).dropped_batches < 300; b.seq++) {
		b.first_seq = b.seq;
		b.counters[7].value = b.seq * 1000;
		assert_int_equal(batch_pack(&b, &frame), 0);
		assert_int_equal(spool_push(s, b.seq, &frame, &load), 0);
		if (b.seq % 50 == 0)
			commit(s);
	}
	while (spool_next(s, EPOCH, NO_LIMIT, &f) == 0 && f.seq == f.first_seq)
		;
	got = tombstone(&f);
	assert_int_equal(got->n_counters, b.n_counters);
	assert_int_equal(got->counters[7].value, got->seq * 1000);
	batch_free(got);
	spool_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(full_drops_the_oldest_into_one_tombstone),
		TEST(what_was_sent_is_not_dropped),
		TEST(without_room_it_waits),
		TEST(memory_is_bounded),
		TEST(a_tombstone_keeps_the_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
