/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * column_typed.h - the part of column.c that is made once for each size of
 * number: COLUMN_T, COLUMN_F(name). No header guard: included twice.
 *
 * The loops have no branch that depends on a value, so that the compiler makes
 * vectors of them (the Makefile gives column.c -O3).
 */

struct COLUMN_F(span) {
	COLUMN_T min, max;
};

VECTORS static struct COLUMN_F(span) COLUMN_F(span_of)(const COLUMN_T *in, size_t n)
{
	struct COLUMN_F(span) s = {in[0], in[0]};

	for (size_t i = 1; i < n; i++) {
		s.min = in[i] < s.min ? in[i] : s.min;
		s.max = in[i] > s.max ? in[i] : s.max;
	}
	return s;
}

/* --- encoding ------------------------------------------------------------------ */

static void COLUMN_F(pack)(const COLUMN_T *in, size_t n, COLUMN_T base, unsigned bits, uint8_t *out)
{
	uint64_t word = 0;
	unsigned filled = 0;
	uint8_t *at = out;
	size_t rest;

	for (size_t i = 0; i < n; i++) {
		uint64_t value = (COLUMN_T)(in[i] - base);

		word |= value << filled;
		filled += bits;
		if (filled >= 64) {
			memcpy(at, &word, sizeof(word));
			at += sizeof(word);
			filled -= 64;
			word = filled ? value >> (bits - filled) : 0;
		}
	}
	rest = packed_bytes(n, bits) - (size_t)(at - out);
	memcpy(at, &word, rest);
}

static size_t COLUMN_F(put_packed)(const COLUMN_T *in, size_t n, COLUMN_T base, unsigned bits,
				   uint8_t *out)
{
	uint8_t *at;

	out[0] = PACKED;
	at = varint_put(out + 1, base);
	*at++ = (uint8_t)bits;
	COLUMN_F(pack)(in, n, base, bits, at);
	return (size_t)(at - out) + packed_bytes(n, bits);
}

VECTORS static void COLUMN_F(split_plane)(const COLUMN_T *in, size_t n, COLUMN_T base,
					  unsigned shift, uint8_t *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)((COLUMN_T)(in[i] - base) >> shift);
}

/*
 * Planes behind the head. A plane that does not compress is kept as it is,
 * though it may have room for 8 bits where fewer would do: the caller compares
 * with PACKED.
 */
static size_t COLUMN_F(put_planes)(struct column_codec *c, const COLUMN_T *in, size_t n,
				   COLUMN_T base, unsigned bits, uint8_t *out)
{
	unsigned planes = (bits + 7) / 8;
	uint8_t *at;

	out[0] = PLANES;
	at = varint_put(out + 1, base);
	*at++ = (uint8_t)planes;
	/* The lengths come first, but are known last: each has 3 bytes of room. */
	uint8_t *lengths = at;

	at += (size_t)3 * planes;
	for (unsigned p = 0; p < planes; p++) {
		size_t len;

		COLUMN_F(split_plane)(in, n, base, 8 * p, c->planes);
		len = squeeze_plane(c, c->planes, n, at);
		if (!len) {
			memcpy(at, c->planes, n);
			len = n;
		}
		lengths[0] = (uint8_t)(len | 0x80);
		lengths[1] = (uint8_t)(len >> 7 | 0x80);
		lengths[2] = (uint8_t)(len >> 14);
		lengths += 3;
		at += len;
	}
	return (size_t)(at - out);
}

/* PACKED or PLANES; in has more than one value. */
static size_t COLUMN_F(put_dense)(struct column_codec *c, const COLUMN_T *in, size_t n,
				  struct COLUMN_F(span) s, enum column_effort effort, uint8_t *out)
{
	unsigned bits = bits_of(s.max - s.min);
	size_t len = 0;

	if (effort == COLUMN_SMALL && n >= 64) {
		len = COLUMN_F(put_planes)(c, in, n, s.min, bits, out);
		/* Unpacking is twice as fast as zstd: a few percent are not worth it. */
		if (len < packed_bytes(n, bits) - packed_bytes(n, bits) / 32)
			return len;
	}
	return COLUMN_F(put_packed)(in, n, s.min, bits, out);
}

VECTORS static size_t COLUMN_F(count_other)(const COLUMN_T *in, size_t n, COLUMN_T base)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += in[i] != base;
	return count;
}

/* A byte for each number: whether it is not the base. */
VECTORS static void COLUMN_F(mark_others)(const COLUMN_T *in, size_t n, COLUMN_T base, uint8_t *ret)
{
	for (size_t i = 0; i < n; i++)
		ret[i] = in[i] != base;
}

/* The numbers whose bits are set, of n_bytes of bits and zeros behind them. */
static void COLUMN_F(take_others)(const COLUMN_T *in, const uint8_t *bits, size_t n_bytes,
				  COLUMN_T *ret)
{
	for (size_t at = 0; at < n_bytes; at += 8)
		for (uint64_t word = load64(bits + at); word; word &= word - 1)
			*ret++ = in[at * 8 + (size_t)__builtin_ctzll(word)];
}

static size_t COLUMN_F(put_sparse)(struct column_codec *c, const COLUMN_T *in, size_t n,
				   COLUMN_T base, size_t n_others, enum column_effort effort,
				   uint8_t *out)
{
	COLUMN_T *others = (COLUMN_T *)c->inner;
	struct COLUMN_F(span) s;
	uint8_t *at, *length;
	size_t n_bytes = (n + 7) / 8, len;

	COLUMN_F(mark_others)(in, n, base, c->planes);
	put_bits(c, n);
	COLUMN_F(take_others)(in, c->bits, n_bytes, others);
	out[0] = SPARSE;
	at = varint_put(out + 1, base);
	at = varint_put(at, n_others);
	length = at;
	len = column_encode_bytes(c, c->bits, n_bytes, effort, at + 3);
	length[0] = (uint8_t)(len | 0x80);
	length[1] = (uint8_t)(len >> 7 | 0x80);
	length[2] = (uint8_t)(len >> 14);
	at += 3 + len;
	s = COLUMN_F(span_of)(others, n_others);
	if (s.min == s.max) {
		at[0] = CONST;
		return (size_t)(varint_put(at + 1, s.min) - out);
	}
	return (size_t)(at - out) + COLUMN_F(put_dense)(c, others, n_others, s, effort, at);
}

size_t COLUMN_F(column_encode)(struct column_codec *c, const COLUMN_T *in, size_t n,
			       enum column_effort effort, uint8_t *out)
{
	struct COLUMN_F(span) s = COLUMN_F(span_of)(in, n);
	unsigned bits = bits_of(s.max - s.min);
	size_t others;

	if (s.min == s.max) {
		out[0] = CONST;
		return (size_t)(varint_put(out + 1, s.min) - out);
	}
	others = COLUMN_F(count_other)(in, n, s.min);
	if (bits > 1 && packed_bytes(n, 1) + packed_bytes(others, bits) < packed_bytes(n, bits))
		return COLUMN_F(put_sparse)(c, in, n, s.min, others, effort, out);
	return COLUMN_F(put_dense)(c, in, n, s, effort, out);
}

/* --- decoding ------------------------------------------------------------------ */

VECTORS static void COLUMN_F(unpack)(const uint8_t *in, size_t len, struct column_rows rows,
				     COLUMN_T base, unsigned bits, COLUMN_T *ret)
{
	size_t safe = safe_numbers(rows.first + rows.n, bits, len);
	struct tail tail = tail_of(in, len);
	uint64_t mask = mask_of(bits);
	size_t i = 0;

	for (; rows.first + i < safe; i++) {
		size_t at = (rows.first + i) * bits;

		ret[i] = (COLUMN_T)(base + (COLUMN_T)(load64(in + at / 8) >> at % 8 & mask));
	}
	for (; i < rows.n; i++) {
		size_t at = (rows.first + i) * bits - tail.from * 8;

		ret[i] =
			(COLUMN_T)(base + (COLUMN_T)(load64(tail.bytes + at / 8) >> at % 8 & mask));
	}
}

static void COLUMN_F(unpack_picked)(const uint8_t *in, size_t len, const struct column_rows *rows,
				    COLUMN_T base, unsigned bits, COLUMN_T *ret)
{
	size_t safe = safe_numbers(SIZE_MAX, bits, len);
	struct tail tail = tail_of(in, len);
	uint64_t mask = mask_of(bits);

	for (size_t i = 0; i < rows->n; i++) {
		size_t row = rows->picked[i], at = row * bits;
		uint64_t word =
			row < safe ? load64(in + at / 8) : load64(tail.bytes + at / 8 - tail.from);

		ret[i] = (COLUMN_T)(base + (COLUMN_T)(word >> at % 8 & mask));
	}
}

static bool COLUMN_F(get_packed)(const uint8_t *at, const uint8_t *end, size_t n,
				 struct column_rows rows, COLUMN_T base, COLUMN_T *ret)
{
	unsigned bits;

	if (at == end)
		return false;
	bits = *at++;
	if (bits < 1 || (bits > MAX_SHIFT && bits != 64) || bits > 8 * sizeof(COLUMN_T) ||
	    (size_t)(end - at) != packed_bytes(n, bits))
		return false;
	if (rows.picked)
		COLUMN_F(unpack_picked)(at, (size_t)(end - at), &rows, base, bits, ret);
	else
		COLUMN_F(unpack)(at, (size_t)(end - at), rows, base, bits, ret);
	return true;
}

/* One pass over what it makes, which is many times as large as the planes. */
VECTORS static void COLUMN_F(join_planes)(const uint8_t *const plane[], unsigned planes, size_t n,
					  COLUMN_T base, COLUMN_T *ret)
{
	const uint8_t *a = plane[0], *b = plane[1], *c = plane[2], *d = plane[3];

	switch (planes) {
	case 1:
		for (size_t i = 0; i < n; i++)
			ret[i] = base + a[i];
		return;
	case 2:
		for (size_t i = 0; i < n; i++)
			ret[i] = base + (a[i] | (uint32_t)b[i] << 8);
		return;
	case 3:
		for (size_t i = 0; i < n; i++)
			ret[i] = base + (a[i] | (uint32_t)b[i] << 8 | (uint32_t)c[i] << 16);
		return;
	default:
		for (size_t i = 0; i < n; i++)
			ret[i] = base + (a[i] | (uint32_t)b[i] << 8 | (uint32_t)c[i] << 16 |
					 (uint32_t)d[i] << 24);
	}
	for (unsigned p = 4; p < planes; p++)
		for (size_t i = 0; i < n; i++)
			ret[i] += (COLUMN_T)((uint64_t)plane[p][i] << 8 * p);
}

static void COLUMN_F(join_picked)(const uint8_t *const plane[], unsigned planes,
				  const struct column_rows *rows, COLUMN_T base, COLUMN_T *ret)
{
	for (size_t i = 0; i < rows->n; i++)
		ret[i] = base;
	for (unsigned p = 0; p < planes; p++)
		for (size_t i = 0; i < rows->n; i++)
			ret[i] += (COLUMN_T)((uint64_t)plane[p][rows->picked[i]] << 8 * p);
}

VECTORS static void COLUMN_F(fill)(COLUMN_T *ret, size_t n, COLUMN_T value)
{
	for (size_t i = 0; i < n; i++)
		ret[i] = value;
}

static bool COLUMN_F(get_planes)(struct column_codec *c, const uint8_t *at, const uint8_t *end,
				 size_t n, struct column_rows rows, COLUMN_T base, COLUMN_T *ret)
{
	const uint8_t *plane[MAX_PLANES] = {NULL};
	size_t lengths[MAX_PLANES];
	unsigned planes;

	if (at == end)
		return false;
	planes = *at++;
	if (planes < 1 || planes > sizeof(COLUMN_T))
		return false;
	for (unsigned p = 0; p < planes; p++)
		if (!size_get(&at, end, n, &lengths[p]))
			return false;
	for (unsigned p = 0; p < planes; p++) {
		plane[p] = at;
		if (lengths[p] > (size_t)(end - at))
			return false;
		if (lengths[p] < n) {
			if (!unsqueeze_plane(c, at, lengths[p], c->planes + p * n, n, rows))
				return false;
			plane[p] = c->planes + p * n;
		}
		plane[p] += rows.first;
		at += lengths[p];
	}
	if (at != end)
		return false;
	if (rows.picked)
		COLUMN_F(join_picked)(plane, planes, &rows, base, ret);
	else
		COLUMN_F(join_planes)(plane, planes, rows.n, base, ret);
	return true;
}

/* Everything but SPARSE. */
static bool COLUMN_F(get_dense)(struct column_codec *c, const uint8_t *data, size_t len, size_t n,
				struct column_rows rows, COLUMN_T *ret)
{
	const uint8_t *at = data + 1, *end = data + len;
	uint64_t base;

	if (len < 2 || !varint_get(&at, end, &base) || base != (COLUMN_T)base)
		return false;
	switch (data[0]) {
	case CONST:
		COLUMN_F(fill)(ret, rows.n, (COLUMN_T)base);
		return at == end;
	case PACKED:
		return COLUMN_F(get_packed)(at, end, n, rows, (COLUMN_T)base, ret);
	case PLANES:
		return COLUMN_F(get_planes)(c, at, end, n, rows, (COLUMN_T)base, ret);
	default:
		return false;
	}
}

static void COLUMN_F(spread)(const uint8_t *bits, size_t n_bytes, const COLUMN_T *others,
			     COLUMN_T *ret)
{
	for (size_t at = 0; at < n_bytes; at += 8) {
		uint64_t word = load64(bits + at); /* zeros behind the end */

		for (; word; word &= word - 1)
			ret[at * 8 + (size_t)__builtin_ctzll(word)] = *others++;
	}
}

/* Of a SPARSE column whose bits are in the codec. */
static bool COLUMN_F(get_spread_picked)(struct column_codec *c, const struct sparse *s, size_t n,
					const struct column_rows *rows, COLUMN_T *ret)
{
	uint32_t *picks = (uint32_t *)c->checked, *ranks = picks + c->max_rows;
	struct column_rows inner = {.picked = picks};
	const COLUMN_T *other = (COLUMN_T *)c->inner;

	inner.n = rank_bits(c->bits, (n + 7) / 8, rows, ranks, picks);
	if (inner.n && !COLUMN_F(get_dense)(c, s->others, s->others_len, s->n_others, inner,
					    (COLUMN_T *)c->inner))
		return false;
	for (size_t i = 0; i < rows->n; i++) {
		uint32_t row = rows->picked[i];

		ret[i] = c->bits[row / 8] >> row % 8 & 1 ? *other++ : (COLUMN_T)s->base;
	}
	return true;
}

static bool COLUMN_F(get_spread)(struct column_codec *c, const uint8_t *data, size_t len, size_t n,
				 struct column_rows rows, COLUMN_T *ret)
{
	COLUMN_T *others = (COLUMN_T *)c->inner;
	struct column_rows inner;
	struct sparse s;

	if (!get_sparse(c, data, len, n, &s) || s.base != (COLUMN_T)s.base)
		return false;
	if (rows.picked)
		return COLUMN_F(get_spread_picked)(c, &s, n, &rows, ret);
	inner = cut_bits(c->bits, rows);
	if (!COLUMN_F(get_dense)(c, s.others, s.others_len, s.n_others, inner, others))
		return false;
	COLUMN_F(fill)(ret, rows.n, (COLUMN_T)s.base);
	COLUMN_F(spread)(c->bits, (rows.n + 7) / 8, others, ret);
	return true;
}

bool COLUMN_F(column_decode_rows)(struct column_codec *c, const uint8_t *data, size_t len, size_t n,
				  struct column_rows rows, COLUMN_T *ret)
{
	size_t most = rows.picked ? c->max_rows : n;

	if (len < 2 || n == 0 || n > c->max_rows || rows.first > n || rows.n > most - rows.first)
		return false;
	if (data[0] == SPARSE)
		return COLUMN_F(get_spread)(c, data, len, n, rows, ret);
	return COLUMN_F(get_dense)(c, data, len, n, rows, ret);
}

bool COLUMN_F(column_decode)(struct column_codec *c, const uint8_t *data, size_t len, size_t n,
			     COLUMN_T *ret)
{
	return COLUMN_F(column_decode_rows)(c, data, len, n, (struct column_rows){0, n}, ret);
}
