// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/value_ids.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/hash.h"

#define CHUNK_BITS 12 /* of entries that are allocated together */
#define MAX_CHUNKS (1u << 19)
#define TEXT_CHUNK 65536
#define AHEAD	   8 /* values whose place in the table is fetched before it is read */

/* 16 bytes, a number and 0, or a text and its hash. */
struct entry {
	uint64_t a, b;
};

struct text_chunk {
	struct text_chunk *next;
	char bytes[];
};

struct value_ids {
	pthread_mutex_t lock; /* of all below */
	uint64_t seed;
	struct entry **chunks;
	size_t n, max_chunks;
	uint64_t *table; /* hash and id in 32 bits each; 0: empty */
	size_t mask;
	struct text_chunk *texts;
	size_t text_left;
};

int value_ids_new(struct value_ids **ret)
{
	struct value_ids *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->mask = 1023;
	v->table = calloc(v->mask + 1, sizeof(*v->table));
	if (!v->table) {
		free(v);
		return -ENOMEM;
	}
	v->seed = hash_seed();
	(void)pthread_mutex_init(&v->lock, NULL); /* cannot fail on Linux */
	*ret = v;
	return 0;
}

void value_ids_free(struct value_ids *v)
{
	if (!v)
		return;
	for (size_t c = 0; c << CHUNK_BITS < v->n; c++)
		free(v->chunks[c]);
	free(v->chunks);
	while (v->texts) {
		struct text_chunk *next = v->texts->next;

		free(v->texts);
		v->texts = next;
	}
	free(v->table);
	(void)pthread_mutex_destroy(&v->lock);
	free(v);
}

static struct entry *entry_of(const struct value_ids *v, uint32_t id)
{
	return &v->chunks[(id - 1) >> CHUNK_BITS][(id - 1) & ((1u << CHUNK_BITS) - 1)];
}

/* --- the table --------------------------------------------------------------------- */

static int grow_table(struct value_ids *v)
{
	size_t mask = 2 * v->mask + 1;
	uint64_t *table = calloc(mask + 1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i <= v->mask; i++) {
		size_t at = (v->table[i] >> 32) & mask;

		if (!v->table[i])
			continue;
		while (table[at])
			at = (at + 1) & mask;
		table[at] = v->table[i];
	}
	free(v->table);
	v->table = table;
	v->mask = mask;
	return 0;
}

static int add_chunk(struct value_ids *v)
{
	size_t c = v->n >> CHUNK_BITS;

	if (c == MAX_CHUNKS)
		return -EOVERFLOW;
	if (c == v->max_chunks) {
		size_t max = v->max_chunks ? 2 * v->max_chunks : 16;
		struct entry **chunks = realloc(v->chunks, max * sizeof(*chunks));

		if (!chunks)
			return -ENOMEM;
		v->chunks = chunks;
		v->max_chunks = max;
	}
	v->chunks[c] = malloc(sizeof(struct entry) << CHUNK_BITS);
	return v->chunks[c] ? 0 : -ENOMEM;
}

/* A new one, at that place of the table. */
static int add(struct value_ids *v, size_t at, uint32_t hash, struct entry e, uint32_t *ret)
{
	int err = 0;

	if ((v->n & ((1u << CHUNK_BITS) - 1)) == 0)
		err = add_chunk(v);
	if (err)
		return err;
	*ret = (uint32_t)++v->n;
	*entry_of(v, *ret) = e;
	v->table[at] = (uint64_t)hash << 32 | *ret;
	return 2 * v->n > v->mask ? grow_table(v) : 0;
}

/* The place of an entry of the same two words, or where it is to be. */
static size_t find(const struct value_ids *v, uint32_t hash, struct entry e)
{
	size_t at = hash & v->mask;

	for (; v->table[at]; at = (at + 1) & v->mask) {
		const struct entry *there;

		if (v->table[at] >> 32 != hash)
			continue;
		there = entry_of(v, (uint32_t)v->table[at]);
		if (there->a == e.a && there->b == e.b)
			break;
	}
	return at;
}

static int id_of_entry(struct value_ids *v, uint32_t hash, struct entry e, uint32_t *ret)
{
	size_t at = find(v, hash, e);

	if (!v->table[at])
		return add(v, at, hash, e, ret);
	*ret = (uint32_t)v->table[at];
	return 0;
}

static uint32_t hash_entry(const struct value_ids *v, struct entry e)
{
	return (uint32_t)(hash_pair(v->seed, e.a, e.b) >> 32);
}

/* --- addresses and numbers ------------------------------------------------------------ */

static struct entry addr_entry(const uint8_t addr[16])
{
	struct entry e;

	memcpy(&e, addr, sizeof(e));
	return e;
}

int value_ids_addrs(struct value_ids *v, const uint8_t (*values)[16], const uint32_t *at, size_t n,
		    uint32_t *ret)
{
	uint32_t ahead[AHEAD];
	int err = 0;

	(void)pthread_mutex_lock(&v->lock);
	for (size_t i = 0; !err && i < n + AHEAD; i++) {
		if (i >= AHEAD)
			err = id_of_entry(v, ahead[i % AHEAD], addr_entry(values[at[i - AHEAD]]),
					  &ret[i - AHEAD]);
		if (i < n) {
			ahead[i % AHEAD] = hash_entry(v, addr_entry(values[at[i]]));
			__builtin_prefetch(&v->table[ahead[i % AHEAD] & v->mask]);
		}
	}
	(void)pthread_mutex_unlock(&v->lock);
	return err;
}

int value_ids_numbers(struct value_ids *v, const uint64_t *values, size_t n, uint32_t *ret)
{
	int err = 0;

	(void)pthread_mutex_lock(&v->lock);
	for (size_t i = 0; !err && i < n; i++) {
		struct entry e = {values[i], 0};

		if (i && values[i] == values[i - 1])
			ret[i] = ret[i - 1];
		else
			err = id_of_entry(v, hash_entry(v, e), e, &ret[i]);
	}
	(void)pthread_mutex_unlock(&v->lock);
	return err;
}

/* --- texts ------------------------------------------------------------------------------ */

static uint64_t hash_text(const struct value_ids *v, const char *text)
{
	uint64_t h = v->seed;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return hash_pair(v->seed, h, h >> 32);
}

static const char *copy_text(struct value_ids *v, const char *text)
{
	size_t len = strlen(text) + 1;
	struct text_chunk *chunk = v->texts;

	if (len > v->text_left) {
		size_t size = len > TEXT_CHUNK ? len : TEXT_CHUNK;

		chunk = malloc(sizeof(*chunk) + size);
		if (!chunk)
			return NULL;
		chunk->next = v->texts;
		v->texts = chunk;
		v->text_left = size;
	}
	v->text_left -= len;
	return memcpy(chunk->bytes + v->text_left, text, len);
}

static const char *text_of(const struct entry *e)
{
	return (const char *)(uintptr_t)e->a;
}

static int id_of_text(struct value_ids *v, const char *text, uint32_t *ret)
{
	uint64_t h = hash_text(v, text);
	uint32_t hash = (uint32_t)(h >> 32);
	size_t at = hash & v->mask;
	const char *copy;

	for (; v->table[at]; at = (at + 1) & v->mask) {
		const struct entry *there;

		if (v->table[at] >> 32 != hash)
			continue;
		there = entry_of(v, (uint32_t)v->table[at]);
		if (there->b == h && strcmp(text_of(there), text) == 0) {
			*ret = (uint32_t)v->table[at];
			return 0;
		}
	}
	copy = copy_text(v, text);
	return copy ? add(v, at, hash, (struct entry){(uintptr_t)copy, h}, ret) : -ENOMEM;
}

int value_ids_texts(struct value_ids *v, const char *const *texts, const uint32_t *at, size_t n,
		    uint32_t *ret)
{
	int err = 0;

	(void)pthread_mutex_lock(&v->lock);
	for (size_t i = 0; !err && i < n; i++)
		err = id_of_text(v, texts[at[i]], &ret[i]);
	(void)pthread_mutex_unlock(&v->lock);
	return err;
}

/* --- back -------------------------------------------------------------------------------- */

static const struct entry *get(struct value_ids *v, uint32_t id)
{
	const struct entry *e;

	(void)pthread_mutex_lock(&v->lock);
	e = entry_of(v, id);
	(void)pthread_mutex_unlock(&v->lock);
	return e;
}

const uint8_t *value_ids_addr(struct value_ids *v, uint32_t id)
{
	return (const uint8_t *)get(v, id);
}

uint64_t value_ids_number(struct value_ids *v, uint32_t id)
{
	return get(v, id)->a;
}

const char *value_ids_text(struct value_ids *v, uint32_t id)
{
	return text_of(get(v, id));
}
