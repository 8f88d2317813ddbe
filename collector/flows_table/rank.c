// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flows_table/rank.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

#define DIGIT_BITS 16
#define N_DIGITS   4
#define RADIX	   (1u << DIGIT_BITS)
#define FEW_ROWS   512 /* below it, going through all digits takes longer */

static int compare_texts(const void *a, const void *b, void *arg)
{
	const char *const *texts = arg;
	const char *x = texts[*(const uint32_t *)a], *y = texts[*(const uint32_t *)b];

	if (!x || !y)
		return (x != NULL) - (y != NULL);
	return strcmp(x, y);
}

int rank_texts(const char *const *texts, size_t n, uint32_t *ret)
{
	cleanup(free_p) uint32_t *order = malloc((n + 1) * sizeof(*order));
	uint32_t rank = 0;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	qsort_r(order, n, sizeof(*order), compare_texts, (void *)texts);
	for (size_t i = 0; i < n; i++) {
		const char *text = texts[order[i]];

		if (text &&
		    (i == 0 || !texts[order[i - 1]] || strcmp(texts[order[i - 1]], text) != 0))
			rank++;
		ret[order[i]] = text ? rank : 0;
	}
	return 0;
}

/* --- rows ------------------------------------------------------------------------- */

struct keyed {
	uint64_t key;
	uint32_t row, turn;
};

static int compare_keyed(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return (x->turn > y->turn) - (x->turn < y->turn);
}

static void sort_few(uint32_t *rows, size_t n, uint64_t (*key)(const void *, uint32_t),
		     const void *arg)
{
	struct keyed k[FEW_ROWS];
	bool sorted = true;

	for (size_t i = 0; i < n; i++) {
		k[i] = (struct keyed){key(arg, rows[i]), rows[i], (uint32_t)i};
		sorted &= i == 0 || k[i - 1].key <= k[i].key;
	}
	if (sorted)
		return;
	qsort(k, n, sizeof(k[0]), compare_keyed);
	for (size_t i = 0; i < n; i++)
		rows[i] = k[i].row;
}

int rank_sort(uint32_t *rows, size_t n, uint32_t *spare, uint64_t (*key)(const void *, uint32_t),
	      const void *arg)
{
	cleanup(free_p) uint32_t *counts = NULL;
	uint64_t first, varies = 0;

	if (n < FEW_ROWS) {
		sort_few(rows, n, key, arg);
		return 0;
	}
	counts = malloc(RADIX * sizeof(*counts));
	if (!counts)
		return -ENOMEM;
	first = key(arg, rows[0]);
	for (size_t i = 1; i < n; i++)
		varies |= key(arg, rows[i]) ^ first;
	for (unsigned d = 0; d < N_DIGITS; d++) {
		unsigned shift = d * DIGIT_BITS;
		uint32_t at = 0;

		if (!(varies >> shift & (RADIX - 1)))
			continue;
		memset(counts, 0, RADIX * sizeof(*counts));
		for (size_t i = 0; i < n; i++)
			counts[key(arg, rows[i]) >> shift & (RADIX - 1)]++;
		for (size_t i = 0; i < RADIX; i++) {
			uint32_t count = counts[i];

			counts[i] = at;
			at += count;
		}
		for (size_t i = 0; i < n; i++)
			spare[counts[key(arg, rows[i]) >> shift & (RADIX - 1)]++] = rows[i];
		memcpy(rows, spare, n * sizeof(*rows));
	}
	return 0;
}
