// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * weir.bpf.c - counts packets per flow; never changes or delays their fate.
 *
 * Hooks:    XDP ingress (weir_xdp, weir_xdp_frags; always XDP_PASS), TC or TCX
 *           ingress and egress (always "next program", TC_ACT_UNSPEC = TCX_NEXT).
 * Context:  softirq or the sender's own context with bottom halves off; any
 *           CPU at once. See struct flow_slot for what is atomic.
 * Maps:     flow_table.h  no room: the packet goes to catch_all, FLOWS_REFUSED rises
 *           catch_all, counters  per CPU, cannot be full
 *           fragments  full: the oldest goes, its later fragments count as orphans
 *           ethertypes  full: the rest adds up in one entry
 *           probe/drain/drain.c reads the flows, probe/datapath/datapath.c the counters.
 * Tunables: the size of the table, set by the probe before load.
 * Kernel:   5.18 (xdp.frags); without that program 5.12 (atomics, -mcpu=v3).
 *           Measured on 6.18.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/flow_abi.h"
#include "bpf/flow_table.h"
#include "bpf/flow_update.h"
#include "bpf/parse.h"
#include "bpf/parse_link.h"
#include "bpf/payload.h"
#include "bpf/tunnel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

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

/*
 * What the first fragment of a datagram says of its flow, for the later ones.
 * LRU: what is forgotten is counted when it is missed.
 */
struct fragment_key {
	__u8 addr_a[16], addr_b[16];
	__u32 id;
	__u8 proto, dir;
	__u16 zero;
};

struct fragment_flow {
	__be16 port_a, port_b;
	__u8 icmp_type, zero[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct fragment_key);
	__type(value, struct fragment_flow);
} fragments SEC(".maps");

/* Packets that are not IP. Full: FLOW_ETHERTYPE_OTHER, which the probe makes, has the rest. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOW_ETHERTYPES_MAX);
	__type(key, __u32);
	__type(value, struct flow_ethertype);
} ethertypes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} payloads SEC(".maps");

/* Payloads that this CPU has copied in the second that began at since_ns. */
struct payload_budget {
	__u64 since_ns;
	__u64 used;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct payload_budget);
} payload_budgets SEC(".maps");

const volatile bool copy_payloads = false;
const volatile bool replaying = false;
struct flow_replay replay = {};

static __always_inline __u64 now_ns(void)
{
	return replaying ? replay.now_ns : bpf_ktime_get_ns();
}

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

/* One packet as the parser left it. */
struct event {
	struct packet packet;
	struct flow_outer outer; /* of a packet in a tunnel */
	struct flow_seen seen;
	__u32 parsed; /* enum parse_result */
	__u32 slot;   /* of its flow, once account() has found it */
};

/* A function of its own, verified once: opening flows is rare beside finding them. */
__noinline int open_flow(struct event *ev)
{
	return ev ? flow_open(&ev->packet, flow_hash(&ev->packet.key), ev->seen.now_ns) : -1;
}

/* The flow's slot number, or -1 after counting why there is none. */
static __always_inline int find_flow(struct flow_counters *cnt, struct event *ev)
{
	int index = flow_find(&ev->packet.key, flow_hash(&ev->packet.key));

	if (index >= 0)
		return index;
	index = open_flow(ev);
	if (index < 0)
		cnt->n[FLOW_CNT_FLOWS_REFUSED]++;
	else
		cnt->n[FLOW_CNT_FLOWS_CREATED]++;
	return index;
}

/*
 * Gives a later fragment the ports of the first, which is remembered for that. Counts
 * what parsed as a fragment because it is damaged.
 */
__noinline int join_fragments(struct event *ev)
{
	struct fragment_key key = {};
	struct fragment_flow *first, flow = {};
	struct flow_counters *cnt = this_cpu();
	struct flow_key *k;

	if (!ev || !cnt)
		return 0;
	if (ev->packet.damage)
		cnt->n[ev->packet.damage == PARSE_CUT ? FLOW_CNT_TRANSPORT_TRUNCATED
						      : FLOW_CNT_TRANSPORT_BAD_HEADER]++;
	k = &ev->packet.key;
	__builtin_memcpy(key.addr_a, k->addr_a, 16);
	__builtin_memcpy(key.addr_b, k->addr_b, 16);
	key.id = ev->packet.fragment_id;
	key.proto = k->proto;
	key.dir = ev->packet.dir;
	if (ev->packet.fragment != PARSE_LATER_FRAGMENT) {
		flow.port_a = k->port_a;
		flow.port_b = k->port_b;
		flow.icmp_type = k->icmp_type;
		(void)bpf_map_update_elem(&fragments, &key, &flow, BPF_ANY);
		return 0;
	}
	first = bpf_map_lookup_elem(&fragments, &key);
	if (!first) {
		cnt->n[FLOW_CNT_FRAGMENTS_ORPHAN]++;
		return 0;
	}
	k->port_a = first->port_a;
	k->port_b = first->port_b;
	k->icmp_type = first->icmp_type;
	return 0;
}

__noinline int count_ethertype(struct event *ev)
{
	__u32 key = ev ? bpf_ntohs(ev->packet.ethertype) : 0;
	struct flow_ethertype *n, first = {};

	if (!ev)
		return 0;
	if (key <= PARSE_P_LLC_MAX)
		key = FLOW_ETHERTYPE_LLC;
	n = bpf_map_lookup_elem(&ethertypes, &key);
	if (!n) {
		(void)bpf_map_update_elem(&ethertypes, &key, &first, BPF_NOEXIST);
		n = bpf_map_lookup_elem(&ethertypes, &key);
	}
	if (!n) {
		key = FLOW_ETHERTYPE_OTHER;
		n = bpf_map_lookup_elem(&ethertypes, &key);
	}
	if (!n)
		return 0;
	__sync_fetch_and_add(&n->packets, ev->seen.packets);
	__sync_fetch_and_add(&n->bytes, ev->seen.bytes);
	return 0;
}

static __always_inline void note_outer(struct flow_perf *p, const struct event *ev)
{
	const __u64 *noted = (const __u64 *)p->outer.dst_addr;

	if (!(noted[0] | noted[1]))
		p->outer = ev->outer;
}

static __always_inline __u64 packets_here(const struct flow_slot *slot, const struct flow_perf *p,
					  const struct event *ev)
{
	__u32 dir = ev->packet.dir & 1;

	return slot->home[dir] == ev->seen.cpu ? slot->half[dir].packets : p->lane[dir].packets;
}

/* Counts the packet in its flow. Returns whether its payload may be of interest. */
static __always_inline bool count_flow(struct flow_counters *cnt, struct event *ev)
{
	int found = find_flow(cnt, ev);
	__u32 index = found;
	struct flow_slot *slot = bpf_map_lookup_elem(&slots, &index);
	struct flow_perf *p = bpf_map_lookup_elem(&perf, &index);

	if (!slot || !p) { /* -1 is past the end of both */
		count_catch_all(cnt, &ev->seen);
		return false;
	}
	ev->slot = index;
	if (ev->packet.key.tunnel)
		note_outer(p, ev);
	if (flow_update(slot, p, &ev->packet, &ev->seen) == FLOW_ELSEWHERE) {
		cnt->n[FLOW_CNT_SEEN_ELSEWHERE] += ev->seen.packets;
		return false;
	}
	return copy_payloads && payload_possible(&ev->packet, slot, packets_here(slot, p, ev));
}

/*
 * Every packet comes here, whatever the parser made of it. Returns whether its
 * payload may be of interest.
 */
static __always_inline bool account(struct event *ev)
{
	struct flow_counters *cnt = this_cpu();

	if (!cnt) /* cannot be: the map has one entry */
		return false;
	cnt->n[FLOW_CNT_SEEN] += ev->seen.packets;
	cnt->n[FLOW_CNT_SEEN_BYTES] += ev->seen.bytes;
	if (ev->parsed) {
		cnt->n[unparsed_counter(ev->parsed)] += ev->seen.packets;
		if (ev->parsed == PARSE_NOT_IP)
			(void)count_ethertype(ev);
		return false;
	}
	if (ev->packet.fragment)
		(void)join_fragments(ev);
	ev->seen.now_ns = now_ns();
	ev->seen.cpu = FLOW_CPU(bpf_get_smp_processor_id());
	return count_flow(cnt, ev);
}

static __always_inline bool within_budget(__u64 now)
{
	__u32 zero = 0;
	struct payload_budget *b = bpf_map_lookup_elem(&payload_budgets, &zero);

	if (!b)
		return false;
	if (replaying)
		return true;
	if (now - b->since_ns > 1000000000) {
		b->since_ns = now;
		b->used = 0;
	}
	return b->used++ < PAYLOADS_PER_SECOND;
}

/* Room in the ring for a payload of this packet, or NULL after counting why not. */
static __always_inline struct flow_payload *reserve_payload(const struct event *ev, int kind)
{
	struct flow_counters *cnt = this_cpu();
	struct flow_payload *out;

	if (!cnt)
		return NULL;
	if (!within_budget(ev->seen.now_ns)) {
		cnt->n[FLOW_CNT_PAYLOADS_CAPPED]++;
		return NULL;
	}
	out = bpf_ringbuf_reserve(&payloads, sizeof(*out), 0);
	if (!out) {
		cnt->n[FLOW_CNT_PAYLOADS_LOST]++;
		return NULL;
	}
	out->now_ns = ev->seen.now_ns;
	out->key = ev->packet.key;
	out->slot = ev->slot;
	out->kind = kind;
	out->dir = ev->packet.dir;
	out->whole = ev->packet.rest;
	out->tcp_seq = ev->packet.tcp_seq;
	out->zero = 0;
	return out;
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

/* An ICMP error also belongs to the flow that it quotes, if that is known. */
static __always_inline void relate_icmp_error(const struct parse_input *in, const struct event *ev)
{
	struct packet quoted = {};
	struct flow_slot *slot;
	__u32 index;

	if (parse_quoted(in, &ev->packet, &quoted) != PARSE_OK)
		return;
	index = flow_find(&quoted.key, flow_hash(&quoted.key));
	slot = bpf_map_lookup_elem(&slots, &index);
	if (!slot)
		return;
	__sync_fetch_and_add(&slot->icmp_errors, 1);
	slot->icmp_error =
		ev->packet.key.icmp_type << 8 | (bpf_ntohs(ev->packet.key.port_a) & 0xff);
}

static __always_inline void keep_outer(const struct packet *p, struct event *ev)
{
	__builtin_memcpy(ev->outer.src_addr, p->dir ? p->key.addr_b : p->key.addr_a, 16);
	__builtin_memcpy(ev->outer.dst_addr, p->dir ? p->key.addr_a : p->key.addr_b, 16);
	ev->outer.src_port = p->dir ? p->key.port_b : p->key.port_a;
	ev->outer.dst_port = p->dir ? p->key.port_a : p->key.port_b;
}

/*
 * The stages of the parser that few packets need are functions of their own,
 * verified once each: see bpf/parse.h. The same for both kinds of context.
 */
#define RARE_STAGES(kind, context)                                                                 \
	__noinline int kind##_shim(context *ctx, struct event *ev)                                 \
	{                                                                                          \
		struct parse_input in = kind##_input(ctx, 0);                                      \
                                                                                                   \
		return ev ? parse_shim(&in, &ev->packet) : PARSE_TRUNCATED;                        \
	}                                                                                          \
                                                                                                   \
	__noinline int kind##_extensions(context *ctx, struct event *ev)                           \
	{                                                                                          \
		struct parse_input in = kind##_input(ctx, 0);                                      \
                                                                                                   \
		return ev ? parse_extensions(&in, &ev->packet) : PARSE_TRUNCATED;                  \
	}                                                                                          \
                                                                                                   \
	static __always_inline __u32 kind##_from_ip(context *ctx, const struct parse_input *in,    \
						    struct event *ev)                              \
	{                                                                                          \
		__u32 res = parse_network(in, &ev->packet);                                        \
                                                                                                   \
		if (!res && parse_has_extensions(&ev->packet))                                     \
			res = kind##_extensions(ctx, ev);                                          \
		return res ? res : parse_transport(in, &ev->packet);                               \
	}                                                                                          \
                                                                                                   \
	/* Goes one level deeper into ev->packet. Not 0: it stays as it is. */                     \
	__noinline int kind##_tunnel(context *ctx, struct event *ev, __u32 len)                    \
	{                                                                                          \
		struct parse_input in = kind##_input(ctx, len);                                    \
		struct packet outer;                                                               \
		__u32 res = PARSE_OK;                                                              \
                                                                                                   \
		if (!ev)                                                                           \
			return PARSE_TRUNCATED;                                                    \
		outer = ev->packet;                                                                \
		if (!tunnel_open(&in, &outer, &ev->packet))                                        \
			res = PARSE_NOT_IP;                                                        \
		if (!res && !ev->packet.ethertype)                                                 \
			res = parse_link(&in, &ev->packet);                                        \
		if (!res && parse_has_shim(&ev->packet))                                           \
			res = kind##_shim(ctx, ev);                                                \
		if (!res)                                                                          \
			res = kind##_from_ip(ctx, &in, ev);                                        \
		if (res)                                                                           \
			ev->packet = outer; /* not for us to open: the tunnel is the flow */       \
		else if (!outer.key.tunnel)                                                        \
			keep_outer(&outer, ev);                                                    \
		return res;                                                                        \
	}                                                                                          \
                                                                                                   \
	__noinline int kind##_icmp_error(context *ctx, struct event *ev)                           \
	{                                                                                          \
		struct parse_input in = kind##_input(ctx, 0);                                      \
                                                                                                   \
		if (ev)                                                                            \
			relate_icmp_error(&in, ev);                                                \
		return 0;                                                                          \
	}                                                                                          \
                                                                                                   \
	/* Copies the payload to user space if it is one that user space wants. */                 \
	__noinline int kind##_payload(context *ctx, struct event *ev, __u32 len)                   \
	{                                                                                          \
		__u8 head[PAYLOAD_HEAD] = {};                                                      \
		struct flow_payload *out;                                                          \
		struct flow_slot *slot;                                                            \
		__u32 n, n_head;                                                                   \
		int wanted;                                                                        \
                                                                                                   \
		if (!ev || ev->packet.offset >= len)                                               \
			return 0;                                                                  \
		slot = bpf_map_lookup_elem(&slots, &ev->slot);                                     \
		n = len - ev->packet.offset;                                                       \
		if (n > ev->packet.rest)                                                           \
			n = ev->packet.rest;                                                       \
		n_head = n < PAYLOAD_HEAD ? n : PAYLOAD_HEAD;                                      \
		if (!slot || !n_head || kind##_load_bytes(ctx, ev->packet.offset, head, n_head))   \
			return 0;                                                                  \
		wanted = payload_kind(&ev->packet, slot, head);                                    \
		if (wanted < 0)                                                                    \
			return 0;                                                                  \
		out = reserve_payload(ev, wanted);                                                 \
		if (!out)                                                                          \
			return 0;                                                                  \
		if (n > PAYLOAD_BYTES)                                                             \
			n = PAYLOAD_BYTES;                                                         \
		out->len = n;                                                                      \
		if (!n || kind##_load_bytes(ctx, ev->packet.offset, out->data, n)) {               \
			bpf_ringbuf_discard(out, 0);                                               \
			return 0;                                                                  \
		}                                                                                  \
		bpf_ringbuf_submit(out, 0);                                                        \
		return 0;                                                                          \
	}                                                                                          \
                                                                                                   \
	static __always_inline __u32 kind##_parse(context *ctx, bool ethernet, __u32 len,          \
						  struct event *ev)                                \
	{                                                                                          \
		struct parse_input in = kind##_input(ctx, len);                                    \
		__u32 res = PARSE_OK;                                                              \
                                                                                                   \
		if (ethernet)                                                                      \
			res = parse_link(&in, &ev->packet);                                        \
		if (!res && parse_has_shim(&ev->packet))                                           \
			res = kind##_shim(ctx, ev);                                                \
		if (!res)                                                                          \
			res = kind##_from_ip(ctx, &in, ev);                                        \
		for (int i = 0; !res && i < TUNNEL_MAX_LEVELS; i++)                                \
			if (!tunnel_possible(&ev->packet) || kind##_tunnel(ctx, ev, len))          \
				break;                                                             \
		if (!res && parse_is_icmp_error(&ev->packet))                                      \
			(void)kind##_icmp_error(ctx, ev);                                          \
		return res;                                                                        \
	}

static __always_inline long xdp_load_bytes(struct xdp_md *ctx, __u32 at, void *to, __u32 n)
{
	return bpf_xdp_load_bytes(ctx, at, to, n);
}

RARE_STAGES(xdp, struct xdp_md)

/* One frame is one wire packet here: XDP runs before any GRO. */
static __always_inline int on_xdp(struct xdp_md *ctx, __u32 len)
{
	struct event ev = {
		.seen =
			{
				.packets = 1,
				.bytes = len,
				.iface = ctx->ingress_ifindex << 1 | FLOW_HOOK_INGRESS,
			},
	};

	ev.parsed = xdp_parse(ctx, true, len, &ev);
	if (account(&ev))
		(void)xdp_payload(ctx, &ev, len);
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

static __always_inline struct parse_input skb_input(struct __sk_buff *ctx, __u32 len)
{
	return (struct parse_input){
		.start = CTX_POINTER(ctx, data),
		.end = CTX_POINTER(ctx, data_end),
		.wire_len = len,
	};
}

static __always_inline long skb_load_bytes(struct __sk_buff *ctx, __u32 at, void *to, __u32 n)
{
	return bpf_skb_load_bytes(ctx, at, to, n);
}

RARE_STAGES(skb, struct __sk_buff)

static __always_inline __u32 parse_skb(struct __sk_buff *ctx, bool ethernet, struct event *ev)
{
	ev->packet = (struct packet){.ethertype = ctx->protocol};
	if (ctx->vlan_present)
		ev->packet.key.vlan = ctx->vlan_tci & 0xfff;
	return skb_parse(ctx, ethernet, replaying ? replay.wire_len : ctx->len, ev);
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

#define PULL_BYTES 256 /* every header that is followed, in all but odd packets */

static __always_inline int on_skb(struct __sk_buff *ctx, enum flow_hook hook, bool ethernet)
{
	__u32 tag_len = ctx->vlan_present ? sizeof(struct parse_vlan) : 0;
	struct event ev = {.seen = {.iface = ctx->ifindex << 1 | hook}};
	struct flow_seen *seen = &ev.seen;

	ev.parsed = parse_skb(ctx, ethernet, &ev);
	if ((ev.parsed == PARSE_TRUNCATED || ev.packet.damage == PARSE_CUT) &&
	    ctx->len > ctx->data_end - ctx->data) {
		/* Headers may sit in page fragments: make them readable, once. */
		if (!bpf_skb_pull_data(ctx, ctx->len < PULL_BYTES ? ctx->len : PULL_BYTES))
			ev.parsed = parse_skb(ctx, ethernet, &ev);
	}

	seen->packets = segments(ctx, ev.packet.offset);
	seen->bytes =
		ctx->len + tag_len + (__u64)(seen->packets - 1) * (ev.packet.offset + tag_len);
	if (replaying)
		seen->bytes = replay.bytes;
	if (account(&ev))
		(void)skb_payload(ctx, &ev, ctx->len);
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
