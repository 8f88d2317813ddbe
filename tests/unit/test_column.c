// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "proto/column.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/fail_alloc.h"
#include "tests/unit/random_flows.h"

#define MAX_ROWS 60000
#define FEW_ROWS 5000

struct fixture {
	struct column_codec *codec;
	uint8_t *out;
	uint64_t in[MAX_ROWS], back[MAX_ROWS];
	uint32_t in32[MAX_ROWS], back32[MAX_ROWS];
	uint64_t rng;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(column_codec_new(MAX_ROWS, &f->codec), 0);
	f->out = malloc(column_bound(MAX_ROWS));
	assert_non_null(f->out);
	f->rng = 88172645463325252ull;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	column_codec_free(f->codec);
	free(f->out);
	free(f);
	return 0;
}

/* Encodes in[0..n), in a buffer of exactly its length so that ASan sees what reads too far. */
static uint8_t *encode(struct fixture *f, size_t n, enum column_effort effort, size_t *ret_len)
{
	size_t len = column_encode_u64(f->codec, f->in, n, effort, f->out);
	uint8_t *exact = malloc(len);

	assert_true(len <= column_bound(n));
	assert_non_null(exact);
	memcpy(exact, f->out, len);
	*ret_len = len;
	return exact;
}

/* Some rows of it, by themselves; nothing behind them is written. */
static void assert_rows(struct fixture *f, const uint8_t *data, size_t len, size_t n, bool wide)
{
	for (int round = 0; round < 4; round++) {
		size_t first = random_u64(&f->rng) % (n + 1),
		       count = random_u64(&f->rng) % (n - first + 1);
		struct column_rows rows = {first, count};

		if (round == 0) /* the last ones */
			rows.n = n - first;
		f->back[rows.n] = 99;
		f->back32[rows.n] = 99;
		if (wide) {
			assert_true(column_decode_rows_u64(f->codec, data, len, n, rows, f->back));
			assert_memory_equal(f->in + first, f->back, rows.n * sizeof(*f->in));
			assert_int_equal(f->back[rows.n], 99);
		} else {
			assert_true(
				column_decode_rows_u32(f->codec, data, len, n, rows, f->back32));
			assert_memory_equal(f->in32 + first, f->back32, rows.n * sizeof(*f->in32));
			assert_int_equal(f->back32[rows.n], 99);
		}
	}
	assert_false(column_decode_rows_u64(f->codec, data, len, n, (struct column_rows){1, n},
					    f->back));
}

/* Rows that are picked, in any order, some of them more than once. */
static void assert_picked(struct fixture *f, const uint8_t *data, size_t len, size_t n, bool wide)
{
	static uint32_t picked[MAX_ROWS];

	for (int round = 0; round < 4; round++) {
		size_t some = round == 3 ? MAX_ROWS : random_u64(&f->rng) % ((n >> 4 * round) + 1);
		const struct column_rows rows = {.n = some, .picked = picked};
		bool ok;

		for (size_t i = 0; i < some; i++)
			picked[i] = (uint32_t)(random_u64(&f->rng) % n);
		if (some)
			picked[0] = (uint32_t)n - 1;
		ok = wide ? column_decode_rows_u64(f->codec, data, len, n, rows, f->back)
			  : column_decode_rows_u32(f->codec, data, len, n, rows, f->back32);
		assert_true(ok);
		for (size_t i = 0; i < some; i++)
			assert_true(wide ? f->back[i] == f->in[picked[i]]
					 : f->back32[i] == f->in32[picked[i]]);
	}
	assert_false(column_decode_rows_u64(
		f->codec, data, len, n, (struct column_rows){.n = MAX_ROWS + 1, .picked = picked},
		f->back));
}

static void assert_round_trip(struct fixture *f, size_t n, enum column_effort effort)
{
	uint64_t most, max = 0;
	size_t len;
	uint8_t *data = encode(f, n, effort, &len);

	memset(f->back, 0xa5, n * sizeof(*f->back));
	assert_true(column_decode_u64(f->codec, data, len, n, f->back));
	assert_memory_equal(f->in, f->back, n * sizeof(*f->in));
	assert_true(column_check(f->codec, data, len, n, 8, &most));
	for (size_t i = 0; i < n; i++)
		max = f->in[i] > max ? f->in[i] : max;
	assert_true(most >= max);
	assert_false(column_decode_u64(f->codec, data, len - 1, n, f->back));
	assert_false(column_check(f->codec, data, len - 1, n, 8, &most));
	assert_rows(f, data, len, n, true);
	assert_picked(f, data, len, n, true);
	free(data);
	for (size_t i = 0; i < n; i++)
		f->in32[i] = (uint32_t)f->in[i];
	len = column_encode_u32(f->codec, f->in32, n, effort, f->out);
	assert_true(column_decode_u32(f->codec, f->out, len, n, f->back32));
	assert_memory_equal(f->in32, f->back32, n * sizeof(*f->in32));
	assert_true(column_check(f->codec, f->out, len, n, 4, &most));
	assert_rows(f, f->out, len, n, false);
	assert_picked(f, f->out, len, n, false);
}

static void test_every_width(void **state)
{
	static const size_t sizes[] = {1, 2, 7, 8, 9, 63, 64, 65, 200, 4096};
	struct fixture *f = *state;

	for (unsigned bits = 0; bits <= 64; bits++) {
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
			uint64_t base = random_u64(&f->rng) & ~mask;

			for (size_t i = 0; i < sizes[s]; i++)
				f->in[i] = base + (random_u64(&f->rng) & mask);
			assert_round_trip(f, sizes[s], COLUMN_FAST);
			assert_round_trip(f, sizes[s], COLUMN_SMALL);
		}
	}
}

static void test_few_others(void **state)
{
	struct fixture *f = *state;

	for (unsigned share = 2; share < 2000; share *= 3) {
		for (size_t i = 0; i < 4099; i++)
			f->in[i] =
				random_u64(&f->rng) % share ? 7 : 8 + random_u64(&f->rng) % 100000;
		assert_round_trip(f, 4099, COLUMN_FAST);
		assert_round_trip(f, 4099, COLUMN_SMALL);
	}
}

static void test_what_is_alike_takes_little(void **state)
{
	struct fixture *f = *state;
	size_t len;

	for (size_t i = 0; i < FEW_ROWS; i++)
		f->in[i] = 1234567890123;
	free(encode(f, FEW_ROWS, COLUMN_FAST, &len));
	assert_true(len < 16);
	for (size_t i = 0; i < FEW_ROWS; i++)
		f->in[i] += i / 100;
	free(encode(f, FEW_ROWS, COLUMN_SMALL, &len));
	assert_true(len < 500); /* 3,750 packed */
	f->in[17] = 0;		/* one row apart */
	for (size_t i = 0; i < FEW_ROWS; i++)
		f->in[i] = i == 17 ? 99999 : 5;
	free(encode(f, FEW_ROWS, COLUMN_FAST, &len));
	assert_true(len < FEW_ROWS / 8 + 20);
}

/* Numbers of three bytes that compress. */
static void fill_rows(struct fixture *f, size_t n)
{
	for (size_t i = 0; i < n; i++)
		f->in[i] = 5000 + i / 7 + random_u64(&f->rng) % 20 * 66000;
}

static void test_many_rows(void **state)
{
	static const size_t sizes[] = {16384, 24575, 24576, 40000, MAX_ROWS};
	struct fixture *f = *state;

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		fill_rows(f, sizes[s]);
		for (int round = 0; round < 10; round++)
			assert_round_trip(f, sizes[s], COLUMN_SMALL);
	}
}

static void test_some_rows_are_read_without_the_others(void **state)
{
	struct column_rows last = {MAX_ROWS - 100, 100}, first = {300, 1000};
	struct fixture *f = *state;
	uint8_t *data;
	size_t len;

	fill_rows(f, MAX_ROWS);
	data = encode(f, MAX_ROWS, COLUMN_SMALL, &len);
	memset(data + len - 40, 0xff, 40);
	assert_false(column_decode_u64(f->codec, data, len, MAX_ROWS, f->back));
	assert_false(column_decode_rows_u64(f->codec, data, len, MAX_ROWS, last, f->back));
	assert_true(column_decode_rows_u64(f->codec, data, len, MAX_ROWS, first, f->back));
	assert_memory_equal(f->in + first.first, f->back, first.n * sizeof(*f->in));
	free(data);
}

static void test_any_bytes_are_decoded_or_refused(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 20000; round++) {
		size_t n = 1 + random_u64(&f->rng) % 300, len;
		uint64_t most;
		uint8_t *data;

		for (size_t i = 0; i < n; i++)
			f->in[i] = random_u64(&f->rng) % 3 ? 0 : random_u64(&f->rng) % 100000;
		data = encode(f, n, round % 2 ? COLUMN_SMALL : COLUMN_FAST, &len);
		for (int k = 0; k < 3; k++)
			data[random_u64(&f->rng) % len] ^= (uint8_t)(1u << random_u64(&f->rng) % 8);
		len -= random_u64(&f->rng) % 4 == 0 ? random_u64(&f->rng) % len : 0;
		if (column_decode_u64(f->codec, data, len, n, f->back)) {
			/* What decodes passes the check, and is no larger than that says. */
			assert_true(column_check(f->codec, data, len, n, 8, &most));
			for (size_t i = 0; i < n; i++)
				assert_true(f->back[i] <= most);
		} else {
			assert_false(column_check(f->codec, data, len, n, 8, &most));
		}
		free(data);
	}
}

static void test_bytes(void **state)
{
	struct fixture *f = *state;
	uint8_t in[1000], back[1000];
	size_t len, there;

	for (size_t n = 0; n < sizeof(in); n += 37) {
		for (size_t i = 0; i < n; i++)
			in[i] = (uint8_t)(random_u64(&f->rng) % 5);
		len = column_encode_bytes(f->codec, in, n, COLUMN_SMALL, f->out);
		assert_true(len <= 16 + n);
		assert_true(column_bytes_length(f->out, len, sizeof(in), &there));
		assert_int_equal(there, n);
		assert_true(column_decode_bytes(f->codec, f->out, len, back, n));
		assert_memory_equal(in, back, n);
		assert_false(column_decode_bytes(f->codec, f->out, len, back, n + 1));
	}
	assert_false(column_bytes_length(f->out, len, 10, &there));
}

static void test_varints(void **state)
{
	uint8_t buf[16];
	uint64_t back;

	(void)state;
	for (unsigned bits = 0; bits < 64; bits++) {
		uint64_t value = (UINT64_C(1) << bits) + bits;
		uint8_t *end = varint_put(buf, value);
		const uint8_t *at = buf;

		assert_true(varint_get(&at, end, &back));
		assert_true(back == value && at == end);
		at = buf;
		assert_false(varint_get(&at, end - 1, &back));
	}
	memset(buf, 0xff, sizeof(buf)); /* longer than 64 bits */
	assert_false(varint_get(&(const uint8_t *){buf}, buf + sizeof(buf), &back));
}

static void test_every_allocation_failure_is_clean(void **state)
{
	struct column_codec *c = NULL;
	int err;

	(void)state;
	for (unsigned n = 1;; n++) {
		(void)fail_alloc_at(n);
		err = column_codec_new(100, &c);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(c);
	}
	assert_int_equal(err, 0);
	column_codec_free(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_width),
		TEST(test_few_others),
		TEST(test_what_is_alike_takes_little),
		TEST(test_many_rows),
		TEST(test_some_rows_are_read_without_the_others),
		TEST(test_any_bytes_are_decoded_or_refused),
		TEST(test_bytes),
		TEST(test_varints),
		TEST(test_every_allocation_failure_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
