/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/addr.h"

static void check_text(const char *text, const char *expected)
{
	char ret[ADDR_TEXT_MAX];
	uint8_t addr[16];

	assert_int_equal(addr_parse(text, addr), 0);
	assert_string_equal(addr_format(addr, ret), expected);
}

static void formats_canonically(void **state)
{
	(void)state;
	check_text("10.1.2.3", "10.1.2.3");
	check_text("::ffff:10.1.2.3", "10.1.2.3");
	check_text("255.255.255.255", "255.255.255.255");
	/* RFC 5952 4.1 to 4.3 */
	check_text("2001:0DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1");
	check_text("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1");
	check_text("::", "::");
	check_text("0:0:0:0:0:0:0:1", "::1");
	check_text("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		   "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

static void knows_v4(void **state)
{
	uint8_t addr[16];

	(void)state;
	assert_int_equal(addr_parse("0.0.0.0", addr), 0);
	assert_true(addr_is_v4(addr));
	assert_int_equal(addr_parse("::", addr), 0);
	assert_false(addr_is_v4(addr));
	assert_int_equal(addr_parse("::fffe:1.2.3.4", addr), 0);
	assert_false(addr_is_v4(addr));
}

static void refuses_what_is_no_address(void **state)
{
	static const char *const texts[] = {
		"",	"1.2.3", "1.2.3.256", "1.2.3.4.5", " 1.2.3.4",	   "1.2.3.4 ",	"01.2.3.4",
		"g::1", ":::",	 "1::2::3",   "1.2.3.4/8", "fe80::1%eth0", "localhost",
	};
	uint8_t addr[16];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(addr_parse(texts[i], addr), -EINVAL);
}

static void check_prefix(const char *text, const char *addr, unsigned len)
{
	char ret[ADDR_TEXT_MAX];
	struct addr_prefix prefix;

	assert_int_equal(addr_parse_prefix(text, &prefix), 0);
	assert_string_equal(addr_format(prefix.addr, ret), addr);
	assert_int_equal(prefix.len, len);
}

static void parses_prefixes(void **state)
{
	(void)state;
	check_prefix("10.1.2.3/8", "10.0.0.0", 104);
	check_prefix("10.1.2.3/31", "10.1.2.2", 127);
	check_prefix("10.1.2.3", "10.1.2.3", 128);
	check_prefix("1.2.3.4/0", "0.0.0.0", 96);
	check_prefix("2001:db8:ffff::/33", "2001:db8:8000::", 33);
	check_prefix("::ffff:1.2.3.4/96", "0.0.0.0", 96);
	check_prefix("ff::/0", "::", 0);
	check_prefix("::1/128", "::1", 128);
}

static void refuses_bad_prefixes(void **state)
{
	static const char *const texts[] = {
		"10.0.0.0/33",
		"10.0.0.0/",
		"10.0.0.0/-1",
		"10.0.0.0/+8",
		"10.0.0.0/8 ",
		"10.0.0.0/0x8",
		"::/129",
		"/8",
		"10.0.0.0/8/8",
		"::/4294967297",
		"1111111111111111111111111111111111111111111111111111/8",
	};
	struct addr_prefix prefix = {.len = 7};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(addr_parse_prefix(texts[i], &prefix), -EINVAL);
	assert_int_equal(prefix.len, 7);
}

/* Compares with the definition, bit by bit, for every length. */
static void matches_like_the_definition(void **state)
{
	struct addr_prefix prefix;
	uint8_t addr[16];

	(void)state;
	assert_int_equal(addr_parse("2001:db8:1234:5678:9abc:def0:1234:5678", addr), 0);
	for (unsigned len = 0; len <= 128; len++) {
		char text[ADDR_TEXT_MAX + 8], base[ADDR_TEXT_MAX];

		(void)snprintf(text, sizeof(text), "%s/%u", addr_format(addr, base), len);
		assert_int_equal(addr_parse_prefix(text, &prefix), 0);
		for (unsigned bit = 0; bit < 128; bit++) {
			uint8_t other[16];

			memcpy(other, addr, sizeof(other));
			other[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
			assert_int_equal(addr_in_prefix(other, &prefix), bit >= len);
		}
	}
}

static void names_protocols(void **state)
{
	uint8_t number = 0;

	(void)state;
	assert_string_equal(proto_name(6), "tcp");
	assert_string_equal(proto_name(58), "icmpv6");
	assert_null(proto_name(255));
	assert_int_equal(proto_parse("UDP", &number), 0);
	assert_int_equal(number, 17);
	assert_int_equal(proto_parse("255", &number), 0);
	assert_int_equal(number, 255);
	assert_int_equal(proto_parse("256", &number), -EINVAL);
	assert_int_equal(proto_parse("", &number), -EINVAL);
	assert_int_equal(proto_parse("tcpx", &number), -EINVAL);
	assert_int_equal(proto_parse("-6", &number), -EINVAL);
	for (unsigned i = 0; i < 256; i++) {
		const char *name = proto_name((uint8_t)i);

		if (!name)
			continue;
		assert_int_equal(proto_parse(name, &number), 0);
		assert_int_equal(number, i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_canonically),
		cmocka_unit_test(knows_v4),
		cmocka_unit_test(refuses_what_is_no_address),
		cmocka_unit_test(parses_prefixes),
		cmocka_unit_test(refuses_bad_prefixes),
		cmocka_unit_test(matches_like_the_definition),
		cmocka_unit_test(names_protocols),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
