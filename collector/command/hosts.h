/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* hosts.h - `weir-collector hosts`: who reports, how it goes, and what it lost. */
#ifndef WEIR_COLLECTOR_COMMAND_HOSTS_H
#define WEIR_COLLECTOR_COMMAND_HOSTS_H

#include "collector/cli/cli.h"

extern const struct cli_command hosts_command;

#endif /* WEIR_COLLECTOR_COMMAND_HOSTS_H */
