/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rank.h - the order of values that records have by number: of addresses, words
 * and names as the table flows shows them.
 *
 * Threads: none of its own.
 */
#ifndef WEIR_COLLECTOR_FLOWS_TABLE_RANK_H
#define WEIR_COLLECTOR_FLOWS_TABLE_RANK_H

#include <stddef.h>
#include <stdint.h>

/*
 * ret[i]: where texts[i] stands among all of them, from 1; equal texts have one
 * rank, and NULL has 0. Returns -ENOMEM.
 */
int rank_texts(const char *const *texts, size_t n, uint32_t *ret);

/*
 * Sorts numbers of rows by key(arg, row), equal ones in their turn. spare has
 * room for as many. Returns -ENOMEM.
 */
int rank_sort(uint32_t *rows, size_t n, uint32_t *spare, uint64_t (*key)(const void *, uint32_t),
	      const void *arg);

#endif /* WEIR_COLLECTOR_FLOWS_TABLE_RANK_H */
