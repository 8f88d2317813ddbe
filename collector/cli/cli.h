/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cli.h - what the commands of weir-collector that read the database share:
 * their options, opening the database, the window, the filter, the answer.
 *
 * A command is a row of struct cli_command. Its settings struct begins with
 * struct cli_settings if it uses the tables below. Functions that return int
 * here return an exit status (common/exit_code.h) and have then already said
 * on stderr what is wrong. stdout carries the answer and nothing else.
 */
#ifndef WEIR_COLLECTOR_CLI_CLI_H
#define WEIR_COLLECTOR_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "collector/cli/answer.h"
#include "common/options.h"

#define CLI_PROGRAM "weir-collector"

struct filter_tree;
struct query;

struct cli_command {
	struct command command;
	size_t settings_size;
	/* argv: the positional arguments. Returns the exit status. */
	int (*run)(const void *settings, int argc, char **argv);
	/* Instead of the two above: the next argument names one of these. */
	const struct cli_command *const *subcommands;
	size_t n_subcommands;
	/* Instead of all three: the program of this name does it (sibling.h). */
	const char *sibling;
};

struct cli_settings {
	char *config;
	char *db; /* as given: use cli_db_path() */
	int format;
	bool raw_numbers, quiet;
	int64_t since_ms, until_ms; /* INT64_MIN: no bound */
	uint64_t limit;		    /* rows; 0: all */
	bool no_rollups;
};

/* --config, --db, --output, --raw-numbers, --quiet. */
#define CLI_N_ROWS 5
extern const struct option_row cli_rows[CLI_N_ROWS];

/* --since, --until and --limit with the defaults of the command (NULL: none). */
#define CLI_SINCE_ROW(fallback_)                                                                   \
	{                                                                                          \
		.name = "since", .type = OPTION_TIME,                                              \
		.offset = offsetof(struct cli_settings, since_ms), .arg = "TIME",                  \
		.fallback = (fallback_),                                                           \
		.help = "records that ended at or after: 10m, 2h, "                                \
			"2026-11-24 10:00, ...",                                                   \
		.cli_only = true                                                                   \
	}
#define CLI_UNTIL_ROW                                                                              \
	{                                                                                          \
		.name = "until", .type = OPTION_TIME,                                              \
		.offset = offsetof(struct cli_settings, until_ms), .arg = "TIME",                  \
		.help = "records that ended before", .cli_only = true                              \
	}
#define CLI_LIMIT_ROW(fallback_)                                                                   \
	{                                                                                          \
		.name = "limit", .letter = 'n', .type = OPTION_U64,                                \
		.offset = offsetof(struct cli_settings, limit), .arg = "N",                        \
		.fallback = (fallback_), .help = "at most so many rows; 0: all", .cli_only = true  \
	}

/* Reads the options of command and runs it, or the subcommand that they name. argv[0] is its name.
 */
int cli_run(const struct cli_command *command, int argc, char **argv);

/* --db, else $WEIR_DB, else weir.db. */
const char *cli_db_path(const struct cli_settings *s);

struct answer_style cli_style(const struct cli_settings *s);

/* Opens the database for reading, with the functions of sql_functions.h. db_close(*ret). */
int cli_open(const struct cli_settings *s, sqlite3 **ret);

/* Says what went wrong with db and returns the exit status; quiet for -EPIPE. */
int cli_fail(sqlite3 *db, int err);

/* Runs SQL of ours, or the statement that q has, which gives no rows. */
int cli_exec(sqlite3 *db, const char *sql);
int cli_exec_query(sqlite3 *db, struct query *q);

/* Appends " AND ..." for --since and --until on the column end_ms. */
void cli_add_window(struct query *q, const struct cli_settings *s);

/* Appends " LIMIT ..." for --limit. */
void cli_add_limit(struct query *q, const struct cli_settings *s);

/* Reads the filter that the arguments make together; filter_tree_free(*ret). */
int cli_parse_filter(int argc, char **argv, struct filter_tree **ret);

/* Appends " AND ..." for that filter. */
int cli_add_filter(struct query *q, int argc, char **argv);

/* Runs q, prints its rows (units: see answer.h) and the notes of coverage.h. */
int cli_answer(const struct cli_settings *s, sqlite3 *db, struct query *q,
	       const enum output_unit *units);

#endif /* WEIR_COLLECTOR_CLI_CLI_H */
