/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * group_table.h - groups, numbered from 0: each combination of a few ids.
 *
 * Threads: all may call all functions on one table but group_table_init() and
 * group_table_done(). What is there is found without a lock, what is new is put in
 * behind one. Memory: 4 bytes a key and 12 to 24 a group; with one key instead of that
 * 4 bytes for each id.
 * Errors: -ENOMEM; -EOVERFLOW: more groups than GROUP_MAX.
 */
#ifndef WEIR_COLLECTOR_AGGREGATE_GROUP_TABLE_H
#define WEIR_COLLECTOR_AGGREGATE_GROUP_TABLE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define GROUP_MAX     (UINT32_MAX / 2)
#define GROUP_UNKNOWN UINT32_MAX
#define GROUP_BATCH   1024 /* rows that are looked up together */

/*
 * An array that grows without moving, so that it can be read meanwhile: pages of zeros, each as
 * large as all before it.
 */
#define GROUP_PAGE_MIN 1024
#define GROUP_PAGES    24

struct group_pages {
	uint32_t *page[GROUP_PAGES]; /* NULL: not needed yet */
};

struct group_places;

struct group_table {
	size_t n_keys;
	uint64_t seed;
	pthread_mutex_t lock; /* of what follows, but for looking it up */
	size_t n;
	struct group_pages ids;	     /* n_keys of each group */
	struct group_pages of_id;    /* with one key: group + 1 by id */
	struct group_places *places; /* with several: groups by the hash of their ids */
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

/* How many there are. */
static inline size_t group_table_count(const struct group_table *t)
{
	return __atomic_load_n(&t->n, __ATOMIC_ACQUIRE);
}

static inline size_t group_page_of(size_t i)
{
	return 63 - (size_t)__builtin_clzll(i / GROUP_PAGE_MIN << 1 | 1);
}

/* Where the page begins. */
static inline size_t group_page_first(size_t page)
{
	return page ? (size_t)GROUP_PAGE_MIN / 2 << page : 0;
}

/* Entry i of width numbers each; NULL: there is no such page. */
static inline uint32_t *group_pages_at(const struct group_pages *p, size_t i, size_t width)
{
	size_t page = group_page_of(i);
	uint32_t *at = __atomic_load_n(&p->page[page], __ATOMIC_ACQUIRE);

	return at ? at + (i - group_page_first(page)) * width : NULL;
}

/* Of a group that is there. */
static inline const uint32_t *group_table_ids(const struct group_table *t, size_t group)
{
	return group_pages_at(&t->ids, group, t->n_keys);
}

#endif /* WEIR_COLLECTOR_AGGREGATE_GROUP_TABLE_H */
