// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe/names/tls.h"
#include "tests/unit/hello_bytes.h"

/* In a block of its own, so that ASan sees reads past its end. */
static int parse_copy(const uint8_t *data, size_t len, bool records, struct tls_hello *ret)
{
	uint8_t *copy = malloc(len ? len : 1);
	int err;

	assert_non_null(copy);
	memcpy(copy, data, len);
	err = records ? tls_parse_records(copy, len, ret) : tls_parse_hello(copy, len, ret);
	free(copy);
	return err;
}

static void check_names(const struct tls_hello *h)
{
	assert_string_equal(h->sni, "www.example.com");
	assert_string_equal(h->alpn, "h2,http/1.1");
	assert_false(h->cut);
}

static void finds_the_names(void **state)
{
	struct bytes msg = {0};
	struct tls_hello h;

	(void)state;
	put_hello(&msg, 3, "WWW.example.com");
	assert_int_equal(parse_copy(msg.data, msg.n, false, &h), 0);
	check_names(&h);
}

static void finds_the_names_over_several_records(void **state)
{
	struct bytes msg = {0};

	(void)state;
	put_hello(&msg, 700, "www.example.com");
	for (size_t max = 1; max <= msg.n; max += 61) {
		struct bytes stream = {0};
		struct tls_hello h;

		put_records(&stream, &msg, max);
		assert_int_equal(parse_copy(stream.data, stream.n, true, &h), 0);
		check_names(&h);
	}
}

static void any_part_waits_for_the_rest(void **state)
{
	struct bytes msg = {0}, stream = {0};
	struct tls_hello h;

	(void)state;
	put_hello(&msg, 40, "www.example.com");
	put_records(&stream, &msg, 50);
	for (size_t len = 0; len < stream.n; len++)
		assert_int_equal(parse_copy(stream.data, len, true, &h), -EAGAIN);
	for (size_t len = 0; len < msg.n; len++)
		assert_int_equal(parse_copy(msg.data, len, false, &h), -EAGAIN);
}

static void a_part_tells_what_is_in_it(void **state)
{
	struct bytes msg = {0};
	struct tls_hello h;

	(void)state;
	put_hello(&msg, 40, "www.example.com");
	assert_int_equal(parse_copy(msg.data, msg.n - 8, false, &h), -EAGAIN);
	assert_string_equal(h.sni, "www.example.com");
	assert_string_equal(h.alpn, "h2");
}

static void a_hello_may_have_no_extensions(void **state)
{
	struct bytes msg = {0};
	struct tls_hello h;

	(void)state;
	put(&msg, 4, 0x01000000 | (2 + 32 + 1 + 4 + 2));
	put(&msg, 2, 0x0301);
	msg.n += 32;
	put(&msg, 1, 0);
	put(&msg, 4, 0x00020035);
	put(&msg, 2, 0x0100);
	assert_int_equal(parse_copy(msg.data, msg.n, false, &h), 0);
	assert_string_equal(h.sni, "");
	assert_string_equal(h.alpn, "");
}

/* Every length in the message, made too long or too short, is noticed or harmless. */
static void refuses_lengths_that_contradict(void **state)
{
	struct bytes msg = {0};
	struct tls_hello h;
	size_t exts = 4 + 2 + 32 + 1 + 4 + 2;

	(void)state;
	put_hello(&msg, 3, "www.example.com");
	msg.data[exts + 1]++; /* extensions longer than the message */
	assert_int_equal(parse_copy(msg.data, msg.n, false, &h), -EBADMSG);
	msg.data[exts + 1] -= 2; /* and shorter: bytes behind them */
	assert_int_equal(parse_copy(msg.data, msg.n, false, &h), -EBADMSG);
	msg.data[exts + 1]++;
	msg.data[exts + 2 + 4 + 3 + 4 + 1]++; /* the list of names longer than its extension */
	assert_int_equal(parse_copy(msg.data, msg.n, false, &h), -EBADMSG);
}

static void refuses_bytes_behind_the_extensions(void **state)
{
	struct bytes msg = {0};
	struct tls_hello h;

	(void)state;
	put_hello(&msg, 3, "www.example.com");
	msg.data[3]++;
	put(&msg, 1, 0);
	assert_int_equal(parse_copy(msg.data, msg.n, false, &h), -EBADMSG);
}

static void refuses_what_is_no_hello(void **state)
{
	struct bytes msg = {0}, stream = {0};
	struct tls_hello h;

	(void)state;
	put_hello(&msg, 3, "x");
	put_records(&stream, &msg, 50);
	msg.data[0] = 2; /* ServerHello */
	assert_int_equal(parse_copy(msg.data, msg.n, false, &h), -EBADMSG);
	stream.data[5 + 50] = 23; /* the second record is application data */
	assert_int_equal(parse_copy(stream.data, stream.n, true, &h), -EBADMSG);
	stream.data[5 + 50] = 22;
	stream.data[5 + 50 + 1] = 2; /* not TLS */
	assert_int_equal(parse_copy(stream.data, stream.n, true, &h), -EBADMSG);
}

static void refuses_a_hello_past_the_limit(void **state)
{
	struct bytes msg = {0};
	struct tls_hello h;

	(void)state;
	put(&msg, 4, 0x01000000 | (TLS_HELLO_MAX - 4));
	assert_int_equal(parse_copy(msg.data, msg.n, false, &h), -EAGAIN);
	msg.n = 0;
	put(&msg, 4, 0x01000000 | (TLS_HELLO_MAX - 3));
	assert_int_equal(parse_copy(msg.data, msg.n, false, &h), -EBADMSG);
}

static void refuses_records_past_the_limit(void **state)
{
	struct bytes msg = {.data = {1, 0xff, 0xff, 0xff}, .n = TLS_HELLO_MAX}, stream = {0};
	struct tls_hello h;

	(void)state;
	put_records(&stream, &msg, 9000);
	assert_int_equal(parse_copy(stream.data, stream.n, true, &h), -EBADMSG);
	msg.n = TLS_HELLO_MAX + 1;
	stream.n = 0;
	put_records(&stream, &msg, 9000);
	assert_int_equal(parse_copy(stream.data, stream.n, true, &h), -EBADMSG);
}

static void cleans_and_cuts_texts(void **state)
{
	struct bytes msg = {0};
	struct tls_hello h;
	char name[300];

	(void)state;
	put_hello(&msg, 0, "a\xff\x1b[31m,b");
	assert_int_equal(parse_copy(msg.data, msg.n, false, &h), 0);
	assert_string_equal(h.sni, "a\\255\\027[31m,b");
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	msg.n = 0;
	put_hello(&msg, 0, name);
	assert_int_equal(parse_copy(msg.data, msg.n, false, &h), 0);
	assert_true(h.cut);
	assert_int_equal(strlen(h.sni), TLS_SNI_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_names),
		cmocka_unit_test(finds_the_names_over_several_records),
		cmocka_unit_test(any_part_waits_for_the_rest),
		cmocka_unit_test(a_part_tells_what_is_in_it),
		cmocka_unit_test(a_hello_may_have_no_extensions),
		cmocka_unit_test(refuses_lengths_that_contradict),
		cmocka_unit_test(refuses_bytes_behind_the_extensions),
		cmocka_unit_test(refuses_what_is_no_hello),
		cmocka_unit_test(refuses_a_hello_past_the_limit),
		cmocka_unit_test(refuses_records_past_the_limit),
		cmocka_unit_test(cleans_and_cuts_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
