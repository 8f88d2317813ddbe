/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dealer.h - the probe's end of the protocol, as simple as can be, for tests of the collector.
 *
 * A dealer has the key of the host that it says HELLO as; one that says something else first,
 * that of host 1. dealer_connect() before that gives it another one.
 */
#ifndef WEIR_TESTS_UNIT_DEALER_H
#define WEIR_TESTS_UNIT_DEALER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "proto/frame.h"
#include "proto/message.h"
#include "tests/unit/sample_jobs.h"
#include "tests/unit/sample_keys.h"

#define DEALER_WAIT_MS 30000

struct dealer {
	void *ctx, *socket;
	char endpoint[64];
	bool connected;
};

static inline void dealer_open(struct dealer *d, const char *endpoint)
{
	const int linger = 0, wait_ms = DEALER_WAIT_MS;

	d->ctx = zmq_ctx_new();
	assert_non_null(d->ctx);
	d->socket = zmq_socket(d->ctx, ZMQ_DEALER);
	assert_non_null(d->socket);
	assert_int_equal(zmq_setsockopt(d->socket, ZMQ_LINGER, &linger, sizeof(linger)), 0);
	assert_int_equal(zmq_setsockopt(d->socket, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms)), 0);
	assert_int_equal(zmq_setsockopt(d->socket, ZMQ_SNDTIMEO, &wait_ms, sizeof(wait_ms)), 0);
	(void)snprintf(d->endpoint, sizeof(d->endpoint), "%s", endpoint);
	d->connected = false;
}

/* As host n. */
static inline void dealer_connect(struct dealer *d, uint8_t n)
{
	const struct key_pair server = sample_key(SAMPLE_SERVER), own = sample_key(n);

	assert_int_equal(
		zmq_setsockopt(d->socket, ZMQ_CURVE_SERVERKEY, server.public_key, KEY_BYTES), 0);
	assert_int_equal(zmq_setsockopt(d->socket, ZMQ_CURVE_PUBLICKEY, own.public_key, KEY_BYTES),
			 0);
	assert_int_equal(zmq_setsockopt(d->socket, ZMQ_CURVE_SECRETKEY, own.secret_key, KEY_BYTES),
			 0);
	assert_int_equal(zmq_connect(d->socket, d->endpoint), 0);
	d->connected = true;
}

static inline void dealer_close(struct dealer *d)
{
	(void)zmq_close(d->socket);
	(void)zmq_ctx_term(d->ctx);
}

static inline void dealer_send(struct dealer *d, const void *data, size_t len)
{
	if (!d->connected)
		dealer_connect(d, 1);
	assert_int_equal(zmq_send(d->socket, data, len, 0), (int)len);
}

static inline void dealer_send_packed(struct dealer *d, int pack_err, struct packed *frame)
{
	assert_int_equal(pack_err, 0);
	dealer_send(d, frame->data, frame->len);
	free(frame->data);
}

static inline void dealer_send_hello(struct dealer *d, const struct hello *h)
{
	struct packed frame = {0};
	int err = hello_pack(h, &frame);

	if (!d->connected)
		dealer_connect(d, h->probe_id[0]);
	dealer_send_packed(d, err, &frame);
}

/* Takes b. */
static inline void dealer_send_batch(struct dealer *d, struct batch *b)
{
	struct packed frame = {0};
	int err = batch_pack(b, &frame);

	dealer_send_packed(d, err, &frame);
	batch_free(b);
}

/*
 * The next message into buf (frame->body points there). Returns its type, or
 * 0 when none comes.
 */
static inline int dealer_receive(struct dealer *d, uint8_t buf[static 4096], struct frame *frame)
{
	int len = zmq_recv(d->socket, buf, 4096, 0);

	if (len < 0)
		return 0;
	assert_in_range(len, FRAME_HEADER_BYTES, 4096);
	assert_int_equal(frame_open(buf, (size_t)len, frame), FRAME_OK);
	return (int)frame->type;
}

/* The type of the next message, 0 when none comes. */
static inline int dealer_receive_type(struct dealer *d)
{
	uint8_t buf[4096];
	struct frame f = {0};

	return dealer_receive(d, buf, &f);
}

static inline struct welcome dealer_expect_welcome(struct dealer *d)
{
	uint8_t buf[4096];
	struct welcome w = {0};
	struct frame f = {0};

	assert_int_equal(dealer_receive(d, buf, &f), FRAME_WELCOME);
	assert_int_equal(welcome_unpack(f.body, f.body_len, &w, NULL), 0);
	return w;
}

static inline struct nack dealer_expect_nack(struct dealer *d, enum nack_code code)
{
	uint8_t buf[4096];
	struct nack n = {0};
	struct frame f = {0};

	assert_int_equal(dealer_receive(d, buf, &f), FRAME_NACK);
	assert_int_equal(nack_unpack(f.body, f.body_len, &n, NULL), 0);
	assert_int_equal(n.code, code);
	return n;
}

static inline void dealer_expect_ack(struct dealer *d, uint64_t up_to_seq)
{
	uint8_t buf[4096];
	struct ack a = {0};
	struct frame f = {0};

	assert_int_equal(dealer_receive(d, buf, &f), FRAME_ACK);
	assert_int_equal(ack_unpack(f.body, f.body_len, &a, NULL), 0);
	assert_int_equal(a.epoch, SAMPLE_EPOCH);
	assert_int_equal(a.up_to_seq, up_to_seq);
}

/* Says HELLO as host n and is welcomed. Returns the last committed seq. */
static inline uint64_t dealer_greet(struct dealer *d, uint8_t n, uint64_t oldest_seq)
{
	const struct hello h = sample_hello(n, oldest_seq);

	dealer_send_hello(d, &h);
	return dealer_expect_welcome(d).last_seq;
}

#endif /* WEIR_TESTS_UNIT_DEALER_H */
