/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* order.h - `weir-collector order HOST KIND`: tells a probe to do something, and what came of it.
 */
#ifndef WEIR_COLLECTOR_COMMAND_ORDER_H
#define WEIR_COLLECTOR_COMMAND_ORDER_H

#include "collector/cli/cli.h"

extern const struct cli_command order_command;

#endif /* WEIR_COLLECTOR_COMMAND_ORDER_H */
