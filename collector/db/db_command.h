/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * db_command.h - `weir-collector db`: what somebody who keeps the database does
 * with it. Each subcommand is a file db_NAME.c. They work while a collector
 * serves the database, if they do not say otherwise.
 */
#ifndef WEIR_COLLECTOR_DB_DB_COMMAND_H
#define WEIR_COLLECTOR_DB_DB_COMMAND_H

#include "collector/cli/cli.h"

extern const struct cli_command db_command;

extern const struct cli_command db_backup_command;    /* a copy, checked */
extern const struct cli_command db_check_command;     /* is it whole */
extern const struct cli_command db_stats_command;     /* what takes the room */
extern const struct cli_command db_export_command;    /* records for others */
extern const struct cli_command db_import_command;    /* records of others; not while served */
extern const struct cli_command db_retention_command; /* what is kept, what would go */
extern const struct cli_command db_migrate_command;   /* to the schema of today; not while served */

#endif /* WEIR_COLLECTOR_DB_DB_COMMAND_H */
