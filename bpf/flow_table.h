/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_table.h - the flow table of the BPF programs: find a flow, or open one.
 *
 * An index of buckets, a cache line each, and the slots it points into; all
 * array maps that the probe reads through mmap. Finding takes no lock; opening
 * takes that of a group of buckets, so that two CPUs cannot open one flow twice.
 * Only the probe closes flows: struct flow_bucket says how.
 *
 * Measured against a preallocated HASH with the same keys and values, both by
 * BPF_PROG_TEST_RUN: docs/ARCHITECTURE.md.
 */
#ifndef WEIR_BPF_FLOW_TABLE_H
#define WEIR_BPF_FLOW_TABLE_H

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "bpf/flow_abi.h"
#include "bpf/parse.h"

#define FLOW_SLOTS_DEFAULT 131072

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FLOW_SLOTS_DEFAULT / 2);
	__type(key, __u32);
	__type(value, struct flow_bucket);
} buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FLOW_SLOTS_DEFAULT);
	__type(key, __u32);
	__type(value, struct flow_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FLOW_SLOTS_DEFAULT);
	__type(key, __u32);
	__type(value, struct flow_perf);
} perf SEC(".maps");

/* Entry 0 is struct flow_free_ring, the others are slot numbers, 8 bytes apart. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FLOW_SLOTS_DEFAULT + 1);
	__type(key, __u32);
	__type(value, struct flow_free_ring);
} free_ring SEC(".maps");

const volatile __u32 bucket_mask = FLOW_SLOTS_DEFAULT / 2 - 1;
const volatile __u32 slot_mask = FLOW_SLOTS_DEFAULT - 1;
const volatile __u64 hash_seed = 0;

/*
 * The holder needs some 100 ns, but may be interrupted meanwhile: with 512 looks in
 * half a microsecond, one packet in a million of those that open a flow on two CPUs
 * at once was refused. With a call that takes its time between them it is 20 us.
 */
#define LOCK_TRIES 1024
#define POP_TRIES  16

static __always_inline __u64 flow_mix(__u64 word, __u64 factor)
{
	word *= factor;
	return word ^ word >> 29;
}

/* Multiply and fold; the seed keeps others from choosing buckets. */
static __always_inline __u64 flow_hash(const struct flow_key *key)
{
	const __u64 *w = (const __u64 *)key;
	__u64 last = w[4] ^ (__u64) * (const __u32 *)(w + 5) << 32;
	__u64 h = flow_mix(w[0] ^ hash_seed, 0x9e3779b97f4a7c15ull);

	h = flow_mix(h ^ flow_mix(w[1], 0xbf58476d1ce4e5b9ull), 0x94d049bb133111ebull);
	h ^= flow_mix(w[2], 0xd6e8feb86659fd93ull) + flow_mix(w[3], 0xa0761d6478bd642full) +
	     flow_mix(last ^ hash_seed, 0xe7037ed1a0b428dbull);
	h = flow_mix(h, 0x8ebc6af09c88c6e3ull);
	return h ^ h >> 32;
}

static __always_inline bool flow_key_equal(const struct flow_key *a, const struct flow_key *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]) |
		 (*(const __u32 *)(x + 5) ^ *(const __u32 *)(y + 5)));
}

/* Number of the flow's slot, or -1. */
static __always_inline int flow_scan(const struct flow_bucket *b, __u32 tag,
				     const struct flow_key *key)
{
	for (int way = 0; way < FLOW_WAYS; way++) {
		struct flow_slot *s;
		__u32 index;

		if (b->tag[way] != tag)
			continue;
		index = b->slot[way];
		s = bpf_map_lookup_elem(&slots, &index);
		if (s && flow_key_equal(&s->key, key))
			return index;
	}
	return -1;
}

static __always_inline __u32 flow_tag(__u64 hash)
{
	return hash >> 32 | 1;
}

static __always_inline struct flow_bucket *flow_bucket_at(__u32 bucket)
{
	return bpf_map_lookup_elem(&buckets, &bucket);
}

/* Number of the slot of the flow with this key, or -1. */
static __always_inline int flow_find(const struct flow_key *key, __u64 hash)
{
	__u32 bucket = (__u32)hash & bucket_mask;
	const struct flow_bucket *b = flow_bucket_at(bucket);
	__u32 far;
	int index;

	if (!b)
		return -1;
	index = flow_scan(b, flow_tag(hash), key);
	if (index >= 0 || !b->overflowed)
		return index;
	far = b->overflowed;
	for (__u32 i = 1; i < FLOW_GROUP && i <= far; i++) {
		b = flow_bucket_at(bucket ^ i);
		if (!b)
			return -1;
		index = flow_scan(b, flow_tag(hash), key);
		if (index >= 0)
			return index;
	}
	return -1;
}

static __always_inline bool flow_lock(struct flow_bucket *b)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (!b->lock && !__sync_val_compare_and_swap(&b->lock, 0, 1))
			return true;
		(void)bpf_ktime_get_ns();
	}
	return false;
}

static __always_inline void flow_unlock(struct flow_bucket *b)
{
	(void)__sync_lock_test_and_set(&b->lock, 0);
}

/* The number of a free slot, or -1. */
static __always_inline int flow_pop_free(void)
{
	__u32 zero = 0;
	struct flow_free_ring *ring = bpf_map_lookup_elem(&free_ring, &zero), *entry;

	if (!ring)
		return -1;
	for (int i = 0; i < POP_TRIES; i++) {
		__u32 head = ring->head, at = 1 + (head & slot_mask);
		int index;

		if (head == ring->tail)
			return -1;
		entry = bpf_map_lookup_elem(&free_ring, &at);
		if (!entry)
			return -1;
		index = entry->head;
		if (__sync_val_compare_and_swap(&ring->head, head, head + 1) == head)
			return index;
	}
	return -1;
}

/* Under the lock. The slot comes cleared from the probe. */
static __always_inline int flow_fill(struct flow_bucket *b, __u32 bucket, __u32 way, __u32 tag,
				     const struct packet *p, __u64 now_ns)
{
	__u32 index = flow_pop_free();
	struct flow_slot *s = bpf_map_lookup_elem(&slots, &index);

	if (!s) /* -1 is past the end */
		return -1;
	s->key = p->key;
	s->first_ns = now_ns;
	s->place = bucket << FLOW_WAY_BITS | way;
	s->initiator = p->query == 2 ? !p->dir : p->dir;
	b->slot[way] = index;
	(void)__sync_lock_test_and_set(&s->state, FLOW_LIVE);
	(void)__sync_lock_test_and_set(&b->tag[way], tag); /* from here on others find it */
	return index;
}

/* A way of the bucket that is free, or FLOW_WAYS. */
static __always_inline __u32 flow_free_way(const struct flow_bucket *b)
{
	for (__u32 way = 0; way < FLOW_WAYS; way++)
		if (!b->tag[way])
			return way;
	return FLOW_WAYS;
}

/* Under the lock: into the key's own bucket, or into another of its group. */
static __always_inline int flow_insert(const struct packet *p, __u64 hash, __u64 now_ns)
{
	__u32 bucket = (__u32)hash & bucket_mask, way;
	struct flow_bucket *home = flow_bucket_at(bucket), *b;

	if (!home)
		return -1;
	for (__u32 i = 0; i < FLOW_GROUP; i++) {
		b = flow_bucket_at(bucket ^ i);
		if (!b)
			return -1;
		way = flow_free_way(b);
		if (way >= FLOW_WAYS)
			continue;
		if (i > home->overflowed)
			home->overflowed = i;
		return flow_fill(b, bucket ^ i, way, flow_tag(hash), p, now_ns);
	}
	return -1;
}

/* Opens the flow of p. Number of its slot, or -1 if the table has no room. */
static __always_inline int flow_open(const struct packet *p, __u64 hash, __u64 now_ns)
{
	struct flow_bucket *first = flow_bucket_at((__u32)hash & bucket_mask & ~(FLOW_GROUP - 1));
	int index;

	if (!first)
		return -1;
	if (!flow_lock(first))
		return flow_find(&p->key, hash); /* the holder may have opened the same */
	index = flow_find(&p->key, hash);	 /* another CPU may have been faster */
	if (index < 0)
		index = flow_insert(p, hash, now_ns);
	flow_unlock(first);
	return index;
}

#endif /* WEIR_BPF_FLOW_TABLE_H */
