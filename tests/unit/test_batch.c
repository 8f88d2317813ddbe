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

#include "proto/flow_columns.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/pick.h"
#include "weir.pb-c.h"

#define N_BATCHES 300

static void pick_hist(uint64_t *seed, uint32_t samples, uint16_t *ret)
{
	for (size_t i = 0; samples && i < RTT_BUCKETS; i++)
		ret[i] = (uint16_t)pick(seed, UINT16_MAX);
}

/* In one row of four, all that can be zero is. */
static void pick_row(uint64_t *seed, struct flow_record *r)
{
	uint64_t start_us = pick(seed, INT64_MAX / 1000 / 2);
	bool zero = pick(seed, 3) == 0;

#define PICK(name, max, has) r->name = zero ? 0 : (__typeof__(r->name))pick(seed, max);
	FLOW_COLUMNS(PICK)
#undef PICK
	r->flow_id = 1 + pick(seed, FLOW_ID_MAX - 1);
	r->start_ns = start_us * 1000;
	r->end_ns = (start_us + pick(seed, INT64_MAX / 1000 / 2)) * 1000;
	pick_bytes(seed, r->src_addr, 16);
	pick_bytes(seed, r->dst_addr, 16);
#define PICK_TEXT(name, max, has)                                                                  \
	if (!zero)                                                                                 \
		(void)snprintf(r->name, max, "%u", (unsigned)pick(seed, 40));
	FLOW_TEXTS(PICK_TEXT)
#undef PICK_TEXT
	pick_hist(seed, r->data_rtt_samples, r->data_rtt_hist);
	pick_hist(seed, r->rev_data_rtt_samples, r->rev_data_rtt_hist);
	if (r->tunnel) {
		pick_bytes(seed, r->outer_src_addr, 16);
		pick_bytes(seed, r->outer_dst_addr, 16);
	}
}

/* All padding is zero, so that batches can be compared as memory. */
static struct batch *pick_batch(uint64_t *seed, size_t n_rows)
{
	struct batch *b = calloc(1, sizeof(*b));

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
	for (size_t i = 0; i < n_rows; i++)
		pick_row(seed, &b->rows[i]);
	return b;
}

static void drop_batch(struct batch *b)
{
	free(b->rows);
	free(b);
}

static void assert_same_batch(const struct batch *a, const struct batch *b)
{
	struct batch x = *a, y = *b;

	x.rows = y.rows = NULL;
	assert_memory_equal(&x, &y, sizeof(x));
	if (a->n_rows)
		assert_memory_equal(a->rows, b->rows, a->n_rows * sizeof(*a->rows));
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

/* Times travel in microseconds. */
static void times_are_cut_to_microseconds(void **state)
{
	uint64_t seed = 2;
	struct batch *b = pick_batch(&seed, 2), *back = NULL;
	struct packed p;
	struct frame f;

	(void)state;
	b->rows[0].start_ns = 1764000000123456789;
	b->rows[0].end_ns = 1764000000123456999;
	b->rows[1].start_ns = 1764000000123457001;
	b->rows[1].end_ns = 1764000001000000999;
	assert_int_equal(batch_pack(b, &p), 0);
	f = open_frame(&p, FRAME_BATCH);
	assert_int_equal(batch_unpack(f.body, f.body_len, &back, NULL), 0);
	assert_int_equal(back->rows[0].start_ns, 1764000000123456000);
	assert_int_equal(back->rows[0].end_ns, 1764000000123456000);
	assert_int_equal(back->rows[1].start_ns, 1764000000123457000);
	assert_int_equal(back->rows[1].end_ns, 1764000001000000000);
	batch_free(back);
	free(p.data);
	drop_batch(b);
}

/* The widest value of every column; the texts are not those of another i. */
static struct flow_record widest(size_t i)
{
	unsigned column = 0;
	char start[24] = "";
	struct flow_record r = {
		.start_ns = INT64_MAX / 1000 * 1000,
		.end_ns = INT64_MAX / 1000 * 1000,
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

/* Every row with texts of its own, every counter used. */
static void widest_batch_fits_a_frame(void **state)
{
	uint64_t seed = 3;
	struct batch *b = pick_batch(&seed, BATCH_MAX_ROWS), *back = NULL;
	struct packed p;
	struct frame f;

	(void)state;
	for (size_t i = 0; i < b->n_rows; i++)
		b->rows[i] = widest(i);
	b->rows[0].start_ns = 0; /* base_ns far from all others */
	b->first_seq = b->seq = INT64_MAX;
	b->n_counters = BATCH_MAX_COUNTERS;
	for (size_t i = 0; i < BATCH_MAX_COUNTERS; i++) {
		memset(b->counters[i].name, 'x', COUNTER_NAME_MAX - 1);
		b->counters[i].name[COUNTER_NAME_MAX - 1] = '\0';
		b->counters[i].value = FLOW_TOTAL_MAX;
	}
	assert_int_equal(batch_pack(b, &p), 0);
	print_message("widest batch: %zu of %u bytes\n", p.len, FRAME_MAX_BYTES);
	assert_true(p.len <= FRAME_MAX_BYTES);
	f = open_frame(&p, FRAME_BATCH);
	assert_int_equal(batch_unpack(f.body, f.body_len, &back, NULL), 0);
	assert_same_batch(b, back);
	batch_free(back);
	free(p.data);
	b->n_rows = BATCH_MAX_ROWS + 1;
	assert_int_equal(batch_pack(b, &p), -E2BIG);
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

static void values_out_of_range_are_refused(void **state)
{
	const uint64_t too_much = (uint64_t)INT64_MAX + 1;

	(void)state;
	assert_int_equal(verdict(valid_batch(), NULL), 0);
	CHECK_REFUSED(m->src_port[1] = 65536, "src_port");
	CHECK_REFUSED(m->dst_port[0] = UINT32_MAX, "dst_port");
	CHECK_REFUSED(m->proto[1] = 256, "proto");
	CHECK_REFUSED(m->icmp_type[0] = 256, "icmp_type");
	CHECK_REFUSED(m->icmp_code[0] = 256, "icmp_code");
	CHECK_REFUSED(m->icmp_id[0] = 65536, "icmp_id");
	CHECK_REFUSED(m->vlan[0] = 4096, "vlan");
	CHECK_REFUSED(m->direction[0] = FLOW_DIRECTION_MAX, "direction");
	CHECK_REFUSED(m->role[0] = FLOW_ROLE_MAX, "role");
	CHECK_REFUSED(m->end_reason[0] = FLOW_END_MAX, "end_reason");
	CHECK_REFUSED(m->tcp_flags[0] = 65536, "tcp_flags");
	CHECK_REFUSED(m->rev_tcp_flags[0] = 65536, "rev_tcp_flags");
	CHECK_REFUSED(m->flow_id[1] = 0, "flow_id");
	CHECK_REFUSED(m->flow_id[1] = FLOW_ID_MAX + 1, "flow_id");
	CHECK_REFUSED(m->packets[1] = FLOW_COUNT_MAX + 1, "packets");
	CHECK_REFUSED(m->rev_total_bytes[1] = FLOW_TOTAL_MAX + 1, "rev_total_bytes");
	CHECK_REFUSED(m->rev_retrans_bytes[1] = FLOW_COUNT_MAX + 1, "rev_retrans_bytes");
	CHECK_REFUSED(m->mss[1] = 65536, "mss");
	CHECK_REFUSED(m->tunnel[1] = FLOW_ENCAP_MAX, "tunnel");
	CHECK_REFUSED(m->verdict[1] = FLOW_VERDICT_MAX, "verdict");
	CHECK_REFUSED(m->data_rtt_hist[17] = 65536, "hist");
	CHECK_REFUSED(m->rev_data_rtt_hist[0] = 65536, "hist");
	CHECK_REFUSED(m->iface[1] = (uint32_t)m->n_text + 1, "iface");
	CHECK_REFUSED(m->base_ns = too_much, "time");
	CHECK_REFUSED(m->start_us[0] = INT64_MAX, "time");
	CHECK_REFUSED(m->start_us[0] = INT64_MIN, "time");
	CHECK_REFUSED(m->start_us[0] = m->end_us[0] + 1, "ends before");
}

static void add_texts(Weir__Batch *m, size_t n)
{
	m->text = realloc(m->text, (m->n_text + n) * sizeof(*m->text));
	assert_non_null(m->text);
	while (n--)
		m->text[m->n_text++] = strdup("");
}

static void broken_shapes_are_refused(void **state)
{
	(void)state;
	CHECK_REFUSED(m->n_rows = 1, "n_rows");
	CHECK_REFUSED(m->n_rows = BATCH_MAX_ROWS + 1, "too many rows");
	CHECK_REFUSED(m->n_rows = UINT32_MAX, "too many rows");
	CHECK_REFUSED(m->n_start_us--, "start_us");
	CHECK_REFUSED(m->n_end_us = 0, "end_us");
	CHECK_REFUSED(m->n_rev_retrans_bytes = 1, "rev_retrans_bytes");
	CHECK_REFUSED(m->n_verdict = 1, "verdict");
	CHECK_REFUSED(m->n_flow_id = 0, "flow_id");
	CHECK_REFUSED(m->n_iface = 1, "iface");
	CHECK_REFUSED(m->src_addr.len = 31, "addresses");
	CHECK_REFUSED(m->dst_addr.len = 0, "addresses");
	CHECK_REFUSED(m->n_data_rtt_hist--, "hist");
	CHECK_REFUSED(m->n_rev_data_rtt_hist = 0, "hist");
	CHECK_REFUSED(m->n_data_rtt_samples = 0, "hist");
	CHECK_REFUSED(m->data_rtt_samples[1] = 0, "hist");
	CHECK_REFUSED(m->outer_src_addr.len = 16, "outer");
	CHECK_REFUSED(m->outer_dst_addr.len = 0, "outer");
	CHECK_REFUSED(m->n_tunnel = 0, "outer");
	CHECK_REFUSED(while (m->n_text) free(m->text[--m->n_text]), "dictionary");
	CHECK_REFUSED(m->text[0][0] = '\xff', "bad text");
	CHECK_REFUSED((free(m->text[0]), m->text[0] = strdup("too-long-an-iface")), "iface");
	CHECK_REFUSED(add_texts(m, 2 * 8), "more texts");
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
	/* Unpacked elements of a packed field. */
	check_bomb("\x88\x01\x01", 3, "needs too much memory");
	/* A group, which the schema does not have. */
	check_bomb("\x0b", 1, "not a protobuf message");
}

/* One column of a million one-byte values: 8 bytes each. */
static void wide_column_is_refused(void **state)
{
	size_t n = 1000000, at = 0;
	uint8_t *body = calloc(1, n + 16);
	const char *why = "";
	struct batch *b = NULL;

	(void)state;
	assert_non_null(body);
	body[at++] = 0x92; /* field 34, packets, packed */
	body[at++] = 0x02;
	for (size_t left = n; left; left >>= 7)
		body[at++] = (uint8_t)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
	assert_int_equal(batch_unpack(body, at + n, &b, &why), -EBADMSG);
	assert_true(strstr(why, "packets") || strstr(why, "n_rows") || strstr(why, "memory"));
	free(body);
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
	assert_int_equal(n, 5); /* columns, dictionary (2), frame */
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
	assert_true(n > 30);
	batch_free(back);
	free(p.data);
	drop_batch(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches_come_back_equal),
		cmocka_unit_test(times_are_cut_to_microseconds),
		cmocka_unit_test(widest_batch_fits_a_frame),
		cmocka_unit_test(values_out_of_range_are_refused),
		cmocka_unit_test(broken_shapes_are_refused),
		cmocka_unit_test(cut_and_flipped_batches_never_crash),
		cmocka_unit_test(bombs_are_refused),
		cmocka_unit_test(wide_column_is_refused),
		cmocka_unit_test(every_failed_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
