/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rollup_table.h - rows of a rollup by their keys, in memory.
 *
 * Threads: none of its own. Errors: -ENOMEM.
 */
#ifndef WEIR_COLLECTOR_ROLLUP_ROLLUP_TABLE_H
#define WEIR_COLLECTOR_ROLLUP_ROLLUP_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "collector/once/address_book.h"
#include "collector/rollup/rollup.h"
#include "proto/flow_block.h"

struct host_minutes;

/* Zeroed: an empty one. */
struct rollup_table {
	struct rollup_row *rows;
	uint32_t *slots; /* number of a row + 1 */
	size_t n, max, n_slots;
	uint64_t seed; /* of the hash; 0: none yet */
};

void rollup_table_done(struct rollup_table *t);

/* Adds the columns that rollup_table_add() reads. */
void rollup_table_columns(struct flow_columns *columns);
/* Adds every record of b, by minute and whole peer, with the claims of the book. */
int rollup_table_add(struct rollup_table *t, const struct flow_block *b,
		     const struct address_book *book);
/* Gives back what only adding takes: nothing can be added from then on. */
void rollup_table_trim(struct rollup_table *t);
/*
 * ROLLUP_CLAIM_ASIDE where the host that claims the records has reported all of the
 * minute. reported: around the times of all rows. Nothing can be added from then on.
 */
void rollup_table_settle(struct rollup_table *t, const struct host_minutes *reported);
/* Adds the rows of such a table: those of the table of minutes, or of hours. */
int rollup_table_add_minutes(struct rollup_table *t, const struct rollup_table *fine);
int rollup_table_add_hours(struct rollup_table *t, const struct rollup_table *fine);
/* Puts the rows in the order of their keys; nothing can be added from then on. */
void rollup_table_sort(struct rollup_table *t);

#endif /* WEIR_COLLECTOR_ROLLUP_ROLLUP_TABLE_H */
