// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * weir.bpf.c - counts packets per flow; never changes or delays their fate.
 *
 * Hooks:    XDP ingress (weir_xdp, weir_xdp_frags; always XDP_PASS), TC or TCX
 *           ingress and egress (always "next program", TC_ACT_UNSPEC = TCX_NEXT).
 * Context:  softirq or the sender's own context with bottom halves off; any
 *           CPU at once. No locks: see struct flow_entry.
 * Maps:     flows      full: the packet goes to catch_all, FLOWS_REFUSED rises
 *           catch_all  per-CPU totals, cannot be full
 *           counters   per-CPU, cannot be full
 *           probe/drain.c reads flows and catch_all, probe/datapath.c counters.
 * Tunables: the size of flows, set by the probe before load.
 * Kernel:   5.18 (xdp.frags); without that program 5.12 (atomics, -mcpu=v3).
 *           Measured on 6.18.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/flow_abi.h"
#include "bpf/flow_update.h"
#include "bpf/parse.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, struct flow_key);
	__type(value, struct flow_entry);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FLOW_HOOK_MAX);
	__type(key, __u32);
	__type(value, struct flow_totals);
} catch_all SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow_counters);
} counters SEC(".maps");

static __always_inline struct flow_counters *this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&counters, &zero);
}

static __always_inline enum flow_counter unparsed_counter(enum parse_result why)
{
	switch (why) {
	case PARSE_NOT_IP:
		return FLOW_CNT_NOT_IP;
	case PARSE_BAD_HEADER:
		return FLOW_CNT_BAD_HEADER;
	case PARSE_TOO_DEEP:
		return FLOW_CNT_TOO_DEEP;
	default:
		return FLOW_CNT_TRUNCATED;
	}
}

static __always_inline void count_catch_all(struct flow_counters *cnt, const struct flow_seen *seen)
{
	__u32 hook = seen->iface & 1;
	struct flow_totals *t = bpf_map_lookup_elem(&catch_all, &hook);

	cnt->n[FLOW_CNT_CATCH_ALL] += seen->packets;
	if (!t)
		return;
	t->packets += seen->packets;
	t->bytes += seen->bytes;
	t->last_ns = seen->now_ns;
}

/* The packet of a flow that has no entry yet: makes one with the packet in it. */
static __always_inline bool create(const struct packet *p, const struct flow_seen *seen)
{
	struct flow_entry fresh = {};

	fresh.initiator = p->query == 2 ? !p->dir : p->dir;
	fresh.first_ns = seen->now_ns;
	(void)flow_update(&fresh, p, seen); /* nothing else counts a fresh entry */
	return !bpf_map_update_elem(&flows, &p->key, &fresh, BPF_NOEXIST);
}

static __always_inline enum flow_update_result
update(struct flow_counters *cnt, const struct packet *p, const struct flow_seen *seen)
{
	struct flow_entry *e = bpf_map_lookup_elem(&flows, &p->key);

	if (!e) {
		if (create(p, seen)) {
			cnt->n[FLOW_CNT_FLOWS_CREATED]++;
			return FLOW_COUNTED;
		}
		/* Another CPU was faster, or the table is full. */
		e = bpf_map_lookup_elem(&flows, &p->key);
		if (!e) {
			cnt->n[FLOW_CNT_FLOWS_REFUSED]++;
			return FLOW_FROZEN;
		}
	}
	return flow_update(e, p, seen);
}

/* One packet as the parser left it. */
struct event {
	struct packet packet;
	struct flow_seen seen;
	__u32 parsed; /* enum parse_result */
};

/* Every packet ends here, whatever the parser made of it. */
static __always_inline void account(struct event *ev)
{
	struct flow_counters *cnt = this_cpu();

	if (!cnt) /* cannot be: the map has one entry */
		return;
	cnt->n[FLOW_CNT_SEEN] += ev->seen.packets;
	cnt->n[FLOW_CNT_SEEN_BYTES] += ev->seen.bytes;
	if (ev->parsed) {
		cnt->n[unparsed_counter(ev->parsed)] += ev->seen.packets;
		return;
	}
	ev->seen.now_ns = bpf_ktime_get_ns();
	switch (update(cnt, &ev->packet, &ev->seen)) {
	case FLOW_COUNTED:
		break;
	case FLOW_ELSEWHERE:
		cnt->n[FLOW_CNT_SEEN_ELSEWHERE] += ev->seen.packets;
		break;
	case FLOW_FROZEN:
		count_catch_all(cnt, &ev->seen);
		break;
	}
}

/*
 * A packet pointer from the context. As C, the compiler takes the field for the
 * 32-bit number that it is declared as, and may copy it as one, which the
 * verifier refuses.
 */
#define CTX_POINTER(ctx, field)                                                                    \
	({                                                                                         \
		void *ptr_;                                                                        \
		asm volatile("%[ptr] = *(u32 *)(%[base] + %[offset])"                              \
			     : [ptr] "=r"(ptr_)                                                    \
			     : [base] "r"(ctx), [offset] "i"(__builtin_offsetof(                   \
							__typeof__(*(ctx)), field)));              \
		ptr_;                                                                              \
	})

static __always_inline struct parse_input xdp_input(struct xdp_md *ctx, __u32 len)
{
	return (struct parse_input){
		.start = CTX_POINTER(ctx, data),
		.end = CTX_POINTER(ctx, data_end),
		.wire_len = len,
	};
}

/* A function of its own, verified once: see bpf/parse.h. */
__noinline int xdp_extensions(struct xdp_md *ctx, struct event *ev)
{
	struct parse_input in = xdp_input(ctx, 0);

	return ev ? parse_extensions(&in, &ev->packet) : PARSE_TRUNCATED;
}

/* One frame is one wire packet here: XDP runs before any GRO. */
static __always_inline int on_xdp(struct xdp_md *ctx, __u32 len)
{
	struct parse_input in = xdp_input(ctx, len);
	struct event ev = {
		.seen =
			{
				.packets = 1,
				.bytes = len,
				.iface = ctx->ingress_ifindex << 1 | FLOW_HOOK_INGRESS,
			},
	};

	ev.parsed = parse_link(&in, &ev.packet);
	if (!ev.parsed)
		ev.parsed = parse_network(&in, &ev.packet);
	if (!ev.parsed && parse_has_extensions(&ev.packet))
		ev.parsed = xdp_extensions(ctx, &ev);
	if (!ev.parsed)
		ev.parsed = parse_transport(&in, &ev.packet);
	account(&ev);
	return XDP_PASS;
}

SEC("xdp")
int weir_xdp(struct xdp_md *ctx)
{
	return on_xdp(ctx, ctx->data_end - ctx->data);
}

SEC("xdp.frags")
int weir_xdp_frags(struct xdp_md *ctx)
{
	return on_xdp(ctx, bpf_xdp_get_buff_len(ctx));
}

static __always_inline struct parse_input skb_input(struct __sk_buff *ctx)
{
	return (struct parse_input){
		.start = CTX_POINTER(ctx, data),
		.end = CTX_POINTER(ctx, data_end),
		.wire_len = ctx->len,
	};
}

__noinline int skb_extensions(struct __sk_buff *ctx, struct event *ev)
{
	struct parse_input in = skb_input(ctx);

	return ev ? parse_extensions(&in, &ev->packet) : PARSE_TRUNCATED;
}

/* __u32 and not the enum: what a function of its own gives is any number. */
static __always_inline __u32 parse_skb(struct __sk_buff *ctx, bool ethernet, struct event *ev)
{
	struct parse_input in = skb_input(ctx);
	__u32 res = PARSE_OK;

	ev->packet = (struct packet){.ethertype = ctx->protocol};
	if (ctx->vlan_present)
		ev->packet.key.vlan = ctx->vlan_tci & 0xfff;
	if (ethernet)
		res = parse_link(&in, &ev->packet);
	if (!res)
		res = parse_network(&in, &ev->packet);
	if (!res && parse_has_extensions(&ev->packet))
		res = skb_extensions(ctx, ev);
	return res ? res : parse_transport(&in, &ev->packet);
}

/* Wire packets that this skb stands for. The kernel may leave gso_segs to whoever asks. */
static __always_inline __u32 segments(const struct __sk_buff *ctx, __u32 header_len)
{
	__u32 size = ctx->gso_size, payload;

	if (!size)
		return 1;
	if (ctx->gso_segs)
		return ctx->gso_segs;
	payload = ctx->len > header_len ? ctx->len - header_len : 1;
	return (payload + size - 1) / size;
}

#define PULL_BYTES 256 /* every header that parse.h follows, in all but odd packets */

static __always_inline int on_skb(struct __sk_buff *ctx, enum flow_hook hook, bool ethernet)
{
	__u32 tag_len = ctx->vlan_present ? sizeof(struct parse_vlan) : 0;
	struct event ev = {.seen = {.iface = ctx->ifindex << 1 | hook}};
	struct flow_seen *seen = &ev.seen;

	ev.parsed = parse_skb(ctx, ethernet, &ev);
	if (ev.parsed == PARSE_TRUNCATED && ctx->len > ctx->data_end - ctx->data) {
		/* Headers may sit in page fragments: make them readable, once. */
		if (!bpf_skb_pull_data(ctx, ctx->len < PULL_BYTES ? ctx->len : PULL_BYTES))
			ev.parsed = parse_skb(ctx, ethernet, &ev);
	}

	seen->packets = segments(ctx, ev.packet.offset);
	seen->bytes =
		ctx->len + tag_len + (__u64)(seen->packets - 1) * (ev.packet.offset + tag_len);
	account(&ev);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int weir_tc_ingress(struct __sk_buff *ctx)
{
	return on_skb(ctx, FLOW_HOOK_INGRESS, true);
}

SEC("tc")
int weir_tc_egress(struct __sk_buff *ctx)
{
	return on_skb(ctx, FLOW_HOOK_EGRESS, true);
}

SEC("tc")
int weir_tc_ingress_l3(struct __sk_buff *ctx)
{
	return on_skb(ctx, FLOW_HOOK_INGRESS, false);
}

SEC("tc")
int weir_tc_egress_l3(struct __sk_buff *ctx)
{
	return on_skb(ctx, FLOW_HOOK_EGRESS, false);
}

/* See struct flow_reap. Returns how many flows it froze. */
SEC("xdp")
int weir_reap(struct xdp_md *ctx)
{
	struct flow_reap *reap = (void *)(long)ctx->data;
	int frozen = 0;

	if ((void *)(reap + 1) > (void *)(long)ctx->data_end)
		return 0;
	for (__u32 i = 0; i < FLOW_REAP_MAX; i++) {
		struct flow_reap_item *item = &reap->item[i];
		struct flow_key key;
		struct flow_entry *e;

		if (i >= reap->n)
			break;
		key = item->key;
		e = bpf_map_lookup_elem(&flows, &key);
		item->reaped = 0;
		if (!e)
			continue;
		if (e->half[0].last_ns > item->last_ns || e->half[1].last_ns > item->last_ns)
			continue;
		__sync_fetch_and_or(&e->state, FLOW_REAPED);
		item->reaped = 1;
		frozen++;
	}
	return frozen;
}
