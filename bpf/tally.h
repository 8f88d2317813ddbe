/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tally.h - adds to the map tallies: bpf/tally_abi.h. */
#ifndef WEIR_BPF_TALLY_H
#define WEIR_BPF_TALLY_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/tally_abi.h"

/* Full: the flow's packets are counted in tally_state.full instead. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TALLY_ENTRIES);
	__type(key, struct tally_key);
	__type(value, struct tally);
} tallies SEC(".maps");

struct tally_state tally_state = {};

static __always_inline void tally_add(const struct tally_key *key, __u64 packets)
{
	struct tally zero = {}, *t = bpf_map_lookup_elem(&tallies, key);

	if (!t) {
		(void)bpf_map_update_elem(&tallies, key, &zero, BPF_NOEXIST);
		t = bpf_map_lookup_elem(&tallies, key);
	}
	if (!t) {
		__sync_fetch_and_add(&tally_state.full, packets);
		return;
	}
	t->last_ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&t->packets, packets);
	__sync_fetch_and_add(&tally_state.added, 1); /* last: the reader looks at it first */
}

#endif /* WEIR_BPF_TALLY_H */
