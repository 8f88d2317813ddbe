// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The spool of a probe: order, epochs, what is sent again. test_spool_*.c have the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "probe/spool/quarantine.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/spool_fixture.h"

/* Expects a tombstone for first..last, with the load that push() gave to them. */
static void expect_tombstone(struct spool *s, uint64_t first, uint64_t last)
{
	struct spool_frame f;
	uint64_t rows = 0;
	struct batch *b;

	for (uint64_t seq = first; seq <= last; seq++)
		rows += seq;
	assert_int_equal(spool_next(s, EPOCH, NO_LIMIT, &f), 0);
	assert_int_equal(f.first_seq, first);
	assert_int_equal(f.seq, last);
	b = tombstone(&f);
	assert_int_equal(b->dropped_rows, rows);
	assert_int_equal(b->dropped_packets, rows * 10);
	assert_int_equal(b->dropped_bytes, rows * 100);
	batch_free(b);
}

/* --- order, credit, refusal ---------------------------------------------------- */

static void keeps_order_until_acknowledged(void **state)
{
	struct spool *s = make();

	(void)state;
	assert_int_equal(oldest(s), 1);
	expect_none(s);
	push(s, 1);
	expect_none(s); /* not on disk yet */
	store(s, 2, 3);
	expect_batch(s, 1);
	expect_batch(s, 2);
	spool_ack(s, EPOCH, 1);
	assert_int_equal(oldest(s), 2);
	spool_ack(s, EPOCH, 1); /* an old answer */
	spool_rewind(s, EPOCH); /* a new connection */
	expect_batch(s, 2);
	expect_batch(s, 3);
	expect_none(s);
	spool_ack(s, EPOCH, 3);
	assert_int_equal(oldest(s), 4);
	assert_int_equal(stats(s).batches, 0);
	assert_int_equal(stats(s).bytes, 0);
	assert_int_equal(stats(s).batches_sent, 3);
	assert_int_equal(stats(s).batches_resent, 1);
	spool_close(s);
}

static void credit_bounds_what_is_on_its_way(void **state)
{
	struct spool *s = make();
	struct spool_frame f;

	(void)state;
	store(s, 1, 4);
	assert_int_equal(spool_next(s, EPOCH, 0, &f), 0); /* one always goes */
	assert_int_equal(spool_next(s, EPOCH, 2 * FRAME_LEN - 1, &f), -EAGAIN);
	assert_int_equal(spool_next(s, EPOCH, 2 * FRAME_LEN, &f), 0);
	assert_int_equal(spool_next(s, EPOCH, 2 * FRAME_LEN, &f), -EAGAIN);
	assert_int_equal(spool_in_flight(s), 2 * FRAME_LEN);
	spool_ack(s, EPOCH, 1);
	assert_int_equal(spool_next(s, EPOCH, 2 * FRAME_LEN, &f), 0);
	assert_int_equal(f.seq, 3);
	spool_rewind(s, EPOCH);
	assert_int_equal(spool_next(s, EPOCH, 0, &f), 0);
	assert_int_equal(f.seq, 2);
	spool_close(s);
}

/* The sum of their numbers. */
static void add_seq(const struct quarantined *q, void *arg)
{
	assert_int_equal(q->epoch, EPOCH);
	assert_string_equal(q->why, "no");
	assert_true(q->bytes > FRAME_LEN);
	*(uint64_t *)arg += q->seq;
}

static void a_refused_batch_leaves_a_tombstone(void **state)
{
	struct spool *s = make();
	uint64_t sum = 0;

	(void)state;
	store(s, 1, 2);
	store(s, 3, 4);
	for (uint64_t seq = 1; seq <= 3; seq++)
		expect_batch(s, seq);
	assert_int_equal(spool_refuse(s, EPOCH, 9, "no"), -ENOENT);
	assert_int_equal(spool_refuse(s, EPOCH, 4, "no"), -ENOENT); /* not even sent */
	assert_int_equal(spool_refuse(s, EPOCH, 2, "no"), 0);
	assert_int_equal(stats(s).refused_batches, 1);
	assert_int_equal(stats(s).refused.rows, 2);
	assert_int_equal(stats(s).dropped_batches, 0);
	expect_batch(s, 1);
	expect_tombstone(s, 2, 2);
	assert_int_equal(spool_refuse(s, EPOCH, 2, "no"), 0); /* even that: then it goes */
	expect_batch(s, 1);
	expect_batch(s, 3);
	assert_int_equal(spool_refuse(s, EPOCH, 3, "no"), 0);
	assert_int_equal(spool_refuse(s, EPOCH, 3, "no"), 0);
	store(s, 5, 5);
	expect_batch(s, 1);
	expect_batch(s, 4);
	expect_batch(s, 5);
	expect_none(s);
	assert_int_equal(quarantine_each(path, add_seq, &sum), 0);
	assert_int_equal(sum, 2 + 3); /* the batches, not the tombstones */
	assert_int_equal(stats(s).quarantine_dropped, 0);
	spool_close(s);
}

static void a_batch_without_a_frame_is_lost_by_number(void **state)
{
	struct spool *s = make();
	const struct spool_load load = load_of(2);
	struct packed nothing = {0};

	(void)state;
	push(s, 1);
	assert_int_equal(spool_push(s, 2, &nothing, &load), 0);
	store(s, 3, 3);
	assert_int_equal(stats(s).dropped_batches, 1);
	expect_batch(s, 1);
	expect_tombstone(s, 2, 2);
	expect_batch(s, 3);
	spool_close(s);
}

static void a_commit_wakes_the_sender(void **state)
{
	struct spool *s = make();
	struct pollfd fd = {.fd = spool_fd(s), .events = POLLIN};

	(void)state;
	assert_int_equal(poll(&fd, 1, 0), 0);
	push(s, 1);
	assert_int_equal(poll(&fd, 1, 0), 0);
	commit(s);
	assert_int_equal(poll(&fd, 1, 0), 1);
	spool_close(s);
}

/* --- epochs --------------------------------------------------------------------- */

static void another_epoch_is_sent_beside_the_backlog(void **state)
{
	struct spool *s = make();
	struct spool_backlog first;

	(void)state;
	store(s, 1, 2);
	assert_false(spool_epoch_asked(s));
	spool_ask_epoch(s);
	assert_true(spool_epoch_asked(s));
	assert_false(spool_epoch_asked(s));
	assert_int_equal(spool_begin(s, EPOCH + 1), 0);
	store(s, 1, 1);
	assert_int_equal(epochs(s, &first), 2);
	assert_int_equal(first.epoch, EPOCH);
	assert_int_equal(first.batches, 2);
	expect_batch_of(s, EPOCH + 1, 1);
	expect_batch_of(s, EPOCH, 1);
	spool_ack(s, EPOCH, 2);
	assert_int_equal(epochs(s, &first), 1); /* an empty backlog vanishes */
	assert_int_equal(first.epoch, EPOCH + 1);
	spool_ack(s, EPOCH + 1, 1);
	store(s, 2, 2);
	assert_int_equal(stats(s).epochs, 1);
	expect_batch_of(s, EPOCH + 1, 2);
	spool_close(s);
}

static void epochs_are_bounded(void **state)
{
	struct spool *s = make();
	struct spool_backlog all[SPOOL_MAX_EPOCHS];
	unsigned n;

	(void)state;
	for (n = 1; n < SPOOL_MAX_EPOCHS; n++) {
		store(s, 1, 1);
		assert_int_equal(spool_begin(s, EPOCH + n), 0);
	}
	store(s, 1, 1);
	assert_int_equal(spool_begin(s, EPOCH + n), -ENOSPC);
	spool_close(s);
	s = open_epoch(1, FEW_BYTES); /* one more than fit: seen later */
	assert_int_equal(spool_epochs(s, all), SPOOL_MAX_EPOCHS);
	assert_int_equal(all[0].epoch, EPOCH);
	assert_int_equal(all[SPOOL_MAX_EPOCHS - 1].epoch, 1);
	spool_ack(s, EPOCH, 1);
	assert_int_equal(spool_epochs(s, all), SPOOL_MAX_EPOCHS);
	assert_int_equal(all[SPOOL_MAX_EPOCHS - 2].epoch, EPOCH + SPOOL_MAX_EPOCHS - 1);
	spool_close(s);
}

static void the_next_start_sends_what_is_left(void **state)
{
	struct spool *s = make();
	struct spool_backlog all[SPOOL_MAX_EPOCHS];

	(void)state;
	store(s, 1, 5);
	expect_batch(s, 1);
	spool_ack(s, EPOCH, 1);
	spool_close(s);

	s = open_epoch(EPOCH + 1, FEW_BYTES);
	assert_int_equal(spool_settled(s).instance, INSTANCE);
	assert_int_equal(spool_settled(s).group, group);
	assert_int_equal(stats(s).batches, 4);
	assert_int_equal(stats(s).bytes, 4 * FRAME_LEN);
	assert_int_equal(spool_epochs(s, all), 2);
	assert_int_equal(all[0].epoch, EPOCH);
	assert_memory_equal(all[0].probe_id, probe_id, PROBE_ID_BYTES);
	assert_int_equal(all[0].oldest_seq, 2);
	assert_int_equal(all[1].epoch, EPOCH + 1);
	store(s, 1, 1);
	for (uint64_t seq = 2; seq <= 5; seq++)
		expect_batch(s, seq);
	spool_ack(s, EPOCH, 5);
	expect_batch_of(s, EPOCH + 1, 1);
	spool_ack(s, EPOCH + 1, 1);
	spool_close(s);

	s = open_epoch(EPOCH + 2, FEW_BYTES);
	assert_int_equal(stats(s).batches, 0);
	assert_int_equal(stats(s).epochs, 1);
	spool_close(s);
}

static void one_probe_at_a_time(void **state)
{
	struct spool *s = make(), *other = NULL;

	(void)state;
	assert_int_equal(try_open(EPOCH + 1, FEW_BYTES, path, &other), -EBUSY);
	assert_null(other);
	spool_close(s);
	s = make();
	spool_close(s);
}

static void limits_are_checked(void **state)
{
	struct spool *s = NULL;

	(void)state;
	assert_int_equal(try_open(EPOCH, SPOOL_MIN_BYTES - 1, path, &s), -EINVAL);
	spool_close(NULL);
}

static uint64_t bytes_read(void)
{
	unsigned long long bytes = 0;
	FILE *f = fopen("/proc/self/io", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "rchar: %llu", &bytes), 1);
	fclose(f);
	return bytes;
}

/* However many wait: it does not go through them. */
static void opening_reads_next_to_nothing(void **state)
{
	struct spool *s = open_epoch(EPOCH, 64 << 20);
	const struct spool_load load = load_of(1);
	uint64_t before;

	(void)state;
	for (uint64_t seq = 1; seq <= 20000; seq++) {
		struct packed frame = sealed(seq, 800);

		assert_int_equal(spool_push(s, seq, &frame, &load), 0);
		if (seq % 2000 == 0)
			commit(s);
	}
	spool_close(s);
	before = bytes_read();
	s = open_epoch(EPOCH + 1, 64 << 20);
	assert_int_equal(stats(s).batches, 20000);
	assert_true(bytes_read() - before < 500000);
	spool_close(s);
}

/* --- memory ---------------------------------------------------------------------- */

static void every_allocation_may_fail(void **state)
{
	const struct spool_load load = load_of(1);
	struct spool *s = NULL;
	struct packed frame;
	unsigned n;

	(void)state;
	for (n = 1;; n++) {
		int err;

		fail_alloc_at(n);
		err = try_open(EPOCH, FEW_BYTES, path, &s);
		if (!fail_alloc_at(0))
			break;
		if (err) /* else the file is opened later, or without a lock */
			assert_int_equal(err, -ENOMEM);
		else
			spool_close(s);
		s = NULL;
	}
	assert_true(n > 4);
	assert_int_equal(spool_start(s, INSTANCE, group), 0);
	assert_int_equal(spool_wait(s, PATIENCE), 0);
	frame = sealed(1, FRAME_LEN);
	fail_alloc_at(1);
	assert_int_equal(spool_push(s, 1, &frame, &load), -ENOMEM);
	assert_true(fail_alloc_at(0));
	assert_int_equal(spool_gathered(s), 0);
	store(s, 1, 70); /* the number is still free */
	for (n = 1; n < 30; n++) {
		push(s, 70 + n);
		fail_alloc_at(n);
		assert_int_equal(spool_submit(s, ++group), 0);
		assert_int_equal(spool_wait(s, PATIENCE), 0); /* after trying again */
		(void)fail_alloc_at(0);
		if (stats(s).dropped_batches > 20)
			break;
	}
	spool_close(s);
}

/* --- all of it -------------------------------------------------------------------- */

/* What a collector saw: everything once, as rows or as a loss, in order. */
struct collector {
	uint64_t last_seq, rows, lost;
};

static void collect(struct collector *c, const struct spool_frame *f)
{
	struct batch *b;

	assert_true(f->first_seq <= c->last_seq + 1);
	if (f->seq <= c->last_seq)
		return;
	assert_true(f->first_seq > c->last_seq); /* never half of what it has */
	c->last_seq = f->seq;
	if (f->len == FRAME_LEN) {
		c->rows += f->seq;
		return;
	}
	b = tombstone(f);
	c->lost += b->dropped_rows;
	batch_free(b);
}

static void nothing_is_lost_or_counted_twice(void **state)
{
	struct spool *s = make();
	struct collector c = {0};
	struct spool_frame f;
	uint64_t pushed = 0, seq = 0, lost = 0;
	unsigned seed = 3;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		switch (rand_r(&seed) % 9) {
		case 0:
			spool_rewind(s, EPOCH);
			break;
		case 1:
			spool_ack(s, EPOCH, c.last_seq);
			break;
		case 2: /* sent, but lost on the way: a new connection follows */
			if (spool_next(s, EPOCH, 3 * FRAME_LEN, &f) == 0)
				spool_rewind(s, EPOCH);
			break;
		case 3:
			if (spool_next(s, EPOCH, 3 * FRAME_LEN, &f) == 0)
				collect(&c, &f);
			break;
		case 4:
			if (rand_r(&seed) % 20)
				break;
			lost += stats(s).dropped.rows;
			spool_close(s); /* the same epoch again: it is only a test */
			s = make();
			break;
		default:
			push(s, ++seq);
			pushed += seq;
			commit(s);
			break;
		}
	}
	spool_rewind(s, EPOCH);
	while (spool_next(s, EPOCH, NO_LIMIT, &f) == 0)
		collect(&c, &f);
	spool_ack(s, EPOCH, c.last_seq);
	assert_int_equal(c.last_seq, seq);
	assert_int_equal(c.rows + c.lost, pushed);
	assert_int_equal(c.lost, lost + stats(s).dropped.rows);
	assert_true(c.lost > 0 && c.rows > 0);
	assert_int_equal(stats(s).bytes, 0);
	spool_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keeps_order_until_acknowledged),
		TEST(credit_bounds_what_is_on_its_way),
		TEST(a_refused_batch_leaves_a_tombstone),
		TEST(a_batch_without_a_frame_is_lost_by_number),
		TEST(a_commit_wakes_the_sender),
		TEST(another_epoch_is_sent_beside_the_backlog),
		TEST(epochs_are_bounded),
		TEST(the_next_start_sends_what_is_left),
		TEST(one_probe_at_a_time),
		TEST(limits_are_checked),
		TEST(opening_reads_next_to_nothing),
		TEST(every_allocation_may_fail),
		TEST(nothing_is_lost_or_counted_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
