// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "proto/flow_words.h"

static void test_words(void **state)
{
	static const struct {
		enum flow_column column;
		uint32_t code;
		const char *word;
	} cases[] = {
		{FLOW_COLUMN_direction, FLOW_DIRECTION_UNKNOWN, "unknown"},
		{FLOW_COLUMN_direction, FLOW_DIRECTION_EGRESS, "egress"},
		{FLOW_COLUMN_role, FLOW_ROLE_SERVER, "server"},
		{FLOW_COLUMN_end_reason, FLOW_END_NONE, NULL},
		{FLOW_COLUMN_end_reason, FLOW_END_NO_RESOURCES, "no_resources"},
		{FLOW_COLUMN_tunnel, FLOW_ENCAP_NONE, NULL},
		{FLOW_COLUMN_tunnel, FLOW_ENCAP_TEREDO, "teredo"},
		{FLOW_COLUMN_verdict, FLOW_VERDICT_NONE, NULL},
		{FLOW_COLUMN_verdict, FLOW_VERDICT_TIMED_OUT, "timed_out"},
		{FLOW_COLUMN_verdict, FLOW_VERDICT_MAX, NULL},
		{FLOW_COLUMN_dns_qtype, 1, "A"},
		{FLOW_COLUMN_dns_qtype, 65, "HTTPS"},
		{FLOW_COLUMN_dns_qtype, 65535, "TYPE65535"},
		{FLOW_COLUMN_dns_rcode, 0, "NOERROR"},
		{FLOW_COLUMN_dns_rcode, 3, "NXDOMAIN"},
		{FLOW_COLUMN_dns_rcode, 15, "RCODE15"},
		{FLOW_COLUMN_src_port, 80, NULL},
	};
	char word[FLOW_WORD_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *got = flow_word(cases[i].column, cases[i].code, word);

		if (!cases[i].word)
			assert_null(got);
		else
			assert_string_equal(got, cases[i].word);
	}
}

/* Every code that has a word is found by it, and has no more room than a word. */
static void test_there_and_back(void **state)
{
	(void)state;
	for (int c = 0; c < FLOW_N_COLUMNS; c++) {
		size_t n = 0;

		for (uint32_t code = 0; code < 70000; code++) {
			char word[FLOW_WORD_MAX];
			const char *text = flow_word((enum flow_column)c, code, word);
			uint32_t back = ~code;

			if (!text)
				continue;
			n++;
			assert_true(strlen(text) < FLOW_WORD_MAX);
			assert_true(flow_word_code((enum flow_column)c, text, &back));
			assert_int_equal(back, code);
		}
		assert_int_equal(n > 0, flow_words_of((enum flow_column)c));
	}
}

static void test_words_that_are_none(void **state)
{
	static const char *const bad[] = {"",	    "servers",	      "serve",	"TYPE",
					  "TYPE1x", "TYPE-1",	      "TYPE 1", "RCODE1",
					  "A ",	    "TYPE9999999999", "1"};
	uint32_t code;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(flow_word_code(FLOW_COLUMN_role, bad[i], &code));
		assert_false(flow_word_code(FLOW_COLUMN_dns_qtype, bad[i], &code));
	}
	assert_true(flow_word_code(FLOW_COLUMN_role, "SERVER", &code));
	assert_int_equal(code, FLOW_ROLE_SERVER);
	assert_true(flow_word_code(FLOW_COLUMN_dns_qtype, "type300", &code));
	assert_int_equal(code, 300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_words_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
