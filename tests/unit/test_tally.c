// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* test_tally.c - tallies by flow, and listeners.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bpf/sockets_abi.h"
#include "probe/stack/listeners.h"
#include "probe/stack/tally.h"
#include "tests/unit/fail_alloc.h"

enum { NETFILTER = 8, RCVBUF = 6 };

static int setup(void **state)
{
	return tallies_new(42, (struct tallies **)state);
}

static int teardown(void **state)
{
	tallies_free(*state);
	return 0;
}

static struct tally_key key_of(uint32_t flow, uint32_t what)
{
	struct tally_key key = {.what = what};

	memcpy(key.flow.addr_a, &flow, sizeof(flow));
	return key;
}

static void put(void **state, uint32_t flow, uint32_t what, uint64_t packets)
{
	struct tally_key key = key_of(flow, what);
	struct tally value = {packets, 1};

	tallies_put(*state, &key, &value);
}

static struct tally_sum take(void **state, uint32_t flow)
{
	struct tally_key key = key_of(flow, 0);

	key.flow.vlan = 12; /* the stack knows nothing of these */
	key.flow.tunnel = 99;
	return tallies_take(*state, &key.flow);
}

static void check(struct tally_sum sum, uint32_t packets, uint32_t most, uint32_t most_packets)
{
	assert_int_equal(sum.packets, packets);
	assert_int_equal(sum.most, most);
	assert_int_equal(sum.most_packets, most_packets);
}

static void sums_and_the_most_frequent(void **state)
{
	check(take(state, 1), 0, 0, 0);
	tallies_begin(*state);
	put(state, 1, RCVBUF, 3);
	put(state, 1, NETFILTER, 5);
	put(state, 2, NETFILTER, 7);
	tallies_end(*state);
	check(take(state, 1), 8, NETFILTER, 5);
	check(take(state, 2), 7, NETFILTER, 7);
	check(take(state, 3), 0, 0, 0);
}

static void each_packet_is_taken_once(void **state)
{
	for (int i = 0; i < 3; i++) {
		tallies_begin(*state);
		put(state, 1, RCVBUF, 3);
		put(state, 1, NETFILTER, 5u + (unsigned)i);
		tallies_end(*state);
		check(take(state, 1), i ? 1 : 8, NETFILTER, i ? 1 : 5);
		check(take(state, 1), 0, 0, 0);
	}
	tallies_begin(*state); /* removed in the kernel, and made anew */
	put(state, 1, NETFILTER, 2);
	tallies_end(*state);
	check(take(state, 1), 2, NETFILTER, 2);
}

static void as_many_as_the_kernel_has(void **state)
{
	for (int pass = 1; pass <= 3; pass++) {
		tallies_begin(*state);
		for (uint32_t i = 0; i < TALLY_ENTRIES; i++)
			put(state, i, NETFILTER, (uint64_t)pass * 10);
		put(state, TALLY_ENTRIES, NETFILTER, 1); /* cannot be: the map is not that large */
		tallies_end(*state);
		for (uint32_t i = 0; i < TALLY_ENTRIES; i++)
			assert_int_equal(take(state, i).packets, 10);
	}
}

static void each_allocation_may_fail(void **state)
{
	(void)state;
	for (unsigned n = 1;; n++) {
		struct tallies *t = NULL;
		int err;

		fail_alloc_at(n);
		err = tallies_new(1, &t);
		if (!fail_alloc_at(0)) {
			assert_int_equal(err, 0);
			tallies_free(t);
			break;
		}
		assert_int_equal(err, -ENOMEM);
	}
}

/* --- listeners ------------------------------------------------------------------------ */

static void listener(struct listeners *l, uint64_t cookie, uint16_t port, uint32_t drops)
{
	struct sock_listener s = {.cookie = cookie, .local_port = port, .drops = drops};

	(void)snprintf(s.owner.comm, sizeof(s.owner.comm), "My Server");
	listeners_put(l, &s);
}

static void listeners_tell_what_is_new(void **state)
{
	static struct listeners l;

	(void)state;
	listeners_begin(&l);
	listener(&l, 1, 80, 1000); /* before we came */
	listeners_end(&l);
	assert_int_equal(l.n_named, 0);
	listeners_begin(&l);
	listener(&l, 1, 80, 1003);
	listener(&l, 2, 80, 4); /* shares the port */
	listener(&l, 3, 81, 0);
	listeners_end(&l);
	assert_int_equal(l.n_named, 1);
	assert_string_equal(l.named[0].name, "80_my_server");
	assert_int_equal(l.named[0].drops, 7);
	listeners_begin(&l); /* one is gone, a new one has its port */
	listener(&l, 2, 80, 4);
	listener(&l, 4, 80, 1);
	listeners_end(&l);
	assert_int_equal(l.named[0].drops, 8);
	assert_int_equal(l.n_seen, 2);
}

static void more_listeners_than_names(void **state)
{
	static struct listeners l;

	(void)state;
	listeners_begin(&l);
	listeners_end(&l);
	listeners_begin(&l);
	for (uint16_t i = 1; i <= LISTENERS_MAX + 10; i++)
		listener(&l, i, i, 1);
	listeners_end(&l);
	assert_int_equal(l.n_named, LISTENERS_MAX_NAMES);
	assert_int_equal(l.other, LISTENERS_MAX - LISTENERS_MAX_NAMES);
	assert_int_equal(l.n_seen, LISTENERS_MAX);
}

#define with_tallies(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_tallies(sums_and_the_most_frequent),
		with_tallies(each_packet_is_taken_once),
		with_tallies(as_many_as_the_kernel_has),
		cmocka_unit_test(each_allocation_may_fail),
		cmocka_unit_test(listeners_tell_what_is_new),
		cmocka_unit_test(more_listeners_than_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
