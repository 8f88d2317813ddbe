/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* spool_fixture.h - a spool in a folder of its own, and what a sender finds in it. */
#ifndef WEIR_TESTS_UNIT_SPOOL_FIXTURE_H
#define WEIR_TESTS_UNIT_SPOOL_FIXTURE_H

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "probe/spool/spool.h"
#include "proto/frame.h"

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

static inline int try_open(uint64_t epoch, uint64_t max_bytes, const char *file, struct spool **ret)
{
	struct spool_settings settings = {.path = file, .max_bytes = max_bytes, .epoch = epoch};

	memcpy(settings.probe_id, probe_id, sizeof(settings.probe_id));
	return spool_open(&settings, ret);
}

static inline struct spool *open_epoch(uint64_t epoch, uint64_t max_bytes)
{
	struct spool *s = NULL;

	assert_int_equal(try_open(epoch, max_bytes, path, &s), 0);
	assert_int_equal(spool_start(s, INSTANCE, group), 0);
	assert_int_equal(spool_wait(s, PATIENCE), 0);
	return s;
}

static inline struct spool *make(void)
{
	return open_epoch(EPOCH, FEW_BYTES);
}

static inline struct packed sealed(uint64_t seq, size_t len)
{
	struct packed frame = {.data = malloc(len), .len = len};

	assert_non_null(frame.data);
	memset(frame.data, (int)seq, len);
	frame_seal(frame.data, FRAME_BATCH, len - FRAME_HEADER_BYTES);
	return frame;
}

/* Batch seq has seq rows, 10 * seq packets, 100 * seq bytes, at that time. */
static inline struct spool_load load_of(uint64_t seq)
{
	return (struct spool_load){seq, seq * 10, seq * 100, seq, seq + 1};
}

static inline void push(struct spool *s, uint64_t seq)
{
	struct packed frame = sealed(seq, FRAME_LEN);
	const struct spool_load load = load_of(seq);

	assert_int_equal(spool_push(s, seq, &frame, &load), 0);
	assert_null(frame.data); /* taken */
}

static inline void commit(struct spool *s)
{
	assert_int_equal(spool_submit(s, ++group), 0);
	assert_int_equal(spool_wait(s, PATIENCE), 0);
	assert_int_equal(spool_committed(s), group);
}

static inline void store(struct spool *s, uint64_t first, uint64_t last)
{
	for (uint64_t seq = first; seq <= last; seq++)
		push(s, seq);
	commit(s);
}

static inline struct spool_stats stats(struct spool *s)
{
	struct spool_stats st;

	spool_stats(s, &st);
	return st;
}

static inline size_t epochs(struct spool *s, struct spool_backlog *ret_first)
{
	struct spool_backlog all[SPOOL_MAX_EPOCHS];
	size_t n = spool_epochs(s, all);

	*ret_first = all[0];
	return n;
}

static inline uint64_t oldest(struct spool *s)
{
	struct spool_backlog first;

	(void)epochs(s, &first);
	return first.oldest_seq;
}

static inline void expect_batch_of(struct spool *s, uint64_t epoch, uint64_t seq)
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
static inline void expect_batch(struct spool *s, uint64_t seq)
{
	expect_batch_of(s, EPOCH, seq);
}

static inline void expect_none(struct spool *s)
{
	struct spool_frame f;

	assert_int_equal(spool_next(s, EPOCH, NO_LIMIT, &f), -EAGAIN);
}

static inline struct batch *tombstone(const struct spool_frame *f)
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

static inline int setup(void **state)
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

static inline int teardown(void **state)
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

#endif /* WEIR_TESTS_UNIT_SPOOL_FIXTURE_H */
