// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/value_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

#define FEW 24 /* values that are sorted by insertion */

void value_list_done(struct value_list *l)
{
	free(l->groups);
	free(l->values);
	free(l->starts);
	free(l->sorted);
}

static int reserve(struct value_list *l, size_t n)
{
	size_t max = l->max ? l->max : 4096;
	size_t width = l->wide ? sizeof(uint64_t) : sizeof(uint32_t);
	uint32_t *groups;
	void *values;

	if (l->n + n <= l->max)
		return 0;
	while (max < l->n + n)
		max *= 2;
	groups = realloc(l->groups, max * sizeof(*groups));
	if (!groups)
		return -ENOMEM;
	l->groups = groups;
	values = realloc(l->values, max * width);
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
	size_t width = l->wide ? sizeof(uint64_t) : sizeof(uint32_t);
	int err = reserve(l, other->n);

	if (err || other->n == 0)
		return err;
	for (size_t i = 0; i < other->n; i++)
		l->groups[l->n + i] = map ? map[other->groups[i]] : other->groups[i];
	memcpy((char *)l->values + l->n * width, other->values, other->n * width);
	l->n += other->n;
	return 0;
}

/* --- by group ---------------------------------------------------------------------------- */

/* Moves each value behind the others of its group; next: where each group goes on. */
static void scatter(const struct value_list *l, size_t *next, void *ret)
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
	size_t width = l->wide ? sizeof(uint64_t) : sizeof(uint32_t);
	cleanup(free_p) size_t *next = NULL;
	void *values;

	l->starts = calloc(n_groups + 2, sizeof(*l->starts));
	l->sorted = calloc(n_groups + 1, 1);
	next = malloc((n_groups + 1) * sizeof(*next));
	values = malloc((l->n + 1) * width);
	if (!l->starts || !l->sorted || !next || !values) {
		free(values);
		return -ENOMEM;
	}
	for (size_t i = 0; i < l->n; i++)
		l->starts[l->groups[i] + 1]++;
	for (size_t g = 0; g < n_groups; g++)
		l->starts[g + 1] += l->starts[g];
	memcpy(next, l->starts, n_groups * sizeof(*next));
	scatter(l, next, values);
	free(l->values);
	free(l->groups);
	l->values = values;
	l->groups = NULL;
	return 0;
}

/* --- in order ------------------------------------------------------------------------------- */

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void insert_u32(uint32_t *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		uint32_t x = v[i];
		size_t k = i;

		for (; k > 0 && v[k - 1] > x; k--)
			v[k] = v[k - 1];
		v[k] = x;
	}
}

static void sort(struct value_list *l, size_t group)
{
	size_t from = l->starts[group], n = value_list_count(l, group);

	if (l->sorted[group])
		return;
	if (l->wide)
		qsort((uint64_t *)l->values + from, n, sizeof(uint64_t), compare_u64);
	else if (n <= FEW)
		insert_u32((uint32_t *)l->values + from, n);
	else
		qsort((uint32_t *)l->values + from, n, sizeof(uint32_t), compare_u32);
	l->sorted[group] = 1;
}

uint64_t value_list_at(struct value_list *l, size_t group, size_t rank)
{
	size_t at = l->starts[group] + rank;

	sort(l, group);
	return l->wide ? ((uint64_t *)l->values)[at] : ((uint32_t *)l->values)[at];
}

void value_list_copy(const struct value_list *l, size_t group, uint64_t *ret)
{
	for (size_t i = l->starts[group]; i < l->starts[group + 1]; i++)
		*ret++ = l->wide ? ((uint64_t *)l->values)[i] : ((uint32_t *)l->values)[i];
}
