/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tally_abi.h - what the kernel's own stack did to packets, by flow: the map
 * tallies of drops.bpf.c and of sockets.bpf.c.
 *
 *	map  tallies      HASH, TALLY_ENTRIES: struct tally_key -> struct tally. The
 *	                  programs add, probe/stack/tally.c reads, and removes what is old.
 *	bss  tally_state  struct tally_state
 *
 * The key is the flow's without VLAN and tunnel, which packets lose on their
 * way through the stack.
 */
#ifndef WEIR_BPF_TALLY_ABI_H
#define WEIR_BPF_TALLY_ABI_H

#include "bpf/flow_abi.h"

#define TALLY_ENTRIES 16384
#define TALLY_RETRANS 0xffff /* not a reason for a drop: sent again by this host */

struct tally_key {
	struct flow_key flow; /* vlan and tunnel 0 */
	__u32 what;	      /* number of the kernel's enum skb_drop_reason, or TALLY_RETRANS */
};

/* Cumulative: the reader takes differences. */
struct tally {
	__u64 packets; /* a GSO buffer counts as its segments */
	__u64 last_ns;
};

struct tally_state {
	__u64 added;	/* calls so far: nothing to read while it stays */
	__u64 full;	/* packets that found no room in tallies */
	__u64 unparsed; /* packets whose headers did not tell a flow */
};

_Static_assert(sizeof(struct tally_key) == 48, "tally_key changed size");
_Static_assert(sizeof(struct tally) == 16, "tally changed size");

#endif /* WEIR_BPF_TALLY_ABI_H */
