// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/cli/heap.h"

#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAP_BYTES     (128 << 20) /* of address space; what is not touched takes no memory */
#define KEPT_MAX_BYTES (32 << 20)  /* larger ones are moved by mremap() as they grow */
#define FIRST_BYTES    (256 << 10)
#define HUGE_BYTES     ((uintptr_t)2 << 20)

void heap_begin(void)
{
	static void *unused; /* up to the first large page; none of it is touched */
	uintptr_t begin, end;
	void *cut;

	if (unused)
		return;
	(void)mallopt(M_ARENA_MAX, 1); /* all of these: else slower */
	(void)mallopt(M_MMAP_THRESHOLD, KEPT_MAX_BYTES);
	(void)mallopt(M_TRIM_THRESHOLD, INT_MAX);
	(void)mallopt(M_TOP_PAD, HEAP_BYTES);
	unused = malloc(FIRST_BYTES); /* more than there is: the heap grows, once */
	/* A page that malloc() has touched already would keep its neighbours from being one. */
	begin = ((uintptr_t)unused + FIRST_BYTES + HUGE_BYTES) & -HUGE_BYTES;
	end = (uintptr_t)sbrk(0);
	if (!unused || end < begin + HUGE_BYTES)
		return; /* malloc() is not that of glibc, or has it elsewhere */
	(void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
	cut = realloc(unused, begin - (uintptr_t)unused); /* larger: it stays where it is */
	if (cut)
		unused = cut;
}
