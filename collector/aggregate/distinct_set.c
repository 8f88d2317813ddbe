// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/aggregate/distinct_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/hash.h"

#define PART_BITS 8 /* the highest of a hash; the lowest are for the place in a part */
#define MIN_PAIRS 64
#define MAX_PAIRS (UINT32_C(1) << 30)

void distinct_set_done(struct distinct_set *s)
{
	for (size_t p = 0; s->parts && p < DISTINCT_PARTS; p++)
		free(s->parts[p].pairs);
	free(s->parts);
	free(s->places.at);
	*s = (struct distinct_set){0};
}

/* A table of numbers of pairs, counted from 1, at most half full; all 0. *ret_mask: its size - 1.
 */
static int clear_places(struct distinct_places *p, size_t n_pairs, size_t *ret_mask)
{
	size_t n = 2 * MIN_PAIRS;

	while (n < 2 * n_pairs)
		n *= 2;
	if (n > p->n) {
		free(p->at);
		p->n = 0;
		p->at = malloc(n * sizeof(*p->at));
		if (!p->at)
			return -ENOMEM;
		p->n = n;
	}
	memset(p->at, 0, n * sizeof(*p->at));
	*ret_mask = n - 1;
	return 0;
}

static int settle(uint64_t seed, struct distinct_places *places, struct distinct_part *part)
{
	uint32_t n = 0;
	size_t mask;
	int err;

	if (part->n_once == part->n)
		return 0;
	err = clear_places(places, part->n, &mask);
	if (err)
		return err;
	for (uint32_t i = 0; i < part->n; i++) {
		struct distinct_pair p = part->pairs[i];
		size_t at = hash_pair(seed, p.a, p.b) & mask;

		while (places->at[at] && (part->pairs[places->at[at] - 1].a != p.a ||
					  part->pairs[places->at[at] - 1].b != p.b))
			at = (at + 1) & mask;
		if (places->at[at])
			continue;
		part->pairs[n++] = p;
		places->at[at] = n;
	}
	part->n = part->n_once = n;
	return 0;
}

/* Of a full part: what is there twice goes; if that is less than half of it, it grows. */
static int make_room(struct distinct_set *s, struct distinct_part *part)
{
	uint32_t max = part->max ? 2 * part->max : MIN_PAIRS;
	struct distinct_pair *pairs;
	int err = settle(s->seed, &s->places, part);

	if (err || part->n < part->max / 2)
		return err;
	pairs = max <= MAX_PAIRS ? realloc(part->pairs, max * sizeof(*pairs)) : NULL;
	if (!pairs)
		return -ENOMEM;
	part->pairs = pairs;
	part->max = max;
	return 0;
}

static int begin(struct distinct_set *s)
{
	s->parts = calloc(DISTINCT_PARTS, sizeof(*s->parts));
	if (!s->seed)
		s->seed = hash_seed();
	return s->parts ? 0 : -ENOMEM;
}

int distinct_set_add(struct distinct_set *s, const struct distinct_pair *pairs, size_t n)
{
	int err = n && !s->parts ? begin(s) : 0;

	for (size_t i = 0; !err && i < n; i++) {
		uint64_t hash = hash_pair(s->seed, pairs[i].a, pairs[i].b);
		struct distinct_part *part = &s->parts[hash >> (64 - PART_BITS)];

		if (part->n == part->max)
			err = make_room(s, part);
		if (!err)
			part->pairs[part->n++] = pairs[i];
	}
	return err;
}

static int join_part(struct distinct_part *part, const struct distinct_part *other)
{
	size_t max = (size_t)part->n + other->n;
	struct distinct_pair *pairs;

	if (max > MAX_PAIRS)
		return -ENOMEM;
	if (max > part->max) {
		pairs = realloc(part->pairs, max * sizeof(*pairs));
		if (!pairs)
			return -ENOMEM;
		part->pairs = pairs;
		part->max = (uint32_t)max;
	}
	if (other->n)
		memcpy(part->pairs + part->n, other->pairs, other->n * sizeof(*other->pairs));
	part->n = (uint32_t)max;
	return 0;
}

int distinct_set_join(struct distinct_set *s, const struct distinct_set *other)
{
	int err = other->parts && !s->parts ? begin(s) : 0;

	for (size_t p = 0; !err && other->parts && p < DISTINCT_PARTS; p++)
		err = join_part(&s->parts[p], &other->parts[p]);
	return err;
}

int distinct_set_settle(struct distinct_set *s, size_t part)
{
	struct distinct_places places = {0};
	int err = s->parts ? settle(s->seed, &places, &s->parts[part]) : 0;

	free(places.at);
	return err;
}
