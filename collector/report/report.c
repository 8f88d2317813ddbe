// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/report/report.h"

#include <string.h>

#include "common/array_size.h"
#include "common/exit_code.h"
#include "common/log.h"

const struct option_row report_window_rows[REPORT_N_WINDOW_ROWS] = {
	CLI_SINCE_ROW("1h"),
	CLI_UNTIL_ROW,
	CLI_LIMIT_ROW("20"),
	{.name = "no-rollups",
	 .type = OPTION_FLAG,
	 .offset = offsetof(struct cli_settings, no_rollups),
	 .help = "answer from the flow records, even if sums by minute or hour would do",
	 .cli_only = true},
};

/* --- columns to sum by -------------------------------------------------------- */

static bool is_key(const char *name, const char *keys)
{
	size_t len = strlen(name);

	for (const char *k = keys; *k; k += strspn(k, " ")) {
		if (strcspn(k, " ") == len && strncmp(k, name, len) == 0)
			return true;
		k += strcspn(k, " ");
	}
	return false;
}

int report_check_keys(const struct option_list *by, const char *keys)
{
	if (by->n == 0 || by->n > REPORT_MAX_KEYS) {
		log_error("--by takes one to %d columns", REPORT_MAX_KEYS);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < by->n; i++) {
		if (!is_key(by->items[i], keys)) {
			log_error("--by %s: not one of %s", by->items[i], keys);
			return EXIT_USAGE;
		}
	}
	return EXIT_OK;
}

/* --- the command --------------------------------------------------------------- */

static const struct cli_command *const reports[] = {
	&report_top,	 &report_latency,   &report_retrans,  &report_loss,   &report_drops,
	&report_dns,	 &report_tls,	    &report_services, &report_matrix, &report_protocols,
	&report_changes, &report_new_peers, &report_host,     &report_flow,
};

const struct cli_command report_command = {
	.command = {.name = "report",
		    .summary = "what a window of time was like: traffic, latency, loss, names, "
			       "one host, one flow",
		    .examples =
			    "Every conversation counts once, also when several hosts report it.\n"},
	.subcommands = reports,
	.n_subcommands = ARRAY_SIZE(reports),
};
