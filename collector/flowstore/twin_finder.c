// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/twin_finder.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define WAYS	   8 /* of a bucket: one cache line */
#define ROWS_AHEAD 8

/* Rows that wait for their twin; in a full bucket one gives way. */
struct bucket {
	uint32_t tag[WAYS]; /* of the conversation, and the host; 0: nobody waits */
	uint32_t row[WAYS]; /* among those that are no twins */
};

struct finder {
	struct bucket *buckets;
	unsigned shift; /* of a key, to the number of its bucket */
	struct twins twins;
	size_t max_runs;
	uint32_t n_others; /* rows that are no twins, so far */
	uint32_t before;   /* of these, since the last run */
};

static struct bucket *bucket_of(const struct finder *f, uint64_t key)
{
	return &f->buckets[key >> f->shift];
}

/* Of that conversation, told of by another host; -1: there is none. */
static int find(const struct bucket *b, uint32_t tag)
{
	unsigned found = 0;

	for (unsigned w = 0; w < WAYS; w++) { /* no branch: it would be guessed wrong */
		uint32_t differs = b->tag[w] ^ tag;

		found |= (unsigned)(b->tag[w] && differs && differs < 1u << TWIN_HOST_BITS) << w;
	}
	return found ? __builtin_ctz(found) : -1;
}

static void wait_in(struct bucket *b, uint32_t tag, uint32_t row)
{
	unsigned w = 0;

	while (w < WAYS && b->tag[w])
		w++;
	w = w < WAYS ? w : row % WAYS;
	b->tag[w] = tag;
	b->row[w] = row;
}

static bool add_twin(struct finder *f, uint32_t from)
{
	struct twins *t = &f->twins;
	struct twin_run *last = t->n_runs ? &t->runs[t->n_runs - 1] : NULL;

	t->n_twins++;
	if (last && f->before == 0 && last->from + last->n == from) {
		last->n++;
		return true;
	}
	if (t->n_runs == f->max_runs) {
		size_t max = f->max_runs ? 2 * f->max_runs : 1024;
		struct twin_run *runs = realloc(t->runs, max * sizeof(*runs));

		if (!runs)
			return false;
		t->runs = runs;
		f->max_runs = max;
	}
	t->runs[t->n_runs++] = (struct twin_run){.before = f->before, .n = 1, .from = from};
	f->before = 0;
	return true;
}

/* Six rows a bucket at most, if all wait; half of them do. */
static unsigned bucket_bits(size_t n)
{
	unsigned bits = 1;

	while ((size_t)6 << bits < n)
		bits++;
	return bits;
}

size_t twin_finder_room(size_t n)
{
	return sizeof(struct bucket) << bucket_bits(n);
}

int twin_finder_find(const uint64_t *keys, const uint32_t *order, size_t n, void *room,
		     struct twins *ret)
{
	struct finder f = {.buckets = room, .shift = 64 - bucket_bits(n), .twins.n_rows = n};

	memset(room, 0, twin_finder_room(n));
	for (size_t i = 0; i < n; i++) {
		struct bucket *b = bucket_of(&f, keys[order[i]]);
		uint32_t tag = (uint32_t)keys[order[i]];
		int way = find(b, tag);

		if (i + ROWS_AHEAD < n)
			__builtin_prefetch(bucket_of(&f, keys[order[i + ROWS_AHEAD]]), 1);
		if (way < 0) {
			wait_in(b, tag, f.n_others++);
			f.before++;
			continue;
		}
		b->tag[way] = 0;
		if (!add_twin(&f, b->row[way])) {
			twins_done(&f.twins);
			return -ENOMEM;
		}
	}
	*ret = f.twins;
	return 0;
}
