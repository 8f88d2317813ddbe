// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/stack/tally.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "common/cleanup.h"
#include "probe/datapath/siphash.h"

#define TABLE_SLOTS    (2 * TALLY_ENTRIES) /* a power of two, half empty: short searches */
#define BATCH_ENTRIES  1024
#define EXPIRE_EACH_NS 30000000000ull

struct entry {
	struct tally_key key;
	uint64_t packets, taken;
	bool used;
};

/* Open addressing by flow: all entries of one stand in one run. */
struct table {
	struct entry *entries; /* TABLE_SLOTS of them */
	uint32_t n;
};

struct tallies {
	struct siphash_key seed;
	struct table now, next; /* next: while a reading goes on */
	uint64_t added;		/* of the kernel, at the last reading */
	uint64_t looked_ns;
	uint64_t unclaimed;
};

int tallies_new(uint64_t seed, struct tallies **ret)
{
	struct tallies *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->seed = (struct siphash_key){seed, TABLE_SLOTS};
	t->now.entries = calloc(TABLE_SLOTS, sizeof(*t->now.entries));
	t->next.entries = calloc(TABLE_SLOTS, sizeof(*t->next.entries));
	if (!t->now.entries || !t->next.entries) {
		tallies_free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void tallies_free(struct tallies *t)
{
	if (!t)
		return;
	free(t->now.entries);
	free(t->next.entries);
	free(t);
}

static uint32_t first_place(const struct tallies *t, const struct flow_key *flow)
{
	return (uint32_t)siphash(&t->seed, flow, sizeof(*flow)) & (TABLE_SLOTS - 1);
}

/* The entry of key, or the free one where it belongs. There is one: the table is half empty. */
static struct entry *place_of(const struct tallies *t, const struct table *table,
			      const struct tally_key *key)
{
	uint32_t at = first_place(t, &key->flow);

	while (table->entries[at].used && memcmp(&table->entries[at].key, key, sizeof(*key)) != 0)
		at = (at + 1) & (TABLE_SLOTS - 1);
	return &table->entries[at];
}

void tallies_begin(struct tallies *t)
{
	if (t->next.n)
		memset(t->next.entries, 0, TABLE_SLOTS * sizeof(*t->next.entries));
	t->next.n = 0;
}

void tallies_put(struct tallies *t, const struct tally_key *key, const struct tally *value)
{
	struct entry *to = place_of(t, &t->next, key);
	const struct entry *before = place_of(t, &t->now, key);

	if (to->used || t->next.n == TALLY_ENTRIES)
		return; /* met twice: the map changed while it was read */
	*to = (struct entry){.key = *key, .packets = value->packets, .used = true};
	if (before->used && before->taken <= value->packets) /* else removed and made anew */
		to->taken = before->taken;
	t->next.n++;
}

void tallies_end(struct tallies *t)
{
	struct table read = t->next;

	t->next = t->now;
	t->now = read;
}

/* --- the kernel's map ---------------------------------------------------------------- */

struct reading {
	struct tally_key keys[BATCH_ENTRIES];
	struct tally values[BATCH_ENTRIES];
};

/* Removes an entry that is old. Returns whether it was. */
static bool remove_old(struct tallies *t, int fd, const struct tally_key *key,
		       const struct tally *value, uint64_t now_ns)
{
	const struct entry *e;

	if (now_ns < value->last_ns + TALLY_KEEP_NS)
		return false;
	e = place_of(t, &t->now, key);
	t->unclaimed += value->packets - (e->used ? e->taken : 0);
	(void)bpf_map_delete_elem(fd, key); /* gone is gone */
	return true;
}

static int read_map(struct tallies *t, int fd, struct reading *r, uint64_t now_ns)
{
	uint32_t at, n;
	void *from = NULL;
	int err;

	tallies_begin(t);
	do {
		n = BATCH_ENTRIES;
		err = bpf_map_lookup_batch(fd, from, &at, r->keys, r->values, &n, NULL);
		if (err && err != -ENOENT) /* that ends the map */
			return err;
		for (uint32_t i = 0; i < n; i++)
			if (!remove_old(t, fd, &r->keys[i], &r->values[i], now_ns))
				tallies_put(t, &r->keys[i], &r->values[i]);
		from = &at;
	} while (!err);
	tallies_end(t);
	return 0;
}

int tallies_read(struct tallies *t, int fd, const struct tally_state *state, uint64_t now_ns)
{
	cleanup(free_p) struct reading *r = NULL;
	uint64_t added = __atomic_load_n(&state->added, __ATOMIC_ACQUIRE);
	bool expire = t->now.n && now_ns - t->looked_ns >= EXPIRE_EACH_NS;
	int err;

	if (added == t->added && !expire)
		return 0;
	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	err = read_map(t, fd, r, now_ns);
	if (err)
		return err;
	t->added = added;
	t->looked_ns = now_ns;
	return 0;
}

/* --- by flow -------------------------------------------------------------------------- */

struct tally_sum tallies_take(struct tallies *t, const struct flow_key *flow)
{
	struct tally_sum sum = {0};
	struct flow_key plain = *flow;

	if (t->now.n == 0)
		return sum;
	plain.vlan = 0;
	plain.tunnel = 0;
	for (uint32_t at = first_place(t, &plain); t->now.entries[at].used;
	     at = (at + 1) & (TABLE_SLOTS - 1)) {
		struct entry *e = &t->now.entries[at];
		uint32_t packets = (uint32_t)(e->packets - e->taken);

		if (memcmp(&e->key.flow, &plain, sizeof(plain)) != 0 || !packets)
			continue;
		e->taken = e->packets;
		sum.packets += packets;
		if (packets > sum.most_packets) {
			sum.most = e->key.what;
			sum.most_packets = packets;
		}
	}
	return sum;
}

uint64_t tallies_unclaimed(const struct tallies *t)
{
	return t->unclaimed;
}
