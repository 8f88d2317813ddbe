/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* addr_order.h - addresses in their order, in which a dictionary of them is small. */
#ifndef WEIR_COLLECTOR_FLOWSTORE_ADDR_ORDER_H
#define WEIR_COLLECTOR_FLOWSTORE_ADDR_ORDER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Puts n addresses in order, but for the first, which stays (number 0 of a block).
 * ret_rank[i]: where the one is that was number i. Returns -ENOMEM.
 */
int addr_order_sort(uint8_t (*addrs)[16], size_t n, uint32_t *ret_rank);

#endif /* WEIR_COLLECTOR_FLOWSTORE_ADDR_ORDER_H */
