/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rollup_reader.h - answers from the rollups what they answer exactly.
 *
 * A question whose keys, conditions and measures are columns and sums of the
 * rollups is answered hour by hour where the window has whole hours, else minute
 * by minute, and from the records themselves where it has not even a whole
 * minute, where no rollup has them yet, and in minutes in which a row does not
 * tell whether its conversations count (rollup_minute.claim) or which port it is
 * of. The answer is that of the records alone.
 *
 * In minutes whose records are deleted, what a row does not tell is taken as the
 * most likely: a conversation that another host may have reported, too, counts for
 * that one, and one of unknown owners always; ports that are not told apart are 0.
 *
 * Threads: the caller's, and those of aggregate.h. Errors: those of aggregate.h.
 */
#ifndef WEIR_COLLECTOR_ROLLUP_ROLLUP_READER_H
#define WEIR_COLLECTOR_ROLLUP_ROLLUP_READER_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "collector/aggregate/aggregate.h"

struct rollup_question {
	int64_t since_ms, until_ms;	    /* INT64_MIN: no bound */
	const struct predicate *conditions; /* besides the window; all of them hold */
	size_t n_conditions;
};

/* What the answer came from. */
struct rollup_use {
	uint64_t hours, minutes; /* of the rollups */
	uint64_t unsure;	 /* of these: records are deleted, and a row does not tell all */
	uint64_t set_aside;	 /* records that did not count */
};

/*
 * Adds to a what aggregate_read() with in would, whose predicate is the window and
 * the conditions. A read transaction is open on db. Returns 1 and *ret; or 0 if
 * the rollups cannot answer, and nothing was added.
 */
int rollup_read(sqlite3 *db, struct aggregate *a, const struct aggregate_spec *spec,
		const struct aggregate_input *in, const struct rollup_question *q,
		struct rollup_use *ret);

#endif /* WEIR_COLLECTOR_ROLLUP_ROLLUP_READER_H */
