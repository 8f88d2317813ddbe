// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * serve_main.c - weir-collector-serve: what `weir-collector serve` becomes. It is
 * alone in a program, because libzmq brings 12 other libraries along, and loading
 * these takes longer than many a question does.
 */
#include <sqlite3.h>
#include <sys/prctl.h>

#include "collector/cli/heap.h"
#include "collector/serve/serve.h"

static const struct cli_command *const commands[] = {&serve_command};

static const struct cli_command program = {
	.command = {.summary = "Runs the command serve of " CLI_PROGRAM "."},
	.subcommands = commands,
	.n_subcommands = 1,
};

int main(int argc, char **argv)
{
	(void)prctl(PR_SET_NAME, CLI_PROGRAM); /* for pgrep, and the flows of this process */
	heap_begin();
	/* Nobody asks how much SQLite has; to count it takes a lock at each malloc(). */
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	return cli_run(&program, argc, argv);
}
