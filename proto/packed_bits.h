/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * packed_bits.h - numbers of any count of bits, and which bits are set: for column.c.
 *
 * Numbers are read by 8 bytes from the byte that they begin in. Bits that tell which
 * of n numbers are meant have PADDING bytes of zeros behind them.
 */
#ifndef WEIR_PROTO_PACKED_BITS_H
#define WEIR_PROTO_PACKED_BITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/column.h"

#define MAX_SHIFT 56 /* wider numbers would not always lie within 8 bytes */
#define PADDING	  8  /* so that 8 bytes can be read at any packed number */

static inline unsigned bits_of(uint64_t range)
{
	unsigned bits = range ? 64 - (unsigned)__builtin_clzll(range) : 0;

	return bits > MAX_SHIFT ? 64 : bits;
}

static inline size_t packed_bytes(size_t n, unsigned bits)
{
	return (n * bits + 7) / 8;
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static inline uint64_t mask_of(unsigned bits)
{
	return bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

/* The numbers whose 8 bytes would pass the end, from a copy that has some behind it. */
struct tail {
	uint8_t bytes[24];
	size_t from; /* byte of the packed ones */
};

static inline struct tail tail_of(const uint8_t *in, size_t len)
{
	struct tail t = {.from = len > 16 ? len - 16 : 0};

	memcpy(t.bytes, in + t.from, len - t.from);
	return t;
}

/* How many of n numbers can be read by 8 bytes within len. */
static inline size_t safe_numbers(size_t n, unsigned bits, size_t len)
{
	size_t safe = len < 8 ? 0 : (len - 8) * 8 / bits;

	return safe < n ? safe : n;
}

/* n_bytes rounded up to 8 can be read. */
static inline size_t count_bits(const uint8_t *bits, size_t n_bytes)
{
	const uint64_t m1 = 0x5555555555555555, m2 = 0x3333333333333333, m4 = 0x0f0f0f0f0f0f0f0f;
	size_t count = 0;

	for (size_t at = 0; at < n_bytes; at += 8) {
		uint64_t x = load64(bits + at);

		x -= x >> 1 & m1;
		x = (x & m2) + (x >> 2 & m2);
		x = (x + (x >> 4)) & m4;
		count += x * 0x0101010101010101 >> 56;
	}
	return count;
}

/*
 * Moves the bits of those rows to the front, zeros behind them, and tells which
 * of the bits that are set they are: the first, and how many.
 */
static inline struct column_rows cut_bits(uint8_t *bits, struct column_rows rows)
{
	struct column_rows ret = {0};
	size_t n_bytes = (rows.n + 7) / 8;
	unsigned shift = rows.first % 8;

	for (size_t at = 0; at < rows.first / 8; at++)
		ret.first += (size_t)__builtin_popcount(bits[at]);
	if (shift)
		ret.first += (size_t)__builtin_popcount(bits[rows.first / 8] & ((1u << shift) - 1));
	for (size_t at = 0; rows.first && at < n_bytes; at++) { /* PADDING is behind the last */
		const uint8_t *from = bits + rows.first / 8 + at;

		bits[at] = (uint8_t)((from[0] | from[1] << 8) >> shift);
	}
	memset(bits + n_bytes, 0, PADDING);
	if (rows.n % 8)
		bits[n_bytes - 1] &= (uint8_t)((1u << rows.n % 8) - 1);
	ret.n = count_bits(bits, n_bytes);
	return ret;
}

/*
 * Which of the bits that are set the picked ones are, to ret, and how many that is. For
 * those that are not set there is nothing in ret. ranks: room for a number for each 64 bits.
 */
static inline size_t rank_bits(const uint8_t *bits, size_t n_bytes, const struct column_rows *rows,
			       uint32_t *ranks, uint32_t *ret)
{
	uint32_t before = 0;
	size_t n = 0;

	for (size_t at = 0; at < n_bytes; at += 8) {
		ranks[at / 8] = before;
		before += (uint32_t)count_bits(bits + at, 8);
	}
	for (size_t i = 0; i < rows->n; i++) {
		uint32_t row = rows->picked[i];
		uint64_t word = load64(bits + row / 64 * 8), below = (UINT64_C(1) << row % 64) - 1;

		ret[n] = ranks[row / 64] + (uint32_t)__builtin_popcountll(word & below);
		n += word >> row % 64 & 1;
	}
	return n;
}

#endif /* WEIR_PROTO_PACKED_BITS_H */
