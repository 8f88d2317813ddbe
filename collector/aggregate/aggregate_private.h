/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* aggregate_private.h - what the files aggregate*.c share. Not for others. */
#ifndef WEIR_COLLECTOR_AGGREGATE_AGGREGATE_PRIVATE_H
#define WEIR_COLLECTOR_AGGREGATE_AGGREGATE_PRIVATE_H

#include "collector/aggregate/aggregate.h"
#include "collector/aggregate/group_sums.h"
#include "collector/aggregate/group_table.h"
#include "collector/aggregate/term_plan.h"
#include "collector/once/once.h"

struct aggregate {
	sqlite3 *db;
	const struct aggregate_spec *spec;
	struct term_plan plan, also; /* also: if spec has it */
	struct flow_columns columns;
	struct group_values *values;
	struct group_table table; /* of all threads */
	uint64_t seed;		  /* of all sets */
	struct group_sums sums;
	struct scan_totals totals;
	uint64_t set_aside;
	uint8_t *selected;    /* by group; NULL: none yet */
	uint64_t *sums_of[2]; /* of AGGREGATE_OTHER and AGGREGATE_TOTAL, once asked for */
};

/* What a thread needs, and what it has found. */
struct aggregate_worker {
	struct aggregate *a;
	const struct aggregate_input *in;
	struct scan *scan;
	struct group_sums *sums, own_sums;
	struct group_key_memory keys;
	size_t max_rows;
	uint32_t *rows;	  /* those of the block that a way of spec takes */
	size_t n_runs;	  /* of rows with the same keys */
	uint32_t *ends;	  /* of runs: behind their last row */
	uint32_t *groups; /* of runs */
	uint32_t *key_ids[GROUP_MAX_KEYS];
	uint32_t *term_ids[TERMS_MAX]; /* of texts and different values */
	uint8_t *masks[TERMS_MAX];     /* by row of the block; NULL: none was needed yet */
	bool masked[TERMS_MAX];	       /* in this block */
	uint8_t *single;	       /* rows that are all of their flow */
	uint8_t *scratch;
	size_t max_scratch;
	struct once_memory *once;
	uint64_t set_aside;
	int err;
};

/* Runs whose rows are added together: what belongs to them stays in the cache. */
struct aggregate_batch {
	const struct flow_block *b;
	size_t first, n; /* rows: of those of the worker; up to GROUP_BATCH */
	const uint32_t *rows;
	size_t n_runs;
	const uint32_t *groups, *ends; /* of each run; ends count from the worker's first row */
	uint64_t values[GROUP_BATCH];
};

void aggregate_worker_done(struct aggregate_worker *w);
/* Whether a selected row may not be all of its flow: then ids tell which ones are one. */
bool aggregate_has_parts(const struct aggregate *a, const struct scan_rows *rows);
/* Adds the selected rows of a block, in each way of spec. */
int aggregate_add_block(struct aggregate_worker *w, const struct scan_rows *rows);
/* Term i of the plan, of the rows of a batch. */
int aggregate_add_term(struct aggregate_worker *w, size_t i, const struct term *t,
		       struct aggregate_batch *x);

#endif /* WEIR_COLLECTOR_AGGREGATE_AGGREGATE_PRIVATE_H */
