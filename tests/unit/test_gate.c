/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who gets through the door: real handshakes on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "collector/access/gate.h"
#include "collector/serve/router.h"
#include "tests/unit/dealer.h"
#include "tests/unit/fail_alloc.h"

#define INSIDE_MS  30000 /* a message that comes, comes by then on any machine */
#define OUTSIDE_MS 1000	 /* and one that does not is not waited for longer */

struct fixture {
	struct allow_list *allow;
	struct gate *gate;
	struct router *router;
	struct dealer dealer;
};

static void open_all(struct fixture *f, enum gate_domain domain)
{
	const struct key_pair key = sample_key(SAMPLE_SERVER);

	assert_int_equal(gate_open(&key, f->allow, &f->gate), 0);
	assert_int_equal(router_open(f->gate, domain, "tcp://127.0.0.1:*", 16, &f->router), 0);
	dealer_open(&f->dealer, router_endpoint(f->router));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	f->allow = sample_allow_list();
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dealer_close(&f->dealer);
	router_close(f->router);
	gate_close(f->gate);
	allow_list_free(f->allow);
	free(f);
	return 0;
}

/* Says something as host n; whether it is heard within wait_ms, and whose key it is then. */
static bool is_heard(struct fixture *f, uint8_t n, int wait_ms)
{
	const struct key_pair key = sample_key(n);
	zmq_pollitem_t item = {.socket = router_socket(f->router), .events = ZMQ_POLLIN};
	struct router_message m;

	if (!f->dealer.connected)
		dealer_connect(&f->dealer, n);
	dealer_send(&f->dealer, "hello", 5);
	assert_true(zmq_poll(&item, 1, wait_ms) >= 0);
	if (!item.revents)
		return false;
	assert_int_equal(router_receive(f->router, &m), 0);
	assert_true(m.has_key);
	assert_memory_equal(m.key, key.public_key, KEY_BYTES);
	return true;
}

static void test_a_listed_key_is_heard(void **state)
{
	open_all(*state, GATE_DATA);
	assert_true(is_heard(*state, 7, INSIDE_MS));
	assert_true(gate_answers(((struct fixture *)*state)->gate));
}

static void test_an_unknown_key_is_not(void **state)
{
	struct sent_away away[GATE_SENT_AWAY_MAX];
	struct fixture *f = *state;

	open_all(f, GATE_DATA);
	assert_false(is_heard(f, SAMPLE_UNKNOWN, OUTSIDE_MS));
	for (int i = 0; i < INSIDE_MS / 10 && gate_sent_away(f->gate, away) == 0; i++)
		usleep(10000);
	assert_string_equal(away[0].address, "127.0.0.1");
	assert_int_equal(away[0].n, 1); /* and it does not try again and again */
}

static void test_every_key_may_ask_to_be_admitted(void **state)
{
	open_all(*state, GATE_ENROLL);
	assert_true(is_heard(*state, SAMPLE_UNKNOWN, INSIDE_MS));
}

/* libzmq lets everybody in without a guard, unless it is told not to. */
static void test_nobody_comes_in_without_a_guard(void **state)
{
	struct fixture *f = *state;

	open_all(f, GATE_DATA);
	gate_dismiss(f->gate);
	assert_false(gate_answers(f->gate));
	assert_false(is_heard(f, 7, OUTSIDE_MS));
}

static void test_nor_to_enroll(void **state)
{
	struct fixture *f = *state;

	open_all(f, GATE_ENROLL);
	gate_dismiss(f->gate);
	assert_false(is_heard(f, 7, OUTSIDE_MS));
}

/* While the collector starts a host is put off, not sent away: it comes again by itself. */
static void test_who_comes_too_early_comes_again(void **state)
{
	struct fixture *f = *state;
	struct allowed *one = calloc(1, sizeof(*one));
	const struct key_pair key = sample_key(7);

	assert_non_null(one);
	allow_list_free(f->allow);
	assert_int_equal(allow_list_new(&f->allow), 0);
	open_all(f, GATE_DATA);
	assert_false(is_heard(f, 7, OUTSIDE_MS));
	memcpy(one->public_key, key.public_key, KEY_BYTES);
	allow_list_replace(f->allow, one, 1);
	assert_true(is_heard(f, 7, INSIDE_MS));
}

static void test_the_server_is_known_by_its_key(void **state)
{
	const struct key_pair other = sample_key(SAMPLE_UNKNOWN), own = sample_key(7);
	zmq_pollitem_t item = {.events = ZMQ_POLLIN};
	struct fixture *f = *state;
	void *s;

	open_all(f, GATE_ENROLL);
	s = f->dealer.socket;
	assert_int_equal(zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, other.public_key, KEY_BYTES), 0);
	assert_int_equal(zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, own.public_key, KEY_BYTES), 0);
	assert_int_equal(zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, own.secret_key, KEY_BYTES), 0);
	assert_int_equal(zmq_connect(s, f->dealer.endpoint), 0);
	assert_int_equal(zmq_send(s, "secret", 6, 0), 6); /* waits in the socket for ever */
	item.socket = router_socket(f->router);
	assert_int_equal(zmq_poll(&item, 1, OUTSIDE_MS), 0);
}

static void test_every_allocation_failure_is_clean(void **state)
{
	const struct key_pair key = sample_key(SAMPLE_SERVER);
	struct fixture *f = *state;
	int err;

	for (unsigned n = 1;; n++) {
		(void)fail_alloc_at(n);
		err = gate_open(&key, f->allow, &f->gate);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(f->gate);
	}
	assert_int_equal(err, 0);
	for (unsigned n = 1;; n++) {
		(void)fail_alloc_at(n);
		err = router_open(f->gate, GATE_DATA, "tcp://127.0.0.1:*", 16, &f->router);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(f->router);
	}
	assert_int_equal(err, 0);
	dealer_open(&f->dealer, router_endpoint(f->router));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_listed_key_is_heard),
		TEST(test_an_unknown_key_is_not),
		TEST(test_every_key_may_ask_to_be_admitted),
		TEST(test_nobody_comes_in_without_a_guard),
		TEST(test_nor_to_enroll),
		TEST(test_who_comes_too_early_comes_again),
		TEST(test_the_server_is_known_by_its_key),
		TEST(test_every_allocation_failure_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
