/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * predicate.h - a condition on flow records that is tested on whole columns.
 *
 * A predicate is an and of terms, each of which may be an or of its own
 * (PREDICATE_ANY) or a negation. It is tested in two steps: against the zone
 * map and the dictionaries of a segment (can any row match? then the segment
 * is not even read), and on arrays, giving the numbers of the rows that match.
 *
 * The nodes are a tree in one array that the maker owns; it is not changed
 * while a scan runs, so threads share it.
 *
 * NULL: a comparison with a value that was not measured does not hold, and its
 * negation does (PREDICATE_NOT is "not one of those that match").
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_PREDICATE_H
#define WEIR_COLLECTOR_FLOWSTORE_PREDICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/addr.h"
#include "proto/flow_block.h"

enum predicate_kind {
	PREDICATE_RANGE,	/* low <= column <= high; FLOW_U32, FLOW_U64 */
	PREDICATE_BITS,		/* (column & low) == high */
	PREDICATE_PREFIX,	/* FLOW_ADDR: column within prefix (a whole address: len 128) */
	PREDICATE_TEXT,		/* FLOW_TEXT: equal to text */
	PREDICATE_COMMUNITY_ID, /* that of the flow is text: flow_community.h */
	PREDICATE_HAS,		/* column is not NULL; not FLOW_HIST */
	PREDICATE_ALL,		/* every child */
	PREDICATE_ANY,		/* one child */
	PREDICATE_NOT,		/* not its child */
	PREDICATE_TRUE,
	PREDICATE_FALSE,
};

struct predicate {
	enum predicate_kind kind;
	enum flow_column column;
	uint64_t low, high;
	struct addr_prefix prefix;
	const char *text; /* borrowed */
	const struct predicate *children;
	size_t n_children;
};

/* Adds the columns that testing it reads. */
void predicate_columns(const struct predicate *p, struct flow_columns *columns);

/* Whether it reads a column that is not in the set. */
bool predicate_reads_other(const struct predicate *p, const struct flow_columns *columns);
/* No row with a value of a number column outside *ret_low .. *ret_high matches. */
void predicate_bounds(const struct predicate *p, enum flow_column column, uint64_t *ret_low,
		      uint64_t *ret_high);

/*
 * The same with PREDICATE_TRUE in the place of each condition on that column that every
 * row must meet. *ret: free() it, before p's maker; NULL if there is none. Returns
 * 0 or -ENOMEM.
 */
int predicate_without(const struct predicate *p, enum flow_column column, struct predicate **ret);

/*
 * Sets match[0 .. n_rows) to 1 or 0. The block has the columns of
 * predicate_columns(). scratch: n_rows bytes for each level of the tree
 * (predicate_depth()), and as many bytes as the block has addresses and texts.
 */
void predicate_match(const struct predicate *p, const struct flow_block *b, uint8_t *match,
		     uint8_t *scratch);
size_t predicate_depth(const struct predicate *p);
size_t predicate_scratch_bytes(const struct predicate *p, const struct flow_block *b);

#endif /* WEIR_COLLECTOR_FLOWSTORE_PREDICATE_H */
