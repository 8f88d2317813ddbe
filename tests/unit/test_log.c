/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/unit/capture.h"

static struct capture capture;

static int begin_capture(void **state)
{
	(void)state;
	capture_start(&capture);
	return 0;
}

/* What was written to stderr since. */
static const char *end_capture(void)
{
	capture_stop(&capture);
	return capture.err;
}

static void writes_one_line_with_level(void **state)
{
	(void)state;
	log_error("cannot open %s", "eth0");
	log_warn("lost %d", 3);
	assert_string_equal(end_capture(), "test_log: error: cannot open eth0\n"
					   "test_log: warning: lost 3\n");
}

static void drops_lines_above_the_level(void **state)
{
	(void)state;
	assert_true(log_enabled(LOG_LEVEL_INFO));
	assert_false(log_enabled(LOG_LEVEL_DEBUG));
	log_debug("not shown");
	log_set_level(LOG_LEVEL_ERROR);
	log_warn("not shown");
	log_error("shown");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("shown");
	log_set_level(LOG_LEVEL_INFO);
	assert_string_equal(end_capture(), "test_log: error: shown\ntest_log: debug: shown\n");
}

static void escapes_what_came_from_outside(void **state)
{
	(void)state;
	log_info("a\nb\x1b[31m\x7f \xc3\xa9 \xff \xe2\x80\xae \xc2\x85");
	assert_string_equal(end_capture(), "test_log: info: a\\x0ab\\x1b[31m\\x7f \xc3\xa9 \\xff "
					   "\\xe2\\x80\\xae \\xc2\\x85\n");
}

static void takes_one_newline_off(void **state)
{
	(void)state;
	log_info("libbpf: loaded\n");
	assert_string_equal(end_capture(), "test_log: info: libbpf: loaded\n");
}

static void cuts_long_lines(void **state)
{
	char text[3000];
	const char *line;

	(void)state;
	memset(text, '\x01', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	line = end_capture();
	assert_int_equal(strlen(line), strlen("test_log: info: ") + 4 * 1020 + strlen("...\n"));
	assert_string_equal(line + strlen(line) - 8, "\\x01...\n");
}

static void keeps_errno(void **state)
{
	(void)state;
	errno = EXDEV;
	log_info("%s", "text");
	assert_int_equal(errno, EXDEV);
	(void)end_capture();
}

static void due_once_a_period(void **state)
{
	uint64_t due = 0;

	(void)state;
	assert_true(log_due(&due, 50));
	assert_false(log_due(&due, 50));
	usleep(60000);
	assert_true(log_due(&due, 50));
	assert_false(log_due(&due, 50));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(writes_one_line_with_level, begin_capture),
		cmocka_unit_test_setup(drops_lines_above_the_level, begin_capture),
		cmocka_unit_test_setup(escapes_what_came_from_outside, begin_capture),
		cmocka_unit_test_setup(takes_one_newline_off, begin_capture),
		cmocka_unit_test_setup(cuts_long_lines, begin_capture),
		cmocka_unit_test_setup(keeps_errno, begin_capture),
		cmocka_unit_test(due_once_a_period),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
