/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * huge_memory.h - large zeroed arrays in pages of 2 MiB where the kernel has
 * them: touching 4 KiB after 4 KiB for the first time cost more than what was
 * put there. Threads: all. NULL: out of memory.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_HUGE_MEMORY_H
#define WEIR_COLLECTOR_FLOWSTORE_HUGE_MEMORY_H

#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_MEMORY_MIN (UINT64_C(4) << 20) /* less than that is calloc()ed */
#define HUGE_PAGE	(UINT64_C(2) << 20)

static inline void *huge_calloc(size_t bytes)
{
	size_t whole = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
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
		(void)munmap(p, (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
	else
		free(p);
}

#endif /* WEIR_COLLECTOR_FLOWSTORE_HUGE_MEMORY_H */
