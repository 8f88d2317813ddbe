/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a probe that is admitted hears, and what is stored of what it sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>

#include "tests/unit/fail_alloc.h"
#include "tests/unit/receiver_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_batches_are_acknowledged_and_stored),
		TEST(test_welcome_carries_the_limits),
		TEST(test_repeated_batch_is_acknowledged_without_rows),
		TEST(test_gap_names_what_is_missing),
		TEST(test_ping_is_answered),
		TEST(test_orders_are_sent_until_answered),
		TEST(test_epochs_of_one_probe_side_by_side),
		TEST(test_last_seen_is_kept_fresh),
		TEST(test_storage_that_fails_and_comes_back),
		TEST_IDLE(test_stop_answers_what_was_taken),
		cmocka_unit_test(test_every_allocation_failure_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
