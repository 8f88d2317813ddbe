/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* test_batch.c - BATCH of proto/message.h; the other messages are in test_message.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/flow_block.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/pick.h"
#include "tests/unit/random_flows.h"
#include "weir.pb-c.h"

#define N_BATCHES 300

/* All padding is zero, so that batches can be compared as memory. */
static struct batch *pick_batch(uint64_t *seed, size_t n_rows)
{
	struct batch *b = calloc(1, sizeof(*b));
	uint64_t rng;

	assert_non_null(b);
	pick_bytes(seed, b->probe_id, sizeof(b->probe_id));
	b->epoch = pick_any(seed);
	b->seq = 1 + pick(seed, INT64_MAX - 1);
	b->kind = n_rows ? BATCH_FLOWS : BATCH_TOMBSTONE;
	b->first_seq = n_rows ? b->seq : 1 + pick(seed, b->seq - 1);
	b->n_counters = pick(seed, BATCH_MAX_COUNTERS);
	for (size_t i = 0; i < b->n_counters; i++) {
		(void)snprintf(b->counters[i].name, COUNTER_NAME_MAX, "counter_%zu", i);
		b->counters[i].value = pick(seed, FLOW_TOTAL_MAX);
	}
	b->dropped_rows = pick(seed, FLOW_TOTAL_MAX);
	b->dropped_packets = pick(seed, FLOW_TOTAL_MAX);
	b->dropped_bytes = pick(seed, FLOW_TOTAL_MAX);
	b->reason = (enum loss_reason)pick(seed, LOSS_DAMAGED);
	b->lost_until_ns = pick(seed, INT64_MAX);
	b->lost_from_ns = pick(seed, b->lost_until_ns);
	b->run = 1 + pick(seed, UINT64_MAX - 1);
	b->counters_ns = pick(seed, INT64_MAX);
	b->n_rows = n_rows;
	b->rows = calloc(n_rows + 1, sizeof(*b->rows));
	assert_non_null(b->rows);
	rng = 1 + pick(seed, UINT64_MAX - 1);
	for (size_t i = 0; i < n_rows; i++)
		b->rows[i] = random_flow(&rng);
	return b;
}

static void drop_batch(struct batch *b)
{
	free(b->rows);
	free(b);
}

/* The rows are compared but for histograms, in which nothing is above the samples. */
static void assert_same_batch(const struct batch *a, const struct batch *b)
{
	struct batch x = *a, y = *b;
	struct flow_record *rows = NULL;

	x.rows = y.rows = NULL;
	x.block = y.block = NULL;
	x.block_len = y.block_len;
	x.summary = y.summary;
	assert_memory_equal(&x, &y, sizeof(x));
	assert_int_equal(batch_rows(b, &rows), 0);
	for (size_t i = 0; i < a->n_rows; i++) {
		struct flow_record r = a->rows[i];

		memcpy(r.data_rtt_hist, rows[i].data_rtt_hist, sizeof(r.data_rtt_hist));
		memcpy(r.rev_data_rtt_hist, rows[i].rev_data_rtt_hist, sizeof(r.data_rtt_hist));
		assert_memory_equal(&r, &rows[i], sizeof(r));
	}
	free(rows);
}

static struct frame open_frame(const struct packed *p, enum frame_type type)
{
	struct frame f;

	assert_int_equal(frame_open(p->data, p->len, &f), FRAME_OK);
	assert_int_equal(f.type, type);
	return f;
}

static void batches_come_back_equal(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (int i = 0; i < N_BATCHES; i++) {
		struct batch *b = pick_batch(&seed, pick(&seed, 60)), *back = NULL;
		struct packed p;
		struct frame f;

		assert_int_equal(batch_pack(b, &p), 0);
		f = open_frame(&p, FRAME_BATCH);
		assert_int_equal(batch_unpack(f.body, f.body_len, &back, NULL), 0);
		assert_same_batch(b, back);
		batch_free(back);
		free(p.data);
		drop_batch(b);
	}
	batch_free(NULL);
}

/* The widest value of every column; the texts are not those of another i. */
static struct flow_record widest(size_t i)
{
	unsigned column = 0;
	char start[24] = "";
	struct flow_record r = {
		.start_ns = FLOW_TIME_MAX_MS * 1000000,
		.end_ns = FLOW_TIME_MAX_MS * 1000000,
	};

#define WIDEST(name, max, has) r.name = max;
	FLOW_COLUMNS(WIDEST)
#undef WIDEST
#define WIDEST_TEXT(name, max, has)                                                                \
	memset(r.name, 'x', (max)-1);                                                              \
	memcpy(r.name, start,                                                                      \
	       (size_t)snprintf(start, sizeof(start), "%zu.%u.", i % 10000, column++ % 10));
	FLOW_TEXTS(WIDEST_TEXT)
#undef WIDEST_TEXT
	memset(r.data_rtt_hist, 0xff, sizeof(r.data_rtt_hist));
	memset(r.rev_data_rtt_hist, 0xff, sizeof(r.rev_data_rtt_hist));
	return r;
}

/* Rows with the longest texts, all of them different: at some number they do not fit. */
static void too_long_rows_are_told(void **state)
{
	uint64_t seed = 3;
	struct batch *b = pick_batch(&seed, BATCH_MAX_ROWS), *back = NULL;
	struct packed p;
	struct frame f;

	(void)state;
	for (size_t i = 0; i < b->n_rows; i++)
		b->rows[i] = widest(i);
	assert_int_equal(batch_pack(b, &p), -E2BIG);
	while (b->n_rows > 1 && batch_pack(b, &p) == -E2BIG)
		b->n_rows /= 2;
	print_message("%zu of the widest rows: %zu of %u bytes\n", b->n_rows, p.len,
		      FRAME_MAX_BYTES);
	assert_true(b->n_rows >= 256);
	f = open_frame(&p, FRAME_BATCH);
	assert_int_equal(batch_unpack(f.body, f.body_len, &back, NULL), 0);
	assert_same_batch(b, back);
	batch_free(back);
	free(p.data);
	b->n_rows = BATCH_MAX_ROWS + 1;
	assert_int_equal(batch_pack(b, &p), -E2BIG);
	drop_batch(b);
}

/* What hosts report in fact is far from that. */
static void usual_batch_fits_a_frame(void **state)
{
	uint64_t seed = 4;
	struct batch *b = pick_batch(&seed, BATCH_MAX_ROWS), *back = NULL;
	struct packed p;

	(void)state;
	assert_int_equal(batch_pack(b, &p), 0);
	assert_int_equal(
		batch_unpack(p.data + FRAME_HEADER_BYTES, p.len - FRAME_HEADER_BYTES, &back, NULL),
		0);
	assert_int_equal(back->n_rows, BATCH_MAX_ROWS);
	assert_int_equal(back->summary.n_rows, BATCH_MAX_ROWS);
	assert_true(back->summary.min_end_ms <= back->summary.max_end_ms);
	batch_free(back);
	free(p.data);
	drop_batch(b);
}

/* --- what must be refused --------------------------------------------------- */

/* A valid batch of two rows, as the generated code sees it, to be spoilt. */
static Weir__Batch *valid_batch(void)
{
	uint64_t seed = 5;
	struct batch *b = pick_batch(&seed, 2);
	struct packed p;
	Weir__Batch *m;

	b->rows[0] = widest(0);
	b->rows[1] = widest(1);
	b->rows[0].start_ns = b->rows[0].end_ns = 1000000;
	b->n_counters = 1;
	(void)snprintf(b->counters[0].name, COUNTER_NAME_MAX, "packets_seen");
	assert_int_equal(batch_pack(b, &p), 0);
	m = weir__batch__unpack(NULL, p.len - FRAME_HEADER_BYTES, p.data + FRAME_HEADER_BYTES);
	assert_non_null(m);
	free(p.data);
	drop_batch(b);
	return m;
}

/* Packs m, releases it, and returns what batch_unpack() says about it. */
static int verdict(Weir__Batch *m, const char **ret_why)
{
	size_t len = weir__batch__get_packed_size(m);
	uint8_t *body = malloc(len);
	struct batch *b = NULL;
	int err;

	assert_non_null(body);
	weir__batch__pack(m, body);
	weir__batch__free_unpacked(m, NULL);
	err = batch_unpack(body, len, &b, ret_why);
	free(body);
	batch_free(b);
	return err;
}

/* Spoils one thing of a valid batch; the reason must contain `text`. */
#define CHECK_REFUSED(spoil, text)                                                                 \
	do {                                                                                       \
		Weir__Batch *m = valid_batch();                                                    \
		const char *why = "";                                                              \
                                                                                                   \
		spoil;                                                                             \
		assert_int_equal(verdict(m, &why), -EBADMSG);                                      \
		if (!strstr(why, text))                                                            \
			fail_msg("%s: \"%s\"", #spoil, why);                                       \
	} while (0)

/* A block of other rows in the place of m's, for a test to spoil. */
static void set_block(Weir__Batch *m, const struct flow_record *rows, size_t n)
{
	uint8_t *block;
	size_t len;

	assert_int_equal(batch_seal_rows(rows, n, &block, &len), 0);
	free(m->block.data);
	m->block = (ProtobufCBinaryData){len, block};
}

static void set_row(Weir__Batch *m, void (*spoil)(struct flow_record *r))
{
	struct flow_record rows[2] = {widest(0), widest(1)};

	spoil(&rows[1]);
	set_block(m, rows, 2);
}

static void spoil_verdict(struct flow_record *r)
{
	r->verdict = FLOW_VERDICT_MAX;
}

static void spoil_bytes(struct flow_record *r)
{
	r->bytes = FLOW_COUNT_MAX + 1;
}

static void spoil_time(struct flow_record *r)
{
	r->start_ns = r->end_ns = INT64_MAX;
}

static void spoil_text(struct flow_record *r)
{
	r->iface[0] = '\xff';
}

/* More of it in test_flow_block.c. */
static void values_out_of_range_are_refused(void **state)
{
	(void)state;
	assert_int_equal(verdict(valid_batch(), NULL), 0);
	CHECK_REFUSED(set_row(m, spoil_verdict), "out of its column's range");
	CHECK_REFUSED(set_row(m, spoil_bytes), "out of its column's range");
	CHECK_REFUSED(set_row(m, spoil_time), "out of its column's range");
	CHECK_REFUSED(set_row(m, spoil_text), "dictionary");
}

static void broken_shapes_are_refused(void **state)
{
	(void)state;
	CHECK_REFUSED(m->n_rows = 1, "rows");
	CHECK_REFUSED(m->n_rows = 3, "n_rows");
	CHECK_REFUSED(m->n_rows = 0, "without rows");
	CHECK_REFUSED(m->n_rows = BATCH_MAX_ROWS + 1, "too many rows");
	CHECK_REFUSED(m->n_rows = UINT32_MAX, "too many rows");
	CHECK_REFUSED(m->block.len = 0, "cut off");
	CHECK_REFUSED(m->block.len--, "checksum");
	CHECK_REFUSED(m->block.data[m->block.len / 2] ^= 1, "checksum");
	CHECK_REFUSED(m->probe_id.len = 15, "probe_id");
	CHECK_REFUSED(m->first_seq = 0, "first_seq");
	CHECK_REFUSED(m->first_seq = m->seq + 1, "first_seq");
	CHECK_REFUSED(m->first_seq = m->seq - 1, "several");
	CHECK_REFUSED(m->first_seq = m->seq = (uint64_t)INT64_MAX + 1, "seq");
	CHECK_REFUSED(m->kind = WEIR__BATCH_KIND__TOMBSTONE, "tombstone");
	CHECK_REFUSED(m->kind = 2, "kind");
	CHECK_REFUSED(m->kind = -1, "kind");
	CHECK_REFUSED(m->dropped_rows = UINT64_MAX, "dropped");
	CHECK_REFUSED(m->reason = 3, "reason of a loss");
	CHECK_REFUSED(m->reason = -1, "reason of a loss");
	CHECK_REFUSED(m->lost_until_ns = UINT64_MAX, "time of a loss");
	CHECK_REFUSED((m->lost_from_ns = 2, m->lost_until_ns = 1), "time of a loss");
	CHECK_REFUSED(m->counters_ns = UINT64_MAX, "counters_ns");
	CHECK_REFUSED(m->n_counter_value = 0, "counter");
	CHECK_REFUSED(m->counter_name[0][0] = 'P', "counter_name");
	CHECK_REFUSED(m->counter_name[0][7] = '\n', "counter_name");
	CHECK_REFUSED(m->counter_name[0][0] = '\0', "counter_name");
	CHECK_REFUSED(m->counter_value[0] = UINT64_MAX, "counter_value");
}

/* --- damage and memory ------------------------------------------------------ */

static void cut_and_flipped_batches_never_crash(void **state)
{
	uint64_t seed = 7;
	struct batch *b = pick_batch(&seed, 4), *back = NULL;
	size_t len, refused = 0;
	struct packed p;
	uint8_t *body;
	int err;

	(void)state;
	assert_int_equal(batch_pack(b, &p), 0);
	len = p.len - FRAME_HEADER_BYTES;
	for (size_t n = 0; n < len; n++) {
		uint8_t *cut = malloc(n + 1); /* so that ASan sees a read past the end */

		assert_non_null(cut);
		memcpy(cut, p.data + FRAME_HEADER_BYTES, n);
		err = batch_unpack(cut, n, &back, NULL);
		if (!err) { /* cut between two fields: frame.h's matter */
			assert_true(back->n_rows == 0 || back->n_rows == 4);
			batch_free(back);
		} else {
			assert_int_equal(err, -EBADMSG);
		}
		free(cut);
	}
	body = p.data + FRAME_HEADER_BYTES;
	for (size_t bit = 0; bit < 8 * len; bit++) {
		body[bit / 8] ^= (uint8_t)(1 << bit % 8);
		err = batch_unpack(body, len, &back, NULL);
		assert_true(err == 0 || err == -EBADMSG);
		if (!err)
			batch_free(back);
		refused += err != 0;
		body[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_true(refused > 0);
	free(p.data);
	drop_batch(b);
}

/* Fills a frame with one unit, over and over, and expects it to be refused. */
static void check_bomb(const char *unit, size_t unit_len, const char *expected)
{
	size_t len = FRAME_MAX_BYTES - FRAME_HEADER_BYTES;
	uint8_t *body = malloc(len);
	struct batch *b = NULL;
	const char *why = "";

	assert_non_null(body);
	len -= len % unit_len;
	for (size_t i = 0; i < len; i += unit_len)
		memcpy(body + i, unit, unit_len);
	assert_int_equal(batch_unpack(body, len, &b, &why), -EBADMSG);
	assert_string_equal(why, expected);
	free(body);
}

static void bombs_are_refused(void **state)
{
	(void)state;
	/* Empty strings: 8 bytes of pointer and an allocation for 3 bytes each. */
	check_bomb("\xe2\x01\x00", 3, "needs too much memory");
	/* Unknown fields: kept one by one by protobuf-c. */
	check_bomb("\xf8\x3f\x01", 3, "needs too much memory");
	/* A group, which the schema does not have. */
	check_bomb("\x0b", 1, "not a protobuf message");
}

static void every_failed_allocation_is_reported(void **state)
{
	uint64_t seed = 8;
	struct batch *b = pick_batch(&seed, 3), *back = NULL;
	struct packed p = {0};
	unsigned n;
	int err;

	(void)state;
	b->n_counters = 2;
	for (n = 1;; n++) {
		fail_alloc_at(n);
		err = batch_pack(b, &p);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
	}
	assert_int_equal(err, 0);
	for (n = 1;; n++) {
		fail_alloc_at(n);
		err = batch_unpack(p.data + FRAME_HEADER_BYTES, p.len - FRAME_HEADER_BYTES, &back,
				   NULL);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(back);
	}
	assert_int_equal(err, 0);
	assert_true(n > 10);
	batch_free(back);
	free(p.data);
	drop_batch(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches_come_back_equal),
		cmocka_unit_test(too_long_rows_are_told),
		cmocka_unit_test(usual_batch_fits_a_frame),
		cmocka_unit_test(values_out_of_range_are_refused),
		cmocka_unit_test(broken_shapes_are_refused),
		cmocka_unit_test(cut_and_flipped_batches_never_crash),
		cmocka_unit_test(bombs_are_refused),
		cmocka_unit_test(every_failed_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
