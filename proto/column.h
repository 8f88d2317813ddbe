/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * column.h - an array of numbers in few bytes, on the wire and on disk.
 *
 *	CONST    every number is the base; no data at all
 *	PACKED   number - base, in as many bits as the largest needs (1 to 56, or 64)
 *	PLANES   number - base, all lowest bytes first, then all second ones, ...;
 *	         each plane by itself compressed with zstd where that is smaller, in
 *	         one frame or more, so that some rows can be had without the others
 *	SPARSE   a bit for each number that is not the base, and a column of these
 *
 *	offset size
 *	     0    1  encoding
 *	     1    v  base, a varint (7 bits a byte, low first, at most 10 bytes)
 *	     v       PACKED: 1 byte, bits of a number; ceil(n * bits / 8) bytes,
 *	             little-endian
 *	             PLANES: 1 byte, planes, 1 to 8; the length of each, a varint (as
 *	             many as numbers: not compressed); the planes
 *	             SPARSE: how many are not the base, a varint; length of the bits,
 *	             a varint; the bits, as by column_encode_bytes(); the column of
 *	             the others, PACKED, PLANES or CONST
 *
 * Sums wrap, so that differences of columns can be kept as numbers. Decoding
 * trusts nothing: it reads exactly len bytes and writes exactly n numbers, or
 * says no. It needs no memory but the caller's and the codec's scratch.
 *
 * Threads: one codec belongs to one thread.
 */
#ifndef WEIR_PROTO_COLUMN_H
#define WEIR_PROTO_COLUMN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How hard encoding tries. */
enum column_effort {
	COLUMN_FAST,  /* no zstd */
	COLUMN_SMALL, /* zstd too, where it is smaller */
};

struct column_codec; /* zstd's contexts and scratch */

/* Good for columns of up to max_rows numbers. Returns -ENOMEM. */
int column_codec_new(size_t max_rows, struct column_codec **ret);
/* NULL is a no-op. */
void column_codec_free(struct column_codec *c);
/* Whether decoding said no because there was no memory for zstd. */
bool column_codec_out_of_memory(const struct column_codec *c);
size_t column_codec_max_rows(const struct column_codec *c);
/* Room for max_rows + 16 numbers of 8 bytes, twice, which is the caller's. */
void *column_codec_spare(struct column_codec *c);
void *column_codec_spare_too(struct column_codec *c);

/* Room that an encoded column of n numbers needs at most. */
static inline size_t column_bound(size_t n)
{
	return 64 + 8 * n + n / 8;
}

/* Writes at most column_bound(n) bytes to out and returns how many. n is 1 to max_rows. */
size_t column_encode_u32(struct column_codec *c, const uint32_t *in, size_t n,
			 enum column_effort effort, uint8_t *out);
size_t column_encode_u64(struct column_codec *c, const uint64_t *in, size_t n,
			 enum column_effort effort, uint8_t *out);

/* False: the bytes are not n numbers of that size. ret may then be half written. */
bool column_decode_u32(struct column_codec *c, const uint8_t *data, size_t len, size_t n,
		       uint32_t *ret);
bool column_decode_u64(struct column_codec *c, const uint8_t *data, size_t len, size_t n,
		       uint64_t *ret);

/* Some of the numbers of a column: one behind another, or those that are picked. */
struct column_rows {
	size_t first, n;
	const uint32_t *picked; /* NULL, or which n of them; first is 0 */
};

/*
 * Those of n numbers only; the others are checked no further than they must be read.
 * Picked ones may come in any order; they are below n, which is not checked.
 */
bool column_decode_rows_u32(struct column_codec *c, const uint8_t *data, size_t len, size_t n,
			    struct column_rows rows, uint32_t *ret);
bool column_decode_rows_u64(struct column_codec *c, const uint8_t *data, size_t len, size_t n,
			    struct column_rows rows, uint64_t *ret);

/*
 * Checks a column of n numbers of width bytes (4 or 8) as decoding does, but
 * without looking at each where their bits alone tell how large one can be.
 * *ret_most: none is larger; UINT64_MAX if sums may wrap.
 */
bool column_check(struct column_codec *c, const uint8_t *data, size_t len, size_t n, size_t width,
		  uint64_t *ret_most);

/*
 * What no number of a column is above that can be decoded, as its head says without
 * decoding it; UINT64_MAX if sums may wrap, or it is no column of these encodings.
 */
uint64_t column_most(const uint8_t *data, size_t len, size_t width);

/* Whether all numbers of an encoded column are the same one. */
bool column_is_constant(const uint8_t *data, size_t len, uint64_t *ret);
/* Writes such a column; at most 16 bytes. */
size_t column_encode_constant(uint64_t value, uint8_t *out);

/* Bytes as they are, or compressed where that is smaller: for dictionaries. */
size_t column_encode_bytes(struct column_codec *c, const uint8_t *in, size_t len,
			   enum column_effort effort, uint8_t *out); /* bound: 16 + len */
/* How long the decoded bytes are; false if that is above max, or the head is no head. */
bool column_bytes_length(const uint8_t *data, size_t len, size_t max, size_t *ret);
bool column_decode_bytes(struct column_codec *c, const uint8_t *data, size_t len, uint8_t *ret,
			 size_t n);

/* A varint at *at; moves *at behind it. False past end, or if it is longer than 64 bits. */
bool varint_get(const uint8_t **at, const uint8_t *end, uint64_t *ret);
/* Writes at most 10 bytes; returns the place behind. */
uint8_t *varint_put(uint8_t *at, uint64_t value);

#endif /* WEIR_PROTO_COLUMN_H */
