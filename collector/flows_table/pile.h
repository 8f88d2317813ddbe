/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * pile.h - rows of many blocks put into one, each at a place that is told: for
 * gather.c.
 *
 * Threads: none of its own. Errors: -ENOMEM.
 */
#ifndef WEIR_COLLECTOR_FLOWS_TABLE_PILE_H
#define WEIR_COLLECTOR_FLOWS_TABLE_PILE_H

#include <stddef.h>
#include <stdint.h>

#include "collector/flows_table/key_values.h"
#include "collector/flowstore/scan.h"

#define PILE_NOWHERE UINT32_MAX

struct pile {
	struct flow_block block;  /* n_rows: how many it has room for, unless it is set */
	uint32_t *sorted, *spare; /* as many numbers of rows each, for the caller */
	/* private */
	struct flow_block dictionaries; /* block borrows from it */
	uint32_t *origins;
	struct pile_source {
		uint32_t first; /* its rows from there on, in a row of all that were read */
		int64_t key;	/* scan_rows_key() */
	} * sources;
	size_t n_sources, max_sources;
	uint32_t n_read;
};

/* Bytes of a row. */
size_t pile_row_bytes(const struct flow_columns *columns);

/* Empties it, with room for n rows. It is zeroed at first. */
int pile_begin(struct pile *p, const struct flow_columns *columns, size_t n);
/* Releases all of it. */
void pile_done(struct pile *p);

/* The selected rows: number k goes to to[k], or PILE_NOWHERE. values has taken their block. */
int pile_put(struct pile *p, const struct key_values *values, const struct flow_columns *columns,
	     const struct scan_rows *rows, const uint32_t *to);
/* The dictionaries of all that was put. */
int pile_name(struct pile *p, const struct key_values *values);

/* What scan_rows_key() and scan_row_number() made of a row. */
int64_t pile_row_key(const struct pile *p, uint32_t row);

#endif /* WEIR_COLLECTOR_FLOWS_TABLE_PILE_H */
