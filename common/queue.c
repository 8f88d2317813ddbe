/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "common/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"

struct slot {
	void *item;
	size_t weight;
};

struct queue {
	size_t max_items, max_weight;
	void (*destroy)(void *);
	int fd;		       /* eventfd: 1 while length > 0 */
	pthread_mutex_t lock;  /* guards all below */
	pthread_cond_t filled; /* an item came, or the queue was closed */
	bool closed;
	size_t head, length, weight;
	struct slot slots[]; /* ring of max_items */
};

static int init_sync(struct queue *q)
{
	pthread_condattr_t attr;
	int err;

	err = pthread_condattr_init(&attr);
	if (err)
		return -err;
	err = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (!err)
		err = pthread_cond_init(&q->filled, &attr);
	(void)pthread_condattr_destroy(&attr); /* cannot fail once initialised */
	if (err)
		return -err;
	err = pthread_mutex_init(&q->lock, NULL);
	if (err)
		(void)pthread_cond_destroy(&q->filled); /* nobody waits on it yet */
	return -err;
}

int queue_new(size_t max_items, size_t max_weight, void (*destroy)(void *), struct queue **ret)
{
	struct queue *q;
	int err;

	if (max_items > (SIZE_MAX - sizeof(*q)) / sizeof(q->slots[0]))
		return -ENOMEM;
	q = calloc(1, sizeof(*q) + max_items * sizeof(q->slots[0]));
	if (!q)
		return -ENOMEM;
	q->max_items = max_items;
	q->max_weight = max_weight;
	q->destroy = destroy;
	q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->fd < 0) {
		err = -errno;
		goto free_queue;
	}
	err = init_sync(q);
	if (err)
		goto close_fd;
	*ret = q;
	return 0;

close_fd:
	close(q->fd);
free_queue:
	free(q);
	return err;
}

/* Takes the oldest item, of at least one. Needs the lock. */
static void *take(struct queue *q)
{
	struct slot *slot = &q->slots[q->head];
	eventfd_t unused;

	q->head = (q->head + 1) % q->max_items;
	q->length--;
	q->weight -= slot->weight;
	if (q->length == 0)
		(void)eventfd_read(q->fd, &unused); /* it is 1, so this cannot fail */
	return slot->item;
}

void queue_free(struct queue *q)
{
	if (!q)
		return;
	while (q->length > 0) {
		void *item = take(q);

		if (q->destroy)
			q->destroy(item);
	}
	(void)pthread_cond_destroy(&q->filled); /* the caller's last use: nobody waits */
	(void)pthread_mutex_destroy(&q->lock);
	close(q->fd);
	free(q);
}

int queue_push(struct queue *q, void *item, size_t weight)
{
	int err = 0;

	pthread_mutex_lock(&q->lock);
	if (q->closed) {
		err = -EPIPE;
	} else if (q->length == q->max_items || weight > q->max_weight - q->weight) {
		err = -ENOSPC;
	} else {
		q->slots[(q->head + q->length) % q->max_items] = (struct slot){item, weight};
		q->weight += weight;
		if (q->length++ == 0)
			(void)eventfd_write(q->fd, 1); /* it is 0, so this cannot fail */
		pthread_cond_signal(&q->filled);
	}
	pthread_mutex_unlock(&q->lock);
	return err;
}

/* Waits for an item, the close or the deadline. Needs the lock. */
static void wait_filled(struct queue *q, int timeout_ms)
{
	uint64_t at_ns = clock_mono_ns() + (uint64_t)timeout_ms * NS_PER_MS;
	struct timespec at = {
		.tv_sec = (time_t)(at_ns / NS_PER_SEC),
		.tv_nsec = (long)(at_ns % NS_PER_SEC),
	};
	int err = 0;

	while (q->length == 0 && !q->closed && err != ETIMEDOUT) {
		if (timeout_ms < 0)
			pthread_cond_wait(&q->filled, &q->lock);
		else
			err = pthread_cond_timedwait(&q->filled, &q->lock, &at);
	}
}

void *queue_pop(struct queue *q, int timeout_ms)
{
	void *item = NULL;

	pthread_mutex_lock(&q->lock);
	if (timeout_ms != 0)
		wait_filled(q, timeout_ms);
	if (q->length > 0)
		item = take(q);
	pthread_mutex_unlock(&q->lock);
	return item;
}

void queue_close(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->closed = true;
	pthread_cond_broadcast(&q->filled);
	pthread_mutex_unlock(&q->lock);
}

bool queue_closed(struct queue *q)
{
	bool closed;

	pthread_mutex_lock(&q->lock);
	closed = q->closed;
	pthread_mutex_unlock(&q->lock);
	return closed;
}

int queue_fd(struct queue *q)
{
	return q->fd;
}

size_t queue_length(struct queue *q)
{
	size_t length;

	pthread_mutex_lock(&q->lock);
	length = q->length;
	pthread_mutex_unlock(&q->lock);
	return length;
}

size_t queue_weight(struct queue *q)
{
	size_t weight;

	pthread_mutex_lock(&q->lock);
	weight = q->weight;
	pthread_mutex_unlock(&q->lock);
	return weight;
}
