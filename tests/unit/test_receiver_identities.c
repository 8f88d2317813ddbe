/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* For whom a connection may speak: the host of its key, as long as that is admitted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/receiver_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_batch_of_another_probe_or_epoch),
		TEST(test_nobody_speaks_for_another_host),
		TEST(test_revoked_key_is_dumb_at_once),
		TEST(test_unknown_key_stays_outside),
		TEST(test_probe_that_connects_anew_takes_its_session_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
