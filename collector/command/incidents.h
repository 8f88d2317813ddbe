/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* incidents.h - `weir-collector incidents`: what the detectors raised, and the flows behind one. */
#ifndef WEIR_COLLECTOR_COMMAND_INCIDENTS_H
#define WEIR_COLLECTOR_COMMAND_INCIDENTS_H

#include "collector/cli/cli.h"

extern const struct cli_command incidents_command;

#endif /* WEIR_COLLECTOR_COMMAND_INCIDENTS_H */
