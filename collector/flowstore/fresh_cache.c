// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/fresh_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BATCHES 8192 /* a power of 2 */

struct fresh_cache {
	pthread_mutex_t lock; /* of all below */
	size_t max_bytes, n_bytes;
	int64_t complete_after; /* all with a higher id are here */
	uint64_t first, end;	/* numbers of batches; number n is at n % MAX_BATCHES */
	struct fresh_batch batches[MAX_BATCHES];
};

int fresh_cache_new(size_t max_bytes, struct fresh_cache **ret)
{
	struct fresh_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	(void)pthread_mutex_init(&c->lock, NULL); /* cannot fail on Linux */
	c->max_bytes = max_bytes;
	c->complete_after = INT64_MAX; /* nothing is known of the database */
	*ret = c;
	return 0;
}

static struct fresh_batch *at(struct fresh_cache *c, uint64_t number)
{
	return &c->batches[number % MAX_BATCHES];
}

/* Takes the oldest out; its data is for free(). */
static struct fresh_batch shift(struct fresh_cache *c)
{
	struct fresh_batch b = *at(c, c->first++);

	c->n_bytes -= b.len;
	return b;
}

static void give_way(struct fresh_cache *c)
{
	struct fresh_batch b = shift(c);

	c->complete_after = b.id;
	free(b.data);
}

void fresh_cache_free(struct fresh_cache *c)
{
	if (!c)
		return;
	while (c->first < c->end)
		give_way(c);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
}

/* Of which nothing is known to be missing before it: the first one ever begins the order. */
static void push(struct fresh_cache *c, const struct fresh_batch *b, uint8_t *copy)
{
	if (c->complete_after == INT64_MAX)
		c->complete_after = b->id - 1;
	while (c->first < c->end &&
	       (c->n_bytes + b->len > c->max_bytes || c->end - c->first == MAX_BATCHES))
		give_way(c);
	*at(c, c->end) = *b;
	at(c, c->end++)->data = copy;
	c->n_bytes += b->len;
}

void fresh_cache_add(struct fresh_cache *c, const struct fresh_batch *b)
{
	uint8_t *copy = malloc(b->len + 1);

	if (copy)
		memcpy(copy, b->data, b->len);
	(void)pthread_mutex_lock(&c->lock);
	if (copy) {
		push(c, b, copy);
	} else {
		while (c->first < c->end)
			give_way(c);
		c->complete_after = b->id;
	}
	(void)pthread_mutex_unlock(&c->lock);
}

void fresh_cache_clear(struct fresh_cache *c)
{
	(void)pthread_mutex_lock(&c->lock);
	while (c->first < c->end)
		give_way(c);
	(void)pthread_mutex_unlock(&c->lock);
}

/* How many it takes for so many rows; 0 if there are not as many. */
static size_t count(struct fresh_cache *c, size_t rows, size_t max)
{
	size_t n = 0, sum = 0;

	while (n < max && sum < rows && c->first + n < c->end)
		sum += at(c, c->first + n++)->n_rows;
	return n == max || sum >= rows ? n : 0;
}

static int take(struct fresh_cache *c, size_t rows, size_t max, struct fresh_batch **ret)
{
	size_t n = count(c, rows, max);
	struct fresh_batch *list;

	if (!n)
		return 0;
	list = calloc(n, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		list[i] = shift(c);
	*ret = list;
	return (int)n;
}

int fresh_cache_take(struct fresh_cache *c, int64_t after_id, size_t rows, size_t max,
		     struct fresh_batch **ret)
{
	int n = -ENODATA;

	(void)pthread_mutex_lock(&c->lock);
	while (c->first < c->end && at(c, c->first)->id <= after_id)
		give_way(c);
	if (after_id >= c->complete_after)
		n = take(c, rows, max, ret);
	(void)pthread_mutex_unlock(&c->lock);
	return n;
}
