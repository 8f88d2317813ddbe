/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fresh_cache.h - the newest fresh batches as they were committed, so that the compactor
 * need not read them from the database. What is not here is there: the cache only ever
 * answers if it has all batches after an id.
 *
 * The writer adds each batch after its commit, in the order of ids; the compactor takes
 * them. Batches that find no room make older ones give way.
 *
 * Threads: any. Errors: -ENOMEM.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_FRESH_CACHE_H
#define WEIR_COLLECTOR_FLOWSTORE_FRESH_CACHE_H

#include <stddef.h>
#include <stdint.h>

struct fresh_cache;

struct fresh_batch {
	int64_t id; /* in flow_fresh */
	uint32_t host_id;
	size_t n_rows;
	uint8_t *data; /* a sealed block */
	size_t len;
};

int fresh_cache_new(size_t max_bytes, struct fresh_cache **ret);
/* NULL is a no-op. */
void fresh_cache_free(struct fresh_cache *c);

/* Copies b. Without memory it is as if it had given way already. */
void fresh_cache_add(struct fresh_cache *c, const struct fresh_batch *b);
/* All give way: some may have been deleted. */
void fresh_cache_clear(struct fresh_cache *c);

/*
 * Takes the batches after that id, in the order of ids, until they have so many rows or are
 * max: *ret and each data are for free(). Returns how many; 0 if there are not as many yet;
 * -ENODATA if not all batches after that id are here.
 */
int fresh_cache_take(struct fresh_cache *c, int64_t after_id, size_t rows, size_t max,
		     struct fresh_batch **ret);

#endif /* WEIR_COLLECTOR_FLOWSTORE_FRESH_CACHE_H */
