/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * report.h - `weir-collector report NAME`: what a window of time was like. The
 * reports of one subject are a file report_SUBJECT.c; this is what they share.
 *
 * Those that sum traffic are tables of report_groups.h.
 */
#ifndef WEIR_COLLECTOR_REPORT_REPORT_H
#define WEIR_COLLECTOR_REPORT_REPORT_H

#include "collector/cli/cli.h"
#include "collector/report/report_groups.h"

extern const struct cli_command report_command;

/* Sums over what columns the user likes. */
extern const struct cli_command report_top, report_latency, report_dns, report_tls, report_services,
	report_changes;
/* Sums over what they are made for. */
extern const struct cli_command report_retrans, report_protocols, report_matrix, report_new_peers,
	report_loss, report_drops;
/* All about one thing. */
extern const struct cli_command report_host, report_flow;

/* --since (an hour), --until, --limit (20), --no-rollups, and what all commands have. */
#define REPORT_N_WINDOW_ROWS 4
extern const struct option_row report_window_rows[REPORT_N_WINDOW_ROWS];
#define REPORT_TABLES                                                                              \
	{report_window_rows, REPORT_N_WINDOW_ROWS},                                                \
	{                                                                                          \
		cli_rows, CLI_N_ROWS                                                               \
	}

/* --- columns to sum by -------------------------------------------------------- */

/* Settings of a report with --by: struct cli_settings is first, as the shared rows count on it. */
struct report_by_settings {
	struct cli_settings cli;
	struct option_list by;
};

#define REPORT_BY_ROW(fallback_, keys_)                                                            \
	{                                                                                          \
		.name = "by", .type = OPTION_LIST,                                                 \
		.offset = offsetof(struct report_by_settings, by), .arg = "COLUMN,...",            \
		.fallback = (fallback_), .help = "what to sum by: " keys_, .cli_only = true        \
	}

/* Whether by is one to REPORT_MAX_KEYS of keys, words with blanks between. Says what is wrong. */
int report_check_keys(const struct option_list *by, const char *keys);

#endif /* WEIR_COLLECTOR_REPORT_REPORT_H */
