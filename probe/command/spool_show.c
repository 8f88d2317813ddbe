// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/command/spool_show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/output.h"
#include "probe/command/settings.h"
#include "probe/spool/quarantine.h"

#define ATTEMPTS   20 /* the probe may be in the middle of a transaction */
#define ATTEMPT_US 50000
#define COLUMNS	   7
#define EPOCHS_MAX 4096 /* that are shown */

struct show {
	char *spool;
	int format; /* enum output_format */
	struct output *out;
};

static const struct option_row rows[] = {
	{"spool", 0, OPTION_STRING, offsetof(struct show, spool), "FILE", NULL, SETTINGS_SPOOL, 0,
	 0, "the spool of the probe", true},
	{"output", 'o', OPTION_CHOICE, offsetof(struct show, format), "FORMAT",
	 OUTPUT_FORMAT_CHOICES, "table", 0, 0, "form of the answer", true},
};

const struct command spool_command = {
	.name = "spool",
	.summary = "what waits for the collector, and what it has refused",
	.examples =
		"  weir-probe spool\n"
		"  weir-probe spool -o json --spool /var/lib/weir-probe/spool.db\n"
		"what: waiting, an epoch's batches; refused, a batch that is kept in the folder\n"
		"SPOOL.refused for inspection and is counted as lost\n",
	.tables = {{rows, sizeof(rows) / sizeof(rows[0])}},
};

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

static void close_db(sqlite3 **db)
{
	(void)sqlite3_close(*db); /* no statement is left */
}

static void say_time(struct show *show, int64_t ms)
{
	if (ms)
		output_int(show->out, ms);
	else
		output_null(show->out);
}

static void say_epoch(struct show *show, const char *what, uint64_t epoch)
{
	char text[20];

	(void)snprintf(text, sizeof(text), "%016" PRIx64, epoch);
	output_str(show->out, what);
	output_str(show->out, text);
}

/* One epoch: what read_waiting() has selected. */
static void say_waiting(struct show *show, const int64_t *values)
{
	say_epoch(show, "waiting", (uint64_t)values[0]);
	output_null(show->out);
	for (int i = 1; i <= 4; i++) /* batches, bytes, records, packets */
		output_int(show->out, values[i]);
	say_time(show, values[5] / (int64_t)NS_PER_MS);
	say_time(show, values[6] / (int64_t)NS_PER_MS);
	output_null(show->out);
}

static void say_refused(const struct quarantined *q, void *arg)
{
	struct show *show = arg;

	say_epoch(show, "refused", q->epoch);
	output_int(show->out, (int64_t)q->seq);
	output_int(show->out, 1);
	output_int(show->out, (int64_t)q->bytes);
	output_null(show->out);
	output_null(show->out);
	output_null(show->out);
	say_time(show, q->at_ms);
	output_str(show->out, q->why);
}

static int read_all(sqlite3_stmt *st, int64_t (*ret)[COLUMNS], size_t *ret_n)
{
	int rc;

	for (*ret_n = 0; (rc = sqlite3_step(st)) == SQLITE_ROW && *ret_n < EPOCHS_MAX; (*ret_n)++)
		for (int i = 0; i < COLUMNS; i++)
			ret[*ret_n][i] = sqlite3_column_int64(st, i);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/*
 * As the file is on disk, without its lock, which the probe holds as long as it
 * runs. In the middle of a transaction there is a journal, and reading fails.
 */
static int read_waiting(const struct show *show, int64_t (*ret)[COLUMNS], size_t *ret_n)
{
	static const char sql[] = "SELECT epoch, batches, frame_bytes, rows, packets, from_ns,"
				  " until_ns FROM epoch WHERE batches > 0 ORDER BY id";
	cleanup(close_db) sqlite3 *db = NULL;
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int rc;

	rc = sqlite3_open_v2(show->spool, &db, SQLITE_OPEN_READONLY, "unix-none");
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
	return rc == SQLITE_OK ? read_all(st, ret, ret_n) : rc;
}

/* Whether it could be read; says so if not. */
static bool show_waiting(struct show *show)
{
	static int64_t values[EPOCHS_MAX][COLUMNS];
	int rc = SQLITE_ERROR;
	size_t n = 0;

	for (int i = 0; i < ATTEMPTS && rc != SQLITE_OK && rc != SQLITE_NOTADB; i++) {
		if (i > 0)
			usleep(ATTEMPT_US);
		rc = read_waiting(show, values, &n);
	}
	for (size_t i = 0; rc == SQLITE_OK && i < n; i++)
		say_waiting(show, values[i]);
	if (rc != SQLITE_OK)
		log_error("%s cannot be read as a spool: %s", show->spool, sqlite3_errstr(rc));
	return rc == SQLITE_OK;
}

static int begin(struct show *show)
{
	static const struct output_column columns[] = {
		{"what", UNIT_NONE},	 {"epoch", UNIT_NONE},	    {"seq", UNIT_NONE},
		{"batches", UNIT_NONE},	 {"bytes", UNIT_BYTES},	    {"records", UNIT_COUNT},
		{"packets", UNIT_COUNT}, {"from_ms", UNIT_TIME_MS}, {"until_ms", UNIT_TIME_MS},
		{"detail", UNIT_NONE},
	};

	return output_begin(stdout, (enum output_format)show->format, false, columns,
			    sizeof(columns) / sizeof(columns[0]), &show->out);
}

static int show_spool(struct show *show)
{
	bool complete;
	int err;

	if (access(show->spool, R_OK) != 0) {
		log_error("%s: %s", show->spool, strerror(errno));
		return errno == EACCES ? EXIT_PERMISSION : EXIT_RUNTIME;
	}
	err = begin(show);
	if (err) {
		log_error("cannot print: %s", strerror(-err));
		return EXIT_RUNTIME;
	}
	complete = show_waiting(show);
	err = quarantine_each(show->spool, say_refused, show);
	if (err)
		log_error("%s.refused: %s", show->spool, strerror(-err));
	if (output_end(take_ptr(show->out)) != 0 || err)
		complete = false;
	return complete ? EXIT_OK : EXIT_RUNTIME;
}

int spool_show_main(int argc, char **argv, int stop_fd)
{
	struct show show = {0};
	int first, err, code;

	(void)stop_fd; /* done in a moment */
	err = options_parse(&spool_command, "weir-probe", argc, argv, &show, &first);
	if (err)
		return err > 0 ? EXIT_OK : EXIT_USAGE;
	code = show_spool(&show);
	options_free(spool_command.tables, &show);
	return code;
}
