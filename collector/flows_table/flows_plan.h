/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flows_plan.h - which conditions of an SQL statement the virtual table flows
 * tests by itself, and what they are as a predicate.
 *
 * Pushed down: comparisons of numbers, equality of addresses, hosts, texts and
 * words, IN lists of all these, and in_prefix(addr, cidr). SQLite tests IN lists
 * once more, so theirs may admit too much; all others are exact. GROUP BY of
 * columns: the rows come in their order (gather.h), unless a column is read that
 * SQLite's mask has no bit of its own for. And the order of end_ms (timeline.h).
 */
#ifndef WEIR_COLLECTOR_FLOWS_TABLE_FLOWS_PLAN_H
#define WEIR_COLLECTOR_FLOWS_TABLE_FLOWS_PLAN_H

#include <sqlite3.h>

#include "collector/flows_table/gather.h"
#include "collector/flowstore/host_names.h"
#include "collector/flowstore/predicate.h"

/* An operator beside those of SQLite: in_prefix() of a column. */
#define FLOWS_IN_PREFIX SQLITE_INDEX_CONSTRAINT_FUNCTION

/* xBestIndex. */
int flows_best_index(sqlite3_vtab *table, sqlite3_index_info *info);

#define FLOWS_LAST_BIT 63 /* of the mask of columns that are used: any from there on */

#define FLOWS_MAX_TERMS	 16  /* of one plan */
#define FLOWS_MAX_VALUES 256 /* of all IN lists */

struct flows_filter {
	struct predicate all; /* the root */
	struct predicate terms[FLOWS_MAX_TERMS];
	struct predicate values[FLOWS_MAX_VALUES];
	size_t n_values;
	uint64_t used; /* a bit for each column that the statement reads, the last one for all
			  behind */
	struct gather_key keys[GATHER_MAX_KEYS];
	size_t n_keys; /* above 0: rows are to come in this order */
	bool by_time;  /* which is that of end_ms */
	const struct host_names *hosts;
	const char *why; /* what is wrong with a value, if an error is returned */
};

/*
 * xFilter: idx_str as flows_best_index() made it. Texts are borrowed from args,
 * hosts too. Returns an SQLite code.
 */
int flows_filter_init(struct flows_filter *f, const char *idx_str, int n, sqlite3_value **args,
		      const struct host_names *hosts);

#endif /* WEIR_COLLECTOR_FLOWS_TABLE_FLOWS_PLAN_H */
