/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * coverage.h - how complete an answer is, as notes on stderr: the window, how
 * many hosts it covers, how much of their time and packets, and what is missing
 * from it: silent hosts, records that a probe had to drop or that nobody takes,
 * packets and flows that it could not take, messages that the collector refused,
 * clocks that are off.
 */
#ifndef WEIR_COLLECTOR_CLI_COVERAGE_H
#define WEIR_COLLECTOR_CLI_COVERAGE_H

#include <stdint.h>

#include <sqlite3.h>

#define COVERAGE_SILENT_MS "15000" /* a host not heard of for longer is silent */
#define COVERAGE_SKEW_MS   "2000"  /* two clocks this close count as the same */

/*
 * Counters of probes, as SQL lists. Wire packets that no record could hold;
 * those and the ones whose records the probe had to drop; packets and flows
 * that are only counted in sums, in a catch-all record.
 */
#define COVERAGE_UNREAD_PACKETS "'packets_truncated', 'packets_bad_header', 'packets_too_deep'"
/* The outbox was the spool of earlier versions. */
#define COVERAGE_LOST_PACKETS                                                                      \
	COVERAGE_UNREAD_PACKETS ", 'outbox_dropped_packets', 'spool_dropped_packets'"
#define COVERAGE_WITHOUT_FLOW "'packets_catch_all', 'flows_refused'"

/*
 * Common table expressions (after WITH): "covered" has for every host that ever
 * sent a batch, for the window ?1 <= minute < ?2 (NULL: no bound) seen at ?3, in ms:
 *	coverage_pct	of its minutes in the window, how many are here, times of
 *			the packets of these, how many are in a record; NULL when the
 *			window has no minute of it yet
 *	why		what is missing, in words; NULL: nothing
 */
extern const char coverage_cte_sql[];

/*
 * Prints the notes for the window (INT64_MIN: no bound). Trouble with the
 * database is a note too: the answer has been given already.
 */
void coverage_print(sqlite3 *db, int64_t since_ms, int64_t until_ms);

#endif /* WEIR_COLLECTOR_CLI_COVERAGE_H */
