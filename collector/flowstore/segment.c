// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/segment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	c->code = flow_part_code(part);
	s->n_bytes += c->len;
	s->n_columns++;
	return 0;
}

int segment_new(struct column_codec *codec, const struct flow_parts *parts, struct segment **ret)
{
	cleanup(segment_free_p) struct segment *s = calloc(1, sizeof(*s));
	struct flow_parts head = *parts;
	int err;

	if (!s)
		return -ENOMEM;
	s->n_rows = parts->n_rows;
	err = zone_make(codec, parts, &s->zone);
	for (unsigned p = 0; !err && p < FLOW_N_PARTS; p++) {
		if (!parts->part[p].present || parts->part[p].len < INLINE_MAX_BYTES)
			continue;
		err = take_column(s, p, &parts->part[p]);
		head.part[p].elsewhere = true;
	}
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

bool segment_column_open(const uint8_t *data, size_t len, size_t *ret_len)
{
	uint32_t crc;

	if (len < CRC_BYTES)
		return false;
	memcpy(&crc, data + len - CRC_BYTES, CRC_BYTES);
	*ret_len = len - CRC_BYTES;
	return crc32c(data, len - CRC_BYTES) == crc;
}
