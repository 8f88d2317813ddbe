/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * heap.h - malloc() of a command: memory that is touched for the first
 * time costs a page fault, and these can cost more than the question. The one that
 * serves gets its memory back from where it was a moment ago.
 *
 * All threads use one heap, which lies in pages of 2 MiB where the kernel has
 * them, and keeps what is freed for the next block.
 */
#ifndef WEIR_COLLECTOR_CLI_HEAP_H
#define WEIR_COLLECTOR_CLI_HEAP_H

/* Before other threads begin, and before large allocations. What fails leaves malloc() as it is.
 * A second call does nothing. */
void heap_begin(void);

#endif /* WEIR_COLLECTOR_CLI_HEAP_H */
