// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/command/sql_dots.h"

#include <stdio.h>
#include <string.h>

#include "collector/flowstore/flows_columns.h"
#include "collector/store/db.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

static int show_help(struct sandbox *sandbox, const char *argument, bool *ret_quit);

static int quit(struct sandbox *sandbox, const char *argument, bool *ret_quit)
{
	(void)sandbox;
	(void)argument;
	*ret_quit = true;
	return EXIT_OK;
}

static int show_tables(struct sandbox *sandbox, const char *argument, bool *ret_quit)
{
	(void)argument;
	(void)ret_quit;
	return sandbox_run(sandbox, "SELECT name, type FROM sqlite_schema"
				    " WHERE type IN ('table', 'view')"
				    " UNION ALL SELECT 'flows', 'virtual table' ORDER BY name");
}

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

static int failed(sqlite3 *db, int err)
{
	log_error("database: %s", sqlite3_errmsg(db));
	return db_exit_code(err);
}

/* CREATE statements, of all or of the one that is named. */
static int show_schema(struct sandbox *sandbox, const char *argument, bool *ret_quit)
{
	cleanup(db_close_p) sqlite3 *db = NULL;
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	const char *why;
	int err = db_open_reader(sandbox->db, &db, &why);

	(void)ret_quit;
	if (err) {
		log_error("%s: %s", sandbox->db, why);
		return db_exit_code(err);
	}
	err = db_errno(sqlite3_prepare_v2(db,
					  "SELECT sql || ';' FROM (SELECT name, sql FROM"
					  " sqlite_schema UNION ALL SELECT 'flows', ?2)"
					  " WHERE sql IS NOT NULL AND (?1 = '' OR name = ?1)",
					  -1, &st, NULL));
	if (!err)
		err = db_errno(sqlite3_bind_text(st, 1, argument, -1, SQLITE_STATIC));
	if (!err) /* NULL: out of memory, and then it is not shown */
		err = db_errno(sqlite3_bind_text(st, 2, flows_schema(), -1, sqlite3_free));
	if (err)
		return failed(db, err);
	while ((err = sqlite3_step(st)) == SQLITE_ROW)
		print_lines((const char *)sqlite3_column_text(st, 0));
	return err == SQLITE_DONE ? EXIT_OK : failed(db, db_errno(err));
}

static int set_mode(struct sandbox *sandbox, const char *argument, bool *ret_quit)
{
	static const char *const formats[] = {"table", "json", "ndjson", "csv"};
	static const enum output_format values[] = {OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_NDJSON,
						    OUTPUT_CSV};

	(void)ret_quit;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (strcmp(argument, formats[i]) == 0) {
			sandbox->style.format = values[i];
			return EXIT_OK;
		}
	}
	log_error("sql: .mode takes table, json, ndjson or csv");
	return EXIT_USAGE;
}

static const struct dot {
	const char *name, *argument, *help;
	int (*run)(struct sandbox *sandbox, const char *argument, bool *ret_quit);
} dots[] = {
	{".help", "", "this list", show_help},
	{".tables", "", "tables and views", show_tables},
	{".schema", "[NAME]", "how it was created, or all of them", show_schema},
	{".mode", "FORMAT", "answers as table, json, ndjson or csv", set_mode},
	{".quit", "", "ends the shell, as .exit and Ctrl-D do", quit},
	{".exit", "", NULL, quit},
};

static int show_help(struct sandbox *sandbox, const char *argument, bool *ret_quit)
{
	(void)sandbox;
	(void)argument;
	(void)ret_quit;
	for (size_t i = 0; i < ARRAY_SIZE(dots); i++) {
		if (dots[i].help)
			printf("%-8s %-7s %s\n", dots[i].name, dots[i].argument, dots[i].help);
	}
	printf("Anything else is SQL, up to a semicolon.\n");
	return EXIT_OK;
}

int sql_dots_run(struct sandbox *sandbox, const char *line, bool *ret_quit)
{
	size_t len = strcspn(line, " \t");
	char argument[128];
	const char *rest = line + len + strspn(line + len, " \t");
	size_t rest_len = strcspn(rest, " \t");
	int code;

	for (size_t i = 0; i < ARRAY_SIZE(dots); i++) {
		bool same = strlen(dots[i].name) == len && strncmp(dots[i].name, line, len) == 0;

		if (!same)
			continue;
		if (rest_len >= sizeof(argument) ||
		    rest[rest_len + strspn(rest + rest_len, " \t")] ||
		    (rest_len && !dots[i].argument[0])) {
			log_error("sql: usage: %s %s", dots[i].name, dots[i].argument);
			return EXIT_USAGE;
		}
		memcpy(argument, rest, rest_len);
		argument[rest_len] = '\0';
		code = dots[i].run(sandbox, argument, ret_quit);
		(void)fflush(stdout); /* the next answer may come from a child */
		return code;
	}
	log_error("sql: no such line; .help lists them");
	return EXIT_USAGE;
}
