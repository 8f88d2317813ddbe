/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Messages that the receiver refuses for what they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/receiver_fixture.h"

static void test_batch_without_hello(void **state)
{
	struct fixture *f = *state;

	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_expect_nack(&f->dealer, NACK_NO_HELLO);
	assert_int_equal(refused(f, "127.0.0.1", "batch without a HELLO"), 1);
}

/* One byte wrong, at each place of the header in turn, and then in the body. */
static void test_every_broken_header_is_refused(void **state)
{
	struct fixture *f = *state;
	struct batch *b = batch_of(1, 1);
	struct packed frame = {0};

	assert_int_equal(batch_pack(b, &frame), 0);
	batch_free(b);
	dealer_greet(&f->dealer, 1, 1);
	for (size_t i = 0; i <= FRAME_HEADER_BYTES; i++) {
		frame.data[i] ^= 0x40;
		dealer_send(&f->dealer, frame.data, frame.len);
		dealer_expect_nack(&f->dealer, i == 2 ? NACK_UNSUPPORTED : NACK_MALFORMED);
		frame.data[i] ^= 0x40;
	}
	dealer_send(&f->dealer, frame.data, frame.len);
	dealer_expect_ack(&f->dealer, 1);
	free(frame.data);
	assert_int_equal(refused(f, "host1", "%"), FRAME_HEADER_BYTES + 1);
}

static void test_messages_that_are_no_frames(void **state)
{
	static const uint8_t http[] = "GET / HTTP/1.0";
	uint8_t junk[FRAME_HEADER_BYTES + 64];
	struct fixture *f = *state;

	dealer_send(&f->dealer, "", 0);
	dealer_expect_nack(&f->dealer, NACK_MALFORMED);
	dealer_send(&f->dealer, http, sizeof(http));
	dealer_expect_nack(&f->dealer, NACK_MALFORMED);
	memset(junk, 0xff, sizeof(junk));
	for (int type = FRAME_HELLO; type <= FRAME_TYPE_MAX; type++) {
		frame_seal(junk, type, sizeof(junk) - FRAME_HEADER_BYTES);
		dealer_send(&f->dealer, junk, sizeof(junk));
		dealer_expect_nack(&f->dealer,
				   type == FRAME_BATCH ? NACK_NO_HELLO : NACK_MALFORMED);
	}
	assert_int_equal(zmq_send(f->dealer.socket, http, 3, ZMQ_SNDMORE), 3);
	dealer_send(&f->dealer, http, 3);
	dealer_expect_nack(&f->dealer, NACK_MALFORMED);
	assert_int_equal(refused(f, "127.0.0.1", "more than one part"), 1);
	assert_int_equal(refused(f, "127.0.0.1", "%"), 3 + FRAME_TYPE_MAX);
}

static void test_body_that_is_no_batch(void **state)
{
	uint8_t junk[FRAME_HEADER_BYTES + 64];
	struct fixture *f = *state;

	memset(junk, 0xff, sizeof(junk));
	frame_seal(junk, FRAME_BATCH, sizeof(junk) - FRAME_HEADER_BYTES);
	dealer_greet(&f->dealer, 1, 1);
	dealer_send(&f->dealer, junk, sizeof(junk));
	dealer_expect_nack(&f->dealer, NACK_MALFORMED);
	assert_int_equal(refused(f, "host1", "%"), 1);
}

/* The probe must know which one to take out of its queue. */
static void test_refusal_names_the_broken_batch(void **state)
{
	struct fixture *f = *state;
	struct batch *b = batch_of(1, 1);
	struct packed frame = {0};
	struct nack n;

	b->rows[1].verdict = FLOW_VERDICT_MAX;
	dealer_greet(&f->dealer, 1, 1);
	dealer_send_batch(&f->dealer, b);
	n = dealer_expect_nack(&f->dealer, NACK_MALFORMED);
	assert_int_equal(n.epoch, SAMPLE_EPOCH);
	assert_int_equal(n.seq, 1);
	b = batch_of(1, 1);
	assert_int_equal(batch_pack(b, &frame), 0);
	batch_free(b);
	frame_seal(frame.data, FRAME_BATCH, frame.len - FRAME_HEADER_BYTES - 1); /* cut */
	dealer_send(&f->dealer, frame.data, frame.len - 1);
	n = dealer_expect_nack(&f->dealer, NACK_MALFORMED);
	assert_int_equal(n.epoch, SAMPLE_EPOCH);
	assert_int_equal(n.seq, 1);
	free(frame.data);
	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_expect_ack(&f->dealer, 1);
	assert_int_equal(refused(f, "host1", "%"), 2);
}

static void test_addresses_that_are_no_hosts_are_refused(void **state)
{
	static const char *const bad[] = {"127.0.0.1", "fe80::1", "224.0.0.1", "::"};
	struct fixture *f = *state;
	struct hello h = sample_hello(1, 1);

	h.version_minor = HELLO_ADDRS_MINOR;
	h.n_addrs = 2;
	assert_int_equal(addr_parse("10.0.0.1", h.addrs[0]), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(addr_parse(bad[i], h.addrs[1]), 0);
		dealer_send_hello(&f->dealer, &h);
		(void)dealer_expect_nack(&f->dealer, NACK_MALFORMED);
	}
	assert_int_equal(addr_parse("10.0.0.2", h.addrs[1]), 0);
	dealer_send_hello(&f->dealer, &h);
	(void)dealer_expect_welcome(&f->dealer);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM host_addr"), 2);
}

static void test_another_major_version(void **state)
{
	struct hello h = sample_hello(1, 1);
	struct fixture *f = *state;

	h.version_major = 2;
	dealer_send_hello(&f->dealer, &h);
	dealer_expect_nack(&f->dealer, NACK_UNSUPPORTED);
	assert_int_equal(refused(f, "127.0.0.1", "another version%"), 1);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM host"), 0);
}

/* A batch of host 1 with bytes added to its body, all of it sealed again; n times tail. */
static void send_with_tail(struct fixture *f, const uint8_t *tail, size_t len, size_t n)
{
	uint8_t *data = calloc(1, FRAME_MAX_BYTES);
	struct batch *b = batch_of(1, 1);
	struct packed frame = {0};
	size_t at;

	assert_non_null(data);
	assert_int_equal(batch_pack(b, &frame), 0);
	batch_free(b);
	memcpy(data, frame.data, frame.len);
	at = frame.len;
	free(frame.data);
	for (; n > 0 && at + len < FRAME_MAX_BYTES; n--) {
		memcpy(data + at, tail, len);
		at += len;
	}
	frame_seal(data, FRAME_BATCH, at - FRAME_HEADER_BYTES);
	dealer_send(&f->dealer, data, at);
	free(data);
}

/* All that an admitted host can send is refused for what it is, and harms nobody. */
static void test_hostile_batches(void **state)
{
	static const struct {
		const char *what;
		uint8_t tail[12];
		size_t len, n;
	} cases[] = {
		{"more rows than there are in its block", {6 << 3, 5}, 2, 1},
		{"a block that is none", {0xda, 5, 1, 7}, 4, 1},
		{"an end in the middle of a field", {0xaa, 1, 100, 7}, 4, 1},
		{"a row count that no memory has room for", {6 << 3, 255, 255, 255, 255, 7}, 6, 1},
		{"an identity that is too short", {1 << 3 | 2, 2, 1, 1}, 4, 1},
		{"300,000 fields that nobody knows: 28 = \"\"", {0xe2, 1, 0}, 3, 300000},
		{"a kind that there is not", {5 << 3, 77}, 2, 1},
		{"a number with more bytes than it can have",
		 {3 << 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1},
		 12,
		 1},
	};
	struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;

	dealer_greet(&f->dealer, 1, 1);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		print_message("%s\n", cases[i].what);
		send_with_tail(f, cases[i].tail, cases[i].len, cases[i].n);
		(void)dealer_expect_nack(&f->dealer, NACK_MALFORMED);
	}
	r.end_ns = clock_real_ns() + 25 * 3600 * NS_PER_SEC;
	r.start_ns = r.end_ns;
	dealer_send_batch(&f->dealer, sample_batch(1, 1, &r, 3));
	assert_int_equal(dealer_expect_nack(&f->dealer, NACK_MALFORMED).seq, 1);
	r.end_ns -= 2 * 3600 * NS_PER_SEC; /* within the day: a clock may be wrong */
	r.start_ns = r.end_ns;
	dealer_send_batch(&f->dealer, sample_batch(1, 1, &r, 3));
	dealer_expect_ack(&f->dealer, 1);
	assert_int_equal(refused(f, "host1", "%"), sizeof(cases) / sizeof(cases[0]) + 1);
	assert_int_equal(refused(f, "host1", "records more than a day ahead%"), 1);
	assert_int_equal(count_flows(f), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_batch_without_hello),
		TEST(test_every_broken_header_is_refused),
		TEST(test_messages_that_are_no_frames),
		TEST(test_body_that_is_no_batch),
		TEST(test_refusal_names_the_broken_batch),
		TEST(test_addresses_that_are_no_hosts_are_refused),
		TEST(test_another_major_version),
		TEST(test_hostile_batches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
