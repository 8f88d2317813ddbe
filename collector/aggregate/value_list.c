// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/aggregate/value_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/huge_memory.h"

#define MIN_GROUPS 256
#define MIN_CHUNK                                                                                  \
	16 /* bytes, a power of two: none lies in two lines of the cache but long ones             \
	    */
#define MAX_CHUNK  4096
#define DIGIT_BITS 11
#define FEW_VALUES 4096 /* below it, moving them costs less than counting digits */

struct value_chunk {
	struct value_chunk *before;
	uint16_t n, max;
	uint32_t values[]; /* or of 64 bits, 4 bytes on */
};

void value_list_done(struct value_list *l)
{
	slabs_done(&l->chunks);
	huge_free(l->chains, l->max_groups * sizeof(*l->chains));
	*l = (struct value_list){.wide = l->wide};
}

static uint64_t *wide_values(const struct value_chunk *c)
{
	return (uint64_t *)(c + 1);
}

static uint64_t value_of(const struct value_list *l, const struct value_chunk *c, size_t i)
{
	return l->wide ? wide_values(c)[i] : c->values[i];
}

/* --- adding ------------------------------------------------------------------------------ */

static int reserve(struct value_list *l, size_t n_groups)
{
	size_t max = l->max_groups ? l->max_groups : MIN_GROUPS;
	struct value_chunk **chains;

	if (n_groups > l->max_groups) {
		while (max < n_groups)
			max *= 2;
		chains = huge_grow(l->chains, l->max_groups * sizeof(*chains),
				   max * sizeof(*chains));
		if (!chains)
			return -ENOMEM;
		l->chains = chains;
		l->max_groups = max;
	}
	if (n_groups > l->n_groups)
		l->n_groups = n_groups;
	return 0;
}

/* Twice as long as the last one of the chain. */
static int add_chunk(struct value_list *l, struct value_chunk **chain)
{
	size_t head = l->wide ? sizeof(**chain) : offsetof(struct value_chunk, values);
	size_t width = l->wide ? sizeof(uint64_t) : sizeof(uint32_t);
	size_t bytes = *chain ? 2 * (head + (*chain)->max * width) : MIN_CHUNK;
	struct value_chunk *c;

	while (bytes < head + width)
		bytes *= 2;
	bytes = bytes < MAX_CHUNK ? bytes : MAX_CHUNK;
	c = slabs_take(&l->chunks, bytes);
	if (!c)
		return -ENOMEM;
	*c = (struct value_chunk){.before = *chain, .max = (uint16_t)((bytes - head) / width)};
	*chain = c;
	return 0;
}

static int append(struct value_list *l, struct value_chunk **chain, const uint64_t *values,
		  size_t n)
{
	while (n) {
		struct value_chunk *c = *chain;
		size_t some;
		int err = !c || c->n == c->max ? add_chunk(l, chain) : 0;

		if (err)
			return err;
		c = *chain;
		some = n < (size_t)(c->max - c->n) ? n : (size_t)(c->max - c->n);
		for (size_t i = 0; l->wide && i < some; i++)
			wide_values(c)[c->n + i] = values[i];
		for (size_t i = 0; !l->wide && i < some; i++)
			c->values[c->n + i] = (uint32_t)values[i];
		c->n = (uint16_t)(c->n + some);
		values += some;
		n -= some;
	}
	return 0;
}

int value_list_add(struct value_list *l, const uint32_t *groups, const uint32_t *counts, size_t n,
		   const uint64_t *values)
{
	size_t n_groups = 0;
	int err;

	for (size_t i = 0; i < n; i++)
		n_groups = groups[i] >= n_groups ? groups[i] + (size_t)1 : n_groups;
	err = reserve(l, n_groups);
	if (err)
		return err;
	for (size_t i = 0; i < n; i++)
		__builtin_prefetch(&l->chains[groups[i]]);
	for (size_t i = 0; i < n; i++)
		__builtin_prefetch(l->chains[groups[i]], 1);
	for (size_t i = 0; !err && i < n; i++) {
		err = append(l, &l->chains[groups[i]], values, counts[i]);
		values += counts[i];
	}
	return err;
}

int value_list_join(struct value_list *l, struct value_list *other)
{
	int err = reserve(l, other->n_groups);

	if (err)
		return err;
	for (size_t g = 0; g < other->n_groups; g++) {
		struct value_chunk **to = &l->chains[g], *first = other->chains[g];

		if (!first)
			continue;
		while (first->before)
			first = first->before;
		first->before = *to;
		*to = other->chains[g];
	}
	slabs_join(&l->chunks, &other->chunks);
	value_list_done(other);
	return 0;
}

/* --- asking ------------------------------------------------------------------------------ */

size_t value_list_count(const struct value_list *l, size_t group)
{
	size_t n = 0;

	if (group < l->n_groups)
		for (const struct value_chunk *c = l->chains[group]; c; c = c->before)
			n += c->n;
	return n;
}

size_t value_list_count_all(const struct value_list *l, const uint8_t *without)
{
	size_t n = 0;

	for (size_t g = 0; g < l->n_groups; g++)
		n += without && without[g] ? 0 : value_list_count(l, g);
	return n;
}

/* Values that begin with prefix, counted by the digit behind it, which ends at shift. */
struct digits {
	uint64_t prefix;
	unsigned shift;
	size_t counts[1 << DIGIT_BITS];
};

static void count_digits(const struct value_list *l, const struct value_chunk *chain,
			 struct digits *d)
{
	const uint64_t below = (UINT64_C(1) << DIGIT_BITS) - 1;

	for (const struct value_chunk *c = chain; c; c = c->before)
		for (size_t i = 0; i < c->n; i++) {
			uint64_t digits = value_of(l, c, i) >> d->shift;

			d->counts[digits & below] += digits >> DIGIT_BITS == d->prefix;
		}
}

/* The value at that rank of chains, digit by digit: they are read, not moved. */
static uint64_t select_by_digits(const struct value_list *l, struct value_chunk *const *chains,
				 size_t n, const uint8_t *without, size_t rank)
{
	struct digits d = {.shift = l->wide ? 5 * DIGIT_BITS : 2 * DIGIT_BITS};

	for (;; d.shift -= DIGIT_BITS) {
		uint64_t digit = 0;

		memset(d.counts, 0, sizeof(d.counts));
		for (size_t g = 0; g < n; g++)
			if (!without || !without[g])
				count_digits(l, chains[g], &d);
		while (rank >= d.counts[digit])
			rank -= d.counts[digit++];
		d.prefix = d.prefix << DIGIT_BITS | digit;
		if (d.shift == 0)
			return d.prefix;
	}
}

uint64_t value_list_at_all(const struct value_list *l, const uint8_t *without, size_t rank)
{
	return select_by_digits(l, l->chains, l->n_groups, without, rank);
}

#define VALUE_T	   uint32_t
#define VALUE_F(x) x##_u32
#include "collector/aggregate/value_select.h"
#undef VALUE_T
#undef VALUE_F

#define VALUE_T	   uint64_t
#define VALUE_F(x) x##_u64
#include "collector/aggregate/value_select.h"

/* The same of a chain that is short enough to be copied. */
static uint64_t select_from_copy(const struct value_list *l, const struct value_chunk *chain,
				 size_t rank)
{
	uint64_t copy[FEW_VALUES];
	size_t n = 0;

	for (const struct value_chunk *c = chain; c; c = c->before)
		for (size_t i = 0; i < c->n; i++)
			copy[n++] = value_of(l, c, i);
	return select_u64(copy, n, rank);
}

uint64_t value_list_at(struct value_list *l, size_t group, size_t rank)
{
	struct value_chunk *c = l->chains[group];

	if (!c->before)
		return l->wide ? select_u64(wide_values(c), c->n, rank)
			       : select_u32(c->values, c->n, rank);
	return value_list_count(l, group) <= FEW_VALUES
		       ? select_from_copy(l, c, rank)
		       : select_by_digits(l, &l->chains[group], 1, NULL, rank);
}
