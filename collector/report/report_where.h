/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * report_where.h - a window of time and a filter, as a condition on columns.
 *
 * Threads: none of its own; all may read the predicate.
 */
#ifndef WEIR_COLLECTOR_REPORT_REPORT_WHERE_H
#define WEIR_COLLECTOR_REPORT_REPORT_WHERE_H

#include <stdint.h>

#include <sqlite3.h>

#include "collector/flowstore/predicate.h"

struct filter_predicate;
struct filter_tree;

#define REPORT_WHERE_CONDITIONS 1

struct report_where {
	struct predicate all;	      /* of the children */
	struct predicate children[3]; /* the window, then conditions */
	struct filter_tree *tree;
	struct filter_predicate *filter;
};

/*
 * The records that ended within [since_ms, until_ms) (INT64_MIN: no bound) and
 * that the filter, the arguments together, lets through. Returns an exit status,
 * having said what is wrong; report_where_done() in any case.
 */
int report_where_init(struct report_where *w, sqlite3 *db, int64_t since_ms, int64_t until_ms,
		      int argc, char **argv);
void report_where_done(struct report_where *w);

/* The same, and also; NULL: the same. *w stays where it is. */
const struct predicate *report_where_and(struct report_where *w, const struct predicate *also);

#endif /* WEIR_COLLECTOR_REPORT_REPORT_WHERE_H */
