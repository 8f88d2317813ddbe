// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/coverage.h"

#include <stdio.h>

#include "collector/db.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define MAX_TEXTS "5" /* of one kind; the rest is a number */

/* Parameters of every statement here: ?1 since, ?2 until (NULL: no bound), ?3 now; ms. */
#define SINCE "ifnull(?1, 0)"
#define UNTIL "ifnull(?2, ?3 + 1)"

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

/* Each gives, per thing to tell, one text; they make one line after the label. */
static const struct note {
	enum log_level level;
	const char *label, *sql;
} notes[] = {
	{LOG_LEVEL_INFO, "window",
	 "SELECT ifnull(utc(?1), 'the first record') || ' to ' || ifnull(utc(?2), 'now')"
	 "       || ' UTC, ' || count(*) || iif(count(*) = 1, ' host', ' hosts') AS text"
	 "  FROM host WHERE last_seen_ms >= " SINCE " AND first_seen_ms < " UNTIL},

	{LOG_LEVEL_WARN, "silent",
	 "SELECT name || ' since ' || utc(last_seen_ms) AS text"
	 "  FROM host"
	 " WHERE last_seen_ms + " COVERAGE_SILENT_MS " < min(?3, " UNTIL ")"
	 "   AND first_seen_ms < " UNTIL " ORDER BY last_seen_ms DESC"},

	{LOG_LEVEL_WARN, "dropped at the host",
	 "SELECT name || ' ' || sum(rows) || ' records with ' || sum(packets) || ' packets, '"
	 "       || sum(bytes) || ' bytes' AS text"
	 "  FROM loss JOIN host ON host.id = loss.host_id"
	 " WHERE recorded_ms >= " SINCE " AND recorded_ms < " UNTIL
	 " GROUP BY host.id ORDER BY sum(packets) DESC"},

	{LOG_LEVEL_WARN, "not recorded",
	 "SELECT h.name || ' ' || group_concat(c.name || ' ' || c.value, ', ')"
	 "       || ' since ' || utc(e.started_ms) AS text"
	 "  FROM host h JOIN epoch e ON e.host_id = h.id"
	 "  JOIN probe_counter c ON c.host_id = h.id AND c.epoch = e.epoch"
	 " WHERE h.last_seen_ms >= " SINCE " AND e.started_ms < " UNTIL
	 "   AND e.started_ms = (SELECT max(started_ms) FROM epoch WHERE host_id = h.id)"
	 "   AND c.name IN (" COVERAGE_UNREAD_PACKETS ", " COVERAGE_WITHOUT_FLOW ")"
	 "   AND c.value > 0"
	 " GROUP BY h.id ORDER BY sum(c.value) DESC"},

	{LOG_LEVEL_WARN, "refused by the collector",
	 "SELECT sum(count) || ' messages of ' || peer || ' (' || group_concat(reason, ', ') || ')'"
	 "       AS text"
	 "  FROM refusal WHERE last_ms >= " SINCE " AND last_ms < " UNTIL
	 " GROUP BY peer ORDER BY sum(count) DESC"},

	{LOG_LEVEL_WARN, "clocks",
	 "SELECT name || ' is ' || abs(clock_skew_ms) || ' ms '"
	 "       || iif(clock_skew_ms > 0, 'ahead', 'behind') AS text"
	 "  FROM host"
	 " WHERE last_seen_ms >= " SINCE " AND first_seen_ms < " UNTIL
	 "   AND abs(clock_skew_ms) > " COVERAGE_SKEW_MS " ORDER BY abs(clock_skew_ms) DESC"},

	{LOG_LEVEL_WARN, "clocks that were set",
	 "SELECT h.name || ' ' || c.value || iif(c.value = 1, ' time', ' times') || ' since '"
	 "       || utc(e.started_ms) AS text"
	 "  FROM host h JOIN epoch e ON e.host_id = h.id"
	 "  JOIN probe_counter c ON c.host_id = h.id AND c.epoch = e.epoch"
	 " WHERE h.last_seen_ms >= " SINCE " AND e.started_ms < " UNTIL
	 "   AND e.started_ms = (SELECT max(started_ms) FROM epoch WHERE host_id = h.id)"
	 "   AND c.name = 'clock_steps' AND c.value > 0 ORDER BY c.value DESC"},
};

static int bind_window(sqlite3_stmt *st, int64_t since_ms, int64_t until_ms)
{
	int rc = SQLITE_OK;

	if (since_ms != INT64_MIN)
		rc |= sqlite3_bind_int64(st, 1, since_ms);
	if (until_ms != INT64_MIN)
		rc |= sqlite3_bind_int64(st, 2, until_ms);
	return rc | sqlite3_bind_int64(st, 3, (sqlite3_int64)(clock_real_ns() / NS_PER_MS));
}

static void print_note(sqlite3 *db, const struct note *note, int64_t since_ms, int64_t until_ms)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	char sql[2048];
	int rc;

	/* The first ones by "; ", and how many more there are. */
	(void)snprintf(sql, sizeof(sql),
		       "SELECT group_concat(text, '; ') || iif(n > " MAX_TEXTS
		       ", ' and ' || (n - " MAX_TEXTS ") || ' more', '')"
		       " FROM (SELECT text, count(*) OVER () AS n FROM (%s) LIMIT " MAX_TEXTS ")",
		       note->sql);
	rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = bind_window(st, since_ms, until_ms);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc != SQLITE_ROW)
		log_warn("cannot tell how complete this is: %s", sqlite3_errmsg(db));
	else if (sqlite3_column_type(st, 0) == SQLITE_TEXT)
		log_write(note->level, "%s: %s", note->label,
			  (const char *)sqlite3_column_text(st, 0));
}

void coverage_print(sqlite3 *db, int64_t since_ms, int64_t until_ms)
{
	for (size_t i = 0; i < ARRAY_SIZE(notes); i++)
		print_note(db, &notes[i], since_ms, until_ms);
}
