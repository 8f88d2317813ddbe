// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/sqlite/db_error.h"
#include "common/cleanup.h"
#include "proto/frame.h"

#define INLINE_MAX_BYTES 1024 /* below it a part is kept in the head */
#define CRC_BYTES	 sizeof(uint32_t)

DEFINE_CLEANUP(struct segment *, segment_free)

void segment_free(struct segment *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_columns; i++)
		free(s->columns[i].data);
	free(s->zone_data);
	free(s->head);
	free(s->fresh);
	free(s->segments);
	free(s);
}

/* --- segments --------------------------------------------------------------------- */

static int take_column(struct segment *s, unsigned part, const struct flow_part *p)
{
	struct segment_column *c = &s->columns[s->n_columns];
	uint32_t crc = crc32c(p->data, p->len);

	c->data = malloc(p->len + CRC_BYTES);
	if (!c->data)
		return -ENOMEM;
	memcpy(c->data, p->data, p->len);
	memcpy(c->data + p->len, &crc, CRC_BYTES);
	c->len = p->len + CRC_BYTES;
	c->part = part;
	s->n_bytes += c->len;
	s->n_columns++;
	return 0;
}

/*
 * What SQLite keeps of a blob within the leaf: the end of it, or a little where
 * that does not fit; the rest fills whole pages. "Cell payload overflow" in
 * SQLite's file format, for the pages of a new database.
 */
#define LEAF_MIN    ((SEGMENT_PAGE_BYTES - 12) * 32 / 255 - 23)
#define LEAF_MAX    (SEGMENT_PAGE_BYTES - 35)
#define LEAF_ROOM   (SEGMENT_PAGE_BYTES - 8)
#define LEAF_CELL   10 /* around each: pointer, length, id; and the head of the row */
#define CHAIN_BYTES (SEGMENT_PAGE_BYTES - 4)

static size_t leaf_bytes(size_t len)
{
	size_t end = LEAF_MIN + (len - LEAF_MIN) % CHAIN_BYTES;

	if (len <= LEAF_MAX)
		return len + LEAF_CELL;
	return (end <= LEAF_MAX ? end : LEAF_MIN) + LEAF_CELL;
}

static int by_leaf_bytes(const void *a, const void *b)
{
	size_t x = leaf_bytes(((const struct segment_column *)a)->len);
	size_t y = leaf_bytes(((const struct segment_column *)b)->len);

	return (x < y) - (x > y);
}

/* First fit, the largest ends first: of pages filled as they come a quarter is empty. */
static void put_in_places(struct segment *s)
{
	struct segment_column in_turn[FLOW_N_PARTS] = {{0}};
	size_t page[FLOW_N_PARTS], room[FLOW_N_PARTS], n_pages = 0, n = 0;

	qsort(s->columns, s->n_columns, sizeof(s->columns[0]), by_leaf_bytes);
	for (size_t i = 0; i < s->n_columns; i++) {
		size_t bytes = leaf_bytes(s->columns[i].len), p = 0;

		while (p < n_pages && room[p] < bytes)
			p++;
		if (p == n_pages)
			room[n_pages++] = LEAF_ROOM;
		room[p] -= bytes;
		page[i] = p;
	}
	for (size_t p = 0; p < n_pages; p++)
		for (size_t i = 0; i < s->n_columns; i++)
			if (page[i] == p)
				in_turn[n++] = s->columns[i];
	memcpy(s->columns, in_turn, n * sizeof(in_turn[0]));
}

int segment_new(const struct flow_parts *parts, const struct flow_block *b, struct segment **ret)
{
	cleanup(segment_free_p) struct segment *s = calloc(1, sizeof(*s));
	struct flow_parts head = *parts;
	int err = 0;

	if (!s)
		return -ENOMEM;
	s->n_rows = parts->n_rows;
	s->zone = zone_of(b);
	for (unsigned p = 0; !err && p < FLOW_N_PARTS; p++) {
		if (!parts->part[p].present || parts->part[p].len < INLINE_MAX_BYTES)
			continue;
		err = take_column(s, p, &parts->part[p]);
		head.part[p].elsewhere = true;
	}
	if (!err)
		put_in_places(s);
	for (size_t i = 0; !err && i < s->n_columns; i++)
		head.part[s->columns[i].part].place = (uint16_t)(i + 1);
	if (!err)
		err = flow_parts_seal(&head, &s->head, &s->head_len);
	if (!err)
		err = zone_pack(&s->zone, &s->zone_data, &s->zone_len);
	if (err)
		return err;
	s->n_bytes += s->head_len + s->zone_len;
	*ret = take_ptr(s);
	return 0;
}

int64_t segment_column_id(int64_t segment_id, const struct flow_parts *head, unsigned part)
{
	unsigned place = head->part[part].place;

	return segment_id << SEGMENT_PLACE_BITS | (place ? place : flow_part_code(part));
}

bool segment_column_open(const uint8_t *data, size_t len, size_t *ret_len)
{
	uint32_t crc;

	if (len < CRC_BYTES)
		return false;
	memcpy(&crc, data + len - CRC_BYTES, CRC_BYTES);
	*ret_len = len - CRC_BYTES;
	return crc32c(data, len - CRC_BYTES) == crc;
}
