// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/sqlite/distinct_sketch.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include <sqlite3.h>

#define BITS	  12
#define REGISTERS (1u << BITS)
#define RANKS	  (64 - BITS + 1) /* the highest; 0: no value */
#define SIZE_MIN  16
#define ALPHA	  0.7213475204444817 /* 1 / (2 ln 2) */

void distinct_sketch_done(struct distinct_sketch *s)
{
	sqlite3_free(s->registers);
	sqlite3_free(s->hashes);
	*s = (struct distinct_sketch){0};
}

/* --- hashes ---------------------------------------------------------------------- */

/* The finalizer of splitmix64. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t distinct_hash(uint64_t kind, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint64_t h = mix(kind * UINT64_C(0x9e3779b97f4a7c15) + len);

	while (len > 0) {
		size_t n = len < sizeof(uint64_t) ? len : sizeof(uint64_t);
		uint64_t word = 0;

		memcpy(&word, at, n);
		h = mix((h ^ word) + UINT64_C(0x9e3779b97f4a7c15));
		at += n;
		len -= n;
	}
	return h;
}

/* --- registers -------------------------------------------------------------------- */

static void raise_register(uint8_t *registers, uint64_t hash)
{
	uint64_t rest = hash << BITS;
	uint8_t rank = rest ? (uint8_t)(__builtin_clzll(rest) + 1) : RANKS;
	uint8_t *r = &registers[hash >> (64 - BITS)];

	if (*r < rank)
		*r = rank;
}

static int use_registers(struct distinct_sketch *s)
{
	uint8_t *registers;

	if (s->registers)
		return 0;
	registers = sqlite3_malloc64(REGISTERS);
	if (!registers)
		return -ENOMEM;
	memset(registers, 0, REGISTERS);
	for (size_t i = 0; i < s->size; i++)
		if (s->hashes[i])
			raise_register(registers, s->hashes[i]);
	distinct_sketch_done(s);
	s->registers = registers;
	return 0;
}

/* --- adding ------------------------------------------------------------------------ */

/* Where the hash is, or may be put. */
static uint64_t *slot_of(uint64_t *hashes, size_t size, uint64_t hash)
{
	size_t i = hash & (size - 1);

	while (hashes[i] && hashes[i] != hash)
		i = (i + 1) & (size - 1);
	return &hashes[i];
}

static int grow(struct distinct_sketch *s)
{
	size_t size = s->size ? 2 * s->size : SIZE_MIN;
	uint64_t *hashes = sqlite3_malloc64(size * sizeof(*hashes));

	if (!hashes)
		return -ENOMEM;
	memset(hashes, 0, size * sizeof(*hashes));
	for (size_t i = 0; i < s->size; i++)
		if (s->hashes[i])
			*slot_of(hashes, size, s->hashes[i]) = s->hashes[i];
	sqlite3_free(s->hashes);
	s->hashes = hashes;
	s->size = size;
	return 0;
}

int distinct_sketch_add(struct distinct_sketch *s, uint64_t hash)
{
	uint64_t *slot;
	int err = 0;

	hash += hash == 0; /* a hole */
	if (!s->registers) {
		if (2 * s->n >= s->size)
			err = grow(s);
		if (err)
			return err;
		slot = slot_of(s->hashes, s->size, hash);
		if (*slot)
			return 0;
		if (s->n < DISTINCT_EXACT) {
			*slot = hash;
			s->n++;
			return 0;
		}
		err = use_registers(s);
	}
	if (!err)
		raise_register(s->registers, hash);
	return err;
}

/* --- parts of a whole ----------------------------------------------------------------- */

static int merge_registers(struct distinct_sketch *s, const uint8_t *registers)
{
	int err;

	for (size_t i = 0; i < REGISTERS; i++)
		if (registers[i] > RANKS)
			return -EBADMSG;
	err = use_registers(s);
	for (size_t i = 0; !err && i < REGISTERS; i++)
		if (s->registers[i] < registers[i])
			s->registers[i] = registers[i];
	return err;
}

int distinct_sketch_merge(struct distinct_sketch *s, const uint8_t *packed, size_t len)
{
	int err = 0;

	if (len == 1 + REGISTERS && packed[0] == DISTINCT_PACKED_REGISTERS)
		return merge_registers(s, packed + 1);
	if (len < 1 || packed[0] != DISTINCT_PACKED_EXACT || len % sizeof(uint64_t) != 1 ||
	    len / sizeof(uint64_t) > DISTINCT_EXACT)
		return -EBADMSG;
	for (size_t at = 1; !err && at < len; at += sizeof(uint64_t)) {
		uint64_t hash;

		memcpy(&hash, packed + at, sizeof(hash));
		err = distinct_sketch_add(s, hash);
	}
	return err;
}

int distinct_sketch_pack(const struct distinct_sketch *s, uint8_t **ret, size_t *ret_len)
{
	size_t len = 1 + (s->registers ? REGISTERS : s->n * sizeof(uint64_t));
	uint8_t *packed = sqlite3_malloc64(len), *at;

	if (!packed)
		return -ENOMEM;
	packed[0] = s->registers ? DISTINCT_PACKED_REGISTERS : DISTINCT_PACKED_EXACT;
	at = packed + 1;
	if (s->registers)
		memcpy(at, s->registers, REGISTERS);
	for (size_t i = 0; !s->registers && i < s->size; i++) {
		if (!s->hashes[i])
			continue;
		memcpy(at, &s->hashes[i], sizeof(uint64_t));
		at += sizeof(uint64_t);
	}
	*ret = packed;
	*ret_len = len;
	return 0;
}

/* --- the estimate: algorithm 6 of the paper --------------------------------------------- */

static double sigma(double x)
{
	double y = 1, z = x, before;

	do {
		x *= x;
		before = z;
		z += x * y;
		y += y;
	} while (z > before);
	return z;
}

static double tau(double x)
{
	double y = 1, z = 1 - x, before;

	if (x <= 0 || x >= 1)
		return 0;
	do {
		x = sqrt(x);
		before = z;
		y *= 0.5;
		z -= (1 - x) * (1 - x) * y;
	} while (z < before);
	return z / 3;
}

uint64_t distinct_sketch_count(const struct distinct_sketch *s)
{
	unsigned counts[RANKS + 1] = {0};
	double z, m = REGISTERS;

	if (!s->registers)
		return s->n;
	for (size_t i = 0; i < REGISTERS; i++)
		counts[s->registers[i]]++;
	if (counts[0] == REGISTERS)
		return 0;
	z = m * tau(1 - counts[RANKS] / m);
	for (unsigned k = RANKS - 1; k > 0; k--)
		z = 0.5 * (z + counts[k]);
	z += m * sigma(counts[0] / m);
	return (uint64_t)llround(ALPHA * m * m / z);
}
