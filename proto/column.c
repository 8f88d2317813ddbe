/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "proto/column.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "proto/packed_bits.h"
#include "proto/vectors.h"

/*
 * Level 1, with a table that stays in the first cache, and matches only from 7 bytes
 * on: shorter ones are chance, and cost more than the bytes by themselves.
 */
#define ZSTD_LEVEL     1
#define ZSTD_HASH_LOG  13
#define ZSTD_MIN_MATCH 7
#define FRAME_ROWS     16384 /* of a plane: the last frame may have half as many more */

enum encoding { CONST, PACKED, PLANES, SPARSE, N_ENCODINGS };
enum bytes_method { BYTES_RAW, BYTES_ZSTD };

#define MAX_PLANES 8
#define SPARE	   16

struct column_codec {
	ZSTD_CCtx *compress;   /* made when there is something to compress */
	ZSTD_DCtx *decompress; /* likewise */
	size_t max_rows;
	bool out_of_memory;
	void *scratch;	   /* of what follows */
	uint64_t *inner;   /* numbers of a SPARSE column that are not the base */
	uint64_t *checked; /* numbers that are only looked at; or what is picked of inner */
	uint64_t *spare;   /* the caller's */
	uint8_t *planes;   /* of one column being encoded or decoded */
	uint8_t *bits;	   /* which numbers of a SPARSE column are not the base */
};

int column_codec_new(size_t max_rows, struct column_codec **ret)
{
	size_t numbers = (max_rows + 1) * sizeof(uint64_t); /* one may be written too far */
	size_t spare = 2 * (max_rows + SPARE) * sizeof(uint64_t);
	struct column_codec *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->max_rows = max_rows;
	c->scratch = malloc(3 * numbers + spare + max_rows / 8 + 2 * PADDING);
	if (!c->scratch) {
		column_codec_free(c);
		return -ENOMEM;
	}
	c->inner = (uint64_t *)c->scratch;
	c->checked = c->inner + max_rows + 1;
	c->spare = c->checked + max_rows + 1;
	c->planes = (uint8_t *)c->spare + spare;
	c->bits = c->planes + numbers;
	*ret = c;
	return 0;
}

void column_codec_free(struct column_codec *c)
{
	if (!c)
		return;
	(void)ZSTD_freeCCtx(c->compress); /* NULL is fine; cannot fail */
	(void)ZSTD_freeDCtx(c->decompress);
	free(c->scratch);
	free(c);
}

bool column_codec_out_of_memory(const struct column_codec *c)
{
	return c->out_of_memory;
}

size_t column_codec_max_rows(const struct column_codec *c)
{
	return c->max_rows;
}

void *column_codec_spare(struct column_codec *c)
{
	return c->spare;
}

void *column_codec_spare_too(struct column_codec *c)
{
	return c->spare + c->max_rows + SPARE;
}

/* --- varints ---------------------------------------------------------------- */

bool varint_get(const uint8_t **at, const uint8_t *end, uint64_t *ret)
{
	const uint8_t *p = *at;
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (p == end)
			return false;
		if (shift == 63 && *p > 1)
			return false;
		value |= (uint64_t)(*p & 0x7f) << shift;
		if (!(*p++ & 0x80)) {
			*at = p;
			*ret = value;
			return true;
		}
	}
	return false;
}

uint8_t *varint_put(uint8_t *at, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*at++ = (uint8_t)(value | 0x80);
	*at++ = (uint8_t)value;
	return at;
}

static bool size_get(const uint8_t **at, const uint8_t *end, size_t max, size_t *ret)
{
	uint64_t value;

	if (!varint_get(at, end, &value) || value > max)
		return false;
	*ret = (size_t)value;
	return true;
}

/* --- zstd ------------------------------------------------------------------- */

static ZSTD_CCtx *new_compressor(void)
{
	ZSTD_CCtx *z = ZSTD_createCCtx();

	if (z) { /* these values are within their bounds: it cannot fail */
		(void)ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, ZSTD_LEVEL);
		(void)ZSTD_CCtx_setParameter(z, ZSTD_c_hashLog, ZSTD_HASH_LOG);
		(void)ZSTD_CCtx_setParameter(z, ZSTD_c_minMatch, ZSTD_MIN_MATCH);
	}
	return z;
}

/* Compresses to out if that takes at most room bytes; returns how many, or 0. */
static size_t squeeze(struct column_codec *c, const uint8_t *in, size_t n, uint8_t *out,
		      size_t room)
{
	size_t len;

	if (n < 32) /* a frame's head alone is a third of it */
		return 0;
	if (!c->compress)
		c->compress = new_compressor();
	if (!c->compress) /* it is not needed */
		return 0;
	len = ZSTD_compress2(c->compress, out, room, in, n);
	return ZSTD_isError(len) ? 0 : len; /* there is no room */
}

static bool unsqueeze(struct column_codec *c, const uint8_t *in, size_t len, uint8_t *out, size_t n)
{
	if (!c->decompress)
		c->decompress = ZSTD_createDCtx();
	if (!c->decompress) {
		c->out_of_memory = true;
		return false;
	}
	return ZSTD_decompressDCtx(c->decompress, out, n, in, len) == n;
}

/* To less than n bytes, in frames, so that some rows can be had without the others. */
static size_t squeeze_plane(struct column_codec *c, const uint8_t *in, size_t n, uint8_t *out)
{
	size_t len = 0;

	for (size_t row = 0; row < n;) {
		size_t rows = n - row < FRAME_ROWS + FRAME_ROWS / 2 ? n - row : FRAME_ROWS;
		size_t one = squeeze(c, in + row, rows, out + len, n - 1 - len);

		if (!one)
			return 0;
		len += one;
		row += rows;
	}
	return len;
}

/* Whether one of them is among those n from first on. */
static bool any_within(const struct column_rows *rows, size_t first, size_t n)
{
	if (!rows->picked)
		return first < rows->first + rows->n && first + n > rows->first;
	for (size_t i = 0; i < rows->n; i++)
		if (rows->picked[i] - first < n)
			return true;
	return false;
}

/* Those rows of a plane, at their places in out; the others of a frame may be written, too. */
static bool unsqueeze_plane(struct column_codec *c, const uint8_t *in, size_t len, uint8_t *out,
			    size_t n, struct column_rows rows)
{
	size_t row = 0;

	while (row < n) {
		size_t one = ZSTD_findFrameCompressedSize(in, len);
		unsigned long long there = ZSTD_getFrameContentSize(in, len);

		if (ZSTD_isError(one) || there == 0 || there > n - row) /* unknown: larger */
			return false;
		if (any_within(&rows, row, (size_t)there) &&
		    !unsqueeze(c, in, one, out + row, (size_t)there))
			return false;
		in += one;
		len -= one;
		row += (size_t)there;
	}
	return len == 0;
}

/* --- constants -------------------------------------------------------------- */

bool column_is_constant(const uint8_t *data, size_t len, uint64_t *ret)
{
	const uint8_t *at = data + 1, *end = data + len;

	return len >= 2 && data[0] == CONST && varint_get(&at, end, ret) && at == end;
}

size_t column_encode_constant(uint64_t value, uint8_t *out)
{
	out[0] = CONST;
	return (size_t)(varint_put(out + 1, value) - out);
}

/* --- bytes ------------------------------------------------------------------ */

size_t column_encode_bytes(struct column_codec *c, const uint8_t *in, size_t len,
			   enum column_effort effort, uint8_t *out)
{
	uint8_t *at = varint_put(out + 1, len);
	size_t small = effort == COLUMN_SMALL ? squeeze(c, in, len, at, len - 1) : 0;

	out[0] = small ? BYTES_ZSTD : BYTES_RAW;
	if (!small && len)
		memcpy(at, in, len);
	return (size_t)(at - out) + (small ? small : len);
}

bool column_bytes_length(const uint8_t *data, size_t len, size_t max, size_t *ret)
{
	const uint8_t *at = data + 1;

	return len > 1 && size_get(&at, data + len, max, ret);
}

bool column_decode_bytes(struct column_codec *c, const uint8_t *data, size_t len, uint8_t *ret,
			 size_t n)
{
	const uint8_t *at = data + 1, *end = data + len;
	size_t there;

	if (len < 2 || !size_get(&at, end, n, &there) || there != n)
		return false;
	if (data[0] == BYTES_ZSTD)
		return unsqueeze(c, at, (size_t)(end - at), ret, n);
	if (data[0] != BYTES_RAW || (size_t)(end - at) != n)
		return false;
	if (n)
		memcpy(ret, at, n);
	return true;
}

/* --- columns ----------------------------------------------------------------- */

/* The head of a SPARSE column; its bits are in the codec. */
struct sparse {
	uint64_t base;
	size_t n_others;
	const uint8_t *others; /* a column */
	size_t others_len;
};

static bool get_sparse(struct column_codec *c, const uint8_t *data, size_t len, size_t n,
		       struct sparse *ret)
{
	const uint8_t *at = data + 1, *end = data + len;
	size_t bits_len, n_bytes = (n + 7) / 8;

	if (!varint_get(&at, end, &ret->base) || !size_get(&at, end, n, &ret->n_others) ||
	    ret->n_others == 0 || !size_get(&at, end, len, &bits_len) ||
	    bits_len > (size_t)(end - at) ||
	    !column_decode_bytes(c, at, bits_len, c->bits, n_bytes))
		return false;
	memset(c->bits + n_bytes, 0, PADDING);
	if (n % 8 && c->bits[n_bytes - 1] >> n % 8)
		return false;
	ret->others = at + bits_len;
	ret->others_len = (size_t)(end - at) - bits_len;
	return count_bits(c->bits, n_bytes) == ret->n_others;
}

/* The n bytes in planes, each 0 or 1, as bits, and zeros behind them. */
static void put_bits(struct column_codec *c, size_t n)
{
	size_t n_bytes = (n + 7) / 8;

	memset(c->planes + n, 0, PADDING);
	for (size_t i = 0; i < n_bytes; i++) /* byte k moves to bit 56 + k */
		c->bits[i] = (uint8_t)(load64(c->planes + 8 * i) * 0x0102040810204080 >> 56);
	memset(c->bits + n_bytes, 0, PADDING);
}

#define COLUMN_T    uint32_t
#define COLUMN_F(x) x##_u32
#include "proto/column_typed.h"
#undef COLUMN_T
#undef COLUMN_F

#define COLUMN_T    uint64_t
#define COLUMN_F(x) x##_u64
#include "proto/column_typed.h"

/* --- checking ----------------------------------------------------------------- */

/* What no number of a dense column is above, as its head says. */
static uint64_t most_of_dense(const uint8_t *data, size_t len, size_t width)
{
	const uint8_t *at = data + 1, *end = data + len;
	uint64_t base, span = 0, most = width == sizeof(uint64_t) ? UINT64_MAX : UINT32_MAX;
	unsigned bits;

	if (len < 2 || data[0] >= N_ENCODINGS || !varint_get(&at, end, &base) || base > most)
		return UINT64_MAX;
	if (data[0] != CONST) {
		bits = at == end ? 64 : data[0] == PACKED ? *at : 8u * *at;
		span = mask_of(bits < 64 ? bits : 64);
	}
	return span > most - base ? UINT64_MAX : base + span;
}

uint64_t column_most(const uint8_t *data, size_t len, size_t width)
{
	const uint8_t *at = data + 1, *end = data + len;
	uint64_t base, most;
	size_t n, bits_len;

	if (len < 2 || data[0] != SPARSE)
		return most_of_dense(data, len, width);
	if (!varint_get(&at, end, &base) || !size_get(&at, end, SIZE_MAX, &n) ||
	    !size_get(&at, end, len, &bits_len) || bits_len > (size_t)(end - at))
		return UINT64_MAX;
	at += bits_len;
	most = most_of_dense(at, (size_t)(end - at), width);
	return most > base ? most : base;
}

/* Decodes where nothing less will do. */
static bool check_planes(struct column_codec *c, const uint8_t *data, size_t len, size_t n,
			 size_t width, uint64_t *ret_most)
{
	struct column_rows all = {0, n};
	bool ok;

	if (width == sizeof(uint64_t)) {
		ok = get_dense_u64(c, data, len, n, all, c->checked);
		*ret_most = ok ? span_of_u64(c->checked, n).max : 0;
	} else {
		ok = get_dense_u32(c, data, len, n, all, (uint32_t *)c->checked);
		*ret_most = ok ? span_of_u32((uint32_t *)c->checked, n).max : 0;
	}
	return ok;
}

/* Everything but SPARSE. */
static bool check_dense(struct column_codec *c, const uint8_t *data, size_t len, size_t n,
			size_t width, uint64_t *ret_most)
{
	const uint8_t *at = data + 1, *end = data + len;
	uint64_t base, most = width == sizeof(uint64_t) ? UINT64_MAX : UINT32_MAX;
	unsigned bits;

	if (len < 2)
		return false;
	if (data[0] != CONST && data[0] != PACKED)
		return check_planes(c, data, len, n, width, ret_most);
	if (!varint_get(&at, end, &base) || base > most)
		return false;
	if (data[0] == CONST) {
		*ret_most = base;
		return at == end;
	}
	if (at == end)
		return false;
	bits = *at++;
	if (bits < 1 || (bits > MAX_SHIFT && bits != 64) || bits > 8 * width ||
	    (size_t)(end - at) != packed_bytes(n, bits))
		return false;
	*ret_most = most_of_dense(data, len, width);
	return true;
}

bool column_check(struct column_codec *c, const uint8_t *data, size_t len, size_t n, size_t width,
		  uint64_t *ret_most)
{
	struct sparse s;
	uint64_t most;

	if (len < 2 || n == 0 || n > c->max_rows)
		return false;
	if (data[0] != SPARSE)
		return check_dense(c, data, len, n, width, ret_most);
	if (!get_sparse(c, data, len, n, &s) ||
	    (width == sizeof(uint32_t) && s.base > UINT32_MAX) ||
	    !check_dense(c, s.others, s.others_len, s.n_others, width, &most))
		return false;
	*ret_most = most > s.base ? most : s.base;
	return true;
}
