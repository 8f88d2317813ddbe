// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bench.bpf.c - what weir's datapath is measured against, and the packet mill.
 *
 * bench_*_mill turns the one packet of BPF_PROG_TEST_RUN into a stream: it
 * gives each repetition the source address, port and sequence number of the
 * next flow and, where the TCP timestamp option is (RFC 7323 appendix A), a
 * later time, then tail-calls the program under test. bench_*_pass is the floor;
 * bench_*_bare is the least that any flow counter does: parse fixed-size IPv4
 * and TCP headers, look up a one-directional 5-tuple in a HASH, add packets and
 * bytes, note the time.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set by the bench before each run. */
__u64 mill_next = 0;  /* repetitions so far */
__u32 mill_flows = 1; /* flows to go round */
__u32 mill_first = 0; /* number of the first flow */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} xdp_target SEC(".maps"), tc_target SEC(".maps");

struct bare_key {
	__be32 saddr, daddr;
	__be16 sport, dport;
	__u8 proto, zero[3];
};

struct bare_value {
	__u64 packets, bytes, last_ns;
	__u64 room[5]; /* 64 bytes, as a flow record of some use has */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1048576);
	__type(key, struct bare_key);
	__type(value, struct bare_value);
} bare_flows SEC(".maps");

struct headers {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

static __always_inline bool mill(void *data, void *end)
{
	struct headers *h = data;
	__be32 *option = (void *)(h + 1);
	__u32 flow;
	__u64 round;

	if ((void *)(option + 3) > end)
		return false;
	round = mill_next / mill_flows;
	flow = mill_first + mill_next % mill_flows;
	mill_next++;
	h->ip.saddr = bpf_htonl(0x0a000000 | flow >> 8);
	h->tcp.source = bpf_htons(1024 + (flow & 0xff));
	h->tcp.seq = bpf_htonl(1000 + (__u32)round * 1000);
	if (option[0] == bpf_htonl(0x0101080a))
		option[1] = bpf_htonl(1000 + (__u32)round);
	return true;
}

static __always_inline void bare(void *data, void *end, __u32 len)
{
	struct headers *h = data;
	struct bare_value *v, fresh = {};
	struct bare_key key = {};

	if ((void *)(h + 1) > end || h->eth.h_proto != bpf_htons(ETH_P_IP) ||
	    h->ip.protocol != IPPROTO_TCP)
		return;
	key.saddr = h->ip.saddr;
	key.daddr = h->ip.daddr;
	key.sport = h->tcp.source;
	key.dport = h->tcp.dest;
	key.proto = h->ip.protocol;
	v = bpf_map_lookup_elem(&bare_flows, &key);
	if (v) {
		__sync_fetch_and_add(&v->packets, 1);
		__sync_fetch_and_add(&v->bytes, len);
		v->last_ns = bpf_ktime_get_ns();
		return;
	}
	fresh.packets = 1;
	fresh.bytes = len;
	fresh.last_ns = bpf_ktime_get_ns();
	bpf_map_update_elem(&bare_flows, &key, &fresh, BPF_NOEXIST);
}

SEC("xdp")
int bench_xdp_pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

SEC("xdp")
int bench_xdp_bare(struct xdp_md *ctx)
{
	bare((void *)(long)ctx->data, (void *)(long)ctx->data_end, ctx->data_end - ctx->data);
	return XDP_PASS;
}

SEC("xdp")
int bench_xdp_mill(struct xdp_md *ctx)
{
	if (mill((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		bpf_tail_call(ctx, &xdp_target, 0);
	return XDP_ABORTED; /* no target: the bench checks for this */
}

SEC("tc")
int bench_tc_pass(struct __sk_buff *ctx)
{
	(void)ctx;
	return TC_ACT_UNSPEC;
}

SEC("tc")
int bench_tc_bare(struct __sk_buff *ctx)
{
	bare((void *)(long)ctx->data, (void *)(long)ctx->data_end, ctx->len);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int bench_tc_mill(struct __sk_buff *ctx)
{
	if (mill((void *)(long)ctx->data, (void *)(long)ctx->data_end))
		bpf_tail_call(ctx, &tc_target, 0);
	return TC_ACT_SHOT;
}
