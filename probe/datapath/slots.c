// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/datapath/slots.h"

#include <errno.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "probe/datapath/datapath.h"

#define WAY_MASK ((1u << FLOW_WAY_BITS) - 1)

bool slots_live(const struct datapath_table *t, uint32_t index)
{
	return __atomic_load_n(&t->slots[index].state, __ATOMIC_ACQUIRE) & FLOW_LIVE;
}

/* Where the slot says that the index has it. NULL if that cannot be. */
static struct flow_bucket *bucket_of(const struct datapath_table *t, uint32_t index,
				     uint32_t *ret_way)
{
	uint32_t place = t->slots[index].place;

	*ret_way = place & WAY_MASK;
	if (*ret_way >= FLOW_WAYS || place >> FLOW_WAY_BITS >= t->n_slots / 2)
		return NULL;
	return &t->buckets[place >> FLOW_WAY_BITS];
}

bool slots_linked(const struct datapath_table *t, uint32_t index)
{
	uint32_t way;
	const struct flow_bucket *b = bucket_of(t, index, &way);

	return b && __atomic_load_n(&b->tag[way], __ATOMIC_SEQ_CST) != 0 && b->slot[way] == index;
}

void slots_unlink(const struct datapath_table *t, uint32_t index)
{
	uint32_t way;
	struct flow_bucket *b = bucket_of(t, index, &way);

	if (b && b->slot[way] == index)
		__atomic_store_n(&b->tag[way], 0, __ATOMIC_SEQ_CST);
}

void slots_clear(const struct datapath_table *t, uint32_t index)
{
	__atomic_store_n(&t->slots[index].state, 0, __ATOMIC_SEQ_CST);
	memset(&t->slots[index], 0, sizeof(t->slots[index]));
	memset(&t->perf[index], 0, sizeof(t->perf[index]));
}

void slots_give_back(const struct datapath_table *t, uint32_t index)
{
	struct flow_free_ring *ring = &t->ring[0];

	t->ring[1 + (ring->tail & (t->n_slots - 1))].head = index;
	__atomic_store_n(&ring->tail, ring->tail + 1, __ATOMIC_SEQ_CST);
}

int slots_free_now(const struct datapath_table *t, uint8_t *free_now)
{
	uint32_t head = __atomic_load_n(&t->ring[0].head, __ATOMIC_ACQUIRE);
	uint32_t tail = t->ring[0].tail;

	if (tail - head > t->n_slots)
		return -EBADMSG;
	for (; head != tail; head++) {
		uint32_t index = t->ring[1 + (head & (t->n_slots - 1))].head;

		if (index >= t->n_slots)
			return -EBADMSG;
		free_now[index] = 1;
	}
	return 0;
}
