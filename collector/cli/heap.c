// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/cli/heap.h"

#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAP_BYTES     (64 << 20) /* of address space; what is not touched takes no memory */
#define KEPT_MAX_BYTES (32 << 20) /* larger ones are moved by mremap() as they grow */
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
	begin = ((uintptr_t)sbrk(0) + HUGE_BYTES - 1) & -HUGE_BYTES;
	unused = malloc(2 * HUGE_BYTES); /* more than there is: the heap grows, once */
	end = (uintptr_t)sbrk(0);
	if ((uintptr_t)unused > begin || end < begin + HUGE_BYTES)
		return; /* malloc() is not that of glibc, or has it elsewhere */
	(void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
	cut = realloc(unused, begin - (uintptr_t)unused); /* smaller: it stays where it is */
	if (cut)
		unused = cut;
}
