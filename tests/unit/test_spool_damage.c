// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A spool whose file is no spool, or no longer a sound one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/spool_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(garbage_is_set_aside),
		TEST(another_version_is_set_aside),
		TEST(truncated_or_flipped_files_do_no_harm),
		TEST(damage_while_running_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
