// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "probe/spool/quarantine.h"
#include "probe/spool/spool.h"
#include "proto/frame.h"
#include "tests/unit/fail_alloc.h"

#define EPOCH	  77u
#define INSTANCE  5u
#define FRAME_LEN 9000u
#define FEW_BYTES (1u << 20) /* some 80 frames */
#define NO_LIMIT  UINT64_MAX
#define PATIENCE  60000 /* ms */

static const uint8_t probe_id[PROBE_ID_BYTES] = "sixteen bytes...";

static char folder[] = "/tmp/test_spool.XXXXXX";
static char path[64];
static uint64_t group;

static int try_open(uint64_t epoch, uint64_t max_bytes, const char *file, struct spool **ret)
{
	struct spool_settings settings = {.path = file, .max_bytes = max_bytes, .epoch = epoch};

	memcpy(settings.probe_id, probe_id, sizeof(settings.probe_id));
	return spool_open(&settings, ret);
}

static struct spool *open_epoch(uint64_t epoch, uint64_t max_bytes)
{
	struct spool *s = NULL;

	assert_int_equal(try_open(epoch, max_bytes, path, &s), 0);
	assert_int_equal(spool_start(s, INSTANCE, group), 0);
	assert_int_equal(spool_wait(s, PATIENCE), 0);
	return s;
}

static struct spool *make(void)
{
	return open_epoch(EPOCH, FEW_BYTES);
}

static struct packed sealed(uint64_t seq, size_t len)
{
	struct packed frame = {.data = malloc(len), .len = len};

	assert_non_null(frame.data);
	memset(frame.data, (int)seq, len);
	frame_seal(frame.data, FRAME_BATCH, len - FRAME_HEADER_BYTES);
	return frame;
}

/* Batch seq has seq rows, 10 * seq packets, 100 * seq bytes, at that time. */
static struct spool_load load_of(uint64_t seq)
{
	return (struct spool_load){seq, seq * 10, seq * 100, seq, seq + 1};
}

static void push(struct spool *s, uint64_t seq)
{
	struct packed frame = sealed(seq, FRAME_LEN);
	const struct spool_load load = load_of(seq);

	assert_int_equal(spool_push(s, seq, &frame, &load), 0);
	assert_null(frame.data); /* taken */
}

static void commit(struct spool *s)
{
	assert_int_equal(spool_submit(s, ++group), 0);
	assert_int_equal(spool_wait(s, PATIENCE), 0);
	assert_int_equal(spool_committed(s), group);
}

static void store(struct spool *s, uint64_t first, uint64_t last)
{
	for (uint64_t seq = first; seq <= last; seq++)
		push(s, seq);
	commit(s);
}

static struct spool_stats stats(struct spool *s)
{
	struct spool_stats st;

	spool_stats(s, &st);
	return st;
}

static size_t epochs(struct spool *s, struct spool_backlog *ret_first)
{
	struct spool_backlog all[SPOOL_MAX_EPOCHS];
	size_t n = spool_epochs(s, all);

	*ret_first = all[0];
	return n;
}

static uint64_t oldest(struct spool *s)
{
	struct spool_backlog first;

	(void)epochs(s, &first);
	return first.oldest_seq;
}

static void expect_batch_of(struct spool *s, uint64_t epoch, uint64_t seq)
{
	struct spool_frame f;

	assert_int_equal(spool_next(s, epoch, NO_LIMIT, &f), 0);
	assert_int_equal(f.epoch, epoch);
	assert_int_equal(f.first_seq, seq);
	assert_int_equal(f.seq, seq);
	assert_int_equal(f.len, FRAME_LEN);
	assert_int_equal(f.data[FRAME_LEN - 1], (uint8_t)seq);
}

/* Expects the next to be the plain batch seq. */
static void expect_batch(struct spool *s, uint64_t seq)
{
	expect_batch_of(s, EPOCH, seq);
}

static void expect_none(struct spool *s)
{
	struct spool_frame f;

	assert_int_equal(spool_next(s, EPOCH, NO_LIMIT, &f), -EAGAIN);
}

static struct batch *tombstone(const struct spool_frame *f)
{
	struct frame frame;
	struct batch *b;

	assert_int_equal(frame_open(f->data, f->len, &frame), FRAME_OK);
	assert_int_equal(frame.type, FRAME_BATCH);
	assert_int_equal(batch_unpack(frame.body, frame.body_len, &b, NULL), 0);
	assert_int_equal(b->kind, BATCH_TOMBSTONE);
	assert_int_equal(b->epoch, f->epoch);
	assert_memory_equal(b->probe_id, probe_id, PROBE_ID_BYTES);
	assert_int_equal(b->first_seq, f->first_seq);
	assert_int_equal(b->seq, f->seq);
	return b;
}

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

/* --- full ----------------------------------------------------------------------- */

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

/* --- damage --------------------------------------------------------------------- */

static size_t set_aside_files(void)
{
	char pattern[80];
	glob_t found = {0};
	size_t n;

	(void)snprintf(pattern, sizeof(pattern), "%s.corrupt-*", path);
	n = glob(pattern, 0, NULL, &found) == 0 ? found.gl_pathc : 0;
	globfree(&found);
	return n;
}

static void write_file(const void *data, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static void *read_file(size_t *ret_len)
{
	FILE *f = fopen(path, "r");
	char *data;
	long len;

	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	len = ftell(f);
	rewind(f);
	data = malloc((size_t)len);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, (size_t)len, f), len);
	fclose(f);
	*ret_len = (size_t)len;
	return data;
}

static void expect_working(struct spool *s, uint64_t epoch)
{
	store(s, 1, 2);
	expect_batch_of(s, epoch, 1);
	expect_batch_of(s, epoch, 2);
}

static void garbage_is_set_aside(void **state)
{
	static const char *const contents[] = {
		"these are my holiday notes, not a spool",
		"SQLite format 3",
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct spool *s;

		write_file(contents[i], strlen(contents[i]));
		s = make();
		assert_int_equal(stats(s).resets, 1);
		assert_int_equal(set_aside_files(), 1); /* and no more than one */
		expect_working(s, EPOCH);
		spool_close(s);
		assert_int_equal(unlink(path), 0);
	}
}

static void another_version_is_set_aside(void **state)
{
	struct spool *s = make();
	size_t len;
	char *data;

	(void)state;
	store(s, 1, 3);
	spool_close(s);
	data = read_file(&len);
	data[63] = 9; /* user_version */
	write_file(data, len);
	free(data);
	s = open_epoch(EPOCH + 1, FEW_BYTES);
	assert_int_equal(stats(s).resets, 1);
	expect_working(s, EPOCH + 1);
	spool_close(s);
}

/* Whatever is wrong with the file: it opens, gives sound frames or none, and goes on. */
static void damaged(const char *data, size_t len)
{
	struct spool_backlog all[SPOOL_MAX_EPOCHS];
	struct spool_frame f;
	struct frame frame;
	struct spool *s;
	size_t n;

	write_file(data, len);
	s = open_epoch(EPOCH + 1, FEW_BYTES);
	n = spool_epochs(s, all);
	assert_in_range(n, 1, SPOOL_MAX_EPOCHS);
	for (size_t i = 0; i < n; i++)
		for (int tries = 0; tries < 20; tries++)
			if (spool_next(s, all[i].epoch, NO_LIMIT, &f) == 0)
				assert_int_equal(frame_open(f.data, f.len, &frame), FRAME_OK);
	store(s, 1, 1);
	store(s, 2, 2);
	for (size_t i = 0; i < n; i++)
		spool_rewind(s, all[i].epoch);
	expect_batch_of(s, EPOCH + 1, 1);
	spool_close(s);
}

static void truncated_or_flipped_files_do_no_harm(void **state)
{
	struct spool *s = make();
	unsigned seed = 1;
	char *data, *copy;
	size_t len;

	(void)state;
	store(s, 1, 5);
	spool_close(s);
	data = read_file(&len);
	copy = malloc(len);
	assert_non_null(copy);
	for (size_t cut = 0; cut < len; cut += len / 37)
		damaged(data, cut);
	for (int i = 0; i < 200; i++) {
		memcpy(copy, data, len);
		for (int flips = 0; flips <= i % 8; flips++) {
			size_t at = (size_t)rand_r(&seed) % (i % 2 ? 20000 : len);

			copy[at] ^= (char)(1 << rand_r(&seed) % 8);
		}
		damaged(copy, len);
	}
	free(copy);
	free(data);
}

/* Damaged while it is in use: what was in it is counted, to the row. */
static void damage_while_running_is_counted(void **state)
{
	struct spool *s = make();
	struct spool_frame f;
	struct batch *b;

	(void)state;
	store(s, 1, 60); /* more than the page cache keeps, so that it is read again */
	expect_batch(s, 1);
	spool_ack(s, EPOCH, 1);
	spool_close(s);
	s = make(); /* the same epoch, only to have its numbers known */
	assert_int_equal(stats(s).batches, 59);
	{
		size_t len;
		char *data = read_file(&len);

		memset(data + 4096, 0x55, len - 4096);
		write_file(data, len);
		free(data);
	}
	assert_int_not_equal(spool_next(s, EPOCH, NO_LIMIT, &f), 0);
	assert_int_equal(stats(s).resets, 1);
	assert_int_equal(spool_next(s, EPOCH, NO_LIMIT, &f), 0);
	assert_int_equal(f.seq, 60);
	b = tombstone(&f);
	assert_int_equal(b->dropped_rows, 60 * 61 / 2 - 1);
	batch_free(b);
	store(s, 61, 61);
	expect_batch(s, 61);
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

static int setup(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/test_spool.XXXXXX");
	log_set_level(LOG_LEVEL_ERROR); /* losses are on purpose here */
	if (!mkdtemp(folder))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/spool.db", folder);
	group = 0;
	return 0;
}

static int teardown(void **state)
{
	char pattern[80];
	glob_t found = {0};

	(void)state;
	(void)snprintf(pattern, sizeof(pattern), "%s/*/*", folder);
	(void)glob(pattern, 0, NULL, &found); /* there may be none */
	(void)snprintf(pattern, sizeof(pattern), "%s/*", folder);
	(void)glob(pattern, GLOB_APPEND, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++)
		(void)remove(found.gl_pathv[i]);
	globfree(&found);
	return rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
		TEST(full_drops_the_oldest_into_one_tombstone),
		TEST(what_was_sent_is_not_dropped),
		TEST(without_room_it_waits),
		TEST(memory_is_bounded),
		TEST(a_tombstone_keeps_the_counters),
		TEST(garbage_is_set_aside),
		TEST(another_version_is_set_aside),
		TEST(truncated_or_flipped_files_do_no_harm),
		TEST(damage_while_running_is_counted),
		TEST(every_allocation_may_fail),
		TEST(nothing_is_lost_or_counted_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
