// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/db_integrity.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/output.h"
#include "common/progress.h"

#define STEPS_AT_ONCE 100000 /* of SQLite's machine, between two looks at the clock */

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

struct check {
	struct progress bar;
	uint64_t steps;
};

static int show(void *data)
{
	struct check *c = data;

	c->steps += STEPS_AT_ONCE;
	progress_show(&c->bar, c->steps, 0);
	return 0;
}

/* Prints what is not "ok". */
static int print_rows(sqlite3 *db, const char *sql, FILE *out, bool *ret_bad)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		const char *text;

		rc = sqlite3_step(st);
		if (rc != SQLITE_ROW)
			break;
		text = (const char *)sqlite3_column_text(st, 0);
		if (!text || strcmp(text, "ok") == 0)
			continue;
		*ret_bad = true;
		output_escaped(out, text, strlen(text));
		(void)fputc('\n', out); /* a broken out shows when it is closed */
	}
	return rc == SQLITE_DONE ? 0 : db_last_errno(db);
}

int db_integrity(sqlite3 *db, FILE *out)
{
	struct check check = {.bar = progress_begin("checking", false)};
	bool bad = false;
	int err;

	sqlite3_progress_handler(db, STEPS_AT_ONCE, show, &check);
	err = print_rows(db, "PRAGMA integrity_check(100)", out, &bad);
	if (!err)
		err = print_rows(db,
				 "SELECT 'a row of ' || \"table\" || ' points to a row of '"
				 " || parent || ' that is not there'"
				 " FROM pragma_foreign_key_check LIMIT 100",
				 out, &bad);
	sqlite3_progress_handler(db, 0, NULL, NULL);
	progress_end(&check.bar);
	if (err == -EUCLEAN || bad)
		return EXIT_CHECK;
	return err;
}
