/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * twins.h - columns of which some rows say what another row says.
 *
 * A conversation between two hosts of a fleet is told by both, with the same
 * ports, bytes and packets, and nearly the same times. In a block of many hosts
 * the second row of the two is a twin: of a column it keeps the difference to
 * the first, which is most often 0.
 *
 * Which rows are twins is a part of the block. Twins come in runs, as both hosts'
 * rows are in the same order: for each run, as varints, how many rows without a
 * twin are before it (behind the run before), how many twins it has, and the row
 * of its first one, counted among the rows that are no twins, less the row behind
 * that of the last run (zigzag: 0, -1, 1, -2, ...). All as bytes of column.h,
 * with the number of runs, a varint, before them.
 *
 *	offset size
 *	     0    1  TWINS_ENCODING, which column.h knows nothing of
 *	     1    v  length of a column of column.h, and this: the rows that are no twins
 *	     v    v  how many twins differ from their rows; if any do:
 *	             length of a column of column.h, a varint, and this: how many twins are
 *	             between each of them and the one before
 *	             a column of column.h: their differences, zigzag
 *
 * Nothing is trusted: a row that is not there, or numbers too many or too few,
 * and decoding says no.
 *
 * Threads: a codec belongs to one thread; struct twins may be read by several.
 */
#ifndef WEIR_PROTO_TWINS_H
#define WEIR_PROTO_TWINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/column.h"

#define TWINS_ENCODING 16

struct twin_run {
	uint32_t before; /* rows that are no twins since the run before */
	uint32_t n;	 /* above 0 */
	uint32_t from;	 /* the row of the first one, among the rows that are no twins */
};

struct twins {
	size_t n_rows, n_twins; /* n_rows: all, n_twins of which are twins */
	size_t n_runs;
	struct twin_run *runs;
	struct twin_pick {
		uint32_t *others; /* the row that it is, or that it is the twin of, among the others
				   */
		uint32_t *numbers; /* which of all twins it is; TWINS_NONE: it is none */
	} picked;		   /* of each row of twins_pick() */
};

#define TWINS_NONE UINT32_MAX

/* Frees all of it; twice does no harm. */
void twins_done(struct twins *t);

/* Room that the part needs at most. */
size_t twins_bound(const struct twins *t);
/* Writes the part and returns its length, or 0 if there is no memory. */
size_t twins_write(struct column_codec *c, const struct twins *t, enum column_effort effort,
		   uint8_t *out);
/* Reads it. Release with twins_done(). Returns -ENOMEM or -EBADMSG. */
int twins_read(struct column_codec *c, const uint8_t *data, size_t len, size_t n_rows,
	       struct twins *ret);

/* Finds the rows that are picked, which rise, for decoding them. Returns -ENOMEM. */
int twins_pick(struct twins *t, const struct column_rows *rows);

/* Whether a column needs to know the twins. */
static inline bool twins_needed(const uint8_t *data, size_t len)
{
	return len && data[0] == TWINS_ENCODING;
}

/* Room that a column of n numbers needs at most. */
static inline size_t twins_column_bound(size_t n)
{
	return column_bound(n) + 3 * n + 256;
}

/*
 * Writes a column of t->n_rows numbers and returns its length. If all numbers
 * are the same, it is one of column.h.
 */
size_t twins_encode_u32(struct column_codec *c, const struct twins *t, const uint32_t *in,
			enum column_effort effort, uint8_t *out);
size_t twins_encode_u64(struct column_codec *c, const struct twins *t, const uint64_t *in,
			enum column_effort effort, uint8_t *out);

/* As column_most(): UINT64_MAX where a twin differs, since sums wrap. */
uint64_t twins_most(const uint8_t *data, size_t len, const struct twins *t, size_t width);

/* Some rows of a column that twins_needed() says yes to; if picked, those of twins_pick(). */
bool twins_decode_rows_u32(struct column_codec *c, const struct twins *t, const uint8_t *data,
			   size_t len, struct column_rows rows, uint32_t *ret);
bool twins_decode_rows_u64(struct column_codec *c, const struct twins *t, const uint8_t *data,
			   size_t len, struct column_rows rows, uint64_t *ret);

#endif /* WEIR_PROTO_TWINS_H */
