// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The probe's side of the protocol, with collectors that this test plays itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "common/addr.h"
#include "common/clock.h"
#include "common/log.h"
#include "probe/datapath/own_addrs.h"
#include "probe/spool/spool.h"
#include "probe/uplink/keyring.h"
#include "probe/uplink/orders.h"
#include "probe/uplink/sender.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "tests/unit/remove_folder.h"
#include "tests/unit/sample_keys.h"

#define EPOCH	  77u
#define NEW_EPOCH 78u
#define WAIT_MS	  60000
#define CREDIT	  (1u << 20)
#define BACKLOG	  400 /* batches: more than the sender lets a live epoch have */

static const uint8_t probe_id[PROBE_ID_BYTES] = "sixteen bytes...";

/* A collector as the probe sees it. */
struct fake {
	void *socket;
	char url[64];
	uint8_t peer[256];
	int peer_len;
};

struct fixture {
	void *zmq;
	struct fake fakes[2];
	const char *urls[2];
	char dir[32];
	struct spool *spool;
	struct sender *sender;
	struct hello hello;
	int (*read_addrs)(struct own_addrs *ret);
	uint64_t group;
	uint8_t buf[FRAME_MAX_BYTES];
};

/* --- a collector ------------------------------------------------------------------ */

static void fake_open(struct fixture *f, size_t i)
{
	const int one = 1, zero = 0, wait_ms = WAIT_MS;
	const struct key_pair key = sample_key((uint8_t)i);
	struct fake *c = &f->fakes[i];
	size_t len = sizeof(c->url);

	c->socket = zmq_socket(f->zmq, ZMQ_ROUTER);
	assert_non_null(c->socket);
	(void)zmq_setsockopt(c->socket, ZMQ_CURVE_SERVER, &one, sizeof(one));
	(void)zmq_setsockopt(c->socket, ZMQ_CURVE_SECRETKEY, key.secret_key, KEY_BYTES);
	(void)zmq_setsockopt(c->socket, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms));
	(void)zmq_setsockopt(c->socket, ZMQ_LINGER, &zero, sizeof(zero));
	/* The same port again, when it comes back. */
	assert_int_equal(zmq_bind(c->socket, c->url[0] ? c->url : "tcp://127.0.0.1:*"), 0);
	assert_int_equal(zmq_getsockopt(c->socket, ZMQ_LAST_ENDPOINT, c->url, &len), 0);
}

static void fake_close(struct fake *c)
{
	if (c->socket)
		assert_int_equal(zmq_close(c->socket), 0);
	c->socket = NULL;
}

static void fake_send(struct fake *c, int err, struct packed *frame)
{
	assert_int_equal(err, 0);
	assert_int_equal(zmq_send(c->socket, c->peer, (size_t)c->peer_len, ZMQ_SNDMORE),
			 c->peer_len);
	assert_int_equal(zmq_send(c->socket, frame->data, frame->len, 0), (int)frame->len);
	free(frame->data);
}

/* The next frame that is no PING; a PING is answered. */
static struct frame fake_receive(struct fixture *f, struct fake *c)
{
	struct packed pong;
	struct frame frame;
	uint64_t nonce;
	int len;

	for (;;) {
		c->peer_len = zmq_recv(c->socket, c->peer, sizeof(c->peer), 0);
		assert_true(c->peer_len > 0);
		len = zmq_recv(c->socket, f->buf, sizeof(f->buf), 0);
		assert_true(len >= FRAME_HEADER_BYTES);
		assert_int_equal(frame_open(f->buf, (size_t)len, &frame), FRAME_OK);
		if (frame.type != FRAME_PING)
			return frame;
		assert_int_equal(ping_unpack(frame.body, frame.body_len, &nonce, NULL), 0);
		fake_send(c, ping_pack(FRAME_PONG, nonce, &pong), &pong);
	}
}

static struct hello fake_expect_hello(struct fixture *f, struct fake *c)
{
	struct frame frame = fake_receive(f, c);
	static struct hello h;

	assert_int_equal(frame.type, FRAME_HELLO);
	assert_int_equal(hello_unpack(frame.body, frame.body_len, &h, NULL), 0);
	return h;
}

static void fake_welcome(struct fake *c, uint64_t epoch, uint64_t last_seq, uint64_t credit)
{
	const struct welcome w = {
		.version_major = PROTO_VERSION_MAJOR,
		.epoch = epoch,
		.last_seq = last_seq,
		.credit_bytes = credit,
		.heartbeat_ms = 200,
	};
	struct packed frame;

	fake_send(c, welcome_pack(&w, &frame), &frame);
}

static void fake_ack(struct fake *c, uint64_t epoch, uint64_t seq, uint64_t credit)
{
	const struct ack a = {epoch, seq, credit};
	struct packed frame;

	fake_send(c, ack_pack(&a, &frame), &frame);
}

static void fake_nack(struct fake *c, enum nack_code code, uint64_t epoch, uint64_t seq)
{
	const struct nack n = {.epoch = epoch, .seq = seq, .code = code, .text = "test"};
	struct packed frame;

	fake_send(c, nack_pack(&n, &frame), &frame);
}

static struct batch *fake_expect_batch(struct fixture *f, struct fake *c)
{
	struct frame frame = fake_receive(f, c);
	struct batch *b = NULL;

	assert_int_equal(frame.type, FRAME_BATCH);
	assert_int_equal(batch_unpack(frame.body, frame.body_len, &b, NULL), 0);
	return b;
}

static void fake_expect_seq(struct fixture *f, struct fake *c, uint64_t seq)
{
	struct batch *b = fake_expect_batch(f, c);

	assert_int_equal(b->kind, BATCH_FLOWS);
	assert_int_equal(b->epoch, EPOCH);
	assert_int_equal(b->seq, seq);
	batch_free(b);
}

/* --- the probe -------------------------------------------------------------------- */

static void push(struct fixture *f, uint64_t epoch, uint64_t first, uint64_t last)
{
	for (uint64_t seq = first; seq <= last; seq++) {
		struct batch b = {.epoch = epoch, .run = EPOCH, .first_seq = seq, .seq = seq};
		const struct spool_load load = {.rows = seq, .packets = 10 * seq};
		struct packed frame;

		memcpy(b.probe_id, probe_id, sizeof(b.probe_id));
		assert_int_equal(batch_pack(&b, &frame), 0);
		assert_int_equal(spool_push(f->spool, seq, &frame, &load), 0);
	}
	assert_int_equal(spool_submit(f->spool, ++f->group), 0);
	assert_int_equal(spool_wait(f->spool, WAIT_MS), 0);
}

/* silence_ns: long, where a collector is slow only when the machine is. */
static void start_with(struct fixture *f, size_t n, uint64_t silence_ns)
{
	const struct sender_settings settings = {
		.urls = f->urls,
		.n = n,
		.state_dir = f->dir,
		.silence_ns = silence_ns,
		.read_addrs = f->read_addrs,
		.addrs_ns = NS_PER_MS,
	};

	assert_int_equal(sender_start(&settings, &f->hello, f->spool, &f->sender), 0);
}

static void start(struct fixture *f, size_t n)
{
	start_with(f, n, WAIT_MS * NS_PER_MS);
}

static uint64_t waiting(struct fixture *f)
{
	struct spool_stats s;

	spool_stats(f->spool, &s);
	return s.batches;
}

static void wait_delivered(struct fixture *f)
{
	for (int i = 0; i < WAIT_MS / 10 && waiting(f) > 0; i++)
		usleep(10000);
	assert_int_equal(waiting(f), 0);
}

static void enroll(struct fixture *f)
{
	char why[KEYRING_WHY_BYTES];
	struct key_pair own;

	assert_int_equal(keyring_own(f->dir, &own, why), 0);
	for (size_t i = 0; i < 2; i++) {
		struct known_collector c = {.enroll_url = "tcp://127.0.0.1:1"};

		(void)snprintf(c.url, sizeof(c.url), "%s", f->urls[i]);
		memcpy(c.key, sample_key((uint8_t)i).public_key, KEY_BYTES);
		assert_int_equal(keyring_add(f->dir, &c, why), 0);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct spool_settings settings = {
		.path = SPOOL_IN_MEMORY,
		.max_bytes = SPOOL_MEMORY_MAX_BYTES,
		.epoch = EPOCH,
	};

	assert_non_null(f);
	*state = f;
	log_set_level(LOG_LEVEL_ERROR);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/weir-test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->zmq = zmq_ctx_new();
	for (size_t i = 0; i < 2; i++) {
		fake_open(f, i);
		f->urls[i] = f->fakes[i].url;
	}
	enroll(f);
	memcpy(settings.probe_id, probe_id, sizeof(probe_id));
	assert_int_equal(spool_open(&settings, &f->spool), 0);
	assert_int_equal(spool_start(f->spool, 1, 0), 0);
	assert_int_equal(spool_wait(f->spool, 60000), 0);
	f->hello = (struct hello){
		.version_major = PROTO_VERSION_MAJOR,
		.version_minor = PROTO_VERSION_MINOR,
		.epoch = EPOCH,
		.host_name = "host1",
	};
	memcpy(f->hello.probe_id, probe_id, sizeof(probe_id));
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int err;

	sender_stop(f->sender, 0);
	spool_close(f->spool);
	for (size_t i = 0; i < 2; i++)
		fake_close(&f->fakes[i]);
	(void)zmq_ctx_term(f->zmq);
	err = remove_folder(f->dir);
	free(f);
	return err;
}

/* --- tests -------------------------------------------------------------------------- */

/* Address by address, as many as told_addrs says; below 0 they cannot be read. */
static _Atomic int told_addrs;

static int read_told_addrs(struct own_addrs *ret)
{
	int n = told_addrs;

	if (n < 0)
		return -EIO;
	*ret = (struct own_addrs){.n = (size_t)n, .untold = (size_t)n * 10};
	for (int i = 0; i < n; i++)
		ret->addrs[i][15] = (uint8_t)(i + 1);
	return 0;
}

static void addresses_are_told_and_told_again(void **state)
{
	struct fixture *f = *state;
	struct fake *c = &f->fakes[0];
	struct sender_stats stats;
	struct hello h;

	f->read_addrs = read_told_addrs;
	told_addrs = 2;
	push(f, EPOCH, 1, 1);
	start(f, 1);
	h = fake_expect_hello(f, c);
	assert_int_equal(h.n_addrs, 2);
	assert_int_equal(h.addrs[1][15], 2);
	fake_welcome(c, EPOCH, 0, 1000000);
	fake_expect_seq(f, c, 1);
	fake_ack(c, EPOCH, 1, 1000000);
	told_addrs = 3;
	h = fake_expect_hello(f, c);
	assert_int_equal(h.n_addrs, 3);
	fake_welcome(c, EPOCH, 1, 1000000);
	told_addrs = -1; /* it stays with what it knows */
	push(f, EPOCH, 2, 2);
	fake_expect_seq(f, c, 2);
	fake_ack(c, EPOCH, 2, 1000000);
	wait_delivered(f);
	sender_stats(f->sender, &stats);
	assert_int_equal(stats.connects, 1);
	assert_int_equal(stats.addrs_untold, 30);
}

static void own_addresses_are_those_of_a_host(void **state)
{
	struct own_addrs own;

	(void)state;
	assert_int_equal(own_addrs_read(&own), 0);
	for (size_t i = 0; i < own.n; i++) {
		assert_true(addr_is_of_host(own.addrs[i]));
		assert_true(i == 0 || memcmp(own.addrs[i - 1], own.addrs[i], 16) < 0);
	}
}

static void batches_go_within_the_credit(void **state)
{
	struct fixture *f = *state;
	struct fake *c = &f->fakes[0];
	struct hello h;

	push(f, EPOCH, 1, 3);
	start(f, 1);
	h = fake_expect_hello(f, c);
	assert_int_equal(h.epoch, EPOCH);
	assert_int_equal(h.run, EPOCH);
	assert_int_equal(h.oldest_seq, 1);
	assert_int_equal(h.n_open_epochs, 1);
	assert_false(h.elsewhere);
	fake_welcome(c, EPOCH, 0, CREDIT_MIN_BYTES); /* one at a time, however small */
	for (uint64_t seq = 1; seq <= 3; seq++) {
		fake_expect_seq(f, c, seq);
		fake_ack(c, EPOCH, seq, CREDIT_MIN_BYTES);
	}
	wait_delivered(f);
}

/* A credit of 0 stops it; it comes back without an acknowledgement of anything. */
static void no_credit_no_batch(void **state)
{
	struct fixture *f = *state;
	struct fake *c = &f->fakes[0];
	uint8_t type = 0;

	push(f, EPOCH, 1, 1);
	start(f, 1);
	(void)fake_expect_hello(f, c);
	fake_welcome(c, EPOCH, 0, 0);
	for (int i = 0; i < 2; i++) { /* two heartbeats, and nothing else */
		c->peer_len = zmq_recv(c->socket, c->peer, sizeof(c->peer), 0);
		assert_true(zmq_recv(c->socket, f->buf, sizeof(f->buf), 0) > 4);
		type = f->buf[3];
		assert_int_equal(type, FRAME_PING);
	}
	fake_ack(c, 0, 0, CREDIT);
	fake_expect_seq(f, c, 1);
}

/* The probe keeps what it has, and asks elsewhere. */
static void another_major_version_keeps_the_batches(void **state)
{
	struct fixture *f = *state;
	struct fake *new = &f->fakes[0], *ours = &f->fakes[1];

	push(f, EPOCH, 1, 2);
	start(f, 2);
	(void)fake_expect_hello(f, new);
	assert_int_equal(waiting(f), 2);
	fake_nack(new, NACK_UNSUPPORTED, EPOCH, 0);
	assert_true(fake_expect_hello(f, ours).elsewhere);
	fake_welcome(ours, EPOCH, 0, CREDIT);
	fake_expect_seq(f, ours, 1);
	fake_expect_seq(f, ours, 2);
	fake_ack(ours, EPOCH, 2, CREDIT);
	wait_delivered(f);
}

/* It may answer in a version that we cannot read at all. */
static void another_major_version_in_the_header(void **state)
{
	struct fixture *f = *state;
	struct fake *new = &f->fakes[0];
	struct packed frame;
	int err;

	push(f, EPOCH, 1, 1);
	start(f, 2);
	(void)fake_expect_hello(f, new);
	err = ping_pack(FRAME_PONG, 1, &frame);
	frame.data[2] = PROTO_VERSION_MAJOR + 1;
	fake_send(new, err, &frame);
	(void)fake_expect_hello(f, &f->fakes[1]);
	assert_int_equal(waiting(f), 1);
}

/* Fields that a later minor version adds are passed over. */
static void a_later_minor_version_is_understood(void **state)
{
	static const uint8_t unknown[] = {0xf8, 0x06, 5, 0xfa, 0x06, 3, 'n', 'e', 'w'};
	const struct welcome w = {
		.version_major = PROTO_VERSION_MAJOR,
		.version_minor = PROTO_VERSION_MINOR + 1,
		.epoch = EPOCH,
		.credit_bytes = CREDIT,
	};
	struct fixture *f = *state;
	struct fake *c = &f->fakes[0];
	struct packed frame;

	push(f, EPOCH, 1, 1);
	start(f, 1);
	(void)fake_expect_hello(f, c);
	assert_int_equal(welcome_pack(&w, &frame), 0);
	frame.data = realloc(frame.data, frame.len + sizeof(unknown));
	memcpy(frame.data + frame.len, unknown, sizeof(unknown));
	frame.len += sizeof(unknown);
	frame_seal(frame.data, FRAME_WELCOME, frame.len - FRAME_HEADER_BYTES);
	fake_send(c, 0, &frame);
	fake_expect_seq(f, c, 1);
}

/* It becomes a loss, once, and those behind it go on. */
static void a_poison_batch_does_not_block_the_others(void **state)
{
	struct fixture *f = *state;
	struct fake *c = &f->fakes[0];
	struct batch *grave;

	push(f, EPOCH, 1, 2);
	start(f, 1);
	(void)fake_expect_hello(f, c);
	fake_welcome(c, EPOCH, 0, CREDIT);
	fake_expect_seq(f, c, 1);
	fake_expect_seq(f, c, 2);
	fake_nack(c, NACK_MALFORMED, EPOCH, 1);
	grave = fake_expect_batch(f, c);
	assert_int_equal(grave->kind, BATCH_TOMBSTONE);
	assert_int_equal(grave->reason, LOSS_REFUSED);
	assert_int_equal(grave->seq, 1);
	assert_int_equal(grave->dropped_rows, 1);
	assert_int_equal(grave->dropped_packets, 10);
	batch_free(grave);
	fake_expect_seq(f, c, 2);
	fake_ack(c, EPOCH, 2, CREDIT);
	wait_delivered(f);
}

static void a_gap_is_filled(void **state)
{
	struct fixture *f = *state;
	struct fake *c = &f->fakes[0];
	const struct nack gap = {.epoch = EPOCH, .seq = 3, .code = NACK_GAP, .last_seq = 1};
	struct packed frame;

	push(f, EPOCH, 1, 3);
	start(f, 1);
	(void)fake_expect_hello(f, c);
	fake_welcome(c, EPOCH, 0, CREDIT);
	for (uint64_t seq = 1; seq <= 3; seq++)
		fake_expect_seq(f, c, seq);
	fake_send(c, nack_pack(&gap, &frame), &frame);
	fake_expect_seq(f, c, 2);
	fake_expect_seq(f, c, 3);
	fake_nack(c, NACK_NO_HELLO, 0, 0); /* the collector has been started again */
	assert_int_equal(fake_expect_hello(f, c).oldest_seq, 2);
	fake_welcome(c, EPOCH, 3, CREDIT);
	wait_delivered(f);
}

/* What happens now is delivered while most of the backlog still waits. */
static void live_batches_overtake_a_backlog(void **state)
{
	struct fixture *f = *state;
	struct fake *c = &f->fakes[0];
	uint64_t old = 0, rest = BACKLOG;
	bool new_is_here = false;
	struct batch *b;

	push(f, EPOCH, 1, BACKLOG);
	start(f, 1);
	(void)fake_expect_hello(f, c);
	fake_welcome(c, EPOCH, 0, 8 * CREDIT_MIN_BYTES);
	for (int i = 0; i < WAIT_MS / 10 && !spool_epoch_asked(f->spool); i++)
		usleep(10000);
	assert_int_equal(spool_begin(f->spool, NEW_EPOCH), 0); /* as the exporter does */
	push(f, NEW_EPOCH, 1, 1);
	while (rest > 0) {
		struct frame frame = fake_receive(f, c);

		if (frame.type == FRAME_HELLO) {
			fake_welcome(c, NEW_EPOCH, 0, 8 * CREDIT_MIN_BYTES);
			continue;
		}
		assert_int_equal(batch_unpack(frame.body, frame.body_len, &b, NULL), 0);
		if (b->epoch == NEW_EPOCH)
			new_is_here = true;
		else
			assert_int_equal(b->seq, ++old);
		if (new_is_here && rest == BACKLOG)
			assert_true(old < BACKLOG / 2); /* 8 were on their way, as a rule */
		rest = new_is_here ? BACKLOG - old : rest;
		fake_ack(c, b->epoch, b->seq, 8 * CREDIT_MIN_BYTES);
		batch_free(b);
	}
	wait_delivered(f);
}

static void fake_order(struct fake *c, uint64_t id, uint32_t kind, uint64_t not_after_ns)
{
	const struct host_command order = {
		.command_id = id,
		.kind = kind,
		.not_after_ns = not_after_ns,
		.reason = "test",
	};
	struct packed frame;

	fake_send(c, host_command_pack(&order, &frame), &frame);
}

static struct command_result fake_expect_result(struct fixture *f, struct fake *c, uint64_t id)
{
	struct frame frame = fake_receive(f, c);
	struct command_result r = {0};

	assert_int_equal(frame.type, FRAME_COMMAND_RESULT);
	assert_int_equal(command_result_unpack(frame.body, frame.body_len, &r, NULL), 0);
	assert_int_equal(r.command_id, id);
	return r;
}

/* Also after a restart of the probe, and however often it is sent. */
static void an_order_is_carried_out_once(void **state)
{
	struct fixture *f = *state;
	struct fake *c = &f->fakes[0];
	uint64_t later_ns = clock_real_ns() + 3600 * NS_PER_SEC;

	for (int i = 0; i < 2; i++) {
		start(f, 1);
		(void)fake_expect_hello(f, c);
		fake_welcome(c, EPOCH, 0, CREDIT);
		fake_order(c, 5, COMMAND_ECHO, later_ns);
		assert_int_equal(fake_expect_result(f, c, 5).status, 0);
		fake_order(c, 6, COMMAND_BLOCK, later_ns);
		assert_int_equal(fake_expect_result(f, c, 6).status, EOPNOTSUPP);
		fake_order(c, 7, 99, later_ns);
		assert_int_equal(fake_expect_result(f, c, 7).status, EINVAL);
		fake_order(c, 8, COMMAND_ECHO, 1);
		assert_int_equal(fake_expect_result(f, c, 8).status, ETIME);
		fake_order(c, 6, COMMAND_ECHO, later_ns); /* the answer that was given */
		assert_int_equal(fake_expect_result(f, c, 6).status, EOPNOTSUPP);
		fake_order(c, 4, COMMAND_ECHO, later_ns); /* goes back */
		assert_int_equal(fake_expect_result(f, c, 4).status, EALREADY);
		sender_stop(f->sender, 0);
		f->sender = NULL;
	}
	start(f, 1);
	(void)fake_expect_hello(f, c);
	fake_welcome(c, EPOCH, 0, CREDIT);
	for (uint64_t id = 9; id < 9 + 2 * ORDERS_KEPT; id++) {
		fake_order(c, id, COMMAND_ECHO, later_ns);
		assert_int_equal(fake_expect_result(f, c, id).status, 0);
	}
	fake_order(c, 9, COMMAND_ECHO, later_ns);
	assert_int_equal(fake_expect_result(f, c, 9).status, EALREADY);
}

/* Welcomes as often as it is greeted, until it has the batch. */
static void deliver(struct fixture *f, struct fake *c, uint64_t seq)
{
	for (;;) {
		struct frame frame = fake_receive(f, c);
		struct batch *b = NULL;
		uint64_t got;

		if (frame.type == FRAME_HELLO) {
			fake_welcome(c, EPOCH, seq - 1, CREDIT);
			continue;
		}
		assert_int_equal(frame.type, FRAME_BATCH);
		assert_int_equal(batch_unpack(frame.body, frame.body_len, &b, NULL), 0);
		got = b->seq;
		batch_free(b);
		assert_int_equal(got, seq); /* no other one comes here */
		fake_ack(c, EPOCH, seq, CREDIT);
		return;
	}
}

/* The second takes over; the first, once it answers, is the one again; no batch goes to both. */
static void the_next_collector_takes_over_until_the_first_is_back(void **state)
{
	struct fixture *f = *state;
	struct fake *first = &f->fakes[0], *second = &f->fakes[1];
	struct packed ping;
	uint8_t type;

	fake_close(first);
	push(f, EPOCH, 1, 1);
	start_with(f, 2, 0);
	deliver(f, second, 1);
	wait_delivered(f);
	fake_open(f, 0);
	do { /* the second goes on answering; the scout asks the first */
		zmq_pollitem_t items[] = {{.socket = first->socket, .events = ZMQ_POLLIN},
					  {.socket = second->socket, .events = ZMQ_POLLIN}};

		assert_true(zmq_poll(items, 2, WAIT_MS) > 0);
		if (items[1].revents) {
			second->peer_len =
				zmq_recv(second->socket, second->peer, sizeof(second->peer), 0);
			(void)zmq_recv(second->socket, f->buf, sizeof(f->buf), 0);
			fake_send(second, ping_pack(FRAME_PONG, 1, &ping), &ping);
		}
		type = 0;
		if (items[0].revents) {
			first->peer_len =
				zmq_recv(first->socket, first->peer, sizeof(first->peer), 0);
			(void)zmq_recv(first->socket, f->buf, sizeof(f->buf), 0);
			type = f->buf[3];
			if (type == FRAME_PING)
				fake_nack(first, NACK_NO_HELLO, 0, 0);
		}
	} while (type != FRAME_HELLO);
	push(f, EPOCH, 2, 2);
	fake_welcome(first, EPOCH, 1, CREDIT);
	deliver(f, first, 2);
	wait_delivered(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(addresses_are_told_and_told_again),
		TEST(own_addresses_are_those_of_a_host),
		TEST(batches_go_within_the_credit),
		TEST(no_credit_no_batch),
		TEST(another_major_version_keeps_the_batches),
		TEST(another_major_version_in_the_header),
		TEST(a_later_minor_version_is_understood),
		TEST(a_poison_batch_does_not_block_the_others),
		TEST(a_gap_is_filled),
		TEST(live_batches_overtake_a_backlog),
		TEST(an_order_is_carried_out_once),
		TEST(the_next_collector_takes_over_until_the_first_is_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
