// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/aggregate/group_table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "collector/aggregate/group_key.h"
#include "collector/flowstore/hash.h"
#include "collector/flowstore/huge_memory.h"

/* Up to GROUP_MAX_KEYS ids of 32 bits. */
struct key {
	uint64_t a, b;
};

void group_table_init(struct group_table *t, size_t n_keys)
{
	*t = (struct group_table){.n_keys = n_keys, .seed = hash_seed()};
}

static size_t row_bytes(const struct group_table *t)
{
	return (t->n_keys ? t->n_keys : 1) * sizeof(*t->ids);
}

void group_table_done(struct group_table *t)
{
	huge_free(t->ids, t->max * row_bytes(t));
	huge_free(t->table, (t->mask + 1) * sizeof(*t->table));
	free(t->of_id);
}

/* --- growing ------------------------------------------------------------------------- */

/* Room for n groups more. */
static int reserve(struct group_table *t, size_t n)
{
	size_t max = t->max ? t->max : 1024;
	uint32_t *ids;

	if (t->n + n <= t->max)
		return 0;
	while (max < t->n + n)
		max *= 2;
	if (max > GROUP_MAX)
		return -EOVERFLOW;
	ids = huge_grow(t->ids, t->max * row_bytes(t), max * row_bytes(t));
	if (!ids)
		return -ENOMEM;
	t->ids = ids;
	t->max = max;
	return 0;
}

/* The table has room for n groups more, and is half empty. */
static int reserve_table(struct group_table *t, size_t n)
{
	size_t size = t->mask + 1;
	uint64_t *table;

	if (t->table && 2 * (t->n + n) <= size)
		return 0;
	size = size < 4096 ? 4096 : size;
	while (size < 2 * (t->n + n))
		size *= 2;
	table = huge_calloc(size * sizeof(*table));
	if (!table)
		return -ENOMEM;
	for (size_t i = 0; t->table && i <= t->mask; i++) {
		size_t at = (t->table[i] >> 32) & (size - 1);

		if (!t->table[i])
			continue;
		while (table[at])
			at = (at + 1) & (size - 1);
		table[at] = t->table[i];
	}
	huge_free(t->table, (t->mask + 1) * sizeof(*t->table));
	t->table = table;
	t->mask = size - 1;
	return 0;
}

/* --- one key: its ids are small and dense ------------------------------------------------ */

static int reserve_ids(struct group_table *t, const uint32_t *ids, size_t n)
{
	size_t max = t->max_id ? t->max_id : 1024;
	uint32_t largest = 0, *of_id;

	for (size_t i = 0; i < n; i++)
		largest = ids[i] > largest ? ids[i] : largest;
	if (largest < t->max_id)
		return 0;
	while (max <= largest)
		max *= 2;
	of_id = realloc(t->of_id, max * sizeof(*of_id));
	if (!of_id)
		return -ENOMEM;
	memset(of_id + t->max_id, 0, (max - t->max_id) * sizeof(*of_id));
	t->of_id = of_id;
	t->max_id = max;
	return 0;
}

static int add_by_id(struct group_table *t, const uint32_t *ids, size_t n, uint32_t *ret)
{
	int err = reserve_ids(t, ids, n);

	for (size_t i = 0; !err && i < n; i++) {
		uint32_t *group = &t->of_id[ids[i]];

		if (!*group) {
			t->ids[t->n] = ids[i];
			*group = (uint32_t)++t->n;
		}
		ret[i] = *group - 1;
	}
	return err;
}

static void find_by_id(const struct group_table *t, const uint32_t *ids, size_t n, uint32_t *ret)
{
	for (size_t i = 0; i < n; i++) /* none: 0 - 1 is GROUP_UNKNOWN */
		ret[i] = ids[i] < t->max_id ? t->of_id[ids[i]] - 1 : GROUP_UNKNOWN;
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

/* The place of the key, or the empty one where it is to be. */
static size_t place_of(const struct group_table *t, struct key k, uint32_t hash)
{
	size_t at = hash & t->mask;

	while (t->table[at] && (t->table[at] >> 32 != hash ||
				!same(key_of_group(t, (uint32_t)t->table[at] - 1), k)))
		at = (at + 1) & t->mask;
	return at;
}

/* Hashes the keys, and asks for their places before any of them is read. */
static void look_ahead(const struct group_table *t, const uint32_t *const *ids, size_t n,
		       struct key *keys, uint32_t *hashes)
{
	for (size_t i = 0; i < n; i++) {
		keys[i] = key_of(t->n_keys, ids, i);
		if (i && same(keys[i], keys[i - 1])) {
			hashes[i] = hashes[i - 1];
			continue;
		}
		hashes[i] = (uint32_t)(hash_pair(t->seed, keys[i].a, keys[i].b) >> 32);
		__builtin_prefetch(&t->table[hashes[i] & t->mask]);
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t group = (uint32_t)t->table[hashes[i] & t->mask];

		if (group)
			__builtin_prefetch(group_table_ids(t, group - 1));
	}
}

static int add_by_keys(struct group_table *t, const uint32_t *const *ids, size_t n, uint32_t *ret)
{
	struct key keys[GROUP_BATCH];
	uint32_t hashes[GROUP_BATCH];
	int err = reserve_table(t, n);

	if (err)
		return err;
	look_ahead(t, ids, n, keys, hashes);
	for (size_t i = 0; i < n; i++) {
		size_t at;

		if (i && same(keys[i], keys[i - 1])) {
			ret[i] = ret[i - 1];
			continue;
		}
		at = place_of(t, keys[i], hashes[i]);
		if (!t->table[at]) {
			for (size_t k = 0; k < t->n_keys; k++)
				t->ids[t->n * t->n_keys + k] = ids[k][i];
			t->table[at] = (uint64_t)hashes[i] << 32 | ++t->n;
		}
		ret[i] = (uint32_t)t->table[at] - 1;
	}
	return 0;
}

static void find_by_keys(const struct group_table *t, const uint32_t *const *ids, size_t n,
			 uint32_t *ret)
{
	struct key keys[GROUP_BATCH];
	uint32_t hashes[GROUP_BATCH];

	look_ahead(t, ids, n, keys, hashes);
	for (size_t i = 0; i < n; i++) {
		if (i && same(keys[i], keys[i - 1]))
			ret[i] = ret[i - 1];
		else /* none: 0 - 1 is GROUP_UNKNOWN */
			ret[i] = (uint32_t)t->table[place_of(t, keys[i], hashes[i])] - 1;
	}
}

/* --- any number --------------------------------------------------------------------------------
 */

int group_table_add(struct group_table *t, const uint32_t *const *ids, size_t n, uint32_t *ret)
{
	int err = reserve(t, n);

	if (err || n == 0)
		return err;
	if (t->n_keys > 1)
		return add_by_keys(t, ids, n, ret);
	if (t->n_keys == 1)
		return add_by_id(t, ids[0], n, ret);
	t->n = 1;
	memset(ret, 0, n * sizeof(*ret));
	return 0;
}

void group_table_find(const struct group_table *t, const uint32_t *const *ids, size_t n,
		      uint32_t *ret)
{
	if (t->n == 0)
		memset(ret, 0xff, n * sizeof(*ret));
	else if (t->n_keys > 1)
		find_by_keys(t, ids, n, ret);
	else if (t->n_keys == 1)
		find_by_id(t, ids[0], n, ret);
	else
		memset(ret, 0, n * sizeof(*ret));
}
