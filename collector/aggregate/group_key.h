/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * group_key.h - what records are grouped by: a column of the table flows, or the
 * network that an address is in. Its values become small numbers (value_ids.h),
 * the same for all threads.
 *
 * Threads: all may call group_key_ids() with blocks of their own.
 * Errors: -ENOMEM.
 */
#ifndef WEIR_COLLECTOR_AGGREGATE_GROUP_KEY_H
#define WEIR_COLLECTOR_AGGREGATE_GROUP_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "collector/aggregate/measure.h"
#include "collector/flowstore/flows_columns.h"
#include "common/addr.h"
#include "proto/flow_block.h"
#include "proto/flow_words.h"

#define GROUP_MAX_KEYS	   4
#define GROUP_KEY_TEXT_MAX (ADDR_TEXT_MAX + 4) /* an address, "/128" */

struct group_key {
	enum flows_kind kind; /* not FLOWS_HIST, FLOWS_COMMUNITY_ID */
	enum flow_column column;
	uint8_t v4_bits, v6_bits; /* FLOWS_ADDR: of the network; both 0: the address itself */
};

/*
 * The key of a column of flows, or of src_net and dst_net: networks of /24 and
 * /64, or as src_net/16, src_net/16/48 say.
 */
bool group_key_find(const char *name, struct group_key *ret);
/* Of a column of the record, as flows shows it; never FLOW_HIST. */
struct group_key group_key_of(enum flow_column c);
/* Adds the columns that group_key_ids() reads. */
void group_key_columns(const struct group_key *k, struct flow_columns *columns);

/* Whether rows with one value of the column, whatever else they have, are one for the key. */
bool group_key_is_column(const struct group_key *k);

/* The values of all keys, and the names of hosts. */
struct group_values;
int group_values_new(sqlite3 *db, struct group_values **ret);
/* NULL is a no-op. */
void group_values_free(struct group_values *v);

/* Of a thread, kept from block to block; zeroed at first. */
struct group_key_memory {
	uint8_t *marks;
	uint32_t *map, *list;
	uint64_t *numbers;
	size_t max_rows, max_entries;
};
void group_key_memory_done(struct group_key_memory *m);

/* ret[0 .. n): numbers of the values of those rows; 0: NULL. */
int group_key_ids(struct group_values *v, struct group_key_memory *m, const struct group_key *k,
		  const struct flow_block *b, const uint32_t *rows, size_t n, uint32_t *ret);

/* The order of SQL: below, equal or above 0. */
int group_key_compare(struct group_values *v, const struct group_key *k, uint32_t id,
		      uint32_t other);
/* A text may be in buffer. */
struct aggregate_value group_key_value(struct group_values *v, const struct group_key *k,
				       uint32_t id, char buffer[GROUP_KEY_TEXT_MAX]);

#endif /* WEIR_COLLECTOR_AGGREGATE_GROUP_KEY_H */
