// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/aggregate/distinct_set.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/flowstore/hash.h"
#include "collector/flowstore/huge_memory.h"

#define MIN_SIZE 1024
#define AHEAD	 16 /* pairs whose place is fetched before it is read */

void distinct_set_done(struct distinct_set *s)
{
	huge_free(s->table, s->size * sizeof(*s->table));
	*s = (struct distinct_set){0};
}

static size_t place_of(const struct distinct_set *s, struct distinct_pair p)
{
	size_t at = hash_pair(s->seed, p.a, p.b) & (s->size - 1);

	while (s->table[at].a && (s->table[at].a != p.a || s->table[at].b != p.b))
		at = (at + 1) & (s->size - 1);
	return at;
}

static int grow(struct distinct_set *s)
{
	struct distinct_set bigger = {.n = s->n, .size = s->size ? 2 * s->size : MIN_SIZE};

	bigger.seed = s->size ? s->seed : hash_seed();
	bigger.table = huge_calloc(bigger.size * sizeof(*bigger.table));
	if (!bigger.table)
		return -ENOMEM;
	for (size_t i = 0; i < s->size; i++)
		if (s->table[i].a)
			bigger.table[place_of(&bigger, s->table[i])] = s->table[i];
	huge_free(s->table, s->size * sizeof(*s->table));
	*s = bigger;
	return 0;
}

int distinct_set_add(struct distinct_set *s, const struct distinct_pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t at;
		int err = 4 * (s->n + 1) > 3 * s->size ? grow(s) : 0;

		if (err)
			return err;
		if (i + AHEAD < n)
			__builtin_prefetch(&s->table[hash_pair(s->seed, pairs[i + AHEAD].a,
							       pairs[i + AHEAD].b) &
						     (s->size - 1)]);
		at = place_of(s, pairs[i]);
		s->n += s->table[at].a == 0;
		s->table[at] = pairs[i];
	}
	return 0;
}
