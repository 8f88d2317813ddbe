/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/message.h"
#include "tests/unit/pick.h"
#include "weir.pb-c.h"

static struct frame open_frame(const struct packed *p, enum frame_type type)
{
	struct frame f;

	assert_int_equal(frame_open(p->data, p->len, &f), FRAME_OK);
	assert_int_equal(f.type, type);
	return f;
}

static void pick_hello(uint64_t *seed, struct hello *h)
{
	memset(h, 0, sizeof(*h));
	h->version_major = (uint32_t)pick(seed, UINT32_MAX);
	h->version_minor = (uint32_t)pick(seed, UINT32_MAX);
	pick_bytes(seed, h->probe_id, sizeof(h->probe_id));
	pick_bytes(seed, h->boot_id, sizeof(h->boot_id));
	h->epoch = 1 + pick(seed, UINT64_MAX - 1);
	h->run = 1 + pick(seed, UINT64_MAX - 1);
	h->elsewhere = pick(seed, 1);
	h->n_open_epochs = pick(seed, HELLO_MAX_EPOCHS);
	pick_bytes(seed, (uint8_t *)h->open_epochs, h->n_open_epochs * sizeof(*h->open_epochs));
	h->n_addrs = pick(seed, HELLO_MAX_ADDRS);
	pick_bytes(seed, (uint8_t *)h->addrs, h->n_addrs * sizeof(*h->addrs));
	h->oldest_seq = pick(seed, INT64_MAX);
	memset(h->host_name, 'h', 1 + pick(seed, HOST_NAME_MAX_BYTES - 1));
	(void)snprintf(h->build, sizeof(h->build), "0.1.%u", (unsigned)pick(seed, 99));
	(void)snprintf(h->kernel, sizeof(h->kernel), "6.%u-\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
		       (unsigned)pick(seed, 99));
	h->real_ns = pick(seed, INT64_MAX);
	h->mono_ns = pick(seed, INT64_MAX);
	h->backlog_batches = pick(seed, INT64_MAX);
	h->backlog_bytes = pick(seed, INT64_MAX);
	h->n_ifaces = pick(seed, HELLO_MAX_IFACES);
	for (size_t i = 0; i < h->n_ifaces; i++) {
		h->ifaces[i].index = 1 + (uint32_t)pick(seed, INT32_MAX - 1);
		(void)snprintf(h->ifaces[i].name, sizeof(h->ifaces[i].name), "veth%u",
			       (unsigned)i % 1000);
		(void)snprintf(h->ifaces[i].hooks, sizeof(h->ifaces[i].hooks), "xdp+tcx");
	}
}

static void hellos_come_back_equal(void **state)
{
	static struct hello h, back;
	uint64_t seed = 4;

	(void)state;
	for (int i = 0; i < 50; i++) {
		struct packed p;
		struct frame f;

		pick_hello(&seed, &h);
		assert_int_equal(hello_pack(&h, &p), 0);
		f = open_frame(&p, FRAME_HELLO);
		assert_int_equal(hello_unpack(f.body, f.body_len, &back, NULL), 0);
		assert_memory_equal(&h, &back, sizeof(h));
		free(p.data);
	}
	h.n_ifaces = HELLO_MAX_IFACES + 1;
	assert_int_equal(hello_pack(&h, &(struct packed){0}), -E2BIG);
	h.n_ifaces = 0;
	h.n_open_epochs = HELLO_MAX_EPOCHS + 1;
	assert_int_equal(hello_pack(&h, &(struct packed){0}), -E2BIG);
	h.n_open_epochs = 0;
	h.n_addrs = HELLO_MAX_ADDRS + 1;
	assert_int_equal(hello_pack(&h, &(struct packed){0}), -E2BIG);
}

/* A HELLO with n addresses, the last of which has len bytes. */
static int verdict_of_addrs(size_t n, size_t len)
{
	static ProtobufCBinaryData addrs[HELLO_MAX_ADDRS + 1];
	static uint8_t body[32 * (HELLO_MAX_ADDRS + 8)], zeros[32];
	static struct hello h;
	Weir__Hello m = WEIR__HELLO__INIT;
	size_t size;

	for (size_t i = 0; i < n; i++)
		addrs[i] = (ProtobufCBinaryData){i + 1 < n ? 16 : len, zeros};
	m.probe_id = m.boot_id = (ProtobufCBinaryData){16, zeros};
	m.epoch = 1;
	m.host_name = "host";
	m.n_address = n;
	m.address = addrs;
	size = weir__hello__pack(&m, body);
	assert_true(size <= sizeof(body));
	return hello_unpack(body, size, &h, NULL);
}

static void addresses_of_other_lengths_are_refused(void **state)
{
	(void)state;
	assert_int_equal(verdict_of_addrs(0, 0), 0);
	assert_int_equal(verdict_of_addrs(HELLO_MAX_ADDRS, 16), 0);
	assert_int_equal(verdict_of_addrs(HELLO_MAX_ADDRS + 1, 16), -EBADMSG);
	for (size_t len = 0; len <= 32; len++)
		assert_int_equal(verdict_of_addrs(2, len), len == 16 ? 0 : -EBADMSG);
}

/* One round trip of a small message. */
#define CHECK_ROUND_TRIP(name, type, ...)                                                          \
	do {                                                                                       \
		struct name in, out;                                                               \
		struct packed packed_;                                                             \
		struct frame frame_;                                                               \
                                                                                                   \
		memset(&in, 0, sizeof(in));                                                        \
		memset(&out, 0, sizeof(out));                                                      \
		in = (struct name){__VA_ARGS__};                                                   \
		assert_int_equal(name##_pack(&in, &packed_), 0);                                   \
		frame_ = open_frame(&packed_, type);                                               \
		assert_int_equal(name##_unpack(frame_.body, frame_.body_len, &out, NULL), 0);      \
		assert_memory_equal(&in, &out, sizeof(in));                                        \
		free(packed_.data);                                                                \
	} while (0)

static void small_messages_come_back_equal(void **state)
{
	struct packed p;
	uint64_t nonce = 0;
	struct frame f;

	(void)state;
	CHECK_ROUND_TRIP(welcome, FRAME_WELCOME, 1, 2, UINT64_MAX, 4, 5, 6, 7, 8);
	CHECK_ROUND_TRIP(welcome, FRAME_WELCOME, 0, 0, 0, INT64_MAX, INT64_MAX, UINT32_MAX,
			 UINT32_MAX, INT64_MAX);
	CHECK_ROUND_TRIP(ack, FRAME_ACK, UINT64_MAX, 2, INT64_MAX);
	CHECK_ROUND_TRIP(nack, FRAME_NACK, 1, 2, 3, NACK_STORAGE, 5, "disk full");
	CHECK_ROUND_TRIP(nack, FRAME_NACK, 1, 0, 0, NACK_UNSPECIFIED, 0, "");
	CHECK_ROUND_TRIP(host_command, FRAME_COMMAND, INT64_MAX, INT64_MAX, COMMAND_UNBLOCK,
			 UINT32_MAX, true, "10.0.0.0/8",
			 "r\xc3\xa9"
			 "ason",
			 "root");
	CHECK_ROUND_TRIP(host_command, FRAME_COMMAND, 1, 0, 99, 0, false, "", "", "");
	CHECK_ROUND_TRIP(command_result, FRAME_COMMAND_RESULT, 1, INT32_MAX, "text");
	assert_int_equal(ping_pack(FRAME_PONG, UINT64_MAX, &p), 0);
	f = open_frame(&p, FRAME_PONG);
	assert_int_equal(ping_unpack(f.body, f.body_len, &nonce, NULL), 0);
	assert_true(nonce == UINT64_MAX);
	free(p.data);
}

static int hello_verdict(const struct hello *h)
{
	static struct hello back;
	struct packed p;
	int err;

	assert_int_equal(hello_pack(h, &p), 0);
	err = hello_unpack(p.data + FRAME_HEADER_BYTES, p.len - FRAME_HEADER_BYTES, &back, NULL);
	free(p.data);
	return err;
}

static void bad_texts_are_refused(void **state)
{
	static const char *const bad[] = {
		"",		    /* a host has a name */
		"\x80",		    /* continuation alone */
		"a\xc3",	    /* cut */
		"\xc0\xaf",	    /* overlong */
		"\xe0\x80\x80",	    /* overlong */
		"\xf0\x80\x80\x80", /* overlong */
		"\xed\xa0\x80",	    /* surrogate */
		"\xf4\x90\x80\x80", /* past U+10FFFF */
		"\xf8\x88\x80\x80\x80",
	};
	static struct hello h;
	uint64_t seed = 6;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		pick_hello(&seed, &h);
		assert_int_equal(hello_verdict(&h), 0);
		memset(h.host_name, 0, sizeof(h.host_name));
		(void)snprintf(h.host_name, sizeof(h.host_name), "%s", bad[i]);
		assert_int_equal(hello_verdict(&h), -EBADMSG);
	}
}

static void long_texts_are_refused(void **state)
{
	Weir__Nack m = WEIR__NACK__INIT;
	char text[300] = "";
	uint8_t body[400];
	struct nack n;
	size_t len;

	(void)state;
	memset(text, 'x', sizeof(n.text));
	m.text = text;
	len = weir__nack__pack(&m, body);
	assert_int_equal(nack_unpack(body, len, &n, NULL), -EBADMSG);
	text[sizeof(n.text) - 1] = '\0';
	len = weir__nack__pack(&m, body);
	assert_int_equal(nack_unpack(body, len, &n, NULL), 0);
	m.code = 99;
	len = weir__nack__pack(&m, body);
	assert_int_equal(nack_unpack(body, len, &n, NULL), -EBADMSG);
}

/* The numbers of message.h are the ones of weir.proto. */
static void codes_match_the_schema(void **state)
{
	(void)state;
	assert_int_equal((int)NACK_MALFORMED, (int)WEIR__NACK_CODE__NACK_MALFORMED);
	assert_int_equal((int)NACK_GAP, (int)WEIR__NACK_CODE__NACK_GAP);
	assert_int_equal((int)NACK_STORAGE, (int)WEIR__NACK_CODE__NACK_STORAGE);
	assert_int_equal((int)NACK_NOT_ADMITTED, (int)WEIR__NACK_CODE__NACK_NOT_ADMITTED);
	assert_int_equal(WEIR__NACK_CODE__NACK_NOT_ADMITTED + 1,
			 weir__nack_code__descriptor.n_values);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hellos_come_back_equal),
		cmocka_unit_test(addresses_of_other_lengths_are_refused),
		cmocka_unit_test(small_messages_come_back_equal),
		cmocka_unit_test(codes_match_the_schema),
		cmocka_unit_test(bad_texts_are_refused),
		cmocka_unit_test(long_texts_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
