// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "proto/flow_addrs.h"
#include "tests/unit/random_flows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_ADDRS 3000

struct fixture {
	struct column_codec *codec;
	uint8_t addrs[MAX_ADDRS][16], back[MAX_ADDRS][16];
	uint8_t out[64 + 20 * MAX_ADDRS];
	uint64_t rng;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(column_codec_new(MAX_ADDRS, &f->codec), 0);
	assert_true(sizeof(f->out) >= flow_addrs_bound(MAX_ADDRS));
	f->rng = 88172645463325252ull;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	column_codec_free(f->codec);
	free(f);
	return 0;
}

static int by_key(const void *a, const void *b)
{
	uint64_t x = flow_addrs_key(a), y = flow_addrs_key(b);

	return (x > y) - (x < y);
}

/* The first v4 of them IPv4. */
static void make_addrs(struct fixture *f, size_t n, size_t v4)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < 16; k++)
			f->addrs[i][k] = (uint8_t)random_u64(&f->rng);
		f->addrs[i][0] |= 1; /* not the prefix of IPv4 */
		if (i < v4) {
			memset(f->addrs[i], 0, 10);
			f->addrs[i][10] = f->addrs[i][11] = 0xff;
		}
	}
}

static size_t encode(struct fixture *f, size_t n)
{
	size_t len = flow_addrs_encode(f->codec, f->addrs, n, COLUMN_SMALL, f->out);

	assert_true(len <= flow_addrs_bound(n));
	return len;
}

static void any_order_comes_back(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 60; round++) {
		size_t n = 1 + random_u64(&f->rng) % (round < 20 ? 10 : MAX_ADDRS),
		       v4 = random_u64(&f->rng) % (n + 1);
		size_t len, there;
		uint8_t *exact;

		make_addrs(f, n, v4);
		if (round % 2)
			qsort(f->addrs, n, 16, by_key);
		len = encode(f, n);
		assert_true(len > 0);
		exact = malloc(len ? len : 1);
		assert_non_null(exact);
		memcpy(exact, f->out, len);
		assert_true(flow_addrs_is_sorted(exact, len));
		assert_true(flow_addrs_count(f->codec, exact, len, n, &there));
		assert_int_equal(there, n);
		assert_false(flow_addrs_count(f->codec, exact, len, n - 1, &there));
		memset(f->back, 0x5a, sizeof(f->back));
		assert_true(flow_addrs_decode(f->codec, exact, len, f->back));
		assert_memory_equal(f->back, f->addrs, n * 16);
		for (size_t cut = 0; cut < len; cut += 1 + len / 30)
			assert_false(flow_addrs_decode(f->codec, exact, cut, f->back));
		free(exact);
	}
}

static void sorted_ones_take_less_room(void **state)
{
	struct fixture *f = *state;
	size_t as_drawn, sorted;

	make_addrs(f, MAX_ADDRS, MAX_ADDRS);
	as_drawn = encode(f, MAX_ADDRS);
	qsort(f->addrs, MAX_ADDRS, 16, by_key);
	sorted = encode(f, MAX_ADDRS);
	assert_true(sorted < as_drawn * 3 / 4);
}

static void ipv4_behind_ipv6_is_not_taken(void **state)
{
	struct fixture *f = *state;

	make_addrs(f, 3, 3);
	f->addrs[1][0] = 1;
	assert_int_equal(encode(f, 3), 0);
}

static void counts_are_bounded(void **state)
{
	static const uint64_t counts[][2] = {
		{MAX_ADDRS + 1, 0}, {0, MAX_ADDRS + 1}, {MAX_ADDRS, 1}, {UINT64_MAX, 1}};
	struct fixture *f = *state;
	size_t n;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		uint8_t head[32] = {FLOW_ADDRS_SORTED};
		uint8_t *end = varint_put(varint_put(head + 1, counts[i][0]), counts[i][1]);

		assert_false(flow_addrs_count(f->codec, head, (size_t)(end - head), SIZE_MAX, &n));
		assert_false(flow_addrs_decode(f->codec, head, (size_t)(end - head), f->back));
	}
}

/* Nothing is read or written where it must not be, whatever the bytes: ASan sees to it. */
static void damage_is_no_harm(void **state)
{
	struct fixture *f = *state;
	size_t len;

	make_addrs(f, 900, 600);
	len = encode(f, 900);
	for (int i = 0; i < 3000; i++) {
		uint8_t *copy = malloc(len);
		size_t n;

		assert_non_null(copy);
		memcpy(copy, f->out, len);
		copy[i < 100 ? (size_t)i % len : random_u64(&f->rng) % len] ^=
			(uint8_t)(1 + random_u64(&f->rng) % 255);
		if (flow_addrs_count(f->codec, copy, len, MAX_ADDRS, &n))
			(void)flow_addrs_decode(f->codec, copy, len, f->back);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(any_order_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(sorted_ones_take_less_room, setup, teardown),
		cmocka_unit_test_setup_teardown(ipv4_behind_ipv6_is_not_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(counts_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(damage_is_no_harm, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
