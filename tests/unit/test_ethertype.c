// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "bpf/flow_abi.h"
#include "probe/datapath/ethertype.h"

static void names_the_known_and_spells_the_others(void **state)
{
	char buf[ETHERTYPE_NAME_BYTES];

	(void)state;
	assert_string_equal(ethertype_name(0x0806, buf), "arp");
	assert_string_equal(ethertype_name(FLOW_ETHERTYPE_LLC, buf), "llc");
	assert_string_equal(ethertype_name(FLOW_ETHERTYPE_OTHER, buf), "other");
	assert_string_equal(ethertype_name(0x88b5, buf), "0x88b5");
	assert_string_equal(ethertype_name(0x0600, buf), "0x0600");
}

/* The first keep their name, so that a counter never goes back. */
static void names_so_many_and_no_more(void **state)
{
	struct ethertype_named named = {.n = 0};

	(void)state;
	assert_false(ethertype_is_named(&named, FLOW_ETHERTYPE_OTHER));
	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < ETHERTYPE_NAMED_MAX; i++)
			assert_true(ethertype_is_named(&named, 0x1000 + i));
	assert_false(ethertype_is_named(&named, 0x2000));
	assert_true(ethertype_is_named(&named, 0x1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_the_known_and_spells_the_others),
		cmocka_unit_test(names_so_many_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
