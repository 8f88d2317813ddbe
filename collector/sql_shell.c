// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/sql_shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/db.h"
#include "collector/sandbox.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define STATEMENT_MAX_BYTES 100000

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

struct sql_settings {
	struct cli_settings cli; /* first: the shared rows count on it */
	uint64_t timeout_ms;
};

static int run_statement(const struct sql_settings *s, const char *sql)
{
	struct sandbox sandbox = {
		.db = cli_db_path(&s->cli),
		.timeout_ms = s->timeout_ms,
		.max_rows = s->cli.limit,
		.windowed = s->cli.since_ms != INT64_MIN || s->cli.until_ms != INT64_MIN,
		.since_ms = s->cli.since_ms,
		.until_ms = s->cli.until_ms != INT64_MIN ? s->cli.until_ms : INT64_MAX,
		.style = cli_style(&s->cli),
	};

	return sandbox_run(&sandbox, sql);
}

/* --- lines that begin with a dot --------------------------------------------- */

/* A text of several lines, each escaped. */
static void print_lines(const char *text)
{
	size_t len;

	for (; *text; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		output_escaped(stdout, text, len);
		putchar('\n');
	}
}

/* CREATE statements, of all or of the one that is named. */
static int print_schema(const struct sql_settings *s, const char *name)
{
	cleanup(db_close_p) sqlite3 *db = NULL;
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int code = cli_open(&s->cli, &db);
	int err;

	if (code)
		return code;
	err = db_errno(sqlite3_prepare_v2(db,
					  "SELECT sql || ';' FROM sqlite_schema"
					  " WHERE sql IS NOT NULL AND (?1 = '' OR name = ?1)",
					  -1, &st, NULL));
	if (!err)
		err = db_errno(sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC));
	if (err)
		return cli_fail(db, err);
	while (sqlite3_step(st) == SQLITE_ROW)
		print_lines((const char *)sqlite3_column_text(st, 0));
	return EXIT_OK;
}

static int run_dot_line(const struct sql_settings *s, const char *line, bool *ret_quit)
{
	static const char schema[] = ".schema";
	const char *argument;

	if (strcmp(line, ".quit") == 0 || strcmp(line, ".exit") == 0) {
		*ret_quit = true;
		return EXIT_OK;
	}
	if (strcmp(line, ".tables") == 0)
		return run_statement(s, "SELECT name, type FROM sqlite_schema"
					" WHERE type IN ('table', 'view') ORDER BY name");
	if (strncmp(line, schema, strlen(schema)) == 0) {
		argument = line + strlen(schema);
		return print_schema(s, argument + strspn(argument, " "));
	}
	log_error("sql: use .tables, .schema [NAME] or .quit");
	return EXIT_USAGE;
}

/* --- the loop ---------------------------------------------------------------- */

struct shell {
	const struct sql_settings *settings;
	bool prompt;
	char statement[STATEMENT_MAX_BYTES + 1]; /* lines so far */
	size_t len;
};

static bool is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n")] == '\0';
}

/* Adds a line; runs what is complete by then. */
static int take_line(struct shell *sh, const char *line, bool *ret_quit)
{
	size_t len = strlen(line);
	int code;

	if (sh->len == 0 && line[0] == '.')
		return run_dot_line(sh->settings, line, ret_quit);
	if (sh->len + len + 1 > STATEMENT_MAX_BYTES) {
		sh->len = 0;
		log_error("sql: a statement is at most %d bytes", STATEMENT_MAX_BYTES);
		return EXIT_USAGE;
	}
	memcpy(sh->statement + sh->len, line, len);
	sh->len += len;
	sh->statement[sh->len++] = '\n';
	sh->statement[sh->len] = '\0';
	if (is_blank(sh->statement))
		sh->len = 0;
	if (sh->len == 0 || !sqlite3_complete(sh->statement))
		return EXIT_OK;
	code = run_statement(sh->settings, sh->statement);
	sh->len = 0;
	return code;
}

static int read_loop(struct shell *sh, FILE *in)
{
	cleanup(free_p) char *line = NULL;
	size_t size = 0;
	ssize_t len;
	bool quit = false;
	int code = EXIT_OK;

	while (!quit && (code == EXIT_OK || sh->prompt)) {
		if (sh->prompt)
			(void)fputs(sh->len ? " ...> " : "weir> ", stderr);
		len = getline(&line, &size, in);
		if (len < 0)
			break;
		line[strcspn(line, "\r\n")] = '\0';
		code = take_line(sh, line, &quit);
	}
	if (code == EXIT_OK && sh->len) /* the last one needs no semicolon */
		code = run_statement(sh->settings, sh->statement);
	return code;
}

static int run(const void *settings, int argc, char **argv)
{
	cleanup(free_p) struct shell *sh = NULL;
	const struct sql_settings *s = settings;

	if (argc > 1) {
		log_error("sql: quote the statement, so that it is one argument");
		return EXIT_USAGE;
	}
	if (argc == 1)
		return run_statement(s, argv[0]);
	sh = calloc(1, sizeof(*sh));
	if (!sh) {
		log_error("out of memory");
		return EXIT_RUNTIME;
	}
	sh->settings = s;
	sh->prompt = isatty(STDIN_FILENO);
	return read_loop(sh, stdin);
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
				    "Read the view flows, which --since and --until narrow; "
				    ".tables and .schema\n"
				    "show the rest. "
				    "Besides SQLite's own\n"
				    "functions: in_prefix(addr, cidr), quantile(x, q), "
				    "proto_name(n), tcp_flags(n),\n"
				    "endpoint(addr, port), time_bucket(ms, seconds), utc(ms).\n",
			.tables = {{rows, ARRAY_SIZE(rows)}, {cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct sql_settings),
	.run = run,
};
