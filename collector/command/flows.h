/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flows.h - `weir-collector flows`: records, newest first, as the hosts reported them. */
#ifndef WEIR_COLLECTOR_COMMAND_FLOWS_H
#define WEIR_COLLECTOR_COMMAND_FLOWS_H

#include "collector/cli/cli.h"

extern const struct cli_command flows_command;

#endif /* WEIR_COLLECTOR_COMMAND_FLOWS_H */
