// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/cli/coverage.h"
#include "collector/cli/heap.h"
#include "collector/cli/sibling.h"
#include "collector/filter/filter.h"
#include "collector/sqlite/query.h"
#include "collector/sqlite/sql_functions.h"
#include "collector/store/db.h"
#include "collector/store/reader_lease.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/spelling.h"

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

#define AT(field) .offset = offsetof(struct cli_settings, field)

const struct option_row cli_rows[CLI_N_ROWS] = {
	{.name = "config",
	 .type = OPTION_STRING,
	 AT(config),
	 .arg = "FILE",
	 .cli_only = true,
	 .help = "read options from this file"},
	{.name = "db",
	 .type = OPTION_STRING,
	 AT(db),
	 .arg = "FILE",
	 .help = "database (default $WEIR_DB, else weir.db)"},
	{.name = "output",
	 .letter = 'o',
	 .type = OPTION_CHOICE,
	 AT(format),
	 .arg = "FORMAT",
	 .choices = OUTPUT_FORMAT_CHOICES,
	 .fallback = "table",
	 .help = "how to print the answer"},
	{.name = "raw-numbers",
	 .letter = 'N',
	 .type = OPTION_FLAG,
	 AT(raw_numbers),
	 .help = "tables: plain numbers, times as ms since 1970"},
	{.name = "quiet",
	 .letter = 'q',
	 .type = OPTION_FLAG,
	 AT(quiet),
	 .help = "no notes about the window and what is missing"},
};

/* "report top" is called "top" after "report". */
static const char *last_word(const struct cli_command *c)
{
	const char *space = strrchr(c->command.name, ' ');

	return space ? space + 1 : c->command.name;
}

/* NULL, with the nearest one suggested on stderr, if there is no such command. */
static const struct cli_command *find(const struct cli_command *parent, const char *name)
{
	struct spelling spelling = spelling_begin(name, strlen(name));

	for (size_t i = 0; i < parent->n_subcommands; i++) {
		const char *candidate = last_word(parent->subcommands[i]);

		if (strcmp(candidate, name) == 0)
			return parent->subcommands[i];
		spelling_offer(&spelling, candidate);
	}
	if (spelling.best)
		log_error("unknown command '%s'; did you mean '%s'?", name, spelling.best);
	else
		log_error("unknown command '%s'; see '%s help'", name, CLI_PROGRAM);
	return NULL;
}

static void print_subcommands(const struct cli_command *c, FILE *out)
{
	const char *name = c->command.name;

	fprintf(out, "usage: %s %s%sCOMMAND [OPTIONS] [ARGUMENTS]\n\n%s\n\n", CLI_PROGRAM,
		name ? name : "", name ? " " : "", c->command.summary);
	for (size_t i = 0; i < c->n_subcommands; i++)
		fprintf(out, "  %-11s %s\n", last_word(c->subcommands[i]),
			c->subcommands[i]->command.summary);
	if (c->command.examples)
		fprintf(out, "\n%s", c->command.examples);
}

static int run_subcommand(const struct cli_command *parent, int argc, char **argv)
{
	const struct cli_command *c;

	if (argc < 2) {
		print_subcommands(parent, stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_subcommands(parent, stdout);
		return EXIT_OK;
	}
	c = find(parent, argv[1]);
	return c ? cli_run(c, argc - 1, argv + 1) : EXIT_USAGE;
}

static int run_command(const struct cli_command *command, int argc, char **argv)
{
	cleanup(free_p) void *settings = calloc(1, command->settings_size);
	int first, code, err;

	if (!settings && command->settings_size) {
		log_error("out of memory");
		return EXIT_RUNTIME;
	}
	err = options_parse(&command->command, CLI_PROGRAM, argc, argv, settings, &first);
	if (err)
		code = err > 0 ? EXIT_OK : EXIT_USAGE;
	else
		code = command->run(settings, argc - first, argv + first);
	options_free(command->command.tables, settings);
	return code;
}

int cli_run(const struct cli_command *command, int argc, char **argv)
{
	if (command->sibling)
		return sibling_exec(command->sibling, argc, argv);
	return command->subcommands ? run_subcommand(command, argc, argv)
				    : run_command(command, argc, argv);
}

const char *cli_db_path(const struct cli_settings *s)
{
	const char *env = getenv("WEIR_DB");

	if (s->db)
		return s->db;
	return env && *env ? env : "weir.db";
}

struct answer_style cli_style(const struct cli_settings *s)
{
	return (struct answer_style){.format = s->format, .raw_numbers = s->raw_numbers};
}

int cli_open(const struct cli_settings *s, sqlite3 **ret)
{
	cleanup(db_close_p) sqlite3 *db = NULL;
	const char *path = cli_db_path(s), *why;
	int err;

	heap_begin();
	err = reader_lease_begin(path, READER_LEASE_MS);
	if (err) {
		log_error("%s: %s", path, strerror(-err));
		return EXIT_RUNTIME;
	}
	err = db_open_reader(path, &db, &why);
	if (err) {
		log_error("%s: %s", path, why);
		return db_exit_code(err);
	}
	err = sql_functions_register(db);
	if (err)
		return cli_fail(db, err);
	*ret = take_ptr(db);
	return EXIT_OK;
}

int cli_fail(sqlite3 *db, int err)
{
	int rc = sqlite3_errcode(db);

	if (err == -EPIPE)
		return EXIT_OK;
	if (err == -ENOMEM)
		log_error("out of memory");
	else if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE)
		log_error("cannot write the answer: %s", strerror(-err));
	else
		log_error("database: %s", sqlite3_errmsg(db));
	return db_exit_code(err);
}

int cli_exec(sqlite3 *db, const char *sql)
{
	int err = db_errno(sqlite3_exec(db, sql, NULL, NULL, NULL));

	return err ? cli_fail(db, err) : EXIT_OK;
}

int cli_exec_query(sqlite3 *db, struct query *q)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int err = query_prepare(q, db, &st);

	if (!err)
		err = db_errno(sqlite3_step(st));
	return err ? cli_fail(db, err) : EXIT_OK;
}

void cli_add_window(struct query *q, const struct cli_settings *s)
{
	if (s->since_ms != INT64_MIN)
		query_add(q, " AND end_ms >= ?%u", query_bind_int(q, s->since_ms));
	if (s->until_ms != INT64_MIN)
		query_add(q, " AND end_ms < ?%u", query_bind_int(q, s->until_ms));
}

void cli_add_limit(struct query *q, const struct cli_settings *s)
{
	if (s->limit)
		query_add(q, " LIMIT ?%u", query_bind_int(q, (int64_t)s->limit));
}

/* The arguments with a blank between them; free() it. NULL: out of memory. */
static char *join(int argc, char **argv)
{
	size_t len = 1, n = 0;
	char *text;

	for (int i = 0; i < argc; i++)
		len += strlen(argv[i]) + 1;
	text = calloc(1, len);
	for (int i = 0; text && i < argc; i++)
		n += (size_t)snprintf(text + n, len - n, "%s%s", i ? " " : "", argv[i]);
	return text;
}

/* text NULL: out of memory. */
static int filter_fail(const char *text, const struct filter_error *error)
{
	if (!text) {
		log_error("%s", error->text);
		return EXIT_RUNTIME;
	}
	filter_print_error(stderr, text, error);
	return EXIT_USAGE;
}

int cli_parse_filter(int argc, char **argv, struct filter_tree **ret)
{
	cleanup(free_p) char *text = join(argc, argv);
	struct filter_error error = {0, "out of memory"};

	if (text && filter_parse(text, ret, &error) == 0)
		return EXIT_OK;
	return filter_fail(text, &error);
}

int cli_add_filter(struct query *q, int argc, char **argv)
{
	cleanup(free_p) char *text = join(argc, argv);
	struct filter_error error = {0, "out of memory"};

	query_add(q, " AND ");
	if (text && filter_compile(text, q, &error) == 0)
		return EXIT_OK;
	return filter_fail(text, &error);
}

int cli_answer(const struct cli_settings *s, sqlite3 *db, struct query *q,
	       const enum output_unit *units)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	struct answer_style style = cli_style(s);
	int err = query_prepare(q, db, &st);

	if (!err)
		err = answer_print(st, units, &style, 0, NULL);
	if (err)
		return cli_fail(db, err);
	if (!s->quiet)
		coverage_print(db, s->since_ms, s->until_ms);
	return EXIT_OK;
}
