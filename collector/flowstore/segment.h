/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * segment.h - tens of thousands of flows as rows of the tables flow_segment and
 * flow_column (sql/ says what is in them).
 *
 * The head of a segment is a sealed block (proto/flow_block.h) that holds its
 * small parts; each larger one is a row of flow_column by itself, with a
 * CRC-32C behind it, so that a question reads no column that it does not ask
 * for. They come in an order in which their ends fill SQLite's pages: the head
 * tells the place of each (segments of before go by the part's code). The zone says which hosts,
 * services and protocols are in it, so that most questions need not even open most segments.
 *
 * Threads: none of its own. Errors: -ENOMEM, -EBADMSG.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_SEGMENT_H
#define WEIR_COLLECTOR_FLOWSTORE_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/flowstore/zone.h"
#include "proto/flow_block.h"

#define SEGMENT_PAGE_BYTES 8192 /* of a new database; others keep theirs */
#define SEGMENT_PLACE_BITS 16	/* id in flow_column: id of the segment, then the place */

/* One to be written, with what it takes the place of. */
struct segment {
	int64_t id; /* 0: the one after the last */
	size_t n_rows, n_bytes;
	struct zone zone;
	uint8_t *zone_data, *head;
	size_t zone_len, head_len;
	size_t n_columns;
	struct segment_column {
		unsigned part;
		uint8_t *data;
		size_t len;
	} columns[FLOW_N_PARTS];   /* number i has place i + 1 */
	int64_t *fresh, *segments; /* ids; they are gone once this one is there */
	size_t n_fresh, n_segments;
};

/*
 * Copies the parts, which have a host_id. b: their rows, with the columns of zone_of().
 * Release with segment_free().
 */
int segment_new(const struct flow_parts *parts, const struct flow_block *b, struct segment **ret);
/* NULL is a no-op. */
void segment_free(struct segment *s);

/* Where the bytes of a part lie that is elsewhere. */
int64_t segment_column_id(int64_t segment_id, const struct flow_parts *head, unsigned part);
/* Takes the checksum off a blob of flow_column. False if it is wrong. */
bool segment_column_open(const uint8_t *data, size_t len, size_t *ret_len);

#endif /* WEIR_COLLECTOR_FLOWSTORE_SEGMENT_H */
