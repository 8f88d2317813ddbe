/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "proto/flow_addrs.h"

#include <string.h>

#define LENGTH_BYTES 4

static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

static bool is_v4(const uint8_t addr[16])
{
	return memcmp(addr, v4_prefix, sizeof(v4_prefix)) == 0;
}

static uint32_t load_be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap32(v);
}

static uint64_t load_be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap64(v);
}

static void store_be32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof(v));
}

static void store_be64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, sizeof(v));
}

uint64_t flow_addrs_key(const uint8_t addr[16])
{
	if (is_v4(addr))
		return load_be32(addr + 12);
	return UINT64_C(1) << 63 | load_be64(addr) >> 1;
}

/* --- encoding -------------------------------------------------------------------- */

/* Behind a length of LENGTH_BYTES, whatever its value; returns the place behind. */
static uint8_t *finish_column(uint8_t *at, size_t len)
{
	for (unsigned i = 0; i < LENGTH_BYTES; i++)
		at[i] = (uint8_t)(len >> 7 * i | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
	return at + LENGTH_BYTES + len;
}

static uint8_t *put_v4(struct column_codec *c, uint8_t (*addrs)[16], size_t n,
		       enum column_effort effort, uint8_t *at)
{
	uint32_t *differences = column_codec_spare(c), before = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t v = load_be32(addrs[i] + 12);

		differences[i] = v - before;
		before = v;
	}
	return finish_column(at, column_encode_u32(c, differences, n, effort, at + LENGTH_BYTES));
}

static uint8_t *put_v6(struct column_codec *c, uint8_t (*addrs)[16], size_t n,
		       enum column_effort effort, uint8_t *at)
{
	uint64_t *numbers = column_codec_spare(c), before = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t v = load_be64(addrs[i]);

		numbers[i] = v - before;
		before = v;
	}
	at = finish_column(at, column_encode_u64(c, numbers, n, effort, at + LENGTH_BYTES));
	for (size_t i = 0; i < n; i++)
		numbers[i] = load_be64(addrs[i] + 8);
	return finish_column(at, column_encode_u64(c, numbers, n, effort, at + LENGTH_BYTES));
}

size_t flow_addrs_encode(struct column_codec *c, uint8_t (*addrs)[16], size_t n,
			 enum column_effort effort, uint8_t *out)
{
	size_t v4 = 0, i;
	uint8_t *at;

	while (v4 < n && is_v4(addrs[v4]))
		v4++;
	for (i = v4; i < n; i++)
		if (is_v4(addrs[i]))
			return 0;
	out[0] = FLOW_ADDRS_SORTED;
	at = varint_put(varint_put(out + 1, v4), n - v4);
	if (v4)
		at = put_v4(c, addrs, v4, effort, at);
	if (n > v4)
		at = put_v6(c, addrs + v4, n - v4, effort, at);
	return (size_t)(at - out);
}

/* --- decoding --------------------------------------------------------------------- */

struct head {
	size_t v4, v6;
	const uint8_t *at; /* behind it */
};

static bool get_head(const uint8_t *data, size_t len, size_t max, struct head *ret)
{
	const uint8_t *at = data + 1, *end = data + len;
	uint64_t v4, v6;

	if (!flow_addrs_is_sorted(data, len) || !varint_get(&at, end, &v4) ||
	    !varint_get(&at, end, &v6) || v4 > max || v6 > max - v4)
		return false;
	*ret = (struct head){(size_t)v4, (size_t)v6, at};
	return true;
}

bool flow_addrs_count(const struct column_codec *c, const uint8_t *data, size_t len, size_t max,
		      size_t *ret)
{
	size_t most = column_codec_max_rows(c);
	struct head h;

	if (!get_head(data, len, max < most ? max : most, &h))
		return false;
	*ret = h.v4 + h.v6;
	return true;
}

/* A column behind its length; moves *at behind it. */
static const uint8_t *get_column(const uint8_t **at, const uint8_t *end, size_t *ret_len)
{
	const uint8_t *column;
	uint64_t len;

	if (!varint_get(at, end, &len) || len > (size_t)(end - *at))
		return NULL;
	column = *at;
	*ret_len = (size_t)len;
	*at += len;
	return column;
}

static bool get_v4(struct column_codec *c, const uint8_t **at, const uint8_t *end, size_t n,
		   uint8_t (*ret)[16])
{
	uint32_t *differences = column_codec_spare(c), v = 0;
	const uint8_t *column;
	size_t len;

	column = get_column(at, end, &len);
	if (!column || !column_decode_u32(c, column, len, n, differences))
		return false;
	for (size_t i = 0; i < n; i++) {
		v += differences[i];
		memcpy(ret[i], v4_prefix, sizeof(v4_prefix));
		store_be32(ret[i] + 12, v);
	}
	return true;
}

static bool get_v6(struct column_codec *c, const uint8_t **at, const uint8_t *end, size_t n,
		   uint8_t (*ret)[16])
{
	uint64_t *numbers = column_codec_spare(c), v = 0;
	const uint8_t *column;
	size_t len;

	column = get_column(at, end, &len);
	if (!column || !column_decode_u64(c, column, len, n, numbers))
		return false;
	for (size_t i = 0; i < n; i++) {
		v += numbers[i];
		store_be64(ret[i], v);
	}
	column = get_column(at, end, &len);
	if (!column || !column_decode_u64(c, column, len, n, numbers))
		return false;
	for (size_t i = 0; i < n; i++)
		store_be64(ret[i] + 8, numbers[i]);
	return true;
}

bool flow_addrs_decode(struct column_codec *c, const uint8_t *data, size_t len, uint8_t (*ret)[16])
{
	const uint8_t *end = data + len;
	struct head h;

	return get_head(data, len, column_codec_max_rows(c), &h) &&
	       (h.v4 == 0 || get_v4(c, &h.at, end, h.v4, ret)) &&
	       (h.v6 == 0 || get_v6(c, &h.at, end, h.v6, ret + h.v4)) && h.at == end;
}
