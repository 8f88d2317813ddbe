// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "probe/outbox.h"
#include "proto/frame.h"
#include "tests/unit/fail_alloc.h"

#define EPOCH	  77u
#define FRAME_LEN 5000u
#define ROOM	  36000u /* seven frames with what the outbox adds to each, not eight */
#define NO_LIMIT  UINT64_MAX

static const uint8_t probe_id[PROBE_ID_BYTES] = "sixteen bytes...";

static struct outbox *make(uint64_t max_bytes)
{
	struct outbox *o = NULL;

	assert_int_equal(outbox_new(probe_id, EPOCH, max_bytes, &o), 0);
	return o;
}

static int push_load(struct outbox *o, uint64_t seq, const struct outbox_load *load)
{
	struct packed frame = {.data = malloc(FRAME_LEN), .len = FRAME_LEN};
	int err;

	assert_non_null(frame.data);
	memset(frame.data, (int)seq, FRAME_LEN);
	err = outbox_push(o, seq, &frame, load);
	assert_null(frame.data); /* taken */
	return err;
}

/* Batch seq has seq rows, 10 * seq packets, 100 * seq bytes. */
static void push(struct outbox *o, uint64_t seq)
{
	const struct outbox_load load = {seq, seq * 10, seq * 100, 1000 + seq, 2000 + seq};

	assert_int_equal(push_load(o, seq, &load), 0);
}

static struct outbox_stats stats(struct outbox *o)
{
	struct outbox_stats s;

	outbox_stats(o, &s);
	return s;
}

static uint64_t oldest_seq(struct outbox *o)
{
	struct outbox_epoch epochs[OUTBOX_MAX_EPOCHS];

	assert_int_equal(outbox_epochs(o, epochs), 1);
	assert_int_equal(epochs[0].epoch, EPOCH);
	assert_int_equal(epochs[0].batches, stats(o).batches);
	return epochs[0].oldest_seq;
}

/* Expects the next to be the plain batch seq. */
static void expect_batch(struct outbox *o, uint64_t seq)
{
	struct outbox_frame f;

	assert_int_equal(outbox_next(o, EPOCH, NO_LIMIT, &f), 0);
	assert_int_equal(f.first_seq, seq);
	assert_int_equal(f.seq, seq);
	assert_int_equal(f.len, FRAME_LEN);
	assert_int_equal(f.data[0], (uint8_t)seq);
}

static void expect_none(struct outbox *o)
{
	struct outbox_frame f;

	assert_int_equal(outbox_next(o, EPOCH, NO_LIMIT, &f), -EAGAIN);
}

static void check_tombstone(const struct outbox_frame *f, uint64_t rows)
{
	struct frame frame;
	struct batch *b;

	assert_int_equal(frame_open(f->data, f->len, &frame), FRAME_OK);
	assert_int_equal(frame.type, FRAME_BATCH);
	assert_int_equal(batch_unpack(frame.body, frame.body_len, &b, NULL), 0);
	assert_int_equal(b->kind, BATCH_TOMBSTONE);
	assert_int_equal(b->epoch, EPOCH);
	assert_memory_equal(b->probe_id, probe_id, PROBE_ID_BYTES);
	assert_int_equal(b->first_seq, f->first_seq);
	assert_int_equal(b->seq, f->seq);
	assert_int_equal(b->dropped_rows, rows);
	assert_int_equal(b->dropped_packets, rows * 10);
	assert_int_equal(b->dropped_bytes, rows * 100);
	assert_int_equal(b->lost_from_ns, 1000 + f->first_seq);
	assert_int_equal(b->lost_until_ns, 2000 + f->seq);
	batch_free(b);
}

/* Expects a tombstone for first..last, with the load that push() gave to them. */
static void expect_tombstone(struct outbox *o, uint64_t first, uint64_t last)
{
	struct outbox_frame f;
	uint64_t rows = 0;

	for (uint64_t seq = first; seq <= last; seq++)
		rows += seq;
	assert_int_equal(outbox_next(o, EPOCH, NO_LIMIT, &f), 0);
	assert_int_equal(f.first_seq, first);
	assert_int_equal(f.seq, last);
	check_tombstone(&f, rows);
}

static void keeps_order_until_acknowledged(void **state)
{
	struct outbox *o = make(ROOM);

	(void)state;
	assert_int_equal(oldest_seq(o), 1);
	expect_none(o);
	for (uint64_t seq = 1; seq <= 3; seq++)
		push(o, seq);
	expect_batch(o, 1);
	expect_batch(o, 2);
	outbox_ack(o, EPOCH, 1);
	assert_int_equal(oldest_seq(o), 2);
	outbox_ack(o, EPOCH, 1); /* an old answer */
	outbox_rewind(o, EPOCH); /* a new connection */
	expect_batch(o, 2);
	expect_batch(o, 3);
	expect_none(o);
	outbox_ack(o, EPOCH, 3);
	assert_int_equal(oldest_seq(o), 4);
	assert_int_equal(stats(o).batches, 0);
	assert_int_equal(stats(o).bytes, 0);
	assert_int_equal(stats(o).batches_sent, 3);
	assert_int_equal(stats(o).batches_resent, 1);
	outbox_free(o);
}

static void credit_bounds_what_is_on_its_way(void **state)
{
	struct outbox *o = make(ROOM);
	struct outbox_frame f;

	(void)state;
	for (uint64_t seq = 1; seq <= 4; seq++)
		push(o, seq);
	assert_int_equal(outbox_next(o, EPOCH, 0, &f), 0); /* one always goes */
	assert_int_equal(outbox_next(o, EPOCH, 2 * FRAME_LEN - 1, &f), -EAGAIN);
	assert_int_equal(outbox_next(o, EPOCH, 2 * FRAME_LEN, &f), 0);
	assert_int_equal(outbox_next(o, EPOCH, 2 * FRAME_LEN, &f), -EAGAIN);
	outbox_ack(o, EPOCH, 1);
	assert_int_equal(outbox_next(o, EPOCH, 2 * FRAME_LEN, &f), 0);
	assert_int_equal(f.seq, 3);
	outbox_rewind(o, EPOCH);
	assert_int_equal(outbox_next(o, EPOCH, 0, &f), 0);
	assert_int_equal(f.seq, 2);
	outbox_free(o);
}

static void full_drops_the_oldest_into_one_tombstone(void **state)
{
	struct outbox *o = make(ROOM);

	(void)state;
	for (uint64_t seq = 1; seq <= 20; seq++) {
		push(o, seq);
		assert_true(stats(o).bytes <= ROOM);
	}
	assert_int_equal(oldest_seq(o), 1); /* the tombstone speaks for it */
	assert_int_equal(stats(o).dropped_batches, 13);
	assert_int_equal(stats(o).dropped.rows, 91);
	assert_int_equal(stats(o).dropped.packets, 910);
	expect_tombstone(o, 1, 13);
	for (uint64_t seq = 14; seq <= 20; seq++)
		expect_batch(o, seq);
	expect_none(o);
	outbox_free(o);
}

/* The collector may have it: in a tombstone it would count twice. */
static void what_was_sent_is_not_dropped(void **state)
{
	struct outbox *o = make(ROOM);

	(void)state;
	for (uint64_t seq = 1; seq <= 3; seq++)
		push(o, seq);
	expect_batch(o, 1);
	expect_batch(o, 2);
	for (uint64_t seq = 4; seq <= 10; seq++)
		push(o, seq);
	expect_tombstone(o, 3, 5);
	for (uint64_t seq = 11; seq <= 14; seq++) /* the one that was sent grows no more */
		push(o, seq);
	outbox_rewind(o, EPOCH);
	expect_batch(o, 1);
	expect_batch(o, 2);
	expect_tombstone(o, 3, 5);
	expect_tombstone(o, 6, 9);
	expect_batch(o, 10);
	outbox_ack(o, EPOCH, 5);
	assert_int_equal(oldest_seq(o), 6);
	outbox_free(o);
}

static void a_tombstone_held_back_by_credit_grows_on(void **state)
{
	struct outbox *o = make(ROOM);
	struct outbox_frame f;

	(void)state;
	push(o, 1);
	expect_batch(o, 1);
	for (uint64_t seq = 2; seq <= 10; seq++)
		push(o, seq);
	assert_int_equal(outbox_next(o, EPOCH, FRAME_LEN, &f), -EAGAIN);
	push(o, 11);
	expect_tombstone(o, 2, 5);
	expect_batch(o, 6);
	outbox_free(o);
}

static void a_refused_batch_leaves_a_tombstone(void **state)
{
	struct outbox *o = make(ROOM);

	(void)state;
	for (uint64_t seq = 1; seq <= 4; seq++)
		push(o, seq);
	for (uint64_t seq = 1; seq <= 3; seq++)
		expect_batch(o, seq);
	assert_int_equal(outbox_refuse(o, EPOCH, 9, "test"), -ENOENT);
	assert_int_equal(outbox_refuse(o, EPOCH, 4, "test"), -ENOENT); /* not even sent */
	assert_int_equal(outbox_refuse(o, EPOCH, 2, "test"), 0);
	assert_int_equal(stats(o).refused_batches, 1);
	assert_int_equal(stats(o).refused.rows, 2);
	assert_int_equal(stats(o).dropped_batches, 0);
	expect_batch(o, 1);
	expect_tombstone(o, 2, 2);
	assert_int_equal(outbox_refuse(o, EPOCH, 2, "test"), 0); /* even that: then it goes */
	expect_batch(o, 1);
	expect_batch(o, 3);
	assert_int_equal(outbox_refuse(o, EPOCH, 3, "test"), 0);
	assert_int_equal(outbox_refuse(o, EPOCH, 3, "test"), 0);
	push(o, 5);
	expect_batch(o, 1);
	expect_batch(o, 4);
	expect_batch(o, 5);
	expect_none(o);
	outbox_free(o);
}

static void a_batch_without_a_frame_is_lost_by_number(void **state)
{
	struct outbox *o = make(ROOM);
	const struct outbox_load load = {2, 20, 200, 1002, 2002};
	struct packed nothing = {0};

	(void)state;
	push(o, 1);
	assert_int_equal(outbox_push(o, 2, &nothing, &load), 0);
	push(o, 3);
	assert_int_equal(stats(o).dropped_batches, 1);
	expect_batch(o, 1);
	expect_tombstone(o, 2, 2);
	expect_batch(o, 3);
	outbox_free(o);
}

static void a_push_wakes_the_sender(void **state)
{
	struct outbox *o = make(ROOM);
	struct pollfd fd = {.fd = outbox_fd(o), .events = POLLIN};

	(void)state;
	assert_int_equal(poll(&fd, 1, 0), 0);
	push(o, 1);
	assert_int_equal(poll(&fd, 1, 0), 1);
	outbox_free(o);
}

static void every_allocation_may_fail(void **state)
{
	const struct outbox_load load = {1, 10, 100};
	struct outbox *o = NULL;
	struct outbox_frame f;

	(void)state;
	fail_alloc_at(1);
	assert_int_equal(outbox_new(probe_id, EPOCH, ROOM, &o), -ENOMEM);
	assert_true(fail_alloc_at(0));
	o = make(ROOM);
	fail_alloc_at(2); /* the first is the frame itself */
	assert_int_equal(push_load(o, 1, &load), -ENOMEM);
	assert_true(fail_alloc_at(0));
	assert_int_equal(stats(o).batches, 0);
	push(o, 1); /* the number is still free */

	for (uint64_t seq = 2; seq <= 20; seq++)
		push(o, seq);
	for (unsigned n = 1;; n++) { /* packing the tombstone: nothing is lost by trying again */
		int err;

		fail_alloc_at(n);
		err = outbox_next(o, EPOCH, NO_LIMIT, &f);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
	}
	check_tombstone(&f, 91);
	outbox_free(o);
	outbox_free(NULL);
}

static void epochs_are_apart(void **state)
{
	struct outbox_epoch epochs[OUTBOX_MAX_EPOCHS];
	struct outbox *o = make(ROOM);
	struct outbox_frame f;

	(void)state;
	push(o, 1);
	push(o, 2);
	assert_int_equal(outbox_begin(o, 5), 0);
	push(o, 1);
	assert_int_equal(outbox_epochs(o, epochs), 2);
	assert_int_equal(epochs[0].epoch, EPOCH);
	assert_int_equal(epochs[0].batches, 2);
	assert_int_equal(epochs[1].epoch, 5);
	assert_int_equal(epochs[1].oldest_seq, 1);
	assert_int_equal(outbox_next(o, 5, NO_LIMIT, &f), 0);
	assert_int_equal(f.epoch, 5);
	assert_int_equal(f.data[0], 1);
	assert_int_equal(outbox_next(o, EPOCH, 2 * FRAME_LEN - 1, &f), -EAGAIN); /* one credit */
	assert_int_equal(outbox_in_flight(o), FRAME_LEN);
	expect_batch(o, 1);
	outbox_ack(o, 5, 1);
	assert_int_equal(outbox_in_flight(o), FRAME_LEN);
	assert_int_equal(outbox_epochs(o, epochs), 2); /* the live one stays */
	assert_int_equal(epochs[1].oldest_seq, 2);
	outbox_ack(o, EPOCH, 2);
	assert_int_equal(outbox_epochs(o, epochs), 1); /* delivered */
	assert_int_equal(epochs[0].epoch, 5);
	outbox_ack(o, EPOCH, 2); /* an old answer */
	outbox_rewind(o, EPOCH);
	assert_int_equal(outbox_refuse(o, EPOCH, 2, "test"), -ENOENT);
	outbox_free(o);
}

static void the_oldest_epoch_makes_room_first(void **state)
{
	struct outbox *o = make(ROOM);
	struct outbox_frame f;

	(void)state;
	for (uint64_t seq = 1; seq <= 4; seq++)
		push(o, seq);
	assert_int_equal(outbox_begin(o, 5), 0);
	for (uint64_t seq = 1; seq <= 5; seq++)
		push(o, seq);
	assert_int_equal(stats(o).dropped.rows, 3);
	expect_tombstone(o, 1, 2);
	expect_batch(o, 3);
	expect_batch(o, 4);
	for (uint64_t seq = 1; seq <= 5; seq++) {
		assert_int_equal(outbox_next(o, 5, NO_LIMIT, &f), 0);
		assert_int_equal(f.seq, seq);
	}
	outbox_free(o);
}

static void epochs_are_bounded(void **state)
{
	struct outbox *o = make(1 << 20);
	uint64_t epoch = 100;

	(void)state;
	assert_int_equal(outbox_begin(o, epoch++), 0); /* takes the place of an empty one */
	for (size_t i = 1; i < OUTBOX_MAX_EPOCHS; i++) {
		push(o, 1);
		assert_int_equal(outbox_begin(o, epoch++), 0);
	}
	assert_int_equal(outbox_begin(o, epoch++), 0);
	push(o, 1);
	assert_int_equal(outbox_begin(o, epoch++), -ENOSPC);
	push(o, 2);
	assert_false(outbox_epoch_asked(o));
	outbox_ask_epoch(o);
	assert_true(outbox_epoch_asked(o));
	assert_false(outbox_epoch_asked(o));
	outbox_free(o);
}

/* What a collector saw: everything once, as rows or as a loss, in order. */
struct collector {
	uint64_t last_seq, rows, lost;
};

static void collect(struct collector *c, const struct outbox_frame *f)
{
	struct frame frame;
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
	assert_int_equal(frame_open(f->data, f->len, &frame), FRAME_OK);
	assert_int_equal(batch_unpack(frame.body, frame.body_len, &b, NULL), 0);
	c->lost += b->dropped_rows;
	batch_free(b);
}

static void nothing_is_lost_or_counted_twice(void **state)
{
	struct outbox *o = make(ROOM);
	struct collector c = {0};
	struct outbox_frame f;
	uint64_t pushed = 0, seq = 0;
	unsigned seed = 3;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		switch (rand_r(&seed) % 8) {
		case 0:
			outbox_rewind(o, EPOCH);
			break;
		case 1:
			outbox_ack(o, EPOCH, c.last_seq);
			break;
		case 2: /* sent, but lost on the way: a new connection follows */
			if (outbox_next(o, EPOCH, 3 * FRAME_LEN, &f) == 0)
				outbox_rewind(o, EPOCH);
			break;
		case 3:
		case 4:
			if (outbox_next(o, EPOCH, 3 * FRAME_LEN, &f) == 0)
				collect(&c, &f);
			break;
		default:
			push(o, ++seq);
			pushed += seq;
			break;
		}
	}
	outbox_rewind(o, EPOCH);
	while (outbox_next(o, EPOCH, NO_LIMIT, &f) == 0)
		collect(&c, &f);
	outbox_ack(o, EPOCH, c.last_seq);
	assert_int_equal(c.last_seq, seq);
	assert_int_equal(c.rows + c.lost, pushed);
	assert_int_equal(c.lost, stats(o).dropped.rows);
	assert_true(c.lost > 0 && c.rows > 0);
	assert_int_equal(stats(o).bytes, 0);
	outbox_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_order_until_acknowledged),
		cmocka_unit_test(credit_bounds_what_is_on_its_way),
		cmocka_unit_test(full_drops_the_oldest_into_one_tombstone),
		cmocka_unit_test(what_was_sent_is_not_dropped),
		cmocka_unit_test(a_tombstone_held_back_by_credit_grows_on),
		cmocka_unit_test(a_refused_batch_leaves_a_tombstone),
		cmocka_unit_test(a_batch_without_a_frame_is_lost_by_number),
		cmocka_unit_test(a_push_wakes_the_sender),
		cmocka_unit_test(epochs_are_apart),
		cmocka_unit_test(the_oldest_epoch_makes_room_first),
		cmocka_unit_test(epochs_are_bounded),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(nothing_is_lost_or_counted_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
