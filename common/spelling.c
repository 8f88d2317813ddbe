// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "common/spelling.h"

#include <string.h>

#define WORD_MAX_BYTES 64

struct spelling spelling_begin(const char *word, size_t len)
{
	return (struct spelling){.word = word, .len = len, .distance = len < 5 ? 2 : 3};
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/*
 * Letters wrong, missing, too many, or two neighbours exchanged (the restricted
 * Damerau-Levenshtein distance). len_b is below WORD_MAX_BYTES.
 */
static size_t distance(const char *a, size_t len_a, const char *b, size_t len_b)
{
	size_t rows[3][WORD_MAX_BYTES]; /* of the letters before i, before i - 1, ... */

	for (size_t j = 0; j <= len_b; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= len_a; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= len_b; j++) {
			row[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
			row[j] = least(row[j], least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], above2[j - 2] + 1);
		}
	}
	return rows[len_a % 3][len_b];
}

void spelling_offer(struct spelling *s, const char *candidate)
{
	size_t len = strlen(candidate), d;

	if (len >= WORD_MAX_BYTES || s->len >= WORD_MAX_BYTES)
		return;
	d = distance(s->word, s->len, candidate, len);
	if (d < s->distance) {
		s->best = candidate;
		s->distance = d;
	}
}
