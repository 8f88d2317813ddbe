/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * merge.h - many small encoded blocks into one, column by column.
 *
 * Columns are taken as they are kept (differences stay differences), so that
 * nothing is worked out and undone again; what no block has costs nothing. The
 * rows are put in an order in which neighbours are alike: by host, role,
 * service, ends, and how they ended. Within that, as they came.
 *
 * Threads: none of its own. Memory: 30 bytes a row, and the result.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_MERGE_H
#define WEIR_COLLECTOR_FLOWSTORE_MERGE_H

#include <stdint.h>

#include "proto/flow_block.h"

struct merge_input {
	struct flow_parts parts;
	uint32_t host_id; /* of all rows; 0: the parts tell */
};

/* Kept from one merge to the next, as fresh memory costs as much as merging does. */
struct merge_memory;

/* NULL: there is none yet; released at last. */
void merge_memory_free(struct merge_memory *m);

/* The rows in their order, encoded; and as columns, those that were asked for. */
struct merged {
	struct flow_parts parts;
	struct flow_block block; /* without texts; duration_us as it is kept */
};

/*
 * The rows of all n inputs, at most FLOW_BLOCK_MAX_ROWS and as many as the
 * codec is good for. columns: numbers and addresses. *memory is NULL at first. The
 * result is in it, until the next merge or merge_memory_free(). Returns -ENOMEM, -EIO, or
 * -EBADMSG with the input that is damaged in *ret_bad and why in *ret_why.
 */
int merge_blocks(struct column_codec *codec, struct merge_memory **memory,
		 const struct merge_input *inputs, size_t n, const struct flow_columns *columns,
		 struct merged *ret, size_t *ret_bad, const char **ret_why);

#endif /* WEIR_COLLECTOR_FLOWSTORE_MERGE_H */
