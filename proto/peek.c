// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* peek.c - reads the identity of a BATCH without decoding it. */
#include <stdbool.h>
#include <string.h>

#include "proto/message.h"
#include "weir.pb-c.h"

enum { WIRE_VARINT, WIRE_FIXED64, WIRE_BYTES, WIRE_FIXED32 = 5 };

struct cursor {
	const uint8_t *at, *end;
};

static bool get_varint(struct cursor *c, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && c->at < c->end; shift += 7) {
		uint8_t byte = *c->at++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = value;
			return true;
		}
	}
	return false;
}

static bool get_fixed64(struct cursor *c, uint64_t *ret)
{
	uint64_t value = 0;

	if (c->end - c->at < 8)
		return false;
	for (unsigned i = 0; i < 8; i++)
		value |= (uint64_t)c->at[i] << 8 * i;
	c->at += 8;
	*ret = value;
	return true;
}

static bool skip(struct cursor *c, uint64_t n)
{
	if (n > (uint64_t)(c->end - c->at))
		return false;
	c->at += n;
	return true;
}

/* The value of a number; 0 for bytes, which are skipped. */
static bool get_value(struct cursor *c, unsigned wire_type, uint64_t *ret)
{
	uint64_t len;

	*ret = 0;
	switch (wire_type) {
	case WIRE_VARINT:
		return get_varint(c, ret);
	case WIRE_FIXED64:
		return get_fixed64(c, ret);
	case WIRE_BYTES:
		return get_varint(c, &len) && skip(c, len);
	case WIRE_FIXED32:
		return skip(c, 4);
	default:
		return false;
	}
}

void batch_peek(const uint8_t *body, size_t len, uint64_t *ret_epoch, uint64_t *ret_seq)
{
	enum { EPOCH = 2, SEQ = 4 }; /* field numbers of Batch */
	struct cursor c = {body, body + len};
	uint64_t key, value;

	*ret_epoch = *ret_seq = 0;
	while (get_varint(&c, &key) && get_value(&c, key & 7, &value)) {
		if (key >> 3 == EPOCH)
			*ret_epoch = value;
		else if (key >> 3 == SEQ)
			*ret_seq = value > INT64_MAX ? 0 : value;
	}
}
