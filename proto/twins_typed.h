/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * twins_typed.h - the part of twins.c that is made once for each size of number:
 * TWINS_T, TWINS_F(name). No header guard: included twice.
 */

/* 0, -1, 1, -2, ... as 0, 1, 2, 3, ... */
static TWINS_T TWINS_F(zigzag)(TWINS_T difference)
{
	return (TWINS_T)(difference << 1) ^
	       (TWINS_T)(0 - (difference >> (8 * sizeof(TWINS_T) - 1)));
}

static TWINS_T TWINS_F(unzigzag)(TWINS_T number)
{
	return number >> 1 ^ (TWINS_T)(0 - (number & 1));
}

/* --- encoding -------------------------------------------------------------------- */

/* The rows that are no twins. */
static void TWINS_F(take_others)(const struct twins *t, const TWINS_T *in, TWINS_T *ret)
{
	const TWINS_T *at = in;

	for (size_t r = 0; r < t->n_runs; r++) {
		memcpy(ret, at, t->runs[r].before * sizeof(*at));
		ret += t->runs[r].before;
		at += t->runs[r].before + t->runs[r].n;
	}
	memcpy(ret, at, (size_t)(in + t->n_rows - at) * sizeof(*at));
}

/* The twins that differ from their rows in others: how far, and how many are between. */
static size_t TWINS_F(take_differing)(const struct twins *t, const TWINS_T *in,
				      const TWINS_T *others, TWINS_T *differences, uint32_t *gaps)
{
	uint32_t twin = 0, expected = 0;
	size_t k = 0;

	for (size_t r = 0; r < t->n_runs; r++) {
		const TWINS_T *from = others + t->runs[r].from;

		in += t->runs[r].before;
		for (size_t i = 0; i < t->runs[r].n; i++, twin++) { /* no branch on a value */
			TWINS_T d = *in++ - from[i];

			differences[k] = TWINS_F(zigzag)(d);
			gaps[k] = twin - expected;
			expected = d ? twin + 1 : expected;
			k += d != 0;
		}
	}
	return k;
}

size_t TWINS_F(twins_encode)(struct column_codec *c, const struct twins *t, const TWINS_T *in,
			     enum column_effort effort, uint8_t *out)
{
	size_t n_others = t->n_rows - t->n_twins, n_differ, len;
	TWINS_T *others = column_codec_spare(c), *differences = others + n_others;
	uint32_t *gaps = column_codec_spare_too(c);
	uint8_t *at = out + 1 + LENGTH_BYTES;
	uint64_t value;

	TWINS_F(take_others)(t, in, others);
	n_differ = TWINS_F(take_differing)(t, in, others, differences, gaps);
	len = TWINS_F(column_encode)(c, others, n_others, effort, at);
	if (n_differ == 0 && column_is_constant(at, len, &value))
		return column_encode_constant(value, out);
	out[0] = TWINS_ENCODING;
	put_length(out + 1, len);
	at = varint_put(at + len, n_differ);
	if (n_differ == 0)
		return (size_t)(at - out);
	len = column_encode_u32(c, gaps, n_differ, effort, at + LENGTH_BYTES);
	put_length(at, len);
	at += LENGTH_BYTES + len;
	return (size_t)(at - out) + TWINS_F(column_encode)(c, differences, n_differ, effort, at);
}

/* --- decoding --------------------------------------------------------------------- */

/* Where rows lie that are being put together. */
struct TWINS_F(target) {
	struct column_rows rows;
	TWINS_T *at; /* of the first of them */
};

/*
 * Those of n rows from there on that are wanted. As many as are done in one go are
 * written where more rows will come, and read where the codec has room.
 */
static void TWINS_F(copy_rows)(const struct TWINS_F(target) * to, size_t row, const TWINS_T *from,
			       size_t n)
{
	size_t end = to->rows.first + to->rows.n, skip;

	if (row < to->rows.first) {
		skip = to->rows.first - row < n ? to->rows.first - row : n;
		row += skip;
		from += skip;
		n -= skip;
	}
	if (row + n + IN_ONE_GO > end) {
		if (row < end)
			memcpy(to->at + (row - to->rows.first), from,
			       (n < end - row ? n : end - row) * sizeof(*from));
		return;
	}
	for (size_t i = 0; i < n; i += IN_ONE_GO)
		memcpy(to->at + (row + i - to->rows.first), from + i, IN_ONE_GO * sizeof(*from));
}

static void TWINS_F(spread)(const struct twins *t, const TWINS_T *others,
			    const struct TWINS_F(target) * to)
{
	size_t row = 0, end = to->rows.first + to->rows.n;
	const TWINS_T *at = others;

	for (size_t r = 0; r < t->n_runs && row < end; r++) {
		const struct twin_run *run = &t->runs[r];

		TWINS_F(copy_rows)(to, row, at, run->before);
		TWINS_F(copy_rows)(to, row + run->before, others + run->from, run->n);
		row += run->before + run->n;
		at += run->before;
	}
	if (row < end)
		TWINS_F(copy_rows)(to, row, at, t->n_rows - row);
}

/* False: there are not so many twins. */
static bool TWINS_F(add_differences)(const struct twins *t, const TWINS_T *differences,
				     const uint32_t *gaps, size_t n,
				     const struct TWINS_F(target) * to)
{
	size_t row = 0, first = 0, k = 0; /* of a run: its row, and its number among all twins */
	uint64_t twin = gaps[0];

	for (size_t r = 0; r < t->n_runs; r++) {
		size_t behind = first + t->runs[r].n;

		row += t->runs[r].before;
		while (twin < behind) {
			size_t i = row + twin - first - to->rows.first; /* wraps: before them */

			if (i < to->rows.n)
				to->at[i] += TWINS_F(unzigzag)(differences[k]);
			if (++k == n)
				return true;
			twin += (uint64_t)gaps[k] + 1;
		}
		row += t->runs[r].n;
		first = behind;
	}
	return false;
}

/* The same where every twin differs. */
VECTORS static void TWINS_F(add_all_differences)(const struct twins *t, const TWINS_T *differences,
						 const struct TWINS_F(target) * to)
{
	size_t row = 0, end = to->rows.first + to->rows.n;

	for (size_t r = 0; r < t->n_runs && row < end; r++) {
		size_t from = row + t->runs[r].before, behind = from + t->runs[r].n;
		size_t first = from > to->rows.first ? from : to->rows.first;

		row = behind;
		for (size_t i = first; i < behind && i < end; i++)
			to->at[i - to->rows.first] += TWINS_F(unzigzag)(differences[i - from]);
		differences += t->runs[r].n;
	}
}

static bool TWINS_F(get_differences)(struct column_codec *c, const struct twins *t,
				     const struct pieces *p, const struct TWINS_F(target) * to)
{
	TWINS_T *differences = column_codec_spare(c);
	uint32_t *gaps = column_codec_spare_too(c);
	uint64_t gap;

	if (p->n_differ == t->n_twins && column_is_constant(p->gaps, p->gaps_len, &gap) &&
	    gap == 0) {
		if (!TWINS_F(column_decode)(c, p->differences, p->differences_len, p->n_differ,
					    differences))
			return false;
		TWINS_F(add_all_differences)(t, differences, to);
		return true;
	}
	return column_decode_u32(c, p->gaps, p->gaps_len, p->n_differ, gaps) &&
	       TWINS_F(column_decode)(c, p->differences, p->differences_len, p->n_differ,
				      differences) &&
	       TWINS_F(add_differences)(t, differences, gaps, p->n_differ, to);
}

/* Their differences, where they are twins that differ; every picked row is at its place. */
static bool TWINS_F(add_picked)(struct column_codec *c, const struct twins *t,
				const struct pieces *p, size_t n_picked, TWINS_T *ret)
{
	const uint32_t *numbers = t->picked.numbers;
	TWINS_T *differences = column_codec_spare(c);
	uint32_t *gaps = column_codec_spare_too(c), *which = gaps + p->n_differ;
	struct column_rows rows = {.picked = which};

	if (!column_decode_u32(c, p->gaps, p->gaps_len, p->n_differ, gaps) ||
	    !pick_differing(t, n_picked, gaps, p->n_differ, which, &rows.n))
		return false;
	if (rows.n && !TWINS_F(column_decode_rows)(c, p->differences, p->differences_len,
						   p->n_differ, rows, differences))
		return false;
	for (size_t k = 0, i = 0; k < rows.n; k++, i++) {
		while (numbers[i] != gaps[which[k]])
			i++;
		ret[i] += TWINS_F(unzigzag)(differences[k]);
	}
	return true;
}

static bool TWINS_F(get_picked)(struct column_codec *c, const struct twins *t,
				const struct pieces *p, size_t n, TWINS_T *ret)
{
	const struct column_rows others = {.n = n, .picked = t->picked.others};

	return TWINS_F(column_decode_rows)(c, p->others, p->others_len, t->n_rows - t->n_twins,
					   others, ret) &&
	       (p->n_differ == 0 || TWINS_F(add_picked)(c, t, p, n, ret));
}

bool TWINS_F(twins_decode_rows)(struct column_codec *c, const struct twins *t, const uint8_t *data,
				size_t len, struct column_rows rows, TWINS_T *ret)
{
	const struct TWINS_F(target) to = {rows, ret};
	size_t n_others = t->n_rows - t->n_twins;
	TWINS_T *others = column_codec_spare(c);
	struct column_rows twins, read;
	struct pieces p;

	if (rows.first > t->n_rows || rows.n > t->n_rows - rows.first ||
	    !get_pieces(data, len, t, &p))
		return false;
	if (rows.picked)
		return TWINS_F(get_picked)(c, t, &p, rows.n, ret);
	twins = twins_among(t, rows);
	if (twins.n == 0) {
		rows.first -= twins.first;
		return TWINS_F(column_decode_rows)(c, p.others, p.others_len, n_others, rows, ret);
	}
	read = others_read(t, rows);
	if (!TWINS_F(column_decode_rows)(c, p.others, p.others_len, n_others, read,
					 others + read.first))
		return false;
	TWINS_F(spread)(t, others, &to);
	return p.n_differ == 0 || TWINS_F(get_differences)(c, t, &p, &to);
}
