/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/output.h"
#include "tests/unit/fail_alloc.h"

static const struct output_column columns[] = {
	{"host", UNIT_NONE}, {"port", UNIT_NONE},	 {"bytes", UNIT_BYTES},
	{"rtt_us", UNIT_US}, {"start_ms", UNIT_TIME_MS}, {"share", UNIT_PERCENT},
};
#define N_COLUMNS (sizeof(columns) / sizeof(columns[0]))

/* A stream in memory and the answer on it. */
struct answer {
	char *text;
	size_t size;
	FILE *stream;
	struct output *output;
};

static void begin(struct answer *a, enum output_format format, bool raw,
		  const struct output_column *cols, size_t n)
{
	a->text = NULL;
	a->stream = open_memstream(&a->text, &a->size);
	assert_non_null(a->stream);
	assert_int_equal(output_begin(a->stream, format, raw, cols, n, &a->output), 0);
}

static void check(struct answer *a, const char *expected)
{
	char *text;

	assert_int_equal(output_end(a->output), 0);
	(void)fclose(a->stream);
	text = a->text; /* fclose() has set it */
	assert_string_equal(text, expected);
	free(text);
}

static void fill(struct output *o)
{
	output_str(o, "web-1");
	output_int(o, 443);
	output_int(o, 3565158);
	output_int(o, 1300);
	output_int(o, 1764000130123);
	output_double(o, 1.239);

	output_str(o, "a, \"b\"");
	output_int(o, 65535);
	output_int(o, 0);
	output_null(o);
	output_int(o, 0);
	output_double(o, 100);
}

static void check_filled(enum output_format format, bool raw, const char *expected)
{
	struct answer a;

	begin(&a, format, raw, columns, N_COLUMNS);
	fill(a.output);
	check(&a, expected);
}

static void table_is_for_people(void **state)
{
	(void)state;
	check_filled(OUTPUT_TABLE, false,
		     "HOST     PORT    BYTES  RTT_US  START_MS               SHARE\n"
		     "web-1     443  3.4 MiB  1.3 ms  2025-11-24 16:02:10    1.24%\n"
		     "a, \"b\"  65535      0 B       -  1970-01-01 00:00:00  100.00%\n");
}

static void raw_table_keeps_numbers(void **state)
{
	(void)state;
	check_filled(OUTPUT_TABLE, true,
		     "HOST     PORT    BYTES  RTT_US  START_MS       SHARE\n"
		     "web-1     443  3565158    1300  1764000130123  1.239\n"
		     "a, \"b\"  65535        0       -  0                100\n");
}

static void json_keeps_types(void **state)
{
	(void)state;
	check_filled(OUTPUT_JSON, false,
		     "[\n"
		     "{\"host\":\"web-1\",\"port\":443,\"bytes\":3565158,\"rtt_us\":1300,"
		     "\"start_ms\":1764000130123,\"share\":1.239},\n"
		     "{\"host\":\"a, \\\"b\\\"\",\"port\":65535,\"bytes\":0,\"rtt_us\":null,"
		     "\"start_ms\":0,\"share\":100}\n"
		     "]\n");
}

static void ndjson_is_a_line_each(void **state)
{
	(void)state;
	check_filled(OUTPUT_NDJSON, false,
		     "{\"host\":\"web-1\",\"port\":443,\"bytes\":3565158,\"rtt_us\":1300,"
		     "\"start_ms\":1764000130123,\"share\":1.239}\n"
		     "{\"host\":\"a, \\\"b\\\"\",\"port\":65535,\"bytes\":0,\"rtt_us\":null,"
		     "\"start_ms\":0,\"share\":100}\n");
}

static void csv_is_rfc_4180(void **state)
{
	(void)state;
	check_filled(OUTPUT_CSV, false,
		     "host,port,bytes,rtt_us,start_ms,share\r\n"
		     "web-1,443,3565158,1300,1764000130123,1.239\r\n"
		     "\"a, \"\"b\"\"\",65535,0,,0,100\r\n");
}

static void empty_answers(void **state)
{
	static const char *const expected[] = {
		[OUTPUT_TABLE] = "HOST  PORT  BYTES\n",
		[OUTPUT_JSON] = "[]\n",
		[OUTPUT_NDJSON] = "",
		[OUTPUT_CSV] = "host,port,bytes\r\n",
	};

	(void)state;
	for (int format = OUTPUT_TABLE; format <= OUTPUT_CSV; format++) {
		struct answer a;

		begin(&a, (enum output_format)format, false, columns, 3);
		check(&a, expected[format]);
	}
}

static void check_text(enum output_format format, const char *text, size_t len,
		       const char *expected)
{
	static const struct output_column one[] = {{"x", UNIT_NONE}};
	struct answer a;

	begin(&a, format, false, one, 1);
	output_text(a.output, text, len);
	check(&a, expected);
}

static void escapes_what_came_from_outside(void **state)
{
	/* ESC, DEL, C1 (U+009B), RLO (U+202E), a lone byte, NUL, a good letter */
	static const char nasty[] = "\x1b\x7f\xc2\x9b\xe2\x80\xae\xff\0\xc3\xa9";
	size_t len = sizeof(nasty) - 1;

	(void)state;
	check_text(OUTPUT_TABLE, nasty, len,
		   "X\n\\x1b\\x7f\\xc2\\x9b\\xe2\\x80\\xae\\xff\\x00\xc3\xa9\n");
	check_text(OUTPUT_CSV, nasty, len,
		   "x\r\n\\x1b\\x7f\\xc2\\x9b\\xe2\\x80\\xae\\xff\\x00\xc3\xa9\r\n");
	check_text(OUTPUT_NDJSON, nasty, len,
		   "{\"x\":\"\\u001b\\u007f\\u009b\\u202e\\u00ff\\u0000\xc3\xa9\"}\n");
	check_text(OUTPUT_NDJSON, "a\\\"\n\t", 5, "{\"x\":\"a\\\\\\\"\\u000a\\u0009\"}\n");
	/* isolates, overlong '/', surrogate, past U+10FFFF, cut */
	check_text(OUTPUT_NDJSON, "\xe2\x81\xa6", 3, "{\"x\":\"\\u2066\"}\n");
	check_text(OUTPUT_NDJSON, "\xc0\xaf", 2, "{\"x\":\"\\u00c0\\u00af\"}\n");
	check_text(OUTPUT_NDJSON, "\xed\xa0\x80", 3, "{\"x\":\"\\u00ed\\u00a0\\u0080\"}\n");
	check_text(OUTPUT_NDJSON, "\xf4\x90\x80\x80", 4,
		   "{\"x\":\"\\u00f4\\u0090\\u0080\\u0080\"}\n");
	check_text(OUTPUT_NDJSON, "\xf0\x9f\x98\x80\xe2\x82", 6,
		   "{\"x\":\"\xf0\x9f\x98\x80\\u00e2\\u0082\"}\n");
}

static void csv_defuses_formulas(void **state)
{
	static const struct {
		const char *text, *cell;
	} cases[] = {
		{"=1+1", "'=1+1"},
		{"+cmd", "'+cmd"},
		{"@SUM(A1)", "'@SUM(A1)"},
		{"-x", "'-x"},
		{"-5", "-5"},
		{"+1.5e3", "+1.5e3"},
		{"\t=1", "'\\x09=1"},
		{"\r=1", "'\\x0d=1"},
		{"=A1,B1", "\"'=A1,B1\""},
		{"a=b", "a=b"},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char expected[64];

		(void)snprintf(expected, sizeof(expected), "x\r\n%s\r\n", cases[i].cell);
		check_text(OUTPUT_CSV, cases[i].text, strlen(cases[i].text), expected);
	}
}

static void check_number(enum output_unit unit, double value, const char *expected)
{
	const struct output_column one[] = {{"x", unit}};
	struct answer a;
	const char *cell;

	begin(&a, OUTPUT_TABLE, false, one, 1);
	output_double(a.output, value);
	assert_int_equal(output_end(a.output), 0);
	(void)fclose(a.stream);
	cell = strchr(a.text, '\n') + 1;
	cell += strspn(cell, " ");
	assert_int_equal(strlen(cell), strlen(expected) + 1);
	assert_memory_equal(cell, expected, strlen(expected));
	free(a.text);
}

static void numbers_for_people(void **state)
{
	(void)state;
	check_number(UNIT_COUNT, 0, "0");
	check_number(UNIT_COUNT, 999, "999");
	check_number(UNIT_COUNT, 1000, "1.0 k");
	check_number(UNIT_COUNT, 1234567, "1.2 M");
	check_number(UNIT_COUNT, 999999, "1.0 M");
	check_number(UNIT_COUNT, 9.3e18, "9.3 E");
	check_number(UNIT_COUNT, -1500, "-1.5 k");
	check_number(UNIT_COUNT, 0.5, "0.5");
	check_number(UNIT_BYTES, 1023, "1023 B");
	check_number(UNIT_BYTES, 1024, "1.0 KiB");
	check_number(UNIT_BYTES, 1048575, "1.0 MiB");
	check_number(UNIT_US, 850, "850 us");
	check_number(UNIT_US, 2.5e6, "2.5 s");
	check_number(UNIT_US, 3.6e9, "3600.0 s");
	check_number(UNIT_PERCENT, 1.236, "1.24%");
	check_number(UNIT_NONE, 0.1, "0.1");
	check_number(UNIT_NONE, 1234567.891, "1.23457e+06");
	check_number(UNIT_TIME_MS, -1, "1969-12-31 23:59:59");
}

static void numbers_are_exact_elsewhere(void **state)
{
	static const struct output_column two[] = {{"i", UNIT_COUNT}, {"d", UNIT_NONE}};
	struct answer a;

	(void)state;
	begin(&a, OUTPUT_NDJSON, false, two, 2);
	output_int(a.output, INT64_MIN);
	output_double(a.output, 0.1);
	output_int(a.output, INT64_MAX);
	output_double(a.output, 0.1 + 0.2);
	output_double(a.output, NAN);
	output_double(a.output, INFINITY);
	check(&a, "{\"i\":-9223372036854775808,\"d\":0.1}\n"
		  "{\"i\":9223372036854775807,\"d\":0.30000000000000004}\n"
		  "{\"i\":null,\"d\":null}\n");

	begin(&a, OUTPUT_TABLE, false, two + 1, 1);
	output_int(a.output, INT64_MAX);
	check(&a, "                  D\n9223372036854775807\n");
}

static void names_are_escaped_too(void **state)
{
	static const struct output_column nasty[] = {{"a\x1b\xc3\xa9", UNIT_NONE}};
	static const char *const expected[] = {
		[OUTPUT_TABLE] = "A\\x1b\xc3\xa9\n     1\n",
		[OUTPUT_JSON] = "[\n{\"a\\u001b\xc3\xa9\":1}\n]\n",
		[OUTPUT_NDJSON] = "{\"a\\u001b\xc3\xa9\":1}\n",
		[OUTPUT_CSV] = "a\\x1b\xc3\xa9\r\n1\r\n",
	};

	(void)state;
	for (int format = OUTPUT_TABLE; format <= OUTPUT_CSV; format++) {
		struct answer a;

		begin(&a, (enum output_format)format, false, nasty, 1);
		output_int(a.output, 1);
		check(&a, expected[format]);
	}
}

static void null_text_is_null(void **state)
{
	static const struct output_column one[] = {{"x", UNIT_NONE}};
	struct answer a;

	(void)state;
	begin(&a, OUTPUT_NDJSON, false, one, 1);
	output_str(a.output, NULL);
	check(&a, "{\"x\":null}\n");
}

static void failed_writes_are_reported(void **state)
{
	(void)state;
	for (int format = OUTPUT_TABLE; format <= OUTPUT_CSV; format++) {
		FILE *full = fopen("/dev/full", "w");
		struct output *o;

		assert_non_null(full);
		assert_int_equal(output_begin(full, (enum output_format)format, false, columns,
					      N_COLUMNS, &o),
				 0);
		for (int i = 0; i < 1000; i++)
			fill(o);
		assert_int_equal(output_end(o), -EIO);
		(void)fclose(full);
	}
}

static void failed_allocations_are_reported(void **state)
{
	struct output *o = NULL;
	unsigned n;

	(void)state;
	for (n = 1;; n++) {
		int err;

		fail_alloc_at(n);
		err = output_begin(stdout, OUTPUT_TABLE, false, columns, N_COLUMNS, &o);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
		assert_null(o);
	}
	assert_int_equal(n, 2); /* all others are libsmartcols' own */
	output_free(o);
	output_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_is_for_people),
		cmocka_unit_test(raw_table_keeps_numbers),
		cmocka_unit_test(json_keeps_types),
		cmocka_unit_test(ndjson_is_a_line_each),
		cmocka_unit_test(csv_is_rfc_4180),
		cmocka_unit_test(empty_answers),
		cmocka_unit_test(escapes_what_came_from_outside),
		cmocka_unit_test(csv_defuses_formulas),
		cmocka_unit_test(numbers_for_people),
		cmocka_unit_test(numbers_are_exact_elsewhere),
		cmocka_unit_test(names_are_escaped_too),
		cmocka_unit_test(null_text_is_null),
		cmocka_unit_test(failed_writes_are_reported),
		cmocka_unit_test(failed_allocations_are_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
