/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* scan_private.h - what the files scan*.c share. Not for others. */
#ifndef WEIR_COLLECTOR_FLOWSTORE_SCAN_PRIVATE_H
#define WEIR_COLLECTOR_FLOWSTORE_SCAN_PRIVATE_H

#include <pthread.h>

#include "collector/flowstore/scan.h"

#define SCAN_MAX_FETCHED (FLOW_N_COLUMNS + 1) /* times that columns of one block are added */

/* What the rows of a block are tested by: every condition must hold. */
struct scan_test {
	size_t n; /* 0: nothing is tested */
	struct scan_condition {
		const struct predicate *predicate;
		struct flow_columns columns; /* that it reads */
		bool parts[FLOW_N_PARTS];    /* likewise */
	} * conditions;
};

struct scan {
	sqlite3 *db;
	const struct predicate *predicate;
	struct predicate *untimed;	/* without its conditions on end_ms; NULL: has none */
	struct scan_test whole, within; /* within: of blocks that lie within these conditions */
	struct flow_columns wanted;
	bool dictionaries_first;	  /* they may rule a segment out */
	const struct predicate *of_hosts; /* a part that must hold; NULL: there is none */
	struct catalog catalog;
	size_t most_rows; /* of its blocks */
	sqlite3_stmt *get_fresh, *get_head;
	sqlite3_blob *column;		 /* the last that was read of flow_column; NULL: none yet */
	pthread_mutex_t own_lock, *lock; /* of all below, and of db; own, or of a scan beside */
	size_t next;			 /* of the catalog */
	struct scan_totals totals;
	int err; /* of a thread: all stop */
};

/* What a thread needs for one block after another. */
struct scan_memory {
	struct column_codec *codec;
	uint8_t *blob; /* the parts that were read */
	size_t blob_len, max_blob;
	uint32_t *selected, *picked; /* picked: numbers of rows in the item */
	size_t max_selected, max_picked;
	struct scan_cost {
		size_t bytes, condition;
	} * costs;
	size_t max_costs;
	uint8_t *scratch;
	size_t max_scratch;
	const struct scan *scan;  /* for scan_open_beside() */
	struct catalog_item item; /* of the block, for scan_fetch() */
	struct column_rows rows;  /* of the item; all that is in the block */
	struct flow_parts parts;
	bool opened;	     /* parts are those of the item */
	bool id_differences; /* the block has FLOW_COLUMN_ID_DIFFERENCES */
	struct flow_block more[SCAN_MAX_FETCHED];
	size_t n_more;
};

/* --- scan_block.c: an item read and decoded ---------------------------------------- */

/* Opens the head or the whole fresh block. Returns 1, 0 for a damaged one, or an error. */
int scan_block_open(struct scan *s, struct scan_memory *m);
/* Whether the dictionaries leave it possible that a row matches. 1, 0, or an error. */
int scan_block_try_dictionaries(struct scan *s, struct scan_memory *m);
/* Those columns of m->rows. Returns 1, 0 for a damaged one, or an error. */
int scan_block_decode(struct scan *s, struct scan_memory *m, const struct flow_columns *columns,
		      struct flow_block *ret);
/* Adds those that the block does not have. Returns 1, 0 for a damaged one, or an error. */
int scan_block_add(struct scan *s, struct scan_rows *rows, const struct flow_columns *columns);
void scan_block_drop(struct scan_memory *m);
void scan_block_note_skipped(struct scan *s);

/* --- scan_match.c: the rows that match ------------------------------------------------ */

/* p is borrowed; NULL: every row matches. Released with scan_test_done(). Returns -ENOMEM. */
int scan_test_make(const struct predicate *p, struct scan_test *ret);
void scan_test_done(struct scan_test *t);
/* The rows of an item that match. Returns 1, 0 if there are none or it is damaged, or an error. */
int scan_match_item(struct scan *s, const struct catalog_item *item, struct scan_rows *rows);

#endif /* WEIR_COLLECTOR_FLOWSTORE_SCAN_PRIVATE_H */
