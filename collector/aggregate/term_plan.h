/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * term_plan.h - measures taken apart into terms: an average, say, is a sum and a
 * count. Equal terms of several measures are one. For aggregate.c.
 *
 * Threads: all may read a plan.
 */
#ifndef WEIR_COLLECTOR_AGGREGATE_TERM_PLAN_H
#define WEIR_COLLECTOR_AGGREGATE_TERM_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/aggregate/group_key.h"
#include "collector/aggregate/measure.h"

enum term_kind {
	TERM_SUM,
	TERM_COUNT,
	TERM_MIN,      /* slot: ~value, so that 0 is none */
	TERM_MAX,      /* numbers */
	TERM_MAX_TEXT, /* slot: an id of group_key.h */
	TERM_VALUES,   /* a list */
	TERM_DISTINCT, /* a set of (id + 1, group); its slot is filled at last */
	TERM_FLOWS,    /* a set of (flow_id, group and host); the slot has those of one record */
};

struct term {
	enum term_kind kind;
	size_t n_columns;
	enum flow_column columns[2];
	const struct predicate *where;
	unsigned pass;
	size_t measure; /* that it is for, first of all */
	bool of;	/* for its other measure */
};

#define TERMS_MAX (4 * MEASURE_LIMIT)
#define NO_TERM	  SIZE_MAX

/* Which terms a measure is made of. */
struct measure_terms {
	size_t value, count, of, of_count; /* NO_TERM: has none */
};

struct term_plan {
	size_t n;
	struct term terms[TERMS_MAX]; /* each has the slot of its number */
	struct measure_terms of_measure[MEASURE_LIMIT];
};

/* At most MEASURE_LIMIT measures. */
void term_plan_make(const struct measure *measures, size_t n, struct term_plan *ret);
/* The same terms, but of the measures of aggregate_spec.also. */
void term_plan_also(const struct term_plan *plan, const struct measure *also,
		    struct term_plan *ret);
/* Adds what the terms read. */
void term_plan_columns(const struct term_plan *plan, struct flow_columns *columns);
/* What the ids of TERM_MAX_TEXT and TERM_DISTINCT are of. */
struct group_key term_key(const struct term *t);

#endif /* WEIR_COLLECTOR_AGGREGATE_TERM_PLAN_H */
