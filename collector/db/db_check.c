// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/db_command.h"

#include <inttypes.h>

#include "collector/db/db_integrity.h"
#include "collector/flowstore/scan.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/progress.h"

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(struct scan *, scan_close)
DEFINE_CLEANUP(struct scan_rows *, scan_rows_free)

/*
 * Decodes every column of every segment and batch; what is damaged is named by
 * the scan. Returns 0, EXIT_CHECK, or an error of db.h.
 */
static int check_flows(sqlite3 *db)
{
	cleanup(scan_rows_free_p) struct scan_rows *rows = NULL;
	cleanup(scan_close_p) struct scan *scan = NULL;
	struct flow_columns all = flow_columns_all();
	struct progress bar = progress_begin("checking flow records", false);
	struct scan_totals t;
	uint64_t n = 0;
	int found = scan_open(db, NULL, &all, &scan);

	while (found >= 0 && (found = scan_next(scan, &rows)) > 0)
		progress_show(&bar, n += rows->n_selected, 0);
	progress_end(&bar);
	if (found < 0)
		return found;
	t = scan_totals(scan);
	if (t.damaged_rows)
		log_error("%" PRIu64 " of %" PRIu64
			  " flow records are damaged; every answer leaves "
			  "them out and says so",
			  t.damaged_rows, n + t.damaged_rows);
	return t.damaged_rows || t.damaged_zones ? EXIT_CHECK : 0;
}

static int run(const void *settings, int argc, char **argv)
{
	const struct cli_settings *s = settings;
	cleanup(db_close_p) sqlite3 *db = NULL;
	int code = cli_open(s, &db);
	int err, flows = 0;

	(void)argc; /* takes no arguments */
	(void)argv;
	if (code)
		return code;
	err = db_integrity(db, stdout);
	if (err >= 0)
		flows = check_flows(db);
	if (err < 0 || flows < 0)
		return cli_fail(db, err < 0 ? err : flows);
	err = err ? err : flows;
	if (err)
		log_error("%s: damaged; a backup that is whole is the way back", cli_db_path(s));
	else if (!s->quiet)
		log_info("%s: whole", cli_db_path(s));
	return err;
}

const struct cli_command db_check_command = {
	.command =
		{
			.name = "db check",
			.summary = "reads all of the database: is it whole? exit status 3: no",
			.tables = {{cli_rows, CLI_N_ROWS}},
		},
	.settings_size = sizeof(struct cli_settings),
	.run = run,
};
