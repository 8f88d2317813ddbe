// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/addr_order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/radix.h"
#include "common/cleanup.h"
#include "proto/flow_addrs.h"

int addr_order_sort(uint8_t (*addrs)[16], size_t n, uint32_t *ret_rank)
{
	cleanup(free_p) uint64_t *keys = malloc(n * sizeof(*keys));
	cleanup(free_p) uint32_t *order = malloc(n * sizeof(*order));
	cleanup(free_p) uint8_t *copy = malloc(n * sizeof(*addrs));
	int err;

	if (!keys || !order || !copy)
		return -ENOMEM;
	keys[0] = 0; /* others with this key stay behind it */
	for (size_t i = 1; i < n; i++)
		keys[i] = flow_addrs_key(addrs[i]);
	err = radix_order(keys, n, order);
	if (err)
		return err;
	memcpy(copy, addrs, n * sizeof(*addrs));
	for (uint32_t i = 0; i < n; i++) {
		memcpy(addrs[i], copy + order[i] * sizeof(*addrs), sizeof(*addrs));
		ret_rank[order[i]] = i;
	}
	return 0;
}
