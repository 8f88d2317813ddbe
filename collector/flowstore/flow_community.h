/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_community.h - the Community ID of a row of a block: it is not kept, but
 * follows from other columns (common/community_id.h).
 *
 * Threads, memory: none of its own.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_FLOW_COMMUNITY_H
#define WEIR_COLLECTOR_FLOWSTORE_FLOW_COMMUNITY_H

#include <stddef.h>

#include "common/community_id.h"
#include "proto/flow_block.h"

/* Adds the columns that it is made from. */
void flow_community_columns(struct flow_columns *columns);

/* Writes it to ret and returns that; NULL: a catch-all has none. */
const char *flow_community_id(const struct flow_block *b, size_t i, char ret[COMMUNITY_ID_MAX]);

#endif /* WEIR_COLLECTOR_FLOWSTORE_FLOW_COMMUNITY_H */
