/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * options.h - command line and configuration file from one table.
 *
 * A program describes its settings as rows of struct option_row over a struct
 * of its own. The same rows parse `--name VALUE` and `-x VALUE`, parse the
 * `name = value` lines of an INI file, give the defaults and print --help.
 * Precedence: default < configuration file < command line.
 *
 * Errors: one line on stderr that names the option, the value and the allowed
 * range; the functions then return -EINVAL (or -errno for an unreadable file).
 * Memory: strings are copied; options_free() releases all that was set.
 * Configuration file: [sections] only group lines; a key that is not a list
 * may stand once; lists add up, and one on the command line replaces the file's.
 */
#ifndef WEIR_COMMON_OPTIONS_H
#define WEIR_COMMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_type {
	OPTION_FLAG,	    /* bool *; takes no value on the command line */
	OPTION_U64,	    /* uint64_t; suffixes k M G are powers of 1000 */
	OPTION_BYTES,	    /* uint64_t; suffixes k M G are powers of 1024 */
	OPTION_DURATION_MS, /* uint64_t ms; suffixes ms s m h d, plain numbers are seconds */
	OPTION_DOUBLE,	    /* double */
	OPTION_STRING,	    /* char * */
	OPTION_LIST,	    /* struct option_list: repeat the option, separate by commas, or both */
	OPTION_CHOICE,	    /* int: index into the '|'-separated words of choices */
	OPTION_TIME, /* int64_t ms since the epoch: RFC 3339, "YYYY-MM-DD[ HH:MM[:SS]]" (UTC),
		      * or an age such as 10m, 2h, 7d; INT64_MIN when absent */
};

struct option_list {
	char **items;
	size_t n;
};

struct option_row {
	const char *name; /* long option and configuration key */
	char letter;	  /* short option, 0 for none */
	enum option_type type;
	size_t offset;	      /* offsetof() into the settings struct */
	const char *arg;      /* what the value is called in --help, NULL for flags */
	const char *choices;  /* OPTION_CHOICE only: "table|json|ndjson|csv" */
	const char *fallback; /* default, as a user would write it; NULL: unset/0 */
	double min, max;      /* numbers, in the stored unit; no check when both are 0 */
	const char *help;     /* one line */
	bool cli_only;	      /* not accepted in the configuration file */
};

struct option_table {
	const struct option_row *rows;
	size_t n;
};

/* One command of a program; tables ends with an empty one ({NULL, 0}). */
struct command {
	const char *name;     /* "run" */
	const char *args;     /* "[FILTER...]"; NULL: no positional arguments */
	const char *summary;  /* one line */
	const char *examples; /* lines for --help; may be NULL */
	struct option_table tables[4];
};

/*
 * Fills settings with the defaults, then with the file named by a --config
 * option if the tables have one and it was given, then with the command line. argv[0] is the
 * command's name. Options may stand between positional arguments: argv is
 * reordered so that those come last, and *ret_first is the index of the first.
 * settings need not be initialised; unless 0 is returned they hold nothing to
 * free. Returns 1 when --help was printed (the caller exits with 0).
 */
int options_parse(const struct command *cmd, const char *program, int argc, char **argv,
		  void *settings, int *ret_first);

/* Sets one option from text, as the configuration file does; a list is replaced. */
int options_set(const struct option_table *table, const char *name, const char *value,
		void *settings);

/* Releases strings and lists held by settings. */
void options_free(const struct option_table *tables, void *settings);

void options_print_help(const struct command *cmd, const char *program, FILE *out);

#endif /* WEIR_COMMON_OPTIONS_H */
