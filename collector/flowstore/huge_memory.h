/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * huge_memory.h - large zeroed arrays in pages of 2 MiB where the kernel has
 * them: touching 4 KiB after 4 KiB for the first time cost more than what was
 * put there. Threads: all. NULL: out of memory.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_HUGE_MEMORY_H
#define WEIR_COLLECTOR_FLOWSTORE_HUGE_MEMORY_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_MEMORY_MIN (UINT64_C(4) << 20) /* less than that is calloc()ed */
#define HUGE_PAGE	(UINT64_C(2) << 20)

static inline size_t huge_whole(size_t bytes)
{
	return (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

static inline void *huge_calloc(size_t bytes)
{
	size_t whole = huge_whole(bytes);
	void *p;

	if (bytes < HUGE_MEMORY_MIN)
		return calloc(1, bytes ? bytes : 1);
	p = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	(void)madvise(p, whole, MADV_HUGEPAGE); /* else: as any memory */
	return p;
}

/* bytes: as they were asked for. */
static inline void huge_free(void *p, size_t bytes)
{
	if (p && bytes >= HUGE_MEMORY_MIN)
		(void)munmap(p, huge_whole(bytes));
	else
		free(p);
}

/*
 * More of p, NULL at first, which moves: zeros behind what is there. NULL: p is as it was.
 * Pages are moved, not copied: the new ones alone are zeroed.
 */
static inline void *huge_grow(void *p, size_t old, size_t bytes)
{
	void *bigger;

	if (old >= HUGE_MEMORY_MIN) {
		bigger = mremap(p, huge_whole(old), huge_whole(bytes), MREMAP_MAYMOVE);
		return bigger == MAP_FAILED ? NULL : bigger;
	}
	bigger = huge_calloc(bytes);
	if (bigger && old)
		memcpy(bigger, p, old);
	if (bigger)
		huge_free(p, old);
	return bigger;
}

#endif /* WEIR_COLLECTOR_FLOWSTORE_HUGE_MEMORY_H */
