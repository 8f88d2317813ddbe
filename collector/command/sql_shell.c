// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/command/sql_shell.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/cli/sandbox.h"
#include "collector/command/line_editor.h"
#include "collector/command/sql_dots.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

#define STATEMENT_MAX_BYTES 100000

struct sql_settings {
	struct cli_settings cli; /* first: the shared rows count on it */
	uint64_t timeout_ms;
};

static struct sandbox sandbox_of(const struct sql_settings *s)
{
	return (struct sandbox){
		.db = cli_db_path(&s->cli),
		.timeout_ms = s->timeout_ms,
		.max_rows = s->cli.limit,
		.windowed = s->cli.since_ms != INT64_MIN || s->cli.until_ms != INT64_MIN,
		.since_ms = s->cli.since_ms,
		.until_ms = s->cli.until_ms != INT64_MIN ? s->cli.until_ms : INT64_MAX,
		.style = cli_style(&s->cli),
	};
}

struct shell {
	struct sandbox sandbox;
	struct line_editor *editor;		 /* NULL: stdin is no terminal */
	char statement[STATEMENT_MAX_BYTES + 1]; /* lines so far */
	size_t len;
};

static bool is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n")] == '\0';
}

static int run_statement(struct shell *sh)
{
	int code;

	if (sh->editor)
		line_editor_remember(sh->editor, sh->statement);
	code = sandbox_run(&sh->sandbox, sh->statement);
	sh->len = 0;
	return code;
}

/* Adds a line; runs what is complete by then. */
static int take_line(struct shell *sh, const char *line, bool *ret_quit)
{
	size_t len = strlen(line);

	if (sh->len == 0 && line[0] == '.') {
		if (sh->editor)
			line_editor_remember(sh->editor, line);
		return sql_dots_run(&sh->sandbox, line, ret_quit);
	}
	if (sh->len + len + 1 > STATEMENT_MAX_BYTES) {
		sh->len = 0;
		log_error("sql: a statement is at most %d bytes", STATEMENT_MAX_BYTES);
		return EXIT_USAGE;
	}
	if (sh->len) /* between two lines; a history holds the statement as one */
		sh->statement[sh->len++] = '\n';
	memcpy(sh->statement + sh->len, line, len);
	sh->len += len;
	sh->statement[sh->len] = '\0';
	if (is_blank(sh->statement))
		sh->len = 0;
	return sh->len && sqlite3_complete(sh->statement) ? run_statement(sh) : EXIT_OK;
}

/* A line of the terminal, or of the file that stdin is. -ENODATA: no more. */
static int read_line(struct shell *sh, char **ret)
{
	cleanup(free_p) char *line = NULL;
	size_t size = 0;

	if (sh->editor)
		return line_editor_read(sh->editor, sh->len ? " ...> " : "weir> ", ret);
	if (getline(&line, &size, stdin) < 0)
		return -ENODATA;
	line[strcspn(line, "\r\n")] = '\0';
	*ret = take_ptr(line);
	return 0;
}

static int read_loop(struct shell *sh)
{
	bool quit = false;
	int code = EXIT_OK;

	while (!quit && (code == EXIT_OK || sh->editor)) {
		cleanup(free_p) char *line = NULL;

		if (read_line(sh, &line))
			break;
		code = take_line(sh, line, &quit);
	}
	if (code == EXIT_OK && sh->len) /* the last one needs no semicolon */
		code = run_statement(sh);
	return code;
}

/* ~/.weir_history, or $WEIR_HISTORY; an empty one: none. */
static void open_editor(struct shell *sh)
{
	const char *path = getenv("WEIR_HISTORY"), *home = getenv("HOME");
	char of_home[PATH_MAX];
	int err;

	if (!path && home && *home) {
		int len = snprintf(of_home, sizeof(of_home), "%s/.weir_history", home);

		path = len < (int)sizeof(of_home) ? of_home : NULL;
	}
	err = line_editor_open(path && *path ? path : NULL, &sh->editor);
	if (err)
		log_warn("sql: no line editor: %s", strerror(-err));
}

static int run_shell(struct shell *sh)
{
	int code, err;

	if (isatty(STDIN_FILENO))
		open_editor(sh);
	code = read_loop(sh);
	err = line_editor_close(sh->editor);
	if (err)
		log_warn("sql: the history is not kept: %s", strerror(-err));
	return code;
}

static int run(const void *settings, int argc, char **argv)
{
	cleanup(free_p) struct shell *sh = NULL;
	struct sandbox sandbox = sandbox_of(settings);

	if (argc > 1) {
		log_error("sql: quote the statement, so that it is one argument");
		return EXIT_USAGE;
	}
	if (argc == 1)
		return sandbox_run(&sandbox, argv[0]);
	sh = calloc(1, sizeof(*sh));
	if (!sh) {
		log_error("out of memory");
		return EXIT_RUNTIME;
	}
	sh->sandbox = sandbox;
	return run_shell(sh);
}

static const struct option_row rows[] = {
	{.name = "timeout",
	 .type = OPTION_DURATION_MS,
	 .offset = offsetof(struct sql_settings, timeout_ms),
	 .arg = "TIME",
	 .fallback = "30s",
	 .min = 1,
	 .max = 86400e3,
	 .help = "end a statement that takes longer",
	 .cli_only = true},
	CLI_SINCE_ROW(NULL),
	CLI_UNTIL_ROW,
	CLI_LIMIT_ROW("10000"),
};

const struct cli_command sql_command = {
	.command =
		{
			.name = "sql",
			.args = "[STATEMENT]",
			.summary =
				"one SELECT, or a shell of them on stdin; reads only, with limits",
			.examples = "sql 'SELECT host, sum(bytes) FROM flows GROUP BY host'\n"
				    "sql < queries.sql\n"
				    "\n"
				    "Read the table flows, which --since and --until narrow; "
				    ".tables and .schema\n"
				    "show the rest, .help the other lines of the shell. "
				    "Besides SQLite's own\n"
				    "functions: in_prefix(addr, cidr), quantile(x, q), "
				    "approx_distinct(x) (1.6 % standard\n"
				    "error; distinct_sketch(x), distinct_merge(sketch), "
				    "distinct_count(sketch)), proto_name(n),\n"
				    "tcp_flags(n), endpoint(addr, port), addr_blob(text), "
				    "addr_text(blob),\n"
				    "time_bucket(ms, seconds), utc(ms).\n",
			.tables = {{rows, ARRAY_SIZE(rows)}, {cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct sql_settings),
	.run = run,
};
