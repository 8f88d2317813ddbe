// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/db_command.h"

static const struct cli_command *const subcommands[] = {
	&db_backup_command, &db_check_command,	   &db_stats_command,	&db_export_command,
	&db_import_command, &db_retention_command, &db_migrate_command,
};

const struct cli_command db_command = {
	.command = {.name = "db",
		    .summary = "backup, check, stats, retention, migrate, export, import: the "
			       "database as a file"},
	.subcommands = subcommands,
	.n_subcommands = sizeof(subcommands) / sizeof(subcommands[0]),
};
