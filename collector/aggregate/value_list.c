// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/aggregate/value_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/huge_memory.h"

static size_t width(const struct value_list *l)
{
	return l->wide ? sizeof(uint64_t) : sizeof(uint32_t);
}

void value_list_done(struct value_list *l)
{
	huge_free(l->groups, l->max_groups * sizeof(*l->groups));
	huge_free(l->values, l->max * width(l));
	huge_free(l->starts, (l->n_groups + 2) * sizeof(*l->starts));
}

static int reserve(struct value_list *l, size_t n)
{
	size_t max = l->max ? l->max : 4096;
	void *groups, *values;

	if (l->n + n <= l->max)
		return 0;
	while (max < l->n + n)
		max *= 2;
	if (max > l->max_groups) { /* else: it was the values that there was no memory for */
		groups = huge_grow(l->groups, l->max_groups * sizeof(*l->groups),
				   max * sizeof(*l->groups));
		if (!groups)
			return -ENOMEM;
		l->groups = groups;
		l->max_groups = max;
	}
	values = huge_grow(l->values, l->max * width(l), max * width(l));
	if (!values)
		return -ENOMEM;
	l->values = values;
	l->max = max;
	return 0;
}

int value_list_add(struct value_list *l, const uint32_t *groups, const uint64_t *values,
		   const uint8_t *marks, size_t n)
{
	size_t at = l->n;
	int err = reserve(l, n);

	if (err)
		return err;
	for (size_t i = 0; i < n; i++) {
		l->groups[at] = groups[i];
		if (l->wide)
			((uint64_t *)l->values)[at] = values[i];
		else
			((uint32_t *)l->values)[at] = (uint32_t)values[i];
		at += marks ? marks[i] : 1;
	}
	l->n = at;
	return 0;
}

int value_list_join(struct value_list *l, const struct value_list *other, const uint32_t *map)
{
	int err = reserve(l, other->n);

	if (err || other->n == 0)
		return err;
	for (size_t i = 0; i < other->n; i++)
		l->groups[l->n + i] = map ? map[other->groups[i]] : other->groups[i];
	memcpy((char *)l->values + l->n * width(l), other->values, other->n * width(l));
	l->n += other->n;
	return 0;
}

/* --- by group ---------------------------------------------------------------------------- */

/* Moves each value behind the others of its group; next: where each group goes on. */
static void scatter(const struct value_list *l, uint32_t *next, void *ret)
{
	if (l->wide) {
		const uint64_t *values = l->values;

		for (size_t i = 0; i < l->n; i++)
			((uint64_t *)ret)[next[l->groups[i]]++] = values[i];
	} else {
		const uint32_t *values = l->values;

		for (size_t i = 0; i < l->n; i++)
			((uint32_t *)ret)[next[l->groups[i]]++] = values[i];
	}
}

int value_list_group(struct value_list *l, size_t n_groups)
{
	void *values = huge_calloc(l->max * width(l));

	if (l->n > UINT32_MAX) {
		huge_free(values, l->max * width(l));
		return -EOVERFLOW;
	}
	l->starts = huge_calloc((n_groups + 2) * sizeof(*l->starts));
	l->n_groups = n_groups;
	if (!l->starts || !values) {
		huge_free(values, l->max * width(l));
		return -ENOMEM;
	}
	/* Counted two places further on, then added up: each group's start is one place on. */
	for (size_t i = 0; i < l->n; i++)
		l->starts[l->groups[i] + 2]++;
	for (size_t g = 2; g < n_groups + 2; g++)
		l->starts[g] += l->starts[g - 1];
	/* Where the groups go on comes to be where the next ones begin. */
	scatter(l, l->starts + 1, values);
	huge_free(l->values, l->max * width(l));
	huge_free(l->groups, l->max_groups * sizeof(*l->groups));
	l->values = values;
	l->groups = NULL;
	return 0;
}

/* --- in order ------------------------------------------------------------------------------- */

#define VALUE_T	   uint32_t
#define VALUE_F(x) x##_u32
#include "collector/aggregate/value_select.h"
#undef VALUE_T
#undef VALUE_F

#define VALUE_T	   uint64_t
#define VALUE_F(x) x##_u64
#include "collector/aggregate/value_select.h"

uint64_t value_list_at(struct value_list *l, size_t group, size_t rank)
{
	size_t from = l->starts[group], n = value_list_count(l, group);

	return l->wide ? select_u64((uint64_t *)l->values + from, n, rank)
		       : select_u32((uint32_t *)l->values + from, n, rank);
}

void value_list_copy(const struct value_list *l, size_t group, uint64_t *ret)
{
	for (size_t i = l->starts[group]; i < l->starts[group + 1]; i++)
		*ret++ = l->wide ? ((uint64_t *)l->values)[i] : ((uint32_t *)l->values)[i];
}
