// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/cli/coverage.h"

#include <stdio.h>

#include "collector/store/db.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"
#include "common/log.h"

#define WAITING_BATCHES "300" /* fewer are on their way, as a rule */

#define MAX_TEXTS "5" /* of one kind; the rest is a number */

/* Parameters of every statement here: ?1 since, ?2 until (NULL: no bound), ?3 now; ms. */
#define SINCE "ifnull(?1, 0)"
#define UNTIL "ifnull(?2, ?3 + 1)"

const char coverage_cte_sql[] =
	"cover_bounds AS (SELECT ifnull(?1, 0) / 60000 * 60000 AS since_ms,"
	"  min(ifnull(?2, ?3), ?3 - " COVERAGE_SILENT_MS ") AS until_ms),"
	" cover_first AS (SELECT h.id AS host_id, max(since_ms, (SELECT min(minute_ms)"
	"  FROM coverage_minute m WHERE m.host_id = h.id)) AS first_ms, until_ms"
	"  FROM host h, cover_bounds),"
	" cover_sums AS (SELECT f.host_id, max(0, (until_ms - 1) / 60000 - first_ms / 60000 + 1)"
	"  AS due, count(m.minute_ms) AS here, total(packets) AS packets,"
	"  total(spool_drop_packets) AS spool_drop, total(rejected_packets) AS rejected,"
	"  total(damaged_packets) AS damaged, total(not_parsed_packets) AS not_parsed,"
	"  total(map_full_packets) AS map_full, total(ring_lost_payloads) AS ring_lost"
	"  FROM cover_first f LEFT JOIN coverage_minute m ON m.host_id = f.host_id"
	"   AND m.minute_ms >= f.first_ms AND m.minute_ms < f.until_ms"
	"  WHERE f.first_ms IS NOT NULL GROUP BY f.host_id),"
	" cover_lost AS (SELECT *, spool_drop + rejected + damaged + not_parsed AS lost"
	"  FROM cover_sums),"
	" covered AS (SELECT host_id, iif(due = 0 AND here = 0, NULL,"
	"   100.0 * min(1.0, here * 1.0 / max(due, 1))"
	"   * iif(packets + lost > 0, packets / (packets + lost), 1.0)) AS coverage_pct,"
	"  nullif(substr("
	"   iif(due > here, ', silent ' || (due - here) || ' min', '') ||"
	"   iif(spool_drop > 0, printf(', spool_drop %d packets', spool_drop), '') ||"
	"   iif(rejected > 0, printf(', rejected %d packets', rejected), '') ||"
	"   iif(damaged > 0, printf(', damaged %d packets', damaged), '') ||"
	"   iif(not_parsed > 0, printf(', not_parsed %d packets', not_parsed), '') ||"
	"   iif(map_full > 0, printf(', map_full %d packets without their flow', map_full), '') "
	"||"
	"   iif(ring_lost > 0, printf(', ring_loss %d payloads', ring_lost), '')"
	"   , 3), '') AS why FROM cover_lost)";

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

/* Each may use the tables of coverage_cte_sql and gives, per thing to tell, one text; they make one
 * line after the label. */
static const struct note {
	enum log_level level;
	const char *label, *sql;
} notes[] = {
	{LOG_LEVEL_INFO, "window",
	 "SELECT ifnull(utc(?1), 'the first record') || ' to ' || ifnull(utc(?2), 'now')"
	 "       || ' UTC, ' || count(*) || iif(count(*) = 1, ' host', ' hosts') AS text"
	 "  FROM host WHERE last_seen_ms >= " SINCE " AND first_seen_ms < " UNTIL},

	{LOG_LEVEL_INFO, "coverage",
	 "SELECT printf('%.2f %% of the hosts'' time and packets',"
	 "       avg(coverage_pct)) AS text FROM covered HAVING count(coverage_pct) > 0"},

	{LOG_LEVEL_WARN, "incomplete",
	 "SELECT printf('%s %.2f %% (%s)', h.name, coverage_pct, why)"
	 "       AS text FROM covered c JOIN host h ON h.id = c.host_id"
	 " WHERE why IS NOT NULL AND coverage_pct IS NOT NULL ORDER BY coverage_pct, h.name"},

	{LOG_LEVEL_WARN, "not here yet",
	 "SELECT h.name || ' ' || c.value || ' batches wait at the host' AS text"
	 "  FROM host h JOIN probe_counter c ON c.host_id = h.id AND c.epoch = h.run"
	 " WHERE c.name IN ('outbox_batches', 'spool_batches') AND c.value >= " WAITING_BATCHES
	 " ORDER BY c.value DESC"},

	{LOG_LEVEL_WARN, "at another collector",
	 "SELECT h.name || ' ' || sum(l.last_seq - l.first_seq + 1) || ' batches' AS text"
	 "  FROM loss l JOIN host h ON h.id = l.host_id WHERE l.reason = 'elsewhere'"
	 "   AND l.recorded_ms >= " SINCE " AND l.recorded_ms < " UNTIL " GROUP BY h.id"},

	{LOG_LEVEL_WARN, "silent",
	 "SELECT name || ' since ' || utc(last_seen_ms) AS text"
	 "  FROM host"
	 " WHERE last_seen_ms + " COVERAGE_SILENT_MS " < min(?3, " UNTIL ")"
	 "   AND first_seen_ms < " UNTIL " ORDER BY last_seen_ms DESC"},

	{LOG_LEVEL_WARN, "dropped at the host",
	 "SELECT name || ' ' || sum(rows) || ' records with ' || sum(packets) || ' packets, '"
	 "       || sum(bytes) || ' bytes' AS text"
	 "  FROM loss JOIN host ON host.id = loss.host_id"
	 " WHERE ifnull(until_ms, recorded_ms) >= " SINCE
	 "   AND ifnull(from_ms, recorded_ms) < " UNTIL " AND reason <> 'elsewhere'"
	 " GROUP BY host.id ORDER BY sum(packets) DESC"},

	{LOG_LEVEL_WARN, "not recorded",
	 "SELECT h.name || ' ' || group_concat(c.name || ' ' || c.value, ', ')"
	 "       || ' since ' || utc(e.started_ms) AS text"
	 "  FROM host h JOIN probe_run e ON e.host_id = h.id AND e.run = h.run"
	 "  JOIN probe_counter c ON c.host_id = h.id AND c.epoch = h.run"
	 " WHERE h.last_seen_ms >= " SINCE " AND e.started_ms < " UNTIL
	 "   AND c.name IN (" COVERAGE_UNREAD_PACKETS ", " COVERAGE_WITHOUT_FLOW ")"
	 "   AND c.value > 0"
	 " GROUP BY h.id ORDER BY sum(c.value) DESC"},

	{LOG_LEVEL_WARN, "processes, drops or retransmissions not told by flow",
	 "SELECT h.name || ' ' || group_concat(c.name || ' ' || c.value, ', ')"
	 "       || ' since ' || utc(e.started_ms) AS text"
	 "  FROM host h JOIN probe_run e ON e.host_id = h.id AND e.run = h.run"
	 "  JOIN probe_counter c ON c.host_id = h.id AND c.epoch = h.run"
	 " WHERE h.last_seen_ms >= " SINCE " AND e.started_ms < " UNTIL
	 "   AND c.name IN ('sockets_untold', 'sockets_missed', 'sockets_no_room',"
	 "                  'kernel_drops_missed', 'kernel_drops_no_room',"
	 "                  'kernel_retrans_no_room')"
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
	 "  FROM host h JOIN probe_run e ON e.host_id = h.id AND e.run = h.run"
	 "  JOIN probe_counter c ON c.host_id = h.id AND c.epoch = h.run"
	 " WHERE h.last_seen_ms >= " SINCE " AND e.started_ms < " UNTIL
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
	char sql[4096];
	int rc;

	/* The first ones by "; ", and how many more there are. */
	(void)snprintf(sql, sizeof(sql),
		       "WITH %s SELECT group_concat(text, '; ') || iif(n > " MAX_TEXTS
		       ", ' and ' || (n - " MAX_TEXTS ") || ' more', '')"
		       " FROM (SELECT text, count(*) OVER () AS n FROM (%s) LIMIT " MAX_TEXTS ")",
		       coverage_cte_sql, note->sql);
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
