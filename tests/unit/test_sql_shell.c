// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The shell on a terminal of its own: what is typed, what comes back, what is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "collector/command/sql_shell.h"
#include "tests/unit/remove_folder.h"
#include "tests/unit/sample_db.h"

#define WAIT_MS 60000 /* for an answer; a slow machine needs a second */

struct terminal {
	char dir[64], db[96], history[96];
	pid_t child;
	int fd;
	char seen[65536]; /* what the shell printed */
	size_t len;
};

static void start(struct terminal *t)
{
	static char name[] = "sql", option[] = "--db";
	char *argv[] = {name, option, t->db, NULL};

	t->len = 0;
	t->child = forkpty(&t->fd, NULL, NULL, NULL);
	assert_true(t->child >= 0);
	if (t->child == 0) {
		(void)setenv("WEIR_HISTORY", t->history, 1);
		(void)setenv("TERM", "dumb", 1);
		_exit(cli_run(&sql_command, 3, argv));
	}
}

/* Reads until text has come, from after what was asked for before. */
static void expect(struct terminal *t, const char *text)
{
	char *found;

	t->seen[t->len] = '\0';
	while (!(found = strstr(t->seen, text))) {
		struct pollfd fd = {.fd = t->fd, .events = POLLIN};
		ssize_t n = 0;

		if (poll(&fd, 1, WAIT_MS) == 1)
			n = read(t->fd, t->seen + t->len, sizeof(t->seen) - 1 - t->len);
		if (n <= 0)
			fail_msg("'%s' does not come, but: %s", text, t->seen);
		t->len += (size_t)n;
		t->seen[t->len] = '\0';
	}
	found += strlen(text);
	t->len -= (size_t)(found - t->seen);
	memmove(t->seen, found, t->len + 1);
}

static void type(struct terminal *t, const char *text)
{
	assert_int_equal(write(t->fd, text, strlen(text)), strlen(text));
}

/* Waits for the end of the shell; typed: what to type until then, again and again. */
static int end(struct terminal *t, const char *typed)
{
	const struct timespec pause = {.tv_nsec = 50000000};
	pid_t ended = 0;
	int status = 0;

	for (int waited_ms = 0; !ended && waited_ms < WAIT_MS; waited_ms += 50) {
		if (typed)
			type(t, typed);
		(void)nanosleep(&pause, NULL);
		ended = waitpid(t->child, &status, WNOHANG);
	}
	if (!ended) {
		kill(t->child, SIGKILL);
		fail_msg("the shell does not end, but: %s", t->seen);
	}
	close(t->fd);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int setup(void **state)
{
	struct terminal *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	strcpy(t->dir, "/tmp/weir-shell.XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	(void)snprintf(t->db, sizeof(t->db), "%s/weir.db", t->dir);
	(void)snprintf(t->history, sizeof(t->history), "%s/history", t->dir);
	sqlite3_close(sample_open(t->db));
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct terminal *t = *state;
	int err = remove_folder(t->dir);

	free(t);
	return err;
}

static void test_statement_over_lines(void **state)
{
	struct terminal *t = *state;

	start(t);
	expect(t, "weir> ");
	type(t, "SELECT 40\n");
	expect(t, " ...> ");
	type(t, "+ 2 AS answer;\n");
	expect(t, "ANSWER");
	expect(t, "42");
	expect(t, "weir> ");
	type(t, "SELECT nonsense;\n"); /* an error does not end it */
	expect(t, "no such column");
	expect(t, "weir> ");
	type(t, ".quit\n");
	assert_int_equal(end(t, NULL), 0);
}

static void test_history_outlives_the_shell(void **state)
{
	struct terminal *t = *state;
	struct stat st;

	start(t);
	expect(t, "weir> ");
	type(t, "SELECT 6 * 7 AS answer;\n");
	expect(t, "42");
	expect(t, "weir> ");
	/* Ctrl-D on an empty line; before the editor has the terminal it is something else. */
	assert_int_equal(end(t, "\x15\x04"), 0);
	assert_int_equal(stat(t->history, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);

	start(t);
	expect(t, "weir> ");
	type(t, "\x10\n"); /* Ctrl-P: the line before */
	expect(t, "SELECT 6 * 7");
	expect(t, "42");
	type(t, ".quit\n");
	assert_int_equal(end(t, NULL), 0);
}

static void test_dots(void **state)
{
	struct terminal *t = *state;

	start(t);
	expect(t, "weir> ");
	type(t, ".help\n");
	expect(t, ".schema");
	type(t, ".tables\n");
	expect(t, "flows");
	type(t, ".schema host\n");
	expect(t, "CREATE TABLE host");
	type(t, ".schema flows\n");
	expect(t, "CREATE TABLE flows (host TEXT");
	type(t, ".mode json\n");
	expect(t, "weir> ");
	type(t, "SELECT 42 AS answer;\n");
	expect(t, "\"answer\":");
	type(t, ".mode nonsense\n");
	expect(t, "takes table, json");
	type(t, ".quit now\n");
	expect(t, "usage: .quit");
	type(t, ".nonsense\n");
	expect(t, ".help lists them");
	type(t, ".exit\n");
	assert_int_equal(end(t, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_statement_over_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_history_outlives_the_shell, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dots, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
