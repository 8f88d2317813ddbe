/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/cli/cli.h"
#include "common/exit_code.h"
#include "tests/unit/capture.h"

/* From the folder of this program to the root, however deep it is. */
#define ROOT "../../../../../../../../../../../../../../../../../../../../"

static char word[] = "serve", option[] = "--check-config";
static char *words[] = {word, option, NULL};

static void test_process_becomes_it_with_all_words(void **state)
{
	static const struct cli_command command = {.sibling = ROOT "bin/echo"};
	char said[64] = "";
	int fds[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)dup2(fds[1], STDOUT_FILENO);
		_exit(cli_run(&command, 2, words));
	}
	close(fds[1]);
	assert_true(read(fds[0], said, sizeof(said) - 1) > 0);
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_string_equal(said, "serve --check-config\n");
}

static void test_missing_is_said_with_its_places(void **state)
{
	static const struct cli_command command = {.sibling = "weir-collector-nothing"};
	struct capture said;
	int code;

	(void)state;
	capture_start(&said);
	code = cli_run(&command, 2, words);
	capture_stop(&said);
	assert_int_equal(code, EXIT_RUNTIME);
	assert_non_null(strstr(said.err, "weir-collector-nothing is neither in /"));
	assert_non_null(strstr(said.err, "../lib/weir/"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_process_becomes_it_with_all_words),
		cmocka_unit_test(test_missing_is_said_with_its_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
