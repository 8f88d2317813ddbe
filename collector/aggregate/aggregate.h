/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * aggregate.h - GROUP BY over the flow store: sums, quantiles and counts of flow
 * records by what they have in common, for reports and rollups.
 *
 *	static const struct measure bytes = {
 *		.kind = MEASURE_SUM, .n_columns = 2,
 *		.columns = {FLOW_COLUMN_bytes, FLOW_COLUMN_rev_bytes}};
 *	const struct aggregate_spec spec = {.n_keys = 1, .keys = {...},
 *					    .n_measures = 1, .measures = &bytes};
 *
 *	err = aggregate_new(db, &spec, &a);
 *	err = aggregate_read(a, &(struct aggregate_input){.predicate = p});
 *	err = aggregate_finish(a);
 *	err = aggregate_select(a, &order, 1, 20, &top, &n);
 *	... aggregate_value(a, top[0], 0), aggregate_key(a, top[0], 0, buffer) ...
 *	aggregate_free(a);
 *
 * Answers are those of SQL over the table flows, NULLs included: a measure of
 * values is NULL where no record has one. Flows are told apart by host and
 * flow_id. Sums are exact up to 2^63; beyond, aggregate_finish() fails.
 *
 * Threads: aggregate_read() starts as many as pay, up to AGGREGATE_MAX_THREADS;
 * all else is for one thread. db is used only in aggregate_new() and
 * aggregate_read(), which reads in the transaction that is open on db, if any.
 *
 * Memory: of each group, of each flow with several records for MEASURE_FLOWS,
 * of each different pair of group and value for MEASURE_DISTINCT, and 8 bytes a
 * value for MEASURE_QUANTILE.
 *
 * Errors: those of collector/sqlite/db_error.h, and -EOVERFLOW: a sum past 2^63, or more
 * groups than 2^32.
 */
#ifndef WEIR_COLLECTOR_AGGREGATE_AGGREGATE_H
#define WEIR_COLLECTOR_AGGREGATE_AGGREGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "collector/aggregate/group_key.h"
#include "collector/aggregate/measure.h"
#include "collector/flowstore/predicate.h"
#include "collector/flowstore/scan.h"

#define AGGREGATE_MAX_THREADS 4

struct aggregate;
struct once;

struct aggregate_spec {
	size_t n_keys;
	struct group_key keys[GROUP_MAX_KEYS];
	size_t n_measures; /* up to MEASURE_LIMIT */
	const struct measure *measures;
	const struct predicate *where; /* records that count at all; NULL: every one */
	/*
	 * NULL, or a second way in which each record counts, with as many keys and
	 * measures: the way back, say. A flow that comes twice to a group by both
	 * counts once.
	 */
	const struct aggregate_spec *also;
};

/* spec and what it points to are borrowed until aggregate_free(). */
int aggregate_new(sqlite3 *db, const struct aggregate_spec *spec, struct aggregate **ret);
/* NULL is a no-op. */
void aggregate_free(struct aggregate *a);

struct aggregate_input {
	const struct predicate *predicate; /* NULL: every record */
	const struct once *once;	   /* NULL: every record counts */
	unsigned pass;			   /* measures of this pass count, see measure.h */
	bool known_groups;		   /* records of groups that are not there yet do not */
	const struct catalog_range *range; /* NULL: all blocks */
};

/* Adds the records of one scan. May be called several times. */
int aggregate_read(struct aggregate *a, const struct aggregate_input *in);
/*
 * Adds n rows, selected, that are sums of records, for measures of which a sum is as
 * good (aggregate_takes_sums()), of a block that has the columns of
 * aggregate_columns(). Of in, pass and known_groups hold.
 */
int aggregate_add_sums(struct aggregate *a, const struct aggregate_input *in,
		       const struct flow_block *b, const uint32_t *selected, size_t n);
/* And that so many records do not count. */
void aggregate_set_aside(struct aggregate *a, uint64_t n);
/* Whether every measure is made of sums. */
bool aggregate_takes_sums(const struct aggregate *a);
/* What keys and measures read. */
struct flow_columns aggregate_columns(const struct aggregate *a);

/* What was read and left out, of all scans, and how many records once_select() set aside. */
struct scan_totals aggregate_totals(const struct aggregate *a, uint64_t *ret_set_aside);

/* After the last aggregate_read(), before anything below. */
int aggregate_finish(struct aggregate *a);

size_t aggregate_n_groups(const struct aggregate *a);

/* A group that is none: all of them together, or those that are not selected. */
#define AGGREGATE_TOTAL UINT32_MAX
#define AGGREGATE_OTHER (UINT32_MAX - 1)

struct aggregate_value aggregate_value(struct aggregate *a, uint32_t group, size_t measure);
/* A text may be in buffer. */
struct aggregate_value aggregate_key(const struct aggregate *a, uint32_t group, size_t key,
				     char buffer[GROUP_KEY_TEXT_MAX]);

struct aggregate_order {
	size_t measure;
	bool rising, absolute; /* else falling; by the value without its sign */
};

/*
 * The first limit groups (0: all) by the orders and then by the keys, rising; NULL
 * comes before all values, as in SQL. *ret: for free(). What is not selected
 * is AGGREGATE_OTHER from then on.
 */
int aggregate_select(struct aggregate *a, const struct aggregate_order *orders, size_t n_orders,
		     uint64_t limit, uint32_t **ret, size_t *ret_n);

#endif /* WEIR_COLLECTOR_AGGREGATE_AGGREGATE_H */
