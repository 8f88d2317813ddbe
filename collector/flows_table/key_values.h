/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * key_values.h - values of many blocks by number, and the order of these
 * numbers: for gather.c.
 *
 * Addresses and texts get numbers that hold for all blocks, number 0 of a
 * block's dictionary staying 0; hosts are numbered in the order of host_names;
 * words and numbers are what they are.
 *
 * Threads: none of its own. Errors: those of value_ids.h.
 */
#ifndef WEIR_COLLECTOR_FLOWS_TABLE_KEY_VALUES_H
#define WEIR_COLLECTOR_FLOWS_TABLE_KEY_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/flowstore/flows_columns.h"
#include "collector/flowstore/host_names.h"
#include "collector/flowstore/scan.h"
#include "collector/flowstore/value_ids.h"

/* Values of one dictionary. */
struct numbering {
	struct value_ids *ids;
	size_t n;      /* 1 + the largest number */
	uint32_t *map; /* from the numbers of the block that was taken last */
	size_t max_map;
};

struct key_values {
	const struct host_names *hosts;
	struct numbering addrs, texts;
};

/* *v is zeroed, and for key_values_done() whatever is returned. hosts is borrowed. */
int key_values_init(struct key_values *v, const struct host_names *hosts);
void key_values_done(struct key_values *v);

/* Numbers what the selected rows have in those of its columns. */
int key_values_take(struct key_values *v, const struct scan_rows *rows,
		    const struct flow_columns *columns);

/*
 * The number of what row i has in the column, where it is not NULL. taken: b is
 * the block that was taken last, else its dictionaries are those of v.
 */
uint64_t key_values_number(const struct key_values *v, const struct flows_column *column,
			   const struct flow_block *b, size_t i, bool taken);

/*
 * *ret, for free(): where each number of the column comes among the texts that
 * they stand for, from 1; 0: NULL. NULL, if numbers are in order themselves.
 */
int key_values_rank(const struct key_values *v, const struct flows_column *column, uint32_t **ret);

#endif /* WEIR_COLLECTOR_FLOWS_TABLE_KEY_VALUES_H */
