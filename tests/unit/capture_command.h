/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* capture_command.h - what a command of the collector says, and with which code it ends. */
#ifndef WEIR_TESTS_UNIT_CAPTURE_COMMAND_H
#define WEIR_TESTS_UNIT_CAPTURE_COMMAND_H

#include "collector/cli/cli.h"
#include "tests/unit/capture.h"

#define CAPTURE_MAX_WORDS 3

/* Runs "NAME --db PATH WORD..." of the words that are not NULL. Returns the exit code. */
static inline int capture_command(struct capture *said, const struct cli_command *command,
				  const char *path, const char *const words[CAPTURE_MAX_WORDS])
{
	char *argv[3 + CAPTURE_MAX_WORDS + 1] = {(char *)command->command.name, (char *)"--db",
						 (char *)path};
	int argc = 3, code;

	for (size_t i = 0; i < CAPTURE_MAX_WORDS; i++)
		if (words[i])
			argv[argc++] = (char *)words[i];
	capture_start(said);
	code = cli_run(command, argc, argv);
	capture_stop(said);
	return code;
}

#endif /* WEIR_TESTS_UNIT_CAPTURE_COMMAND_H */
