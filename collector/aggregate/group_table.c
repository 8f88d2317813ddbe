// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/aggregate/group_table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "collector/aggregate/group_key.h"
#include "collector/flowstore/hash.h"
#include "collector/flowstore/huge_memory.h"

#define MIN_PLACES 4096

/*
 * Open addressing, two thirds full at most. One that became too small stays until the
 * end: somebody may be looking into it.
 */
struct group_places {
	uint64_t *table; /* hash and group + 1; 0: free */
	size_t mask;
	struct group_places *before;
};

/* Up to GROUP_MAX_KEYS ids of 32 bits. */
struct key {
	uint64_t a, b;
};

void group_table_init(struct group_table *t, size_t n_keys)
{
	*t = (struct group_table){.n_keys = n_keys, .seed = hash_seed()};
	(void)pthread_mutex_init(&t->lock, NULL); /* cannot fail on Linux */
}

/* --- pages --------------------------------------------------------------------------- */

static size_t page_bytes(size_t page, size_t width)
{
	return (group_page_first(page + 1) - group_page_first(page)) * width * sizeof(uint32_t);
}

/* Entries up to i. */
static int reserve_pages(struct group_pages *p, size_t i, size_t width)
{
	for (size_t page = group_page_of(i) + 1; page-- > 0 && !p->page[page];) {
		uint32_t *at = huge_calloc(page_bytes(page, width));

		if (!at)
			return -ENOMEM;
		__atomic_store_n(&p->page[page], at, __ATOMIC_RELEASE);
	}
	return 0;
}

static void pages_done(struct group_pages *p, size_t width)
{
	for (size_t page = 0; page < GROUP_PAGES; page++)
		huge_free(p->page[page], page_bytes(page, width));
}

/* --- the table, behind the lock -------------------------------------------------------- */

static void places_free(struct group_places *p)
{
	if (!p)
		return;
	huge_free(p->table, (p->mask + 1) * sizeof(*p->table));
	free(p);
}

void group_table_done(struct group_table *t)
{
	pages_done(&t->ids, t->n_keys);
	pages_done(&t->of_id, 1);
	while (t->places) {
		struct group_places *before = t->places->before;

		places_free(t->places);
		t->places = before;
	}
	(void)pthread_mutex_destroy(&t->lock);
}

static struct group_places *places_new(size_t size)
{
	struct group_places *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->mask = size - 1;
	p->table = huge_calloc(size * sizeof(*p->table));
	if (p->table)
		return p;
	free(p);
	return NULL;
}

/* There is room for n groups more. */
static int reserve_places(struct group_table *t, size_t n)
{
	struct group_places *old = t->places, *p;
	size_t size = old ? old->mask + 1 : MIN_PLACES;

	while (3 * (t->n + n) > 2 * size)
		size *= 2;
	if (old && size == old->mask + 1)
		return 0;
	p = places_new(size);
	if (!p)
		return -ENOMEM;
	for (size_t i = 0; old && i <= old->mask; i++) {
		size_t at = (old->table[i] >> 32) & p->mask;

		if (!old->table[i])
			continue;
		while (p->table[at])
			at = (at + 1) & p->mask;
		p->table[at] = old->table[i];
	}
	p->before = old;
	__atomic_store_n(&t->places, p, __ATOMIC_RELEASE);
	return 0;
}

static int reserve_groups(struct group_table *t, size_t n)
{
	if (t->n + n > GROUP_MAX)
		return -EOVERFLOW;
	return reserve_pages(&t->ids, t->n + n - 1, t->n_keys);
}

/* A new group, of ids[k][i]. Its number is for others to find only after that. */
static uint32_t new_group(struct group_table *t, const uint32_t *const *ids, size_t i)
{
	size_t group = t->n;
	uint32_t *to = group_pages_at(&t->ids, group, t->n_keys);

	for (size_t k = 0; k < t->n_keys; k++)
		to[k] = ids[k][i];
	__atomic_store_n(&t->n, group + 1, __ATOMIC_RELEASE);
	return (uint32_t)group;
}

/* --- one key: its ids are small and dense ------------------------------------------------ */

/* Returns how many are not there. */
static size_t find_by_id(const struct group_table *t, const uint32_t *ids, size_t n, uint32_t *ret)
{
	size_t missing = 0;

	for (size_t i = 0; i < n; i++) {
		const uint32_t *group = group_pages_at(&t->of_id, ids[i], 1);

		/* none: 0 - 1 is GROUP_UNKNOWN */
		ret[i] = (group ? __atomic_load_n(group, __ATOMIC_ACQUIRE) : 0) - 1;
		missing += ret[i] == GROUP_UNKNOWN;
	}
	return missing;
}

static int insert_ids(struct group_table *t, const uint32_t *const *ids, size_t n, uint32_t *ret)
{
	int err = 0;

	for (size_t i = 0; !err && i < n; i++) {
		uint32_t *group;

		if (ret[i] != GROUP_UNKNOWN)
			continue;
		err = reserve_pages(&t->of_id, ids[0][i], 1);
		if (err)
			break;
		group = group_pages_at(&t->of_id, ids[0][i], 1);
		if (!*group)
			__atomic_store_n(group, new_group(t, ids, i) + 1, __ATOMIC_RELEASE);
		ret[i] = *group - 1;
	}
	return err;
}

/* --- several --------------------------------------------------------------------------------- */

static struct key key_of(size_t n_keys, const uint32_t *const *ids, size_t i)
{
	struct key k = {0, 0};

	k.a = ids[0][i] | (uint64_t)ids[1][i] << 32;
	if (n_keys > 2)
		k.b = ids[2][i];
	if (n_keys > 3)
		k.b |= (uint64_t)ids[3][i] << 32;
	return k;
}

static struct key key_of_group(const struct group_table *t, size_t group)
{
	const uint32_t *ids = group_table_ids(t, group);
	struct key k = {ids[0] | (uint64_t)ids[1] << 32, 0};

	if (t->n_keys > 2)
		k.b = ids[2];
	if (t->n_keys > 3)
		k.b |= (uint64_t)ids[3] << 32;
	return k;
}

static bool same(struct key a, struct key b)
{
	return a.a == b.a && a.b == b.b;
}

static uint32_t hash_key(const struct group_table *t, struct key k)
{
	return (uint32_t)(hash_pair(t->seed, k.a, k.b) >> 32);
}

/* The entry of the key, or 0; *ret_at: its place, or the free one where it is to be. */
static uint64_t look_up(const struct group_table *t, const struct group_places *p, struct key k,
			uint32_t hash, size_t *ret_at)
{
	size_t at = hash & p->mask;
	uint64_t entry;

	while ((entry = __atomic_load_n(&p->table[at], __ATOMIC_ACQUIRE)) != 0 &&
	       (entry >> 32 != hash || !same(key_of_group(t, (uint32_t)entry - 1), k)))
		at = (at + 1) & p->mask;
	*ret_at = at;
	return entry;
}

/* Hashes the keys, and asks for their places before any of them is read. */
static void look_ahead(const struct group_table *t, const struct group_places *p,
		       const uint32_t *const *ids, size_t n, struct key *keys, uint32_t *hashes)
{
	for (size_t i = 0; i < n; i++) {
		keys[i] = key_of(t->n_keys, ids, i);
		hashes[i] = hash_key(t, keys[i]);
		if (p)
			__builtin_prefetch(&p->table[hashes[i] & p->mask]);
	}
	for (size_t i = 0; p && i < n; i++) {
		uint32_t group =
			(uint32_t)__atomic_load_n(&p->table[hashes[i] & p->mask], __ATOMIC_ACQUIRE);

		if (group)
			__builtin_prefetch(group_table_ids(t, group - 1));
	}
}

/* Returns how many are not there. */
static size_t find_by_keys(const struct group_table *t, const uint32_t *const *ids, size_t n,
			   uint32_t *ret)
{
	const struct group_places *p = __atomic_load_n(&t->places, __ATOMIC_ACQUIRE);
	struct key keys[GROUP_BATCH];
	uint32_t hashes[GROUP_BATCH];
	size_t missing = 0, at;

	look_ahead(t, p, ids, n, keys, hashes);
	for (size_t i = 0; i < n; i++) {
		/* none: 0 - 1 is GROUP_UNKNOWN */
		ret[i] = (p ? (uint32_t)look_up(t, p, keys[i], hashes[i], &at) : 0) - 1;
		missing += ret[i] == GROUP_UNKNOWN;
	}
	return missing;
}

/* Those that are not there; one may have come in the meantime, or twice. */
static int insert_keys(struct group_table *t, const uint32_t *const *ids, size_t n, size_t missing,
		       uint32_t *ret)
{
	int err = reserve_places(t, missing);

	for (size_t i = 0; !err && i < n; i++) {
		struct key key;
		uint32_t hash;
		uint64_t entry;
		size_t at;

		if (ret[i] != GROUP_UNKNOWN)
			continue;
		key = key_of(t->n_keys, ids, i);
		hash = hash_key(t, key);
		entry = look_up(t, t->places, key, hash, &at);
		if (!entry) {
			entry = (uint64_t)hash << 32 | (new_group(t, ids, i) + 1);
			__atomic_store_n(&t->places->table[at], entry, __ATOMIC_RELEASE);
		}
		ret[i] = (uint32_t)entry - 1;
	}
	return err;
}

/* --- any number --------------------------------------------------------------------------------
 */

static size_t find(const struct group_table *t, const uint32_t *const *ids, size_t n, uint32_t *ret)
{
	size_t there = group_table_count(t);

	if (t->n_keys > 1)
		return find_by_keys(t, ids, n, ret);
	if (t->n_keys == 1)
		return find_by_id(t, ids[0], n, ret);
	memset(ret, there ? 0 : 0xff, n * sizeof(*ret));
	return there ? 0 : n;
}

int group_table_add(struct group_table *t, const uint32_t *const *ids, size_t n, uint32_t *ret)
{
	size_t missing = find(t, ids, n, ret);
	int err;

	if (missing == 0)
		return 0;
	(void)pthread_mutex_lock(&t->lock);
	err = reserve_groups(t, missing);
	if (!err && t->n_keys > 1) {
		err = insert_keys(t, ids, n, missing, ret);
	} else if (!err && t->n_keys == 1) {
		err = insert_ids(t, ids, n, ret);
	} else if (!err) {
		__atomic_store_n(&t->n, 1, __ATOMIC_RELEASE);
		memset(ret, 0, n * sizeof(*ret));
	}
	(void)pthread_mutex_unlock(&t->lock);
	return err;
}

void group_table_find(const struct group_table *t, const uint32_t *const *ids, size_t n,
		      uint32_t *ret)
{
	(void)find(t, ids, n, ret);
}
