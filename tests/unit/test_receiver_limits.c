/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the receiver takes at most: of connections, peers, bytes and jobs that wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <sys/socket.h>

#include "proto/enroll.h"
#include "tests/unit/receiver_fixture.h"

static int setup_impatient(void **state)
{
	(void)setup_with(state, 1000);
	start_writer(*state);
	return 0;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_oversize_message_hurts_only_its_sender),
		TEST(test_largest_batch_is_taken),
		TEST(test_one_peer_too_many),
		cmocka_unit_test_setup_teardown(test_silent_peer_makes_room, setup_impatient,
						teardown),
		TEST(test_idle_connections_keep_nobody_out),
		TEST(test_strangers_take_little_room),
		TEST_IDLE(test_full_queue_refuses_for_now),
		TEST_IDLE(test_credit_bounds_one_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
