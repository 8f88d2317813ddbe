// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Whose an address is, and which host a record is left to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "collector/once/address_book.h"
#include "proto/flow_block.h"
#include "tests/unit/once_fixture.h"

static void test_addresses_of_hosts(void **state)
{
	static const char *const of_host[] = {"10.0.0.1", "192.0.2.7", "2001:db8::1", "fd00::1"};
	static const char *const not [] = {"127.0.0.1", "::1",	     "169.254.1.1",
					   "fe80::1",	"224.0.0.1", "ff02::fb",
					   "0.0.0.0",	"::",	     "255.255.255.255"};
	uint8_t addr[16];

	(void)state;
	for (size_t i = 0; i < sizeof(of_host) / sizeof(of_host[0]); i++) {
		assert_int_equal(addr_parse(of_host[i], addr), 0);
		assert_true(addr_is_of_host(addr));
	}
	for (size_t i = 0; i < sizeof(not ) / sizeof(not [0]); i++) {
		assert_int_equal(addr_parse(not [i], addr), 0);
		assert_false(addr_is_of_host(addr));
	}
}

/* Hosts 1, 2, 3 have 10.0.0.1 to 3; 1 and 2 share 10.0.0.9; nobody has 192.0.2.x. */
static const struct {
	int host;
	const char *src, *dst;
	int answers;
	uint32_t claim;
	const char *why;
} cases[] = {
	{1, "10.0.0.1", "10.0.0.2", 1, 0, "the lower of two counts"},
	{2, "10.0.0.1", "10.0.0.2", 1, 1, "and the other leaves it to it"},
	{1, "10.0.0.2", "10.0.0.1", 1, 0, "whoever began"},
	{2, "10.0.0.2", "10.0.0.1", 1, 1, "whoever began"},
	{1, "10.0.0.2", "10.0.0.1", 0, 2, "unanswered: who sent counts"},
	{2, "10.0.0.2", "10.0.0.1", 0, 0, "unanswered: who sent counts"},
	{2, "10.0.0.1", "10.0.0.2", 0, 1, "unanswered: who sent counts"},
	{1, "10.0.0.1", "192.0.2.1", 1, 0, "nobody else is at an end"},
	{1, "192.0.2.1", "10.0.0.1", 1, 0, "nobody else is at an end"},
	{1, "192.0.2.1", "10.0.0.1", 0, 0, "nobody else is at an end"},
	{1, "10.0.0.1", "10.0.0.1", 1, 0, "both ends are its own"},
	{3, "10.0.0.1", "10.0.0.2", 1, 1, "a router leaves it to src"},
	{3, "10.0.0.2", "10.0.0.1", 0, 2, "a router leaves it to src"},
	{3, "192.0.2.1", "10.0.0.2", 1, 2, "or to dst"},
	{3, "192.0.2.1", "192.0.2.2", 1, ADDRESS_BOOK_UNOWNED, "nobody's"},
	{1, "10.0.0.9", "192.0.2.2", 1, ADDRESS_BOOK_UNOWNED, "several have it: nobody's"},
	{1, "10.0.0.9", "10.0.0.3", 1, 3, "several have it: left to the other end"},
	{3, "10.0.0.9", "10.0.0.3", 1, 0, "and there it counts"},
	{5, "10.0.0.5", "10.0.0.3", 1, 3, "a host that never told"},
	{1, "127.0.0.1", "127.0.0.1", 1, 0, "loopback"},
	{1, "::1", "::1", 1, 0, "loopback"},
};

static uint32_t claim_of(const struct address_book *book, int host, const struct flow_record *r)
{
	struct flow_block b;
	uint32_t claim;

	assert_int_equal(flow_block_from_rows(r, 1, &b), 0);
	if (!FLOW_COL_U32(&b, host_id))
		b.column[FLOW_COLUMN_host_id].u32 = (uint32_t[]){(uint32_t)host};
	else
		FLOW_COL_U32(&b, host_id)[0] = (uint32_t)host;
	assert_int_equal(address_book_claims(book, &b, &claim), 0);
	flow_block_done(&b);
	return claim;
}

static void test_claims(void **state)
{
	struct fixture *f = *state;
	struct address_book *book = NULL;
	struct flow_record r;

	tell_addr(f, 1, "10.0.0.1", 0, "NULL");
	tell_addr(f, 2, "10.0.0.2", 0, "NULL");
	tell_addr(f, 3, "10.0.0.3", 0, "NULL");
	tell_addr(f, 1, "10.0.0.9", 0, "NULL");
	tell_addr(f, 2, "10.0.0.9", 0, "NULL");
	tell_addr(f, 4, "127.0.0.1", 0, "NULL");
	assert_int_equal(address_book_load(f->db, &book), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		r = ends(cases[i].src, cases[i].dst, START_MS, cases[i].answers);
		if (claim_of(book, cases[i].host, &r) != cases[i].claim)
			fail_msg("host %d, %s to %s, %d answers: claim %u, wanted %u (%s)",
				 cases[i].host, cases[i].src, cases[i].dst, cases[i].answers,
				 claim_of(book, cases[i].host, &r), cases[i].claim, cases[i].why);
	}
	r = ends("10.0.0.1", "10.0.0.2", START_MS, 1);
	r.end_reason = FLOW_END_NO_RESOURCES;
	assert_int_equal(claim_of(book, 2, &r), ADDRESS_BOOK_NONE);
	address_book_free(book);
}

/* 10.0.0.7 was host 1's until a time, and nobody's, and then host 2's. */
static void test_addresses_that_move(void **state)
{
	static const struct {
		int64_t after_ms;
		uint32_t owner;
	} at[] = {{-5000000, 1}, {-1, 1}, {0, 0}, {999, 0}, {1000, 2}, {5000000, 2}};
	struct fixture *f = *state;
	struct address_book *book = NULL;
	struct flow_record rows[6];
	uint32_t claims[6];
	struct flow_block b;
	uint8_t addr[16];
	char until[32];

	(void)snprintf(until, sizeof(until), "%lld", START_MS + 0ll);
	tell_addr(f, 1, "10.0.0.7", 0, until);
	tell_addr(f, 2, "10.0.0.7", START_MS + 1000, "NULL");
	assert_int_equal(address_book_load(f->db, &book), 0);
	assert_int_equal(addr_parse("10.0.0.7", addr), 0);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(address_book_owner(book, addr, START_MS + at[i].after_ms),
				 at[i].owner);
		rows[i] = ends("192.0.2.1", "10.0.0.7", START_MS + at[i].after_ms, 1);
	}
	assert_int_equal(flow_block_from_rows(rows, 6, &b), 0);
	b.column[FLOW_COLUMN_host_id].u32 = (uint32_t[]){3, 3, 3, 3, 3, 3};
	assert_int_equal(address_book_claims(book, &b, claims), 0);
	for (int i = 0; i < 6; i++)
		assert_int_equal(claims[i], at[i].owner ? at[i].owner : ADDRESS_BOOK_UNOWNED);
	flow_block_done(&b);
	address_book_free(book);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_of_hosts),
		cmocka_unit_test_setup_teardown(test_claims, setup, teardown),
		cmocka_unit_test_setup_teardown(test_addresses_that_move, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
