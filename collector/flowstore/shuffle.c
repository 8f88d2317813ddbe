// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/shuffle.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/radix.h"
#include "collector/flowstore/slabs.h"
#include "common/cleanup.h"

#define PART_BITS     9 /* what is sorted at a time stays in the cache */
#define N_PARTS	      (1u << PART_BITS)
#define KEY_MASK      ((UINT64_C(1) << 33) - 1) /* three digits of radix_order() */
#define CHUNK_RECORDS 63

struct chunk {
	struct chunk *next;
	size_t n;
	uint64_t records[];
};

/* Records whose hash begins with the same bits; the first chunk is not full. */
struct part {
	struct chunk *first, *last;
};

struct shuffle {
	size_t record_bytes, max_records;
	pthread_mutex_t lock; /* of all below */
	struct slabs chunks;
	size_t n, next_part;
	struct part parts[N_PARTS];
	int err; /* of a thread: all stop */
	/* Of the call that is under way. */
	int (*deal)(struct shuffle_hand *hand, void *arg);
	const struct shuffle_visitor *visitor;
	void *arg;
};

struct shuffle_hand {
	struct shuffle *s;
	struct slabs chunks;
	struct part parts[N_PARTS];
};

/* A part in a row. */
struct desk {
	uint8_t *records;
	uint64_t *keys;
	uint32_t *order;
	size_t n, max;
};

int shuffle_new(size_t record_bytes, size_t max_records, struct shuffle **ret)
{
	struct shuffle *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->record_bytes = record_bytes;
	s->max_records = max_records;
	(void)pthread_mutex_init(&s->lock, NULL); /* cannot fail on Linux */
	*ret = s;
	return 0;
}

void shuffle_free(struct shuffle *s)
{
	if (!s)
		return;
	slabs_done(&s->chunks);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

static void fail(struct shuffle *s, int err)
{
	(void)pthread_mutex_lock(&s->lock);
	if (!s->err)
		s->err = err;
	(void)pthread_mutex_unlock(&s->lock);
}

/* This thread is the first of them. */
static int in_threads(struct shuffle *s, void *(*body)(void *))
{
	pthread_t threads[SHUFFLE_MAX_THREADS];
	cpu_set_t cpus;
	size_t n = 0, wanted = 1;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		wanted = (size_t)CPU_COUNT(&cpus);
	while (n + 1 < wanted && n < SHUFFLE_MAX_THREADS - 1 &&
	       pthread_create(&threads[n], NULL, body, s) == 0)
		n++;
	(void)body(s); /* all tell by s->err */
	while (n > 0)
		(void)pthread_join(threads[--n], NULL); /* it was made here */
	return s->err;
}

/* --- dealing ------------------------------------------------------------------- */

int shuffle_expect(struct shuffle_hand *hand, size_t n)
{
	struct shuffle *s = hand->s;
	int err;

	(void)pthread_mutex_lock(&s->lock);
	err = s->err;
	if (!err && s->n + n > s->max_records)
		err = -E2BIG;
	if (!err)
		s->n += n;
	(void)pthread_mutex_unlock(&s->lock);
	return err;
}

void *shuffle_deal(struct shuffle_hand *hand, uint64_t hash)
{
	struct part *p = &hand->parts[hash >> (64 - PART_BITS)];
	size_t size = hand->s->record_bytes;
	struct chunk *c = p->first;

	if (!c || c->n == CHUNK_RECORDS) {
		c = slabs_take(&hand->chunks, sizeof(*c) + CHUNK_RECORDS * size);
		if (!c)
			return NULL;
		c->next = p->first;
		p->first = c;
		p->last = p->last ? p->last : c;
	}
	return (uint8_t *)c->records + c->n++ * size;
}

/* What a thread has goes before what others have. */
static void hand_over(struct shuffle_hand *hand)
{
	struct shuffle *s = hand->s;

	(void)pthread_mutex_lock(&s->lock);
	for (size_t p = 0; p < N_PARTS; p++) {
		struct part *mine = &hand->parts[p], *all = &s->parts[p];

		if (!mine->first)
			continue;
		mine->last->next = all->first;
		all->first = mine->first;
		all->last = all->last ? all->last : mine->last;
	}
	slabs_join(&s->chunks, &hand->chunks);
	(void)pthread_mutex_unlock(&s->lock);
}

static void *deal_in_thread(void *arg)
{
	struct shuffle *s = arg;
	cleanup(free_p) struct shuffle_hand *hand = calloc(1, sizeof(*hand));
	int err = -ENOMEM;

	if (hand) {
		hand->s = s;
		err = s->deal(hand, s->arg);
		hand_over(hand);
	}
	if (err)
		fail(s, err);
	return NULL;
}

int shuffle_collect(struct shuffle *s, int (*deal)(struct shuffle_hand *hand, void *arg), void *arg)
{
	s->deal = deal;
	s->arg = arg;
	return in_threads(s, deal_in_thread);
}

/* --- groups -------------------------------------------------------------------- */

static void desk_done(struct desk *d)
{
	free(d->records);
	free(d->keys);
	free(d->order);
}

static int desk_reserve(struct desk *d, size_t n, size_t record_bytes)
{
	if (d->max >= n)
		return 0;
	desk_done(d);
	d->max = 0;
	d->records = malloc(n * record_bytes);
	d->keys = malloc(n * sizeof(*d->keys));
	d->order = malloc(n * sizeof(*d->order));
	if (!d->records || !d->keys || !d->order)
		return -ENOMEM;
	d->max = n;
	return 0;
}

static int lay_out(const struct shuffle *s, struct desk *d, const struct part *p)
{
	size_t n = 0;
	int err;

	for (const struct chunk *c = p->first; c; c = c->next)
		n += c->n;
	d->n = n;
	err = desk_reserve(d, n, s->record_bytes);
	if (err || n == 0)
		return err;
	n = 0;
	for (const struct chunk *c = p->first; c; c = c->next) {
		memcpy(d->records + n * s->record_bytes, c->records, c->n * s->record_bytes);
		n += c->n;
	}
	for (size_t i = 0; i < n; i++) {
		memcpy(&d->keys[i], d->records + i * s->record_bytes, sizeof(*d->keys));
		d->keys[i] &= KEY_MASK;
	}
	return radix_order(d->keys, n, d->order);
}

static int visit_part(struct shuffle *s, struct desk *d, const struct part *p, void *worker)
{
	int err = lay_out(s, d, p);
	size_t next;

	for (size_t k = 0; !err && k < d->n; k = next) {
		uint64_t key = d->keys[d->order[k]];

		next = k + 1;
		while (next < d->n && d->keys[d->order[next]] == key)
			next++;
		if (next - k > 1)
			err = s->visitor->visit(worker,
						&(struct shuffle_group){d->records, s->record_bytes,
									d->order + k, next - k});
	}
	return err;
}

/* The next part; false if there is none, or something has failed. */
static bool take_part(struct shuffle *s, struct part **ret)
{
	bool more;

	(void)pthread_mutex_lock(&s->lock);
	more = !s->err && s->next_part < N_PARTS;
	if (more)
		*ret = &s->parts[s->next_part++];
	(void)pthread_mutex_unlock(&s->lock);
	return more;
}

static void *visit_in_thread(void *arg)
{
	struct shuffle *s = arg;
	cleanup(desk_done) struct desk d = {0};
	void *worker = NULL;
	struct part *p;
	int err = s->visitor->open(s->arg, &worker);

	while (!err && take_part(s, &p))
		err = visit_part(s, &d, p, worker);
	if (err)
		fail(s, err);
	if (worker)
		s->visitor->close(worker);
	return NULL;
}

int shuffle_visit(struct shuffle *s, const struct shuffle_visitor *v, void *arg)
{
	s->visitor = v;
	s->arg = arg;
	s->next_part = 0;
	return in_threads(s, visit_in_thread);
}
