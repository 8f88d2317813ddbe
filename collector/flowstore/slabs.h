/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * slabs.h - many small pieces of memory that are freed together: cut from slabs,
 * of 16 KiB at first and of 4 MiB, in huge pages, when there are many.
 *
 * Threads: none of its own. A zeroed struct slabs has none.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_SLABS_H
#define WEIR_COLLECTOR_FLOWSTORE_SLABS_H

#include <stddef.h>
#include <stdint.h>

#include "collector/flowstore/huge_memory.h"

#define SLAB_MIN (UINT64_C(16) << 10)
#define SLAB_MAX HUGE_MEMORY_MIN

struct slab {
	struct slab *next;
	size_t size; /* all of it */
};

struct slabs {
	struct slab *first;
	size_t unused; /* bytes at the end of the first */
};

static inline void slabs_done(struct slabs *s)
{
	while (s->first) {
		struct slab *next = s->first->next;

		huge_free(s->first, s->first->size);
		s->first = next;
	}
	s->unused = 0;
}

/* Zeroed, at a multiple of 8 bytes, which bytes is; SLAB_MAX - 16 at most. NULL: out of memory. */
static inline void *slabs_take(struct slabs *s, size_t bytes)
{
	struct slab *slab = s->first;
	size_t size = slab ? 4 * slab->size : SLAB_MIN;

	if (!slab || bytes > s->unused) {
		while (size < bytes + sizeof(*slab))
			size *= 4;
		size = size < SLAB_MAX ? size : SLAB_MAX;
		slab = huge_calloc(size);
		if (!slab)
			return NULL;
		*slab = (struct slab){.next = s->first, .size = size};
		s->first = slab;
		s->unused = size - sizeof(*slab);
	}
	s->unused -= bytes;
	return (char *)slab + slab->size - s->unused - bytes;
}

/* Takes all of other's, which has none then. */
static inline void slabs_join(struct slabs *s, struct slabs *other)
{
	struct slab **end = &other->first;

	while (*end)
		end = &(*end)->next;
	*end = s->first;
	if (other->first)
		*s = *other;
	*other = (struct slabs){0};
}

#endif /* WEIR_COLLECTOR_FLOWSTORE_SLABS_H */
