/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * copies.h - of a few records that are alike, those that are copies: another
 * host has reported the same conversation, at an overlapping time, and ranks
 * before (once.h).
 *
 *	copies_add(m, &record), for each of them
 *	n = copies_find(m, since_ms)
 *	copies_list(m)[0 .. n): the numbers of the copies
 *
 * Threads: memory belongs to one. Time: n log n, and n for every host of a
 * conversation.
 */
#ifndef WEIR_COLLECTOR_ONCE_COPIES_H
#define WEIR_COLLECTOR_ONCE_COPIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct copies_memory;

struct copies_record {
	uint64_t conversation, flow_id;
	int64_t start_ms, end_ms; /* by the host's clock */
	int64_t skew_ms;	  /* of that clock */
	uint32_t host_id;
	bool sent;	 /* the host sent from src to dst */
	uint32_t number; /* the caller's */
};

/* NULL: out of memory. Release with copies_memory_free(). */
struct copies_memory *copies_memory_new(void);
void copies_memory_free(struct copies_memory *m);

/* Copied. Returns -ENOMEM. */
int copies_add(struct copies_memory *m, const struct copies_record *r);

/* Of the records added since the last call. No time before since_ms counts. */
size_t copies_find(struct copies_memory *m, int64_t since_ms);
/* Of the last copies_find(); borrowed until the next copies_add(). */
const uint32_t *copies_list(const struct copies_memory *m);

#endif /* WEIR_COLLECTOR_ONCE_COPIES_H */
