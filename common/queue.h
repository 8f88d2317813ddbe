/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * queue.h - bounded FIFO of pointers between threads.
 *
 * Bounded twice: by items and by the sum of the weights the producers give
 * (bytes, usually). A full queue refuses; the producer counts the refusal.
 * queue_fd() is an eventfd that is readable while items wait, for poll loops.
 *
 * Threads: any number of producers and consumers.
 */
#ifndef WEIR_COMMON_QUEUE_H
#define WEIR_COMMON_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue;

/* destroy (may be NULL) releases the items that are left in queue_free(). */
int queue_new(size_t max_items, size_t max_weight, void (*destroy)(void *), struct queue **ret);
void queue_free(struct queue *q);

/* Takes item on success. Returns -ENOSPC when full, -EPIPE when closed. */
int queue_push(struct queue *q, void *item, size_t weight);

/*
 * Waits up to timeout_ms (-1: for ever, 0: not at all) for an item, which the
 * caller owns. NULL on timeout, or when the queue is closed and empty.
 */
void *queue_pop(struct queue *q, int timeout_ms);

/* Refuses pushes and wakes every waiting queue_pop(). */
void queue_close(struct queue *q);
bool queue_closed(struct queue *q);

int queue_fd(struct queue *q);
size_t queue_length(struct queue *q);
size_t queue_weight(struct queue *q);

#endif /* WEIR_COMMON_QUEUE_H */
