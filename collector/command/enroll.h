/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * enroll.h - `weir-collector init` and `weir-collector enroll`: the key of the
 * collector, tokens, hosts that wait.
 */
#ifndef WEIR_COLLECTOR_COMMAND_ENROLL_H
#define WEIR_COLLECTOR_COMMAND_ENROLL_H

#include "collector/cli/cli.h"

extern const struct cli_command init_command, enroll_command;

/* Sends a request of admin.h and prints what comes of it. Returns the exit status. */
int enroll_ask(const struct cli_settings *s, size_t n, const char *const *words);

#endif /* WEIR_COLLECTOR_COMMAND_ENROLL_H */
