/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * shuffle.h - brings records of one conversation together: several threads deal
 * fixed-size records into parts by a 64-bit hash, and then each part is put in
 * order and given away group by group, again by several threads.
 *
 * A record begins with its hash (uint64_t), which must be well mixed.
 *
 * Threads: as many as there are CPUs, SHUFFLE_MAX_THREADS at most, for the length
 * of the call. Memory: the records until shuffle_free(), and while a part is in
 * order, it once more.
 * Errors: -ENOMEM; -E2BIG: more than max_records; and what the callbacks return.
 * The first one stops all threads.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_SHUFFLE_H
#define WEIR_COLLECTOR_FLOWSTORE_SHUFFLE_H

#include <stddef.h>
#include <stdint.h>

#define SHUFFLE_MAX_THREADS 8

struct shuffle;
struct shuffle_hand; /* what a thread deals with */

/* record_bytes: a multiple of 8. */
int shuffle_new(size_t record_bytes, size_t max_records, struct shuffle **ret);
/* NULL is a no-op. */
void shuffle_free(struct shuffle *s);

/* Runs deal() in each thread; it reads what there is and calls shuffle_deal(). */
int shuffle_collect(struct shuffle *s, int (*deal)(struct shuffle_hand *hand, void *arg),
		    void *arg);
/* Makes room for n records more of all threads; then each of them is dealt. */
int shuffle_expect(struct shuffle_hand *hand, size_t n);
/* Where to put a record of that hash. NULL: out of memory. */
void *shuffle_deal(struct shuffle_hand *hand, uint64_t hash);

/* At least two records whose hashes are equal, but for one case in 2^33. */
struct shuffle_group {
	const uint8_t *records;
	size_t record_bytes;
	const uint32_t *order;
	size_t n;
};

/* The place of the k-th in its part, and the record at a place. */
static inline uint32_t shuffle_place(const struct shuffle_group *g, size_t k)
{
	return g->order[k];
}

static inline const void *shuffle_at(const struct shuffle_group *g, uint32_t place)
{
	return g->records + place * g->record_bytes;
}

struct shuffle_visitor {
	int (*open)(void *arg, void **ret_worker); /* of each thread */
	int (*visit)(void *worker, const struct shuffle_group *group);
	void (*close)(void *worker);
};

/* Gives every group to visit() once. */
int shuffle_visit(struct shuffle *s, const struct shuffle_visitor *v, void *arg);

#endif /* WEIR_COLLECTOR_FLOWSTORE_SHUFFLE_H */
