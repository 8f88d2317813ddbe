/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flows_plan.h - which conditions of an SQL statement the virtual table flows
 * tests by itself, and what they are as a predicate.
 *
 * Pushed down: comparisons of numbers, equality of addresses, hosts, texts and
 * words, IN lists of all these, and in_prefix(addr, cidr). SQLite tests all of
 * them once more, so a predicate may admit too much, never too little.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_FLOWS_PLAN_H
#define WEIR_COLLECTOR_FLOWSTORE_FLOWS_PLAN_H

#include <sqlite3.h>

#include "collector/flowstore/predicate.h"

struct host_names; /* flows_table.c */

/* An operator beside those of SQLite: in_prefix() of a column. */
#define FLOWS_IN_PREFIX SQLITE_INDEX_CONSTRAINT_FUNCTION

/* xBestIndex. */
int flows_best_index(sqlite3_vtab *table, sqlite3_index_info *info);

#define FLOWS_MAX_TERMS	 16  /* of one plan */
#define FLOWS_MAX_VALUES 256 /* of all IN lists */

struct flows_filter {
	struct predicate all; /* the root */
	struct predicate terms[FLOWS_MAX_TERMS];
	struct predicate values[FLOWS_MAX_VALUES];
	size_t n_values;
};

/*
 * xFilter: idx_str as flows_best_index() made it. host_id tells the id of a
 * host's name, -1 for none. Texts are borrowed from args. Returns an SQLite code.
 */
int flows_filter_init(struct flows_filter *f, const char *idx_str, int n, sqlite3_value **args,
		      int64_t (*host_id)(const void *hosts, const char *name), const void *hosts);

#endif /* WEIR_COLLECTOR_FLOWSTORE_FLOWS_PLAN_H */
