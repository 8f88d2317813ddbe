/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * group_key.h - what records are grouped by: a column of the table flows, or the
 * network that an address is in. Its values become small numbers (value_ids.h),
 * the same for all threads.
 *
 * Threads: all may call group_key_ids() with blocks of their own.
 * Errors: -ENOMEM.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_GROUP_KEY_H
#define WEIR_COLLECTOR_FLOWSTORE_GROUP_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/flowstore/flows_columns.h"
#include "common/addr.h"
#include "proto/flow_block.h"
#include "proto/flow_words.h"

#define GROUP_MAX_KEYS	   4
#define GROUP_KEY_TEXT_MAX (ADDR_TEXT_MAX + 4) /* an address, "/128" */

struct group_key {
	enum flows_kind kind; /* not FLOWS_HIST, FLOWS_COMMUNITY_ID */
	enum flow_column column;
	uint8_t v4_bits, v6_bits; /* FLOWS_ADDR: of the network; both 0: the address itself */
};

/* The key of a column of flows, or of src_net, dst_net, also as src_net/16 or src_net/16/48. */
bool group_key_find(const char *name, struct group_key *ret);

#endif /* WEIR_COLLECTOR_FLOWSTORE_GROUP_KEY_H */
