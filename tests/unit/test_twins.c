// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "proto/twins.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/flowstore/twin_finder.h"
#include "common/array_size.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/random_flows.h"

#define MAX_ROWS 3000

struct fixture {
	struct column_codec *codec;
	struct twins twins;
	uint8_t *out;
	uint64_t in[MAX_ROWS], back[MAX_ROWS + 1];
	uint32_t in32[MAX_ROWS], back32[MAX_ROWS + 1];
	uint64_t rng;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(column_codec_new(MAX_ROWS, &f->codec), 0);
	f->out = malloc(twins_column_bound(MAX_ROWS));
	assert_non_null(f->out);
	f->rng = 88172645463325252ull;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	twins_done(&f->twins);
	column_codec_free(f->codec);
	free(f->out);
	free(f);
	return 0;
}

/* Runs of n rows in all, the last of them perhaps at the very end. */
static void make_twins(struct fixture *f, size_t n)
{
	struct twins *t = &f->twins;
	size_t row = 0, n_base;

	twins_done(t);
	t->n_rows = n;
	t->runs = calloc(n, sizeof(*t->runs));
	assert_non_null(t->runs);
	while (row < n) {
		uint32_t before = (uint32_t)(random_u64(&f->rng) % 20 + (row == 0)), some;

		if (row + before >= n)
			break;
		some = (uint32_t)(1 + random_u64(&f->rng) % 12);
		some = row + before + some > n ? (uint32_t)(n - row - before) : some;
		t->runs[t->n_runs++] = (struct twin_run){.before = before, .n = some};
		t->n_twins += some;
		row += before + some;
	}
	if (t->n_runs == 0) {
		t->runs[t->n_runs++] = (struct twin_run){.before = (uint32_t)n - 1, .n = 1};
		t->n_twins = 1;
	}
	n_base = n - t->n_twins;
	for (size_t r = 0; r < t->n_runs; r++) {
		struct twin_run *run = &t->runs[r];

		if (run->n > n_base) { /* fewer rows than the run is long: none of these */
			t->n_twins -= run->n - 1;
			run->n = 1;
			n_base = n - t->n_twins;
		}
		run->from = (uint32_t)(random_u64(&f->rng) % (n_base - run->n + 1));
	}
}

enum difference { SAME, SOME_DIFFER, ALL_DIFFER };

static uint64_t difference(struct fixture *f, enum difference how)
{
	switch (how) {
	case SOME_DIFFER:
		return random_u64(&f->rng) % 3 - 1;
	case ALL_DIFFER:
		return 1 + random_u64(&f->rng) % 9;
	default:
		return 0;
	}
}

/* Numbers of up to that many bits, of which twins are like their rows, or a little off. */
static void make_numbers(struct fixture *f, unsigned bits, enum difference how)
{
	const struct twins *t = &f->twins;
	uint64_t base[MAX_ROWS] = {0}, mask = bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX;
	size_t n_base = t->n_rows - t->n_twins, row = 0, at = 0;

	for (size_t i = 0; i < n_base; i++)
		base[i] = random_u64(&f->rng) & mask;
	for (size_t r = 0; r < t->n_runs; r++) {
		for (size_t i = 0; i < t->runs[r].before; i++)
			f->in[row++] = base[at++];
		for (size_t i = 0; i < t->runs[r].n; i++)
			f->in[row++] = base[t->runs[r].from + i] + difference(f, how);
	}
	while (row < t->n_rows)
		f->in[row++] = base[at++];
	for (size_t i = 0; i < t->n_rows; i++)
		f->in32[i] = (uint32_t)f->in[i];
}

static void assert_rows(struct fixture *f, const uint8_t *data, size_t len, bool wide,
			struct column_rows rows)
{
	const uint64_t mark = 0x5aa55aa55aa55aa5;

	f->back[rows.n] = mark;
	f->back32[rows.n] = (uint32_t)mark;
	/* Not what was there when the column was encoded. */
	memset(column_codec_spare(f->codec), 0xa5, MAX_ROWS * sizeof(mark));
	if (wide) {
		assert_true(twins_decode_rows_u64(f->codec, &f->twins, data, len, rows, f->back));
		assert_memory_equal(f->back, f->in + rows.first, rows.n * sizeof(f->in[0]));
	} else {
		assert_true(twins_decode_rows_u32(f->codec, &f->twins, data, len, rows, f->back32));
		assert_memory_equal(f->back32, f->in32 + rows.first, rows.n * sizeof(f->in32[0]));
	}
	assert_true(f->back[rows.n] == mark);
	assert_int_equal(f->back32[rows.n], (uint32_t)mark);
}

/* One row of so many, and perhaps the last one. */
static void assert_picked(struct fixture *f, const uint8_t *data, size_t len, bool wide,
			  size_t one_of)
{
	uint32_t picked[MAX_ROWS];
	struct column_rows rows = {.picked = picked};

	for (uint32_t i = 0; i < f->twins.n_rows; i++) {
		picked[rows.n] = i;
		rows.n += random_u64(&f->rng) % one_of == 0;
	}
	assert_int_equal(twins_pick(&f->twins, &rows), 0);
	if (wide)
		assert_true(twins_decode_rows_u64(f->codec, &f->twins, data, len, rows, f->back));
	else
		assert_true(twins_decode_rows_u32(f->codec, &f->twins, data, len, rows, f->back32));
	for (size_t i = 0; i < rows.n; i++)
		assert_true(wide ? f->back[i] == f->in[picked[i]]
				 : f->back32[i] == f->in32[picked[i]]);
}

/* All of it, and pieces. */
static void assert_column(struct fixture *f, bool wide, enum column_effort effort)
{
	size_t n = f->twins.n_rows, len;
	uint64_t most;
	uint8_t *exact;

	if (wide)
		len = twins_encode_u64(f->codec, &f->twins, f->in, effort, f->out);
	else
		len = twins_encode_u32(f->codec, &f->twins, f->in32, effort, f->out);
	assert_true(len <= twins_column_bound(n));
	exact = malloc(len);
	assert_non_null(exact);
	memcpy(exact, f->out, len);
	assert_true(twins_needed(exact, len));
	assert_true(column_most(exact, len, wide ? 8 : 4) == UINT64_MAX); /* nobody knows */
	most = twins_most(exact, len, &f->twins, wide ? 8 : 4);
	for (size_t i = 0; i < n; i++)
		assert_true((wide ? f->in[i] : f->in32[i]) <= most);
	assert_rows(f, exact, len, wide, (struct column_rows){0, n});
	for (int i = 0; n && i < 20; i++) {
		struct column_rows rows = {random_u64(&f->rng) % n, 0};

		rows.n = random_u64(&f->rng) % (n - rows.first + 1);
		assert_rows(f, exact, len, wide, rows);
	}
	for (size_t one_of = 1; n && one_of < 200; one_of = 1 + one_of * 3)
		assert_picked(f, exact, len, wide, one_of);
	for (size_t cut = 0; cut < len; cut += 1 + len / 40)
		assert_false(twins_decode_rows_u64(f->codec, &f->twins, exact, cut,
						   (struct column_rows){0, n}, f->back) &&
			     twins_decode_rows_u32(f->codec, &f->twins, exact, cut,
						   (struct column_rows){0, n}, f->back32));
	free(exact);
}

static void columns_come_back(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 60; round++) {
		unsigned bits = 1 + (unsigned)(random_u64(&f->rng) % 64);

		make_twins(f, 2 + random_u64(&f->rng) % (round < 20 ? 40 : MAX_ROWS - 2));
		make_numbers(f, bits, (enum difference)(round % 3));
		f->in[0] = f->in[f->twins.n_rows - 1] + 1; /* not all the same */
		f->in32[0] = f->in32[f->twins.n_rows - 1] + 1;
		assert_column(f, true, round % 2 ? COLUMN_SMALL : COLUMN_FAST);
		assert_column(f, false, round % 2 ? COLUMN_SMALL : COLUMN_FAST);
	}
}

static void equal_numbers_are_a_constant(void **state)
{
	struct fixture *f = *state;
	uint64_t value;
	size_t len;

	make_twins(f, 500);
	for (size_t i = 0; i < 500; i++)
		f->in[i] = 77;
	len = twins_encode_u64(f->codec, &f->twins, f->in, COLUMN_SMALL, f->out);
	assert_true(column_is_constant(f->out, len, &value));
	assert_int_equal(value, 77);
}

/* A conversation that two hosts tell of takes the room of one. */
static void twins_take_no_room(void **state)
{
	struct fixture *f = *state;
	struct twin_run run = {.before = 1500, .n = 1500, .from = 0};
	size_t plain, len;

	f->twins = (struct twins){.n_rows = 3000, .n_twins = 1500, .n_runs = 1};
	f->twins.runs = malloc(sizeof(run));
	assert_non_null(f->twins.runs);
	f->twins.runs[0] = run;
	make_numbers(f, 32, SAME);
	plain = column_encode_u64(f->codec, f->in, 3000, COLUMN_FAST, f->out);
	len = twins_encode_u64(f->codec, &f->twins, f->in, COLUMN_FAST, f->out);
	assert_true(len < plain / 2 + 32);
}

static void assert_same_twins(const struct twins *a, const struct twins *b)
{
	assert_int_equal(a->n_rows, b->n_rows);
	assert_int_equal(a->n_twins, b->n_twins);
	assert_int_equal(a->n_runs, b->n_runs);
	assert_memory_equal(a->runs, b->runs, a->n_runs * sizeof(a->runs[0]));
}

static void which_they_are_comes_back(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 30; round++) {
		struct twins back;
		uint8_t *part;
		size_t len;

		make_twins(f, 2 + random_u64(&f->rng) % (MAX_ROWS - 2));
		part = malloc(twins_bound(&f->twins));
		assert_non_null(part);
		len = twins_write(f->codec, &f->twins, round % 2 ? COLUMN_SMALL : COLUMN_FAST,
				  part);
		assert_in_range(len, 1, twins_bound(&f->twins));
		assert_int_equal(twins_read(f->codec, part, len, f->twins.n_rows, &back), 0);
		assert_same_twins(&back, &f->twins);
		twins_done(&back);
		assert_int_equal(twins_read(f->codec, part, len - 1, f->twins.n_rows, &back),
				 -EBADMSG);
		free(part);
	}
}

static void assert_refused(struct fixture *f, const struct twin_run *runs, size_t n_runs,
			   size_t n_rows)
{
	struct twin_run copy[3];
	struct twins t = {.n_rows = n_rows, .n_runs = n_runs, .runs = copy}, back;
	uint8_t part[200];
	size_t len;

	memcpy(copy, runs, n_runs * sizeof(*runs));
	len = twins_write(f->codec, &t, COLUMN_FAST, part);
	assert_int_equal(twins_read(f->codec, part, len, n_rows, &back), -EBADMSG);
}

static void impossible_ones_are_refused(void **state)
{
	static const struct twin_run good = {.before = 5, .n = 5, .from = 0};
	static const struct twin_run empty = {.before = 5, .n = 0, .from = 0};
	static const struct twin_run long_one = {.before = 5, .n = 6, .from = 0};
	static const struct twin_run far = {.before = 5, .n = 5, .from = 1};
	static const struct twin_run huge = {.before = UINT32_MAX, .n = UINT32_MAX, .from = 0};
	static const struct twin_run wraps = {.before = 5, .n = 5, .from = UINT32_MAX};
	struct twin_run three[3] = {good, huge, good};
	struct fixture *f = *state;
	struct twins t = {.n_rows = 10, .n_runs = 1, .runs = three}, back;
	uint8_t part[200];
	size_t len = twins_write(f->codec, &t, COLUMN_FAST, part);

	assert_int_equal(twins_read(f->codec, part, len, 10, &back), 0);
	twins_done(&back);
	assert_refused(f, &empty, 1, 10);
	assert_refused(f, &long_one, 1, 10);
	assert_refused(f, &far, 1, 10);
	assert_refused(f, &wraps, 1, 10);
	assert_refused(f, three, 3, 20);
	assert_refused(f, three, 0, 10);
}

/* Nothing is read or written where it must not be, whatever the bytes: ASan sees to it. */
static void damage_is_no_harm(void **state)
{
	struct fixture *f = *state;
	const uint32_t picked[] = {0, 1, 200, 500, 501, 998, 999};
	const struct column_rows some = {.n = ARRAY_SIZE(picked), .picked = picked};
	size_t len, n;

	make_twins(f, 1000);
	n = f->twins.n_rows;
	assert_int_equal(twins_pick(&f->twins, &some), 0);
	make_numbers(f, 20, SOME_DIFFER);
	len = twins_encode_u64(f->codec, &f->twins, f->in, COLUMN_SMALL, f->out);
	for (int i = 0; i < 3000; i++) {
		uint8_t *copy = malloc(len);

		assert_non_null(copy);
		memcpy(copy, f->out, len);
		copy[i < 200 ? (size_t)i % len : random_u64(&f->rng) % len] ^=
			(uint8_t)(1 + random_u64(&f->rng) % 255);
		(void)twins_decode_rows_u64(f->codec, &f->twins, copy, len,
					    (struct column_rows){0, n}, f->back);
		(void)twins_decode_rows_u32(f->codec, &f->twins, copy, len,
					    (struct column_rows){n / 3, n / 2}, f->back32);
		(void)twins_decode_rows_u64(f->codec, &f->twins, copy, len, some, f->back);
		free(copy);
	}
}

/* --- finding them ------------------------------------------------------------------- */

static uint64_t hash(uint64_t x)
{
	x *= 0x9e3779b97f4a7c15;
	return x ^ x >> 32;
}

static int find_twins(struct fixture *f, const uint32_t *order, size_t n)
{
	uint64_t room[22 * MAX_ROWS / 8];

	assert_true(twin_finder_room(n) <= sizeof(room));
	return twin_finder_find(f->in, order, n, room, &f->twins);
}

/* Hosts 1 and 2 tell of the same 1,000, 3 of others, and 1 of one of them once more. */
static void both_ends_are_found(void **state)
{
	struct fixture *f = *state;
	uint32_t order[2801];
	size_t n = 0;

	for (uint64_t i = 0; i < 1000; i++)
		f->in[n++] = twin_key(hash(i), 1);
	for (uint64_t i = 0; i < 1000; i++)
		f->in[n++] = twin_key(hash(i), 2);
	for (uint64_t i = 0; i < 800; i++)
		f->in[n++] = twin_key(hash(5000 + i), 3);
	f->in[n++] = twin_key(hash(7), 1);
	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	assert_int_equal(find_twins(f, order, n), 0);
	assert_int_equal(f->twins.n_rows, n);
	assert_int_equal(f->twins.n_twins, 1000);
	assert_int_equal(f->twins.n_runs, 1);
	assert_int_equal(f->twins.runs[0].before, 1000);
	assert_int_equal(f->twins.runs[0].from, 0);
}

/* Each record of a conversation that is told of in several has its own. */
static void several_records_pair_off(void **state)
{
	static const uint32_t hosts[] = {1, 1, 1, 2, 2, 2, 2, 3};
	struct fixture *f = *state;
	uint32_t order[8];

	for (uint32_t i = 0; i < 8; i++) {
		f->in[i] = twin_key(hash(42), hosts[7 - i]);
		order[i] = 7 - i;
	}
	assert_int_equal(find_twins(f, order, 8), 0);
	assert_int_equal(f->twins.n_twins, 4); /* the fourth of host 2 by host 3 */
	assert_int_equal(f->twins.runs[0].before, 3);
	assert_int_equal(f->twins.runs[0].from, 0);
	assert_int_equal(f->twins.runs[0].n, 3);
}

static void no_memory(void **state)
{
	struct fixture *f = *state;
	uint32_t order[2000];

	for (uint32_t i = 0; i < 2000; i++) {
		f->in[i] = twin_key(hash(i % 1000), 1 + i / 1000);
		order[i] = i;
	}
	for (unsigned n = 1;; n++) {
		int err;

		(void)fail_alloc_at(n);
		err = find_twins(f, order, 2000);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
	}
	assert_int_equal(f->twins.n_twins, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(columns_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(equal_numbers_are_a_constant, setup, teardown),
		cmocka_unit_test_setup_teardown(twins_take_no_room, setup, teardown),
		cmocka_unit_test_setup_teardown(which_they_are_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(impossible_ones_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(damage_is_no_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(both_ends_are_found, setup, teardown),
		cmocka_unit_test_setup_teardown(several_records_pair_off, setup, teardown),
		cmocka_unit_test_setup_teardown(no_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
