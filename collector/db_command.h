/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * db_command.h - `weir-collector db`: what somebody who keeps the database does
 * with it. Each subcommand is a file db_NAME.c. All of them work while a
 * collector serves the database.
 */
#ifndef WEIR_COLLECTOR_DB_COMMAND_H
#define WEIR_COLLECTOR_DB_COMMAND_H

#include "collector/cli.h"

extern const struct cli_command db_command;

extern const struct cli_command db_backup_command; /* a copy, checked */
extern const struct cli_command db_check_command;  /* is it whole */
extern const struct cli_command db_stats_command;  /* what takes the room */
extern const struct cli_command db_export_command; /* records for others */

#endif /* WEIR_COLLECTOR_DB_COMMAND_H */
