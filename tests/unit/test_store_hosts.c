/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is kept of a host: its name and clock, its addresses, when it was seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/serve/host_addrs.h"
#include "collector/serve/retention.h"
#include "tests/unit/store_fixture.h"

static void test_hello_renews_the_host(void **state)
{
	struct fixture *f = *state;
	struct hello *h = malloc(sizeof(*h));

	assert_non_null(h);
	apply_hello(f, 1, 1);
	*h = sample_hello(1, 1);
	h->real_ns += 90 * NS_PER_SEC;
	(void)snprintf(h->host_name, sizeof(h->host_name), "renamed");
	job_free(sample_apply(f->store, JOB_HELLO, h, 0));
	sample_assert_text(f->outside, "SELECT name FROM host", "renamed");
	assert_in_range(sample_int(f->outside, "SELECT clock_skew_ms FROM host"), 80000, 91000);
}

/* HELLO of a host with addresses 10.0.0.N, by digit. */
static void tell_addrs(struct fixture *f, uint8_t host, const char *digits, int64_t at_ms)
{
	struct hello *h = malloc(sizeof(*h));
	struct job *job;

	assert_non_null(h);
	*h = sample_hello(host, 1);
	h->version_minor = HELLO_ADDRS_MINOR;
	for (; *digits; digits++) {
		char text[16];

		(void)snprintf(text, sizeof(text), "10.0.0.%c", *digits);
		assert_int_equal(addr_parse(text, h->addrs[h->n_addrs++]), 0);
	}
	assert_int_equal(job_new(JOB_HELLO, h, 0, 0, &job), 0);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(store_apply(f->store, job, at_ms), 0);
	assert_int_equal(store_commit(f->store), 0);
	job_free(job);
}

static void assert_addrs(struct fixture *f, const char *wanted)
{
	sample_assert_text(f->outside,
			   "SELECT ifnull(group_concat(text, ', '), '') FROM (SELECT h.name || ' '"
			   " || substr(hex(addr), 32) || ' ' || since_ms || '-'"
			   " || ifnull(until_ms, '') AS text FROM host_addr"
			   " JOIN host h ON h.id = host_id ORDER BY h.name, addr, since_ms)",
			   wanted);
}

static void test_addresses_follow_the_hellos(void **state)
{
	struct fixture *f = *state;

	apply_hello(f, 1, 1); /* of before: tells none */
	assert_addrs(f, "");
	tell_addrs(f, 1, "", 1000); /* no network yet */
	tell_addrs(f, 1, "21", 2000);
	tell_addrs(f, 1, "112", 3000);
	assert_addrs(f, "host1 1 0-, host1 2 0-");
	tell_addrs(f, 1, "13", 4000);
	assert_addrs(f, "host1 1 0-, host1 2 0-4000, host1 3 4000-");
	tell_addrs(f, 1, "123", 5000);
	apply_hello(f, 1, 1); /* again one that does not tell: it is as it was */
	assert_addrs(f, "host1 1 0-, host1 2 0-4000, host1 2 5000-, host1 3 4000-");
	tell_addrs(f, 1, "", 6000);
	tell_addrs(f, 1, "1", 6000);
	assert_addrs(f, "host1 1 0-6000, host1 1 6000-, host1 2 0-4000, host1 2 5000-6000,"
			" host1 3 4000-6000");
	assert_int_equal(store_expire(f->store, &(struct retention){.flows_before_ms = 6000}, 1000,
				      &(size_t){0}),
			 0);
	assert_addrs(f, "host1 1 0-6000, host1 1 6000-, host1 2 5000-6000, host1 3 4000-6000");
}

/* Two that live share an address; one that is gone has given it away. */
static void test_address_of_a_host_that_is_gone(void **state)
{
	struct fixture *f = *state;

	tell_addrs(f, 1, "1", 1000000);
	tell_addrs(f, 2, "1", 1100000);
	assert_addrs(f, "host1 1 0-, host2 1 0-");
	tell_addrs(f, 2, "1", 2000000);
	tell_addrs(f, 3, "1", 2100000);
	assert_addrs(f, "host1 1 0-1000000, host2 1 0-, host3 1 1000000-");
}

static void test_past_addresses_are_bounded(void **state)
{
	struct fixture *f = *state;

	tell_addrs(f, 1, "", 1);
	for (int i = 0; i < HOST_ADDRS_MAX_PAST + 20; i++)
		tell_addrs(f, 1, i % 2 ? "1" : "2", 1000 + i);
	assert_int_equal(sample_int(f->outside, "SELECT count(*) FROM host_addr"),
			 HOST_ADDRS_MAX_PAST + 1);
	assert_int_equal(sample_int(f->outside, "SELECT min(until_ms) FROM host_addr"), 1020);
}

static void test_seen_hosts_are_fresh(void **state)
{
	struct fixture *f = *state;
	struct seen_host *seen = calloc(1, sizeof(*seen));

	assert_non_null(seen);
	apply_hello(f, 1, 1);
	apply_hello(f, 2, 1);
	*seen = (struct seen_host){{2}, 4102444800000};
	job_free(sample_apply(f->store, JOB_SEEN, seen, 1));
	assert_int_equal(
		sample_int(f->outside, "SELECT id FROM host WHERE last_seen_ms = 4102444800000"),
		2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hello_renews_the_host),	   TEST(test_addresses_follow_the_hellos),
		TEST(test_address_of_a_host_that_is_gone), TEST(test_past_addresses_are_bounded),
		TEST(test_seen_hosts_are_fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
