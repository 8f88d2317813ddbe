/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sql_dots.h - the lines of the SQL shell that begin with a dot: .help, .tables,
 * .schema, .mode, .quit.
 */
#ifndef WEIR_COLLECTOR_COMMAND_SQL_DOTS_H
#define WEIR_COLLECTOR_COMMAND_SQL_DOTS_H

#include <stdbool.h>

#include "collector/cli/sandbox.h"

/*
 * Does what line says; *ret_quit: the shell shall end. .mode changes the style
 * of sandbox. Returns an exit status (common/exit_code.h); what is wrong has
 * then been said.
 */
int sql_dots_run(struct sandbox *sandbox, const char *line, bool *ret_quit);

#endif /* WEIR_COLLECTOR_COMMAND_SQL_DOTS_H */
