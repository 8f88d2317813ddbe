/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sql_shell.h - `weir-collector sql`: one statement from the command line, or
 * statements from stdin, each in the sandbox. On a terminal it prompts, keeps a
 * history (~/.weir_history, or $WEIR_HISTORY) and goes on after an error;
 * otherwise the first error ends it.
 */
#ifndef WEIR_COLLECTOR_COMMAND_SQL_SHELL_H
#define WEIR_COLLECTOR_COMMAND_SQL_SHELL_H

#include "collector/cli/cli.h"

extern const struct cli_command sql_command;

#endif /* WEIR_COLLECTOR_COMMAND_SQL_SHELL_H */
