// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "proto/flow_block.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/flow_id.h"
#include "proto/flow_related.h"
#include "proto/frame.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/random_flows.h"

#define N 300

struct fixture {
	struct column_codec *codec;
	uint64_t rng;
	struct flow_record rows[N];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(column_codec_new(4096, &f->codec), 0);
	f->rng = 0x9e3779b97f4a7c15ull;
	for (size_t i = 0; i < N; i++)
		f->rows[i] = random_flow(&f->rng);
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

/* A sealed block of the rows, in memory of exactly its length. */
static uint8_t *seal(struct fixture *f, size_t n, enum column_effort effort, size_t *ret_len)
{
	struct flow_parts parts;
	struct flow_block b;
	uint8_t *blob, *exact;

	assert_int_equal(flow_block_from_rows(f->rows, n, &b), 0);
	assert_int_equal(flow_block_encode(f->codec, &b, effort, &parts), 0);
	assert_int_equal(flow_parts_seal(&parts, &blob, ret_len), 0);
	flow_parts_done(&parts);
	flow_block_done(&b);
	exact = malloc(*ret_len);
	assert_non_null(exact);
	memcpy(exact, blob, *ret_len);
	free(blob);
	return exact;
}

static void open_all(struct fixture *f, const uint8_t *blob, size_t len, struct flow_block *ret)
{
	struct flow_columns all = flow_columns_all();
	struct flow_parts parts;
	const char *why = NULL;

	assert_int_equal(flow_parts_open(blob, len, &parts, &why), 0);
	if (flow_parts_decode(f->codec, &parts, &all, ret, &why) != 0)
		fail_msg("%s", why);
}

/* A histogram may not hold more than there are samples; what is random may. */
static void fit_hist(uint32_t samples, uint16_t hist[RTT_BUCKETS])
{
	for (size_t i = 0; i < RTT_BUCKETS; i++)
		if (hist[i] > samples)
			hist[i] = (uint16_t)samples;
}

static void test_rows_come_back(void **state)
{
	struct fixture *f = *state;

	for (int effort = COLUMN_FAST; effort <= COLUMN_SMALL; effort++) {
		for (size_t n = 0; n <= N; n = n < 10 ? n + 1 : n * 2) {
			size_t len;
			uint8_t *blob = seal(f, n, (enum column_effort)effort, &len);
			struct flow_block b;

			open_all(f, blob, len, &b);
			assert_int_equal(b.n_rows, n);
			for (size_t i = 0; i < n; i++) {
				struct flow_record back;

				flow_block_row(&b, i, &back);
				fit_hist(back.data_rtt_samples, f->rows[i].data_rtt_hist);
				fit_hist(back.rev_data_rtt_samples, f->rows[i].rev_data_rtt_hist);
				assert_memory_equal(&back, &f->rows[i], sizeof(back));
			}
			flow_block_done(&b);
			free(blob);
		}
	}
}

/* Every 7th row. */
static void assert_picked(struct fixture *f, const struct flow_parts *parts, enum flow_column c,
			  size_t width, const struct flow_block *all)
{
	uint32_t picked[N / 7];
	struct column_rows rows = {.n = N / 7, .picked = picked};
	struct flow_columns wanted = {{0}};
	struct flow_block b;

	for (size_t i = 0; i < rows.n; i++)
		picked[i] = (uint32_t)(7 * i + 6);
	flow_columns_add(&wanted, c);
	assert_int_equal(flow_parts_decode_rows(f->codec, parts, &wanted, rows, &b, NULL), 0);
	assert_int_equal(b.n_rows, rows.n);
	for (size_t i = 0; i < rows.n; i++)
		assert_memory_equal((const char *)b.column[c].any + i * width,
				    (const char *)all->column[c].any + picked[i] * width, width);
	flow_block_done(&b);
}

static void test_each_column_alone(void **state)
{
	struct fixture *f = *state;
	struct flow_block all, one;
	struct flow_parts parts;
	size_t len;
	uint8_t *blob = seal(f, N, COLUMN_SMALL, &len);

	open_all(f, blob, len, &all);
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++) {
		struct flow_columns wanted = {{0}};
		bool needed[FLOW_N_PARTS];
		enum flow_kind kind = flow_column_info[c].kind;
		size_t width = kind == FLOW_U64 ? 8 : kind == FLOW_HIST ? 2 * RTT_BUCKETS : 4;

		flow_columns_add(&wanted, (enum flow_column)c);
		assert_int_equal(flow_parts_open(blob, len, &parts, NULL), 0);
		flow_parts_needed(&wanted, needed);
		for (unsigned p = 0; p < FLOW_N_PARTS; p++) /* what it needs must do */
			if (!needed[p])
				parts.part[p].data = NULL;
		assert_int_equal(flow_parts_decode(f->codec, &parts, &wanted, &one, NULL), 0);
		assert_non_null(one.column[c].any);
		assert_memory_equal(one.column[c].any, all.column[c].any, N * width);
		flow_block_done(&one);
		assert_int_equal(flow_parts_decode_rows(f->codec, &parts, &wanted,
							(struct column_rows){N / 3, N / 2}, &one,
							NULL),
				 0);
		assert_int_equal(one.n_rows, N / 2);
		assert_memory_equal(one.column[c].any,
				    (const char *)all.column[c].any + N / 3 * width, N / 2 * width);
		flow_block_done(&one);
		assert_picked(f, &parts, (enum flow_column)c, width, &all);
	}
	flow_block_done(&all);
	free(blob);
}

static void test_times_lose_what_the_header_says(void **state)
{
	struct fixture *f = *state;
	struct flow_record r = f->rows[0], back;
	struct flow_block b;

	r.start_ns = 1700000000123456789;
	r.end_ns = r.start_ns + 999999;
	assert_int_equal(flow_block_from_rows(&r, 1, &b), 0);
	flow_block_row(&b, 0, &back);
	assert_int_equal(FLOW_COL_U64(&b, start_ms)[0], 1700000000123);
	assert_int_equal(FLOW_COL_U64(&b, duration_us)[0], 999);
	assert_int_equal(FLOW_COL_U64(&b, end_ms)[0], 1700000000123);
	flow_block_done(&b);
	r.end_ns = r.start_ns + 61234567890;
	assert_int_equal(flow_block_from_rows(&r, 1, &b), 0);
	assert_int_equal(FLOW_COL_U64(&b, duration_us)[0], 61234000);
	flow_block_done(&b);
	r.end_ns = r.start_ns - 5; /* the clock was set back */
	assert_int_equal(flow_block_from_rows(&r, 1, &b), 0);
	assert_int_equal(FLOW_COL_U64(&b, duration_us)[0], 0);
	flow_block_done(&b);
}

static void test_an_id_of_its_kind_takes_nothing(void **state)
{
	struct fixture *f = *state;
	struct flow_parts parts;
	struct flow_block b;

	for (size_t i = 0; i < N; i++) {
		struct flow_record *r = &f->rows[i];

		r->flow_id =
			flow_id_of(flow_id_end(flow_id_addr(r->src_addr), r->src_port),
				   flow_id_end(flow_id_addr(r->dst_addr), r->dst_port), r->proto,
				   r->icmp_id, r->vlan, r->tunnel_id, r->start_ns / 1000000);
	}
	assert_int_equal(flow_block_from_rows(f->rows, N, &b), 0);
	assert_int_equal(flow_block_encode(f->codec, &b, COLUMN_FAST, &parts), 0);
	assert_true(parts.part[FLOW_COLUMN_flow_id].len <= 2);
	flow_parts_done(&parts);
	flow_block_done(&b);
}

static void test_every_flipped_bit_is_detected(void **state)
{
	struct fixture *f = *state;
	struct flow_summary summary;
	const char *why;
	size_t len;
	uint8_t *blob = seal(f, 40, COLUMN_SMALL, &len);

	assert_int_equal(flow_block_check(f->codec, blob, len, &summary, &why), 0);
	assert_int_equal(summary.n_rows, 40);
	for (size_t bit = 0; bit < len * 8; bit++) {
		blob[bit / 8] ^= (uint8_t)(1u << bit % 8);
		why = NULL;
		assert_int_equal(flow_block_check(f->codec, blob, len, &summary, &why), -EBADMSG);
		assert_non_null(why);
		blob[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(flow_block_check(f->codec, blob, cut, &summary, NULL), -EBADMSG);
	free(blob);
}

/* With a checksum made right again: what is taken is decoded, too, and in range. */
static void test_hostile_blocks_are_refused_or_sound(void **state)
{
	struct flow_columns all = flow_columns_all();
	struct fixture *f = *state;
	struct flow_summary summary;
	unsigned taken = 0;

	for (int round = 0; round < 4000; round++) {
		size_t len;
		uint8_t *blob = seal(f, 1 + random_u64(&f->rng) % 60,
				     round % 2 ? COLUMN_SMALL : COLUMN_FAST, &len);
		uint32_t crc;

		for (int k = 0; k < 2; k++)
			blob[random_u64(&f->rng) % (len - 4)] ^=
				(uint8_t)(1u << random_u64(&f->rng) % 8);
		crc = crc32c(blob, len - 4);
		memcpy(blob + len - 4, &crc, 4);
		if (flow_block_check(f->codec, blob, len, &summary, NULL) == 0) {
			struct flow_parts parts;
			struct flow_block b;

			assert_int_equal(flow_parts_open(blob, len, &parts, NULL), 0);
			assert_int_equal(flow_parts_decode(f->codec, &parts, &all, &b, NULL), 0);
#define IN_RANGE(name, max, has)                                                                   \
	for (size_t i = 0; i < b.n_rows; i++) {                                                    \
		struct flow_record r;                                                              \
                                                                                                   \
		flow_block_row(&b, i, &r);                                                         \
		assert_true((uint64_t)r.name <= (uint64_t)(max));                                  \
	}
			FLOW_COUNTERS(IN_RANGE)
			FLOW_CODES(IN_RANGE)
			flow_block_done(&b);
			taken++;
		}
		free(blob);
	}
	assert_true(taken > 100); /* most flips change a number only */
}

static void test_values_out_of_range_are_refused(void **state)
{
	struct fixture *f = *state;
	struct flow_summary summary;
	const char *why = NULL;
	size_t len;
	uint8_t *blob;

	f->rows[3].verdict = FLOW_VERDICT_MAX;
	blob = seal(f, 10, COLUMN_FAST, &len);
	assert_int_equal(flow_block_check(f->codec, blob, len, &summary, &why), -EBADMSG);
	assert_string_equal(why, "a value out of its column's range");
	free(blob);
	f->rows[3].verdict = 0;
	f->rows[4].total_bytes = FLOW_TOTAL_MAX + 1;
	blob = seal(f, 10, COLUMN_FAST, &len);
	assert_int_equal(flow_block_check(f->codec, blob, len, &summary, &why), -EBADMSG);
	free(blob);
}

static void test_null_where_the_record_has_none(void **state)
{
	struct fixture *f = *state;
	struct flow_columns all = flow_columns_all();
	uint8_t mask[N];
	struct flow_block b;

	assert_int_equal(flow_block_from_rows(f->rows, N, &b), 0);
	(void)all;
#define SAME(name, max, has)                                                                       \
	{                                                                                          \
		bool some = flow_block_has_mask(&b, FLOW_COLUMN_##name, mask);                     \
                                                                                                   \
		for (size_t i = 0; i < N; i++) {                                                   \
			const struct flow_record *r = &f->rows[i];                                 \
                                                                                                   \
			assert_int_equal(flow_block_has(&b, FLOW_COLUMN_##name, i), !!(has));      \
			assert_int_equal(some ? mask[i] : 1, !!(has));                             \
			(void)r;                                                                   \
		}                                                                                  \
	}
	FLOW_COLUMNS(SAME)
	FLOW_TEXTS(SAME)
	flow_block_done(&b);
}

static void test_near_and_far_are_one_for_one(void **state)
{
	static const uint32_t odd[] = {
		0, 1, 2, 3, 1000, 0x7fffffff, 0x80000000, 0x80000001, UINT32_MAX, UINT32_MAX - 1};
	const size_t n = sizeof(odd) / sizeof(odd[0]);
	struct fixture *f = *state;

	for (size_t i = 0; i < 200000; i++) {
		uint64_t x = random_u64(&f->rng);
		uint32_t base = i < n * n ? odd[i / n] : (uint32_t)x >> (x >> 58) % 32;
		uint32_t value = i < n * n ? odd[i % n] : (uint32_t)(x >> 20) >> (x >> 53) % 32;

		assert_int_equal(flow_near_to(base, flow_far_from(base, value)), value);
		assert_int_equal(flow_far_from(base, flow_near_to(base, value)), value);
	}
	assert_true(flow_far_from(30000, 30100) < 256);
	assert_int_equal(flow_far_from(30000, 0), 0);
}

static void test_codes_and_names_differ(void **state)
{
	(void)state;
	for (unsigned p = 0; p < FLOW_N_PARTS; p++) {
		for (unsigned q = 0; q < p; q++)
			assert_int_not_equal(flow_part_code(p), flow_part_code(q));
		assert_true(flow_part_code(p) > FLOW_N_PARTS); /* a place is not taken for it */
		if (p < FLOW_N_COLUMNS)
			assert_int_equal(flow_column_find(flow_column_info[p].name), p);
	}
	assert_int_equal(flow_column_find("no_such_column"), -1);
	/* Fixed for ever: a column is known by this on disk. */
	assert_int_equal(flow_part_code(FLOW_COLUMN_src_addr), 0xbc0b);
}

static void test_every_allocation_failure_is_clean(void **state)
{
	struct fixture *f = *state;
	struct flow_columns all = flow_columns_all();
	size_t len;
	uint8_t *blob = seal(f, 50, COLUMN_FAST, &len);
	struct flow_parts parts, made;
	struct flow_block b, rows;
	int err;

	assert_int_equal(flow_parts_open(blob, len, &parts, NULL), 0);
	for (unsigned n = 1;; n++) {
		uint8_t *sealed = NULL;
		bool failed;

		(void)fail_alloc_at(n);
		err = flow_block_from_rows(f->rows, 50, &rows);
		if (!err) {
			err = flow_block_encode(f->codec, &rows, COLUMN_FAST, &made);
			flow_block_done(&rows);
		}
		if (!err) {
			err = flow_parts_seal(&made, &sealed, &len);
			flow_parts_done(&made);
		}
		if (!err) {
			free(sealed);
			err = flow_parts_decode(f->codec, &parts, &all, &b, NULL);
		}
		if (!err)
			flow_block_done(&b);
		failed = fail_alloc_at(0);
		if (!failed)
			break;
		assert_int_equal(err, -ENOMEM);
	}
	assert_int_equal(err, 0);
	free(blob);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rows_come_back),
		TEST(test_each_column_alone),
		TEST(test_times_lose_what_the_header_says),
		TEST(test_an_id_of_its_kind_takes_nothing),
		TEST(test_every_flipped_bit_is_detected),
		TEST(test_hostile_blocks_are_refused_or_sound),
		TEST(test_values_out_of_range_are_refused),
		TEST(test_null_where_the_record_has_none),
		TEST(test_near_and_far_are_one_for_one),
		TEST(test_codes_and_names_differ),
		TEST(test_every_allocation_failure_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
