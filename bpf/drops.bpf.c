// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * drops.bpf.c - counts what the kernel drops, by the kernel's own reason.
 *
 * Hook:     raw tracepoint kfree_skb with BTF: every buffer that is thrown away
 *           instead of being consumed; nothing runs while nothing is dropped.
 * Context:  any.
 * Maps:     drops  per CPU, read by probe/drops.c; a reason above the array
 *           counts as DROPS_OTHER, none is lost.
 * Limits:   counts buffers: a GSO buffer is one. Of one network namespace.
 * Kernel:   5.17 (the reason is an argument). Optional: without it the probe
 *           runs on and says what is missing.
 */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "bpf/drops_abi.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The few kernel fields that are read; their places come from the running kernel's BTF. */
struct ns_common {
	unsigned int inum;
} __attribute__((preserve_access_index));

struct net {
	struct ns_common ns;
} __attribute__((preserve_access_index));

typedef struct {
	struct net *net;
} possible_net_t;

struct net_device {
	possible_net_t nd_net;
} __attribute__((preserve_access_index));

struct sock_common {
	possible_net_t skc_net;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
} __attribute__((preserve_access_index));

struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
} __attribute__((preserve_access_index));

const volatile __u32 netns = 0;
const volatile __u32 consumed = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROPS_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

static __always_inline __u32 netns_of(struct sk_buff *skb)
{
	struct net_device *dev = skb->dev;
	struct sock *sk = skb->sk;

	if (dev)
		return dev->nd_net.net->ns.inum;
	return sk ? sk->__sk_common.skc_net.net->ns.inum : 0;
}

/* Arguments: skb, where, reason, and on later kernels the receiving socket. */
SEC("tp_btf/kfree_skb")
int weir_drops(__u64 *ctx)
{
	struct sk_buff *skb = (void *)ctx[0];
	__u32 reason = ctx[2];
	__u64 *n;

	if (reason == consumed || netns_of(skb) != netns)
		return 0;
	if (reason >= DROPS_OTHER)
		reason = DROPS_OTHER;
	n = bpf_map_lookup_elem(&drops, &reason);
	if (n)
		(*n)++;
	return 0;
}
