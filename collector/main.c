// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* main.c - weir-collector: which command, and what `help` and --version say. */
#include <stdio.h>
#include <string.h>

#include "collector/cli/cli.h"
#include "collector/command/enroll.h"
#include "collector/command/flows.h"
#include "collector/command/hosts.h"
#include "collector/command/incidents.h"
#include "collector/command/order.h"
#include "collector/command/sql_shell.h"
#include "collector/db/db_command.h"
#include "collector/filter/filter.h"
#include "collector/report/report.h"
#include "collector/serve/serve.h"
#include "common/exit_code.h"

static int run_help(const void *settings, int argc, char **argv);

static const struct cli_command help_command = {
	.command = {.name = "help",
		    .args = "[COMMAND | filter]",
		    .summary = "this list, the options of a command, or the filter language"},
	.run = run_help,
};

/* serve_main.c */
static const struct cli_command serve = {
	.command = {.name = "serve", .summary = SERVE_SUMMARY},
	.sibling = "weir-collector-serve",
};

static const struct cli_command *const commands[] = {
	&init_command,	&serve,		 &enroll_command,    &hosts_command,
	&flows_command, &report_command, &incidents_command, &sql_command,
	&db_command,	&order_command,	 &help_command,
};

static const struct cli_command program = {
	.command = {.summary =
			    "Collects flow records of weir-probe and answers questions about them.",
		    .examples =
			    "'COMMAND --help' lists options, 'help filter' the filter language.\n"
			    "The database is weir.db here, $WEIR_DB, or --db FILE.\n"},
	.subcommands = commands,
	.n_subcommands = sizeof(commands) / sizeof(commands[0]),
};

/* "help report top" is "report top --help". */
static int run_help(const void *settings, int argc, char **argv)
{
	char option[] = "--help";
	char *words[5] = {NULL};
	int n = 1;

	(void)settings; /* has none */
	if (argc && strcmp(argv[0], "filter") == 0) {
		filter_print_help(stdout);
		return EXIT_OK;
	}
	for (int i = 0; i < argc && n < 4; i++)
		words[n++] = argv[i];
	words[n++] = option;
	return cli_run(&program, n, words);
}

int main(int argc, char **argv)
{
	if (argc >= 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)) {
		puts(CLI_PROGRAM " " WEIR_VERSION);
		return EXIT_OK;
	}
	return cli_run(&program, argc, argv);
}
