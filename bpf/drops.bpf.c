// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * drops.bpf.c - counts what the kernel drops, by the kernel's own reason, and
 * by flow where the packet tells one.
 *
 * Hook:     raw tracepoint kfree_skb with BTF: every buffer that is thrown away
 *           instead of being consumed; nothing runs while nothing is dropped.
 * Context:  any.
 * Maps:     drops  per CPU, read by probe/stack/drops.c; a reason above the array
 *           counts as DROPS_OTHER, none is lost.
 *           tallies  by flow and reason: tally_abi.h
 * Limits:   drops counts buffers: a GSO buffer is one. Of one network namespace.
 *           Headers are read where the stack has left them, in its first buffer,
 *           and through one tunnel. Later fragments tell no flow.
 * Kernel:   5.17 (the reason is an argument). Optional: without it the probe
 *           runs on and says what is missing.
 */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "bpf/drops_abi.h"
#include "bpf/kernel_types.h"
#include "bpf/parse.h"
#include "bpf/parse_link.h"
#include "bpf/tally.h"
#include "bpf/tunnel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u32 netns = 0;
const volatile __u32 consumed = 0;
const volatile __u32 purged = 0;

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

/*
 * The parser reads at offsets up to PARSE_MAX_OFFSET from the start, and behind
 * that through extension headers: with that much room behind it, the verifier knows that no read
 * leaves the buffer, and its end is only where the copied bytes end. Nobody interrupts us on this
 * CPU: the kernel runs no second instance of a program there.
 */
#define HEADER_BYTES 256 /* IP, UDP, VXLAN, Ethernet, IP, TCP with options */
#define EXT_BYTES    (PARSE_MAX_EXT * 8 * 256)

struct headers {
	__u8 bytes[PARSE_MAX_OFFSET + 1 + EXT_BYTES + HEADER_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct headers);
} headers SEC(".maps");

/* Copies what there is from the IP header on. Returns how much, 0 if nothing. */
static __always_inline __u32 copy_headers(const struct sk_buff *skb, struct headers *to)
{
	__u32 at = skb->network_header, tail = skb->tail;
	__u32 n;

	if (at == 0xffff || at == 0 || tail <= at)
		return 0;
	n = tail - at;
	if (n > HEADER_BYTES)
		n = HEADER_BYTES;
	return bpf_probe_read_kernel(to->bytes, n, skb->head + at) ? 0 : n;
}

/* The copied bytes; false if they are not there. */
static __always_inline bool headers_input(struct parse_input *in, __u32 len)
{
	__u32 zero = 0;
	struct headers *h = bpf_map_lookup_elem(&headers, &zero);

	if (!h || len > HEADER_BYTES)
		return false;
	*in = (struct parse_input){.start = h->bytes, .end = h->bytes + len};
	return true;
}

__noinline int parse_further(struct packet *p, __u32 len)
{
	struct parse_input in;

	return p && headers_input(&in, len) ? parse_extensions(&in, p) : PARSE_TRUNCATED;
}

/* From the IP header at p->offset on. */
__noinline int parse_ip(struct packet *p, __u32 len)
{
	struct parse_input in;
	int res;

	if (!p || !headers_input(&in, len))
		return PARSE_TRUNCATED;
	res = parse_network(&in, p);
	if (!res && parse_has_extensions(p))
		res = parse_further(p, len);
	if (!res && p->fragment == PARSE_LATER_FRAGMENT)
		res = PARSE_TOO_DEEP; /* no ports */
	return res ? res : parse_transport(&in, p);
}

/* One level deeper, where there is one; else p stays as it is. */
__noinline int parse_inner(struct packet *p, __u32 len)
{
	struct parse_input in;
	struct packet outer;
	int res = PARSE_OK;

	if (!p || !headers_input(&in, len))
		return PARSE_TRUNCATED;
	outer = *p;
	if (!tunnel_open(&in, &outer, p))
		res = PARSE_NOT_IP;
	if (!res && !p->ethertype)
		res = parse_link(&in, p);
	if (!res)
		res = parse_ip(p, len);
	if (res)
		*p = outer;
	return res;
}

static __always_inline int parse_headers(struct packet *p, const struct headers *h, __u32 len)
{
	int res;

	p->ethertype = h->bytes[0] >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	res = parse_ip(p, len);
	if (!res && tunnel_possible(p))
		(void)parse_inner(p, len);
	p->key.vlan = 0;
	p->key.tunnel = 0;
	return res;
}

static __always_inline __u32 segments_of(const struct sk_buff *skb)
{
	const struct skb_shared_info *shared = (const void *)skb->head + skb->end;
	__u32 n = BPF_CORE_READ(shared, gso_segs);

	return n ? n : 1;
}

static __always_inline void count_for_flow(const struct sk_buff *skb, __u32 reason)
{
	struct tally_key key = {.what = reason};
	struct packet p = {};
	__u32 zero = 0, n = 0;
	struct headers *h = bpf_map_lookup_elem(&headers, &zero);

	if (h)
		n = copy_headers(skb, h);
	if (!h || !n || parse_headers(&p, h, n)) {
		__sync_fetch_and_add(&tally_state.unparsed, segments_of(skb));
		return;
	}
	key.flow = p.key;
	tally_add(&key, segments_of(skb));
}

/*
 * No drop: consumed; or a segment without data, a FIN, that a closed socket
 * takes with it, which is so at the end of nearly every connection.
 */
static __always_inline bool is_drop(const struct sk_buff *skb, __u32 reason)
{
	return reason != consumed && !(purged && reason == purged && !skb->len);
}

/* Arguments: skb, where, reason, and on later kernels the receiving socket. */
SEC("tp_btf/kfree_skb")
int weir_drops(__u64 *ctx)
{
	struct sk_buff *skb = (void *)ctx[0];
	__u32 reason = ctx[2];
	__u64 *n;

	if (!is_drop(skb, reason) || netns_of(skb) != netns)
		return 0;
	if (reason >= DROPS_OTHER)
		reason = DROPS_OTHER;
	n = bpf_map_lookup_elem(&drops, &reason);
	if (n)
		(*n)++;
	count_for_flow(skb, reason);
	return 0;
}
