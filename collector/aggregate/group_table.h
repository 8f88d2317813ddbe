/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * group_table.h - groups, numbered from 0: each combination of a few ids.
 *
 * Threads: none of its own; several may look up groups that are there while
 * nobody adds one. Memory: 4 bytes a key and 16 a group.
 * Errors: -ENOMEM; -EOVERFLOW: more groups than GROUP_MAX.
 */
#ifndef WEIR_COLLECTOR_AGGREGATE_GROUP_TABLE_H
#define WEIR_COLLECTOR_AGGREGATE_GROUP_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define GROUP_MAX     (UINT32_MAX / 2)
#define GROUP_UNKNOWN UINT32_MAX
#define GROUP_BATCH   1024 /* rows that are looked up together */

struct group_table {
	size_t n_keys, n, max;
	uint64_t seed;
	uint32_t *ids;	 /* n_keys of each group */
	uint64_t *table; /* hash and group + 1; with one key: unused */
	size_t mask;
	uint32_t *of_id; /* with one key: group + 1 by id */
	size_t max_id;
};

/* n_keys: from 0, when all is one group. */
void group_table_init(struct group_table *t, size_t n_keys);
void group_table_done(struct group_table *t);

/*
 * ret[0 .. n): the groups of up to GROUP_BATCH rows whose ids are ids[k][row];
 * new ones join.
 */
int group_table_add(struct group_table *t, const uint32_t *const *ids, size_t n, uint32_t *ret);
/* The same; GROUP_UNKNOWN for those that are not there. */
void group_table_find(const struct group_table *t, const uint32_t *const *ids, size_t n,
		      uint32_t *ret);

static inline const uint32_t *group_table_ids(const struct group_table *t, size_t group)
{
	return t->ids + group * t->n_keys;
}

#endif /* WEIR_COLLECTOR_AGGREGATE_GROUP_TABLE_H */
