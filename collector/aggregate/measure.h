/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* measure.h - what is worked out of the records of a group. */
#ifndef WEIR_COLLECTOR_AGGREGATE_MEASURE_H
#define WEIR_COLLECTOR_AGGREGATE_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/flowstore/predicate.h"
#include "proto/flow_block.h"

#define MEASURE_LIMIT 24 /* of one question */

enum measure_kind {
	MEASURE_SUM,	    /* of the columns: a + b of each record */
	MEASURE_AVG,	    /* the same, divided by the records */
	MEASURE_MIN,	    /* FLOW_U32, FLOW_U64 that is no code */
	MEASURE_MAX,	    /* the same, and texts and words in the order of SQL */
	MEASURE_QUANTILE,   /* the value at rank ceil(q * n): quantile() of SQL */
	MEASURE_COUNT,	    /* records with a value; without columns: records */
	MEASURE_MATCHES,    /* the same, but NULL if no record has a value, whatever where says */
	MEASURE_DISTINCT,   /* different values */
	MEASURE_FLOWS,	    /* different flows */
	MEASURE_SHARE,	    /* percent: sum / sum of all groups */
	MEASURE_PERCENT,    /* percent: sum / sum of another measure */
	MEASURE_DIFFERENCE, /* sum - sum of another measure */
	MEASURE_CHANGE,	    /* percent: (sum - sum of another) / sum of another */
};

struct measure {
	enum measure_kind kind;
	size_t n_columns; /* 1 or 2, or 0 as said above */
	enum flow_column columns[2];
	const struct predicate *where; /* records that count; NULL: all */
	double q;
	const struct measure *of; /* the other measure: a MEASURE_SUM */
	unsigned pass;		  /* of aggregate_read(): it counts what that one reads */
};

/* Of a measure or a key. */
struct aggregate_value {
	enum aggregate_type { AGGREGATE_NULL, AGGREGATE_INT, AGGREGATE_REAL, AGGREGATE_TEXT } type;
	union {
		int64_t integer;
		double real;
		const char *text; /* lives as long as the aggregate */
	};
};

#endif /* WEIR_COLLECTOR_AGGREGATE_MEASURE_H */
