/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Real sockets on loopback, a real store behind the writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "collector/serve/credit.h"
#include "collector/serve/receiver.h"
#include "collector/serve/refusals.h"
#include "collector/serve/writer.h"
#include "common/queue.h"
#include "proto/enroll.h"
#include "tests/unit/dealer.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/sample_jobs.h"

#define MAX_WAITING 16
#define MAX_PEERS   3
#define MAX_JOBS    4

struct fixture {
	struct sample_dir dir;
	struct queue *jobs, *replies;
	struct store *store;
	struct allow_list *allow;
	struct receiver *receiver;
	int stop_fd, receiver_err;
	bool writing, stopped;
	pthread_t receiver_thread, writer_thread;
	sqlite3 *outside;
	struct dealer dealer; /* one that is connected */
};

static const struct writer_settings writer_settings = {.commit_interval_ms = 5};

static void *run_receiver(void *arg)
{
	struct fixture *f = arg;

	f->receiver_err = receiver_run(f->receiver, f->stop_fd);
	return NULL;
}

static void *run_writer(void *arg)
{
	struct fixture *f = arg;

	writer_run(f->store, &writer_settings, f->jobs, f->replies);
	return NULL;
}

static void start_writer(struct fixture *f)
{
	assert_int_equal(pthread_create(&f->writer_thread, NULL, run_writer, f), 0);
	f->writing = true;
}

/* Everything but the writer. */
static int setup_with(void **state, uint64_t silent_ms)
{
	const struct key_pair key = sample_key(SAMPLE_SERVER);
	struct receiver_settings settings = {
		.endpoint = "tcp://127.0.0.1:*",
		.enroll_endpoint = "tcp://127.0.0.1:*",
		.key = &key,
		.max_waiting = MAX_WAITING,
		.max_peers = MAX_PEERS,
		.silent_ms = silent_ms,
		.credit_bytes = 3 * CREDIT_MAX_BYTES,
	};
	struct fixture *f = calloc(1, sizeof(*f));
	const char *why = NULL;

	assert_non_null(f);
	*state = f;
	settings.allow = f->allow = sample_allow_list();
	sample_dir_make(&f->dir);
	f->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(f->stop_fd >= 0);
	assert_int_equal(queue_new(MAX_JOBS, SIZE_MAX, job_free, &f->jobs), 0);
	assert_int_equal(queue_new(64, SIZE_MAX, job_free, &f->replies), 0);
	assert_int_equal(store_open(f->dir.path, &f->store, &why), 0);
	assert_int_equal(receiver_new(&settings, f->jobs, f->replies, &f->receiver), 0);
	assert_int_equal(pthread_create(&f->receiver_thread, NULL, run_receiver, f), 0);
	f->outside = sample_reader(f->dir.path);
	dealer_open(&f->dealer, receiver_endpoint(f->receiver));
	return 0;
}

/* On a slow machine a peer of these tests may be silent for long. */
static int setup_idle(void **state)
{
	return setup_with(state, 10 * DEALER_WAIT_MS);
}

static int setup(void **state)
{
	(void)setup_idle(state);
	start_writer(*state);
	return 0;
}

static int setup_impatient(void **state)
{
	(void)setup_with(state, 1000);
	start_writer(*state);
	return 0;
}

static void stop(struct fixture *f)
{
	if (f->stopped)
		return;
	f->stopped = true;
	if (!f->writing)
		queue_close(f->replies);
	assert_int_equal(eventfd_write(f->stop_fd, 1), 0);
	assert_int_equal(pthread_join(f->receiver_thread, NULL), 0);
	if (f->writing)
		assert_int_equal(pthread_join(f->writer_thread, NULL), 0);
	assert_int_equal(f->receiver_err, 0);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	stop(f);
	dealer_close(&f->dealer);
	receiver_free(f->receiver);
	allow_list_free(f->allow);
	sqlite3_close(f->outside);
	store_close(f->store);
	queue_free(f->jobs);
	queue_free(f->replies);
	close(f->stop_fd);
	sample_dir_remove(&f->dir);
	free(f);
	return 0;
}

static struct batch *batch_of(uint8_t host, uint64_t seq)
{
	const struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);

	return sample_batch(host, seq, &r, 3);
}

static int64_t count_flows(struct fixture *f)
{
	return sample_int(f->outside, "SELECT count(*) FROM flows");
}

/* How many messages of peer were refused for reason, once the receiver has stopped. */
static int64_t refused(struct fixture *f, const char *peer, const char *reason)
{
	char *sql = sqlite3_mprintf("SELECT coalesce(sum(count), 0) FROM refusal WHERE peer = %Q"
				    " AND reason LIKE %Q",
				    peer, reason);
	int64_t n;

	stop(f);
	n = sample_int(f->outside, sql);
	sqlite3_free(sql);
	return n;
}

/* As the job of an administrator, of the one connection that writes. */
static void order_host(struct fixture *f, const char *host)
{
	char *sql = sqlite3_mprintf(
		"INSERT INTO probe_order (host_id, kind, prefix, ttl_s, reason, actor, created_ms,"
		" not_after_ms) SELECT id, 'echo', '', 60, 'why', 'root', 0,"
		" unixepoch() * 1000 + 60000 FROM host WHERE name = %Q",
		host);

	(void)sqlite3_busy_timeout(f->outside, DEALER_WAIT_MS);
	assert_int_equal(sqlite3_exec(f->outside, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_free(sql);
}

static void test_batches_are_acknowledged_and_stored(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(dealer_greet(&f->dealer, 1, 1), 0);
	for (uint64_t seq = 1; seq <= 3; seq++) {
		dealer_send_batch(&f->dealer, batch_of(1, seq));
		dealer_expect_ack(&f->dealer, seq);
		assert_int_equal(count_flows(f), 3 * seq);
	}
}

static void test_welcome_carries_the_limits(void **state)
{
	const struct hello h = sample_hello(1, 5);
	struct fixture *f = *state;
	struct welcome w;

	dealer_send_hello(&f->dealer, &h);
	w = dealer_expect_welcome(&f->dealer);
	assert_int_equal(w.version_major, PROTO_VERSION_MAJOR);
	assert_int_equal(w.epoch, SAMPLE_EPOCH);
	assert_int_equal(w.last_seq, 4);
	assert_int_equal(w.credit_bytes, CREDIT_MAX_BYTES);
	assert_int_equal(w.max_batch_bytes, FRAME_MAX_BYTES);
	assert_in_range(w.heartbeat_ms, 100, 10000);
}

static void test_repeated_batch_is_acknowledged_without_rows(void **state)
{
	struct fixture *f = *state;

	dealer_greet(&f->dealer, 1, 1);
	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_expect_ack(&f->dealer, 1);
	dealer_send_batch(&f->dealer, batch_of(1, 2));
	dealer_expect_ack(&f->dealer, 2);
	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_expect_ack(&f->dealer, 2);
	assert_int_equal(count_flows(f), 6);
}

static void test_gap_names_what_is_missing(void **state)
{
	struct fixture *f = *state;
	struct nack n;

	dealer_greet(&f->dealer, 1, 1);
	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_expect_ack(&f->dealer, 1);
	dealer_send_batch(&f->dealer, batch_of(1, 4));
	n = dealer_expect_nack(&f->dealer, NACK_GAP);
	assert_int_equal(n.last_seq, 1);
	assert_int_equal(n.seq, 4);
	assert_int_equal(count_flows(f), 3);
}

static void test_ping_is_answered(void **state)
{
	struct fixture *f = *state;
	struct packed frame = {0};
	uint64_t nonce = 0;
	uint8_t buf[4096];
	struct frame answer = {0};
	int err;

	err = ping_pack(FRAME_PING, 4711, &frame);
	dealer_send_packed(&f->dealer, err, &frame);
	dealer_expect_nack(&f->dealer, NACK_NO_HELLO); /* after a restart of the collector */
	dealer_greet(&f->dealer, 1, 1);
	err = ping_pack(FRAME_PING, 4711, &frame);
	dealer_send_packed(&f->dealer, err, &frame);
	assert_int_equal(dealer_receive(&f->dealer, buf, &answer), FRAME_PONG);
	assert_int_equal(ping_unpack(answer.body, answer.body_len, &nonce, NULL), 0);
	assert_int_equal(nonce, 4711);
	assert_int_equal(refused(f, "127.0.0.1", "%"), 0);
}

static void test_batch_without_hello(void **state)
{
	struct fixture *f = *state;

	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_expect_nack(&f->dealer, NACK_NO_HELLO);
	assert_int_equal(refused(f, "127.0.0.1", "batch without a HELLO"), 1);
}

static void test_batch_of_another_probe_or_epoch(void **state)
{
	struct fixture *f = *state;
	struct batch *other = batch_of(1, 1);

	other->epoch = 5;
	dealer_greet(&f->dealer, 1, 1);
	dealer_send_batch(&f->dealer, batch_of(2, 1));
	assert_int_equal(dealer_expect_nack(&f->dealer, NACK_NO_HELLO).seq, 1);
	dealer_send_batch(&f->dealer, other);
	assert_int_equal(dealer_expect_nack(&f->dealer, NACK_NO_HELLO).epoch, 5);
	dealer_send_batch(&f->dealer, batch_of(1, 1)); /* its own is welcome still */
	dealer_expect_ack(&f->dealer, 1);
	assert_int_equal(refused(f, "host1", "batch of another%"), 1);
	assert_int_equal(count_flows(f), 3);
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

/* Who speaks is decided by the key, whatever the messages say. */
static void test_nobody_speaks_for_another_host(void **state)
{
	struct fixture *f = *state;
	struct hello other = sample_hello(2, 1);

	other.epoch = 5;
	dealer_greet(&f->dealer, 1, 1);
	dealer_send_hello(&f->dealer, &other);
	assert_int_equal(dealer_expect_nack(&f->dealer, NACK_NOT_ADMITTED).epoch, 5);
	dealer_send_batch(&f->dealer, batch_of(2, 1));
	(void)dealer_expect_nack(&f->dealer, NACK_NO_HELLO);
	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_expect_ack(&f->dealer, 1);
	assert_int_equal(refused(f, "host1", "%another%"), 2);
	assert_int_equal(count_flows(f), 3);
}

/* A revocation needs no new connection: the next message is refused. */
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

static void test_revoked_key_is_dumb_at_once(void **state)
{
	struct fixture *f = *state;

	dealer_greet(&f->dealer, 1, 1);
	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_expect_ack(&f->dealer, 1);
	allow_list_replace(f->allow, NULL, 0);
	dealer_send_batch(&f->dealer, batch_of(1, 2));
	assert_int_equal(dealer_expect_nack(&f->dealer, NACK_NOT_ADMITTED).epoch, 0);
	assert_int_equal(refused(f, "127.0.0.1", "its key is not admitted"), 1);
	assert_int_equal(count_flows(f), 3);
}

/* Of a key that is not on the list not one message comes in: it hears nothing. */
static void test_unknown_key_stays_outside(void **state)
{
	const int wait_ms = 1000;
	struct fixture *f = *state;
	struct dealer stranger;
	uint8_t buf[4096];
	struct frame frame;

	dealer_open(&stranger, receiver_endpoint(f->receiver));
	assert_int_equal(zmq_setsockopt(stranger.socket, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms)),
			 0);
	dealer_connect(&stranger, SAMPLE_UNKNOWN);
	dealer_send_batch(&stranger, batch_of(1, 1));
	assert_int_equal(dealer_receive(&stranger, buf, &frame), 0);
	dealer_close(&stranger);
	dealer_greet(&f->dealer, 1, 1); /* others do */
	assert_int_equal(refused(f, "127.0.0.1", "its key is not admitted"), 1);
	assert_int_equal(count_flows(f), 0);
}

/* An order goes out, again until there is a result, and only its own host's counts. */
static void test_orders_are_sent_until_answered(void **state)
{
	struct fixture *f = *state;
	struct command_result result = {.status = 0, .text = "here"};
	struct host_command c = {0};
	struct frame frame = {0};
	struct packed packed = {0};
	uint8_t buf[4096];
	int err;

	dealer_greet(&f->dealer, 1, 1);
	order_host(f, "host1");
	for (int i = 0; i < 2; i++) {
		do { /* it would be silent, else */
			usleep(100000);
			err = ping_pack(FRAME_PING, 1, &packed);
			dealer_send_packed(&f->dealer, err, &packed);
		} while (dealer_receive(&f->dealer, buf, &frame) == FRAME_PONG);
		assert_int_equal(frame.type, FRAME_COMMAND);
		assert_int_equal(host_command_unpack(frame.body, frame.body_len, &c, NULL), 0);
		assert_int_equal(c.kind, COMMAND_ECHO);
		assert_string_equal(c.reason, "why");
		assert_true(c.not_after_ns > clock_real_ns());
	}
	result.command_id = c.command_id + 1; /* another one: changes nothing */
	for (int i = 0; i < 2; i++) {
		err = command_result_pack(&result, &packed);
		dealer_send_packed(&f->dealer, err, &packed);
		result.command_id = c.command_id;
	}
	for (int i = 0;
	     i < 6000 && sample_int(f->outside, "SELECT count(status) FROM probe_order") == 0; i++)
		usleep(10000);
	sample_assert_text(f->outside, "SELECT status || ' ' || result FROM probe_order", "0 here");
}

/* A probe with a backlog of an earlier start sends it beside what is new. */
static void test_epochs_of_one_probe_side_by_side(void **state)
{
	struct fixture *f = *state;
	struct hello old = sample_hello(1, 3);
	struct batch *b;

	old.epoch = 5;
	dealer_greet(&f->dealer, 1, 1);
	dealer_send_hello(&f->dealer, &old);
	assert_int_equal(dealer_expect_welcome(&f->dealer).last_seq, 2);
	for (uint64_t seq = 1; seq <= 3; seq++) {
		struct frame frame = {0};
		uint8_t buf[4096];
		struct ack a = {0};

		dealer_send_batch(&f->dealer, batch_of(1, seq));
		dealer_expect_ack(&f->dealer, seq);
		b = batch_of(1, 2 + seq);
		b->epoch = 5;
		dealer_send_batch(&f->dealer, b);
		assert_int_equal(dealer_receive(&f->dealer, buf, &frame), FRAME_ACK);
		assert_int_equal(ack_unpack(frame.body, frame.body_len, &a, NULL), 0);
		assert_int_equal(a.epoch, 5);
		assert_int_equal(a.up_to_seq, 2 + seq);
	}
	assert_int_equal(count_flows(f), 18);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM epoch"), 2);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM host"), 1);
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

/* ZeroMQ cuts the connection of who sends too much; the others notice nothing. */
static void test_oversize_message_hurts_only_its_sender(void **state)
{
	struct fixture *f = *state;
	struct dealer good;
	uint8_t *big = calloc(1, FRAME_MAX_BYTES + 1);

	assert_non_null(big);
	frame_seal(big, FRAME_BATCH, FRAME_MAX_BYTES + 1 - FRAME_HEADER_BYTES);
	dealer_open(&good, receiver_endpoint(f->receiver));
	dealer_greet(&good, 2, 1);
	dealer_greet(&f->dealer, 1, 1);
	dealer_send(&f->dealer, big, FRAME_MAX_BYTES + 1);
	free(big);
	dealer_send_batch(&good, batch_of(2, 1));
	dealer_expect_ack(&good, 1);
	/* It connects anew by itself, and the collector does not know it any more. */
	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_expect_nack(&f->dealer, NACK_NO_HELLO);
	assert_int_equal(count_flows(f), 3);
	dealer_close(&good);
}

static void test_largest_batch_is_taken(void **state)
{
	const struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;

	dealer_greet(&f->dealer, 1, 1);
	dealer_send_batch(&f->dealer, sample_batch(1, 1, &r, BATCH_MAX_ROWS));
	dealer_expect_ack(&f->dealer, 1);
	assert_int_equal(count_flows(f), BATCH_MAX_ROWS);
}

static void test_one_peer_too_many(void **state)
{
	struct fixture *f = *state;
	struct dealer more[MAX_PEERS];
	const struct hello h = sample_hello(100, 1);

	dealer_greet(&f->dealer, 1, 1);
	for (uint8_t i = 0; i < MAX_PEERS; i++) {
		dealer_open(&more[i], receiver_endpoint(f->receiver));
		if (i < MAX_PEERS - 1)
			dealer_greet(&more[i], 10 + i, 1);
	}
	dealer_send_hello(&more[MAX_PEERS - 1], &h);
	dealer_expect_nack(&more[MAX_PEERS - 1], NACK_OVERLOADED);
	dealer_greet(&f->dealer, 1, 1); /* who is here stays */
	for (size_t i = 0; i < MAX_PEERS; i++)
		dealer_close(&more[i]);
	assert_int_equal(refused(f, "127.0.0.1", "too many peers"), 1);
}

static void test_probe_that_connects_anew_takes_its_session_along(void **state)
{
	struct fixture *f = *state;
	struct dealer again[MAX_PEERS + 1];

	dealer_greet(&f->dealer, 1, 1);
	for (size_t i = 0; i <= MAX_PEERS; i++) {
		dealer_open(&again[i], receiver_endpoint(f->receiver));
		assert_int_equal(dealer_greet(&again[i], 1, 1), i);
		dealer_send_batch(&again[i], batch_of(1, i + 1));
		dealer_expect_ack(&again[i], i + 1);
	}
	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_expect_nack(&f->dealer, NACK_NO_HELLO); /* the old connection has none */
	for (size_t i = 0; i <= MAX_PEERS; i++)
		dealer_close(&again[i]);
}

static void test_silent_peer_makes_room(void **state)
{
	struct fixture *f = *state;
	int type = FRAME_ACK;

	dealer_greet(&f->dealer, 1, 1);
	for (int i = 0; i < 20 && type == FRAME_ACK; i++) {
		usleep(2500000); /* silent_ms, and a tick, unless the machine is slow */
		dealer_send_batch(&f->dealer, batch_of(1, 1));
		type = dealer_receive_type(&f->dealer);
	}
	assert_int_equal(type, FRAME_NACK);
	assert_int_equal(dealer_greet(&f->dealer, 1, 1), sample_int(f->outside, "SELECT last_seq"
										" FROM epoch"));
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

/* Who connects and says nothing is shown out when there are too many. */
static void test_idle_connections_keep_nobody_out(void **state)
{
	struct fixture *f = *state;
	int idle[10 * MAX_WAITING];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	const size_t n = sizeof(idle) / sizeof(idle[0]);
	const char *colon = strrchr(receiver_endpoint(f->receiver), ':');

	to.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	for (size_t i = 0; i < n; i++) {
		idle[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(idle[i] >= 0);
		assert_int_equal(connect(idle[i], (struct sockaddr *)&to, sizeof(to)), 0);
	}
	dealer_greet(&f->dealer, 1, 1);
	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_expect_ack(&f->dealer, 1);
	for (size_t i = 0; i < n; i++) {
		char byte;

		(void)!read(idle[i], &byte, 1); /* all are cut off, the last after 2 s */
		close(idle[i]);
	}
	assert_true(refused(f, "(connections)", "one connection too many, shown out") >=
		    (int64_t)n - 2 * MAX_WAITING);
}

/* Strangers may ask, but neither stay in any number nor say much. */
static void test_strangers_take_little_room(void **state)
{
	static const uint8_t big[8192];
	const struct enroll question = {.host_name = "stranger"};
	struct dealer many[3 * MAX_WAITING], loud;
	struct fixture *f = *state;
	const int wait_ms = 1000;
	struct packed packed;
	struct frame frame;
	uint8_t buf[4096];
	size_t answers = 0;

	for (size_t i = 0; i < 3 * MAX_WAITING; i++) {
		dealer_open(&many[i], receiver_enroll_endpoint(f->receiver));
		dealer_connect(&many[i], (uint8_t)(SAMPLE_UNKNOWN - i % 40));
		assert_int_equal(enroll_pack(&question, &packed), 0);
		dealer_send_packed(&many[i], 0, &packed);
		answers += dealer_receive(&many[i], buf, &frame) == FRAME_ENROLL_RESULT;
	}
	assert_int_equal(answers, 3 * MAX_WAITING); /* each of them, while it was there */
	dealer_open(&loud, receiver_enroll_endpoint(f->receiver));
	assert_int_equal(zmq_setsockopt(loud.socket, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms)), 0);
	dealer_connect(&loud, SAMPLE_UNKNOWN);
	dealer_send(&loud, big, sizeof(big)); /* cut off: not even refused */
	assert_int_equal(dealer_receive(&loud, buf, &frame), 0);
	dealer_close(&loud);
	for (size_t i = 0; i < 3 * MAX_WAITING; i++)
		dealer_close(&many[i]);
	assert_true(refused(f, "(connections)", "one connection too many, shown out") >=
		    2 * MAX_WAITING);
	assert_int_equal(refused(f, "127.0.0.1", "the collector does not know this join string"),
			 3 * MAX_WAITING);
}

static void test_last_seen_is_kept_fresh(void **state)
{
	struct fixture *f = *state;
	struct packed frame = {0};
	int64_t before;
	int err;

	dealer_greet(&f->dealer, 1, 1);
	before = sample_int(f->outside, "SELECT last_seen_ms FROM host");
	for (int i = 0; i < 1200; i++) {
		err = ping_pack(FRAME_PING, 1, &frame);
		dealer_send_packed(&f->dealer, err, &frame);
		usleep(50000);
		if (sample_int(f->outside, "SELECT last_seen_ms FROM host") > before)
			return;
	}
	fail_msg("last_seen_ms has not moved in a minute");
}

/* Whether all that was sent before has been looked at; a NACK to it goes to *ret. */
static bool sync_and_nack(struct fixture *f, struct nack *ret)
{
	struct packed frame = {0};
	struct frame got = {0};
	bool nacked = false;
	uint8_t buf[4096];
	int err = ping_pack(FRAME_PING, 1, &frame);

	dealer_send_packed(&f->dealer, err, &frame);
	while (dealer_receive(&f->dealer, buf, &got) == FRAME_NACK) {
		assert_int_equal(nack_unpack(got.body, got.body_len, ret, NULL), 0);
		nacked = true;
	}
	assert_int_equal(got.type, FRAME_PONG);
	return nacked;
}

/* No writer takes jobs away: the queue fills. Jobs of the receiver's own may be in it, too. */
static void test_full_queue_refuses_for_now(void **state)
{
	struct fixture *f = *state;
	const struct hello h = sample_hello(1, 1);
	struct nack n = {0};
	uint64_t seq = 0;

	dealer_send_hello(&f->dealer, &h);
	do
		dealer_send_batch(&f->dealer, batch_of(1, ++seq));
	while (!sync_and_nack(f, &n));
	assert_int_equal(n.code, NACK_OVERLOADED);
	assert_int_equal(n.seq, seq);
	assert_in_range(seq, 1, MAX_JOBS);
	assert_true(n.retry_after_ms > 0);
	start_writer(f);
	assert_int_equal(dealer_expect_welcome(&f->dealer).last_seq, 0);
	for (uint64_t i = 1; i < seq; i++)
		dealer_expect_ack(&f->dealer, i);
	dealer_send_batch(&f->dealer, batch_of(1, seq));
	dealer_expect_ack(&f->dealer, seq);
	assert_int_equal(refused(f, "host1", "%overloaded"), 1);
	assert_int_equal(count_flows(f), 3 * seq);
}

/* As the writer does, without storing it. */
static void answer_hello(struct fixture *f)
{
	struct job *job = queue_pop(f->jobs, DEALER_WAIT_MS);

	assert_non_null(job);
	assert_int_equal(job->kind, JOB_HELLO);
	job->outcome = JOB_DONE;
	assert_int_equal(queue_push(f->replies, job, 0), 0);
}

static void test_credit_bounds_one_peer(void **state)
{
	const uint32_t padding = 900000;
	struct fixture *f = *state;
	const struct hello h = sample_hello(1, 1);
	uint8_t *data = calloc(1, FRAME_MAX_BYTES);
	struct batch *b;
	struct packed frame = {0};
	size_t len;

	assert_non_null(data);
	b = sample_batch(1, 1, NULL, 0);
	assert_int_equal(batch_pack(b, &frame), 0);
	batch_free(b);
	/* An unknown field (15, bytes) makes it long; readers skip it. */
	memcpy(data, frame.data, frame.len);
	len = frame.len;
	free(frame.data);
	data[len++] = 15 << 3 | 2;
	for (uint32_t v = padding; v; v >>= 7)
		data[len++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
	len += padding;
	frame_seal(data, FRAME_BATCH, len - FRAME_HEADER_BYTES);
	dealer_send_hello(&f->dealer, &h);
	answer_hello(f);
	assert_int_equal(dealer_expect_welcome(&f->dealer).credit_bytes, CREDIT_MAX_BYTES);
	/* The queue holds 4 of them: raise its room by not writing, but taking. */
	for (size_t sent = 0; sent + len <= CREDIT_MAX_BYTES; sent += len) {
		dealer_send(&f->dealer, data, len);
		job_free(queue_pop(f->jobs, DEALER_WAIT_MS));
	}
	dealer_send(&f->dealer, data, len);
	(void)dealer_expect_nack(&f->dealer, NACK_OVERLOADED);
	free(data);
	start_writer(f);
	assert_int_equal(refused(f, "host1", "more bytes than its credit"), 1);
}

static void test_storage_that_fails_and_comes_back(void **state)
{
	const struct flow_record r = sample_flow("10.0.0.1", "10.0.0.2", 80, 1000);
	struct fixture *f = *state;
	struct nack n;

	(void)signal(SIGXFSZ, SIG_IGN);
	dealer_greet(&f->dealer, 1, 1);
	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_expect_ack(&f->dealer, 1);
	sample_limit_files(1 << 17);
	for (int i = 0; i < 2; i++) {
		dealer_send_batch(&f->dealer, sample_batch(1, 2, &r, BATCH_MAX_ROWS));
		n = dealer_expect_nack(&f->dealer, NACK_STORAGE);
		assert_int_equal(n.seq, 2);
		assert_true(n.retry_after_ms > 0);
	}
	sample_limit_files(RLIM_INFINITY);
	dealer_send_batch(&f->dealer, sample_batch(1, 2, &r, BATCH_MAX_ROWS));
	dealer_expect_ack(&f->dealer, 2);
	assert_int_equal(count_flows(f), 3 + BATCH_MAX_ROWS);
}

/* What has arrived is committed and answered before the end. */
static void test_stop_answers_what_was_taken(void **state)
{
	struct fixture *f = *state;
	const struct hello h = sample_hello(1, 1);
	struct nack n = {0};

	dealer_send_hello(&f->dealer, &h);
	dealer_send_batch(&f->dealer, batch_of(1, 1));
	dealer_send_batch(&f->dealer, batch_of(1, 2));
	assert_false(sync_and_nack(f, &n));
	assert_int_equal(eventfd_write(f->stop_fd, 1), 0);
	while (!queue_closed(f->jobs))
		usleep(1000);
	start_writer(f);
	stop(f);
	(void)dealer_expect_welcome(&f->dealer);
	dealer_expect_ack(&f->dealer, 1);
	dealer_expect_ack(&f->dealer, 2);
	assert_int_equal(count_flows(f), 6);
}

static void test_refusals_are_bounded_and_none_is_lost(void **state)
{
	struct refusal *list = NULL;
	struct refusals *t = NULL;
	uint64_t sum = 0;
	char peer[32];
	int n;

	(void)state;
	assert_int_equal(refusals_new(&t), 0);
	for (int i = 0; i < REFUSALS_MAX + 10; i++) {
		(void)snprintf(peer, sizeof(peer), "10.0.0.%d", i);
		assert_int_equal(refusals_add(t, peer, "junk", 1), i <= REFUSALS_MAX);
	}
	assert_int_equal(refusals_add(t, "10.0.0.0", "junk", 1), 0); /* just said */
	for (int round = 0; round < 2; round++) {		     /* the first is not stored */
		n = refusals_take(t, &list);
		assert_int_equal(n, REFUSALS_MAX + 1);
		sum = 0;
		for (int i = 0; i < n; i++)
			sum += list[i].count;
		assert_int_equal(sum, REFUSALS_MAX + 11);
		assert_string_equal(list[n - 1].peer, REFUSALS_OTHERS);
		assert_int_equal(list[n - 1].count, 10);
		free(list);
		refusals_settle(t, round == 1);
	}
	assert_int_equal(refusals_take(t, &list), 0);
	(void)refusals_add(t, "10.0.1.1", "junk", 1); /* takes the place of a stored one */
	assert_int_equal(refusals_take(t, &list), 1);
	assert_string_equal(list[0].peer, "10.0.1.1");
	free(list);
	refusals_free(t);
}

static void test_every_allocation_failure_is_clean(void **state)
{
	const struct key_pair key = sample_key(SAMPLE_SERVER);
	struct allow_list *allow = sample_allow_list();
	const struct receiver_settings settings = {
		.endpoint = "tcp://127.0.0.1:*",
		.enroll_endpoint = "tcp://127.0.0.1:*",
		.key = &key,
		.max_waiting = MAX_WAITING,
		.allow = allow,
		.max_peers = MAX_PEERS,
		.silent_ms = 1000,
		.credit_bytes = 1 << 24,
	};
	struct receiver *r = NULL;
	int err;

	(void)state;
	for (unsigned n = 1;; n++) {
		(void)fail_alloc_at(n);
		err = receiver_new(&settings, NULL, NULL, &r);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(r);
	}
	assert_int_equal(err, 0);
	receiver_free(r);
	allow_list_free(allow);
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_IDLE(name) cmocka_unit_test_setup_teardown(name, setup_idle, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_batches_are_acknowledged_and_stored),
		TEST(test_welcome_carries_the_limits),
		TEST(test_repeated_batch_is_acknowledged_without_rows),
		TEST(test_gap_names_what_is_missing),
		TEST(test_ping_is_answered),
		TEST(test_batch_without_hello),
		TEST(test_batch_of_another_probe_or_epoch),
		TEST(test_every_broken_header_is_refused),
		TEST(test_messages_that_are_no_frames),
		TEST(test_body_that_is_no_batch),
		TEST(test_refusal_names_the_broken_batch),
		TEST(test_nobody_speaks_for_another_host),
		TEST(test_addresses_that_are_no_hosts_are_refused),
		TEST(test_revoked_key_is_dumb_at_once),
		TEST(test_unknown_key_stays_outside),
		TEST(test_orders_are_sent_until_answered),
		TEST(test_epochs_of_one_probe_side_by_side),
		TEST(test_another_major_version),
		TEST(test_oversize_message_hurts_only_its_sender),
		TEST(test_largest_batch_is_taken),
		TEST(test_one_peer_too_many),
		TEST(test_probe_that_connects_anew_takes_its_session_along),
		cmocka_unit_test_setup_teardown(test_silent_peer_makes_room, setup_impatient,
						teardown),
		TEST(test_hostile_batches),
		TEST(test_idle_connections_keep_nobody_out),
		TEST(test_strangers_take_little_room),
		TEST(test_last_seen_is_kept_fresh),
		TEST(test_storage_that_fails_and_comes_back),
		TEST_IDLE(test_full_queue_refuses_for_now),
		TEST_IDLE(test_credit_bounds_one_peer),
		TEST_IDLE(test_stop_answers_what_was_taken),
		cmocka_unit_test(test_refusals_are_bounded_and_none_is_lost),
		cmocka_unit_test(test_every_allocation_failure_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
