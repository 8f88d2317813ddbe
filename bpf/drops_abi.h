/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * drops_abi.h - the contract of drops.bpf.c with probe/stack/drops.c.
 *
 *	program  weir_drops   tracepoint skb:kfree_skb (Linux 5.17 gives the reason)
 *	map      drops        PERCPU_ARRAY, DROPS_REASONS of __u64: buffers dropped, by the
 *	                      number of the kernel's enum skb_drop_reason
 *	         tallies      tally_abi.h: packets by flow and reason
 *	rodata   netns        inode of the network namespace to count in
 *	         consumed     reason that means "not dropped" (SKB_CONSUMED)
 *	         purged       reason of what a closed socket takes with it; 0: none
 */
#ifndef WEIR_BPF_DROPS_ABI_H
#define WEIR_BPF_DROPS_ABI_H

#define DROPS_REASONS 512
#define DROPS_OTHER                                                                                \
	(DROPS_REASONS - 1) /* of a subsystem with a list of its own (mac80211, ...)               \
			     */

#endif /* WEIR_BPF_DROPS_ABI_H */
