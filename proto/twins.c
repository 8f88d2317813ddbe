/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "proto/twins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/vectors.h"

#define RUN_BYTES    15 /* three varints of 32 bits */
#define LENGTH_BYTES 4
#define IN_ONE_GO    16 /* numbers that are copied together */

void twins_done(struct twins *t)
{
	free(t->runs);
	free(t->picked.others);
	*t = (struct twins){0};
}

/* --- the part that tells which they are ---------------------------------------- */

size_t twins_bound(const struct twins *t)
{
	return 32 + RUN_BYTES * t->n_runs;
}

size_t twins_write(struct column_codec *c, const struct twins *t, enum column_effort effort,
		   uint8_t *out)
{
	uint8_t *raw = malloc(10 + RUN_BYTES * t->n_runs), *at;
	uint32_t expected = 0;
	size_t len;

	if (!raw)
		return 0;
	at = varint_put(raw, t->n_runs);
	for (size_t r = 0; r < t->n_runs; r++) {
		const struct twin_run *run = &t->runs[r];
		uint32_t far = run->from - expected;

		at = varint_put(varint_put(at, run->before), run->n);
		at = varint_put(at, far << 1 ^ (0 - (far >> 31)));
		expected = run->from + run->n;
	}
	len = column_encode_bytes(c, raw, (size_t)(at - raw), effort, out);
	free(raw);
	return len;
}

static bool get_number(const uint8_t **at, const uint8_t *end, uint32_t *ret)
{
	uint64_t value;

	if (!varint_get(at, end, &value) || value > UINT32_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

/* Into t, of which n_rows is known. */
static bool get_runs(const uint8_t *at, const uint8_t *end, struct twins *t)
{
	uint32_t expected = 0, far;
	size_t rows = 0;

	for (size_t r = 0; r < t->n_runs; r++) {
		struct twin_run *run = &t->runs[r];

		if (!get_number(&at, end, &run->before) || !get_number(&at, end, &run->n) ||
		    !get_number(&at, end, &far) || run->n == 0)
			return false;
		rows += (size_t)run->before + run->n;
		if (rows > t->n_rows)
			return false;
		t->n_twins += run->n;
		run->from = expected + (far >> 1 ^ (0 - (far & 1)));
		expected = run->from + run->n;
	}
	for (size_t r = 0; r < t->n_runs; r++)
		if ((size_t)t->runs[r].from + t->runs[r].n > t->n_rows - t->n_twins)
			return false;
	return at == end && t->n_twins > 0;
}

static int open_runs(const uint8_t *raw, size_t len, size_t n_rows, struct twins *ret)
{
	struct twins t = {.n_rows = n_rows};
	const uint8_t *at = raw, *end = raw + len;
	uint64_t n;

	if (!varint_get(&at, end, &n) || n == 0 || n > n_rows)
		return -EBADMSG;
	t.n_runs = (size_t)n;
	t.runs = malloc(t.n_runs * sizeof(*t.runs));
	if (!t.runs)
		return -ENOMEM;
	if (!get_runs(at, end, &t)) {
		twins_done(&t);
		return -EBADMSG;
	}
	*ret = t;
	return 0;
}

int twins_read(struct column_codec *c, const uint8_t *data, size_t len, size_t n_rows,
	       struct twins *ret)
{
	size_t raw_len;
	uint8_t *raw;
	int err;

	if (!column_bytes_length(data, len, 10 + RUN_BYTES * n_rows, &raw_len))
		return -EBADMSG;
	raw = malloc(raw_len + 1);
	if (!raw)
		return -ENOMEM;
	if (column_decode_bytes(c, data, len, raw, raw_len))
		err = open_runs(raw, raw_len, n_rows, ret);
	else
		err = column_codec_out_of_memory(c) ? -ENOMEM : -EBADMSG;
	free(raw);
	return err;
}

/* --- rows that are picked ------------------------------------------------------- */

int twins_pick(struct twins *t, const struct column_rows *rows)
{
	const struct twin_run *run = t->runs, *end = t->runs + t->n_runs;
	uint32_t first = run->before, twins = 0; /* row of the run, and twins before it */
	uint32_t *others = malloc((2 * rows->n + 1) * sizeof(*others)), *numbers;

	if (!others)
		return -ENOMEM;
	numbers = others + rows->n;
	for (size_t i = 0; i < rows->n; i++) {
		uint32_t row = rows->picked[i];

		while (run < end && row >= first + run->n) {
			twins += run->n;
			first += run->n;
			run++;
			first += run < end ? run->before : 0;
		}
		if (run < end && row >= first) {
			numbers[i] = twins + (row - first);
			others[i] = run->from + (row - first);
		} else {
			numbers[i] = TWINS_NONE;
			others[i] = row - twins;
		}
	}
	free(t->picked.others);
	t->picked = (struct twin_pick){others, numbers};
	return 0;
}

/*
 * Which of the twins that differ are picked, by the gaps between these. The gaps become
 * numbers of twins, as far as it goes. False if one of them is no twin.
 */
static bool pick_differing(const struct twins *t, size_t n_picked, uint32_t *gaps, size_t n,
			   uint32_t *ret, size_t *ret_n)
{
	const uint32_t *numbers = t->picked.numbers;
	uint64_t twin = 0;
	size_t i = 0, found = 0;

	for (size_t k = 0; k < n; k++) {
		twin += gaps[k];
		if (twin >= t->n_twins)
			return false;
		gaps[k] = (uint32_t)twin++;
		while (i < n_picked && (numbers[i] < gaps[k] || numbers[i] == TWINS_NONE))
			i++;
		if (i == n_picked)
			break;
		ret[found] = (uint32_t)k;
		found += numbers[i] == gaps[k];
	}
	*ret_n = found;
	return true;
}

/* --- columns ---------------------------------------------------------------------- */

/* A varint of LENGTH_BYTES bytes, whatever its value. */
static void put_length(uint8_t *at, size_t len)
{
	for (unsigned i = 0; i < LENGTH_BYTES; i++)
		at[i] = (uint8_t)(len >> 7 * i | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
}

/* What a column is made of. */
struct pieces {
	const uint8_t *others, *gaps, *differences;
	size_t others_len, gaps_len, differences_len, n_differ;
};

/* As many bytes as the varint at *at says. */
static bool get_piece(const uint8_t **at, const uint8_t *end, const uint8_t **ret, size_t *ret_len)
{
	uint64_t len;

	if (!varint_get(at, end, &len) || len > (size_t)(end - *at))
		return false;
	*ret = *at;
	*ret_len = (size_t)len;
	*at += len;
	return true;
}

static bool get_pieces(const uint8_t *data, size_t len, const struct twins *t, struct pieces *ret)
{
	const uint8_t *at = data + 1, *end = data + len;
	uint64_t n;

	if (!twins_needed(data, len) || !get_piece(&at, end, &ret->others, &ret->others_len) ||
	    !varint_get(&at, end, &n) || n > t->n_twins)
		return false;
	ret->n_differ = (size_t)n;
	if (n == 0)
		return at == end;
	if (!get_piece(&at, end, &ret->gaps, &ret->gaps_len))
		return false;
	ret->differences = at;
	ret->differences_len = (size_t)(end - at);
	return true;
}

uint64_t twins_most(const uint8_t *data, size_t len, const struct twins *t, size_t width)
{
	struct pieces p;

	if (!get_pieces(data, len, t, &p) || p.n_differ)
		return UINT64_MAX;
	return column_most(p.others, p.others_len, width);
}

/* Which of all twins are among those rows: the first, or how many are before, and how many. */
static struct column_rows twins_among(const struct twins *t, struct column_rows rows)
{
	size_t row = 0, end = rows.first + rows.n;
	struct column_rows ret = {0};

	for (size_t r = 0; r < t->n_runs && row < end; r++) {
		size_t first = row + t->runs[r].before, behind = first + t->runs[r].n;
		size_t from = first > rows.first ? first : rows.first;
		size_t to = behind < end ? behind : end;

		ret.n += from < to ? to - from : 0;
		to = behind < rows.first ? behind : rows.first;
		ret.first += first < to ? to - first : 0;
		row = behind;
	}
	return ret;
}

/* Widens from..behind by what those n from at on give to the wanted of the rows from row on. */
static void widen(struct column_rows wanted, size_t row, size_t at, size_t n, size_t *from,
		  size_t *behind)
{
	size_t end = wanted.first + wanted.n;
	size_t first = row > wanted.first ? row : wanted.first;
	size_t last = row + n < end ? row + n : end;

	if (first >= last)
		return;
	*from = at + (first - row) < *from ? at + (first - row) : *from;
	*behind = at + (last - row) > *behind ? at + (last - row) : *behind;
}

/* What spread() reads for these rows, which are not none, of those that are no twins. */
static struct column_rows others_read(const struct twins *t, struct column_rows rows)
{
	size_t row = 0, at = 0, from = t->n_rows, behind = 0;

	for (size_t r = 0; r < t->n_runs && row < rows.first + rows.n; r++) {
		const struct twin_run *run = &t->runs[r];

		widen(rows, row, at, run->before, &from, &behind);
		row += run->before;
		at += run->before;
		widen(rows, row, run->from, run->n, &from, &behind);
		row += run->n;
	}
	widen(rows, row, at, t->n_rows - row, &from, &behind);
	return (struct column_rows){from, behind - from};
}

#define TWINS_T	   uint32_t
#define TWINS_F(x) x##_u32
#include "proto/twins_typed.h"
#undef TWINS_T
#undef TWINS_F

#define TWINS_T	   uint64_t
#define TWINS_F(x) x##_u64
#include "proto/twins_typed.h"
