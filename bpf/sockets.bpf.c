// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sockets.bpf.c - which process each socket of this network namespace belongs
 * to, and what TCP sends again.
 *
 * Hooks:    raw tracepoints with BTF for TCP (state changes, retransmissions);
 *           cgroup hooks for UDP (socket made, released), which never refuse
 *           anything; iterators, run by the probe.
 * Context:  connect, listen, create and release run in the process; an
 *           accepted socket is made in softirq, and inherits its listener's note.
 * Maps:     owners   storage of the socket itself, gone with it. No memory: the
 *                    socket stays unknown, sock_lost counts
 *           news     full: events are lost, sock_lost counts; the probe reads all
 *                    sockets again, but what is gone by then stays unknown
 *           tallies  tally_abi.h
 * Limits:   nothing runs per packet or per call of send and receive, but for
 *           what TCP sends again.
 * Kernel:   6.2 (bpf_cast_to_kern_ctx); measured on 6.18. Optional:
 *           without it the probe runs on and says what is missing.
 */
#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/kernel_types.h"
#include "bpf/parse.h"
#include "bpf/sockets_abi.h"
#include "bpf/tally.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define AF_INET	 2
#define AF_INET6 10

#define SOCK_STREAM 1
#define SOCK_DGRAM  2

#define BINDPORT_LOCK 8		 /* SOCK_BINDPORT_LOCK: the port was asked for */
#define KTHREAD	      0x00200000 /* PF_KTHREAD */

#define PID_LEVELS 8
#define WAKE_BYTES (1 << 18) /* of news: sooner than the next look at the flows */
#define NEWS_BYTES (8 + sizeof(struct sock_event)) /* what one takes in the ring */

const volatile __u64 netns_cookie = 0;
const volatile __u32 pidns = 0;
const volatile bool retrans_has_err = false;

__u64 sock_lost = 0;

/* What is known of a socket. */
struct note {
	struct sock_owner owner;
	__u32 flags; /* enum sock_flag */
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct note);
} owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} news SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u8);
} cgroups SEC(".maps");

/* --- who ------------------------------------------------------------------------- */

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *kn)
{
	struct kernfs_node___before_6_15 *old = (void *)kn;

	if (bpf_core_field_exists(kn->__parent))
		return BPF_CORE_READ(kn, __parent);
	return BPF_CORE_READ(old, parent);
}

/* Once for each WAKE_BYTES that gather: a wakeup costs more than all the rest. */
static __always_inline __u64 wakeup(void)
{
	__u64 gathered = bpf_ringbuf_query(&news, BPF_RB_AVAIL_DATA);

	return gathered >= WAKE_BYTES && gathered % WAKE_BYTES < NEWS_BYTES ? BPF_RB_FORCE_WAKEUP
									    : BPF_RB_NO_WAKEUP;
}

/* Told once for each cgroup, by the first of its processes that does something. */
static __noinline int tell_cgroup(struct kernfs_node *kn, __u64 id)
{
	struct sock_cgroup *out;
	__u8 told = 1;

	if (bpf_map_lookup_elem(&cgroups, &id))
		return 0;
	out = bpf_ringbuf_reserve(&news, sizeof(*out), 0);
	if (!out) {
		__sync_fetch_and_add(&sock_lost, 1);
		return 0;
	}
	out->kind = SOCK_CGROUP;
	out->id = id;
	out->names = 0;
	for (int i = 0; i < SOCK_CGROUP_NAMES; i++) {
		struct kernfs_node *parent = kn ? parent_of(kn) : NULL;

		out->name[i][0] = 0;
		if (!parent)
			continue; /* the root has no name */
		(void)bpf_probe_read_kernel_str(out->name[i], SOCK_CGROUP_BYTES,
						BPF_CORE_READ(kn, name));
		out->names = i + 1;
		kn = parent;
	}
	bpf_ringbuf_submit(out, wakeup());
	(void)bpf_map_update_elem(&cgroups, &id, &told, BPF_ANY);
	return 0;
}

/* The number of the process in the probe's pid namespace, 0 if it has none there. */
static __always_inline __u32 pid_of(struct task_struct *leader)
{
	struct pid *pid = BPF_CORE_READ(leader, thread_pid);
	const struct upid *numbers = (void *)pid + bpf_core_field_offset(struct pid, numbers);
	unsigned int level = BPF_CORE_READ(pid, level);

	for (unsigned int i = 0; i < PID_LEVELS; i++) {
		const struct upid *at = (void *)numbers + i * bpf_core_type_size(struct upid);

		if (i > level)
			break;
		if (BPF_CORE_READ(at, ns, ns.inum) == pidns)
			return BPF_CORE_READ(at, nr);
	}
	return 0;
}

static __always_inline void note_task(struct task_struct *task, struct sock_owner *owner)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	struct kernfs_node *kn = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn);

	BPF_CORE_READ_INTO(&owner->comm, leader, comm);
	owner->pid = pid_of(leader);
	owner->uid = BPF_CORE_READ(task, cred, uid.val);
	owner->cgroup = BPF_CORE_READ(kn, id);
	(void)tell_cgroup(kn, owner->cgroup);
}

static __always_inline struct task_struct *current_task(void)
{
	return (void *)bpf_get_current_task();
}

/* --- what of which socket ----------------------------------------------------------- */

static __always_inline bool is_ours(const struct sock_common *sk)
{
	return sk->skc_net.net->net_cookie == netns_cookie;
}

static __always_inline void map_v4(__u8 to[16], __be32 v4)
{
	__u32 *word = (__u32 *)to;

	word[0] = word[1] = 0;
	word[2] = bpf_htonl(0xffff);
	word[3] = v4;
}

/* The local port stays in inet_sport when the socket has already given it back. */
static __always_inline __u16 local_port(const struct sock *sk)
{
	const struct inet_sock *inet = (const void *)sk;

	return bpf_ntohs(BPF_CORE_READ(inet, inet_sport));
}

static __always_inline bool set_ends(struct sock_event *ev, const struct sock *sk)
{
	const struct sock_common *c = &sk->__sk_common;

	if (c->skc_family == AF_INET) {
		map_v4(ev->local, c->skc_rcv_saddr);
		map_v4(ev->remote, c->skc_daddr);
	} else if (c->skc_family == AF_INET6) {
		BPF_CORE_READ_INTO(&ev->local, c, skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&ev->remote, c, skc_v6_daddr);
	} else {
		return false;
	}
	ev->local_port = local_port(sk);
	ev->remote_port = bpf_ntohs(c->skc_dport);
	return true;
}

static __always_inline void tell(const struct sock_event *ev)
{
	if (bpf_ringbuf_output(&news, (void *)ev, sizeof(*ev), wakeup()))
		__sync_fetch_and_add(&sock_lost, 1);
}

static __always_inline void set_note(struct sock_event *ev, const struct note *n)
{
	ev->owner = n->owner;
	ev->flags |= n->flags;
}

/* --- TCP ------------------------------------------------------------------------------ */

static __always_inline void tell_tcp(struct sock *sk, enum sock_event_kind kind, __u8 flags)
{
	struct note *n = bpf_sk_storage_get(&owners, sk, 0, 0);
	struct sock_event ev = {
		.kind = kind,
		.proto = IPPROTO_TCP,
		.flags = flags,
		.now_ns = bpf_ktime_get_ns(),
	};

	if (!set_ends(&ev, sk))
		return;
	if (n)
		set_note(&ev, n);
	tell(&ev);
}

static __always_inline bool note_current(struct sock *sk, __u32 flags)
{
	struct note *n = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!n) {
		__sync_fetch_and_add(&sock_lost, 1);
		return false;
	}
	note_task(current_task(), &n->owner);
	n->flags = flags;
	return true;
}

/* linux/tcp.h */
enum { ESTABLISHED = 1, SYN_SENT = 2, SYN_RECV = 3, CLOSE = 7, LISTEN = 10 };

SEC("tp_btf/inet_sock_set_state")
int weir_sock_state(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	int before = ctx[1], now = ctx[2];
	struct note *n;

	if (sk->sk_protocol != IPPROTO_TCP || !is_ours(&sk->__sk_common))
		return 0;
	if (now == SYN_SENT) {
		(void)note_current(sk, SOCK_CLIENT); /* in connect(): no local port yet */
	} else if (now == LISTEN) {
		if (note_current(sk, 0))
			tell_tcp(sk, SOCK_LISTENS, 0);
	} else if (now == ESTABLISHED && before == SYN_RECV) {
		n = bpf_sk_storage_get(&owners, sk, 0, 0);
		if (n)
			n->flags |= SOCK_SERVER;
		tell_tcp(sk, SOCK_CONNECTED, SOCK_SERVER);
	} else if (now == ESTABLISHED) {
		tell_tcp(sk, SOCK_CONNECTED, 0);
	} else if (now == CLOSE && before == SYN_SENT) {
		tell_tcp(sk, SOCK_CONNECTED, SOCK_IS_CLOSED); /* refused, or no answer */
	} else if (now == CLOSE && before != SYN_RECV) {
		tell_tcp(sk, SOCK_CLOSED, 0);
	}
	return 0;
}

/* --- what TCP sends again ---------------------------------------------------------------- */

static __always_inline void count_retrans(const struct sock_event *ev, __u64 packets)
{
	struct tally_key key = {.what = TALLY_RETRANS};
	struct packet p = {};

	p.key.proto = IPPROTO_TCP;
	__builtin_memcpy(p.key.addr_a, ev->local, 16);
	__builtin_memcpy(p.key.addr_b, ev->remote, 16);
	p.key.port_a = bpf_htons(ev->local_port);
	p.key.port_b = bpf_htons(ev->remote_port);
	parse_sort(&p);
	key.flow = p.key;
	tally_add(&key, packets);
}

SEC("tp_btf/tcp_retransmit_skb")
int weir_retrans(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	struct sk_buff *skb = (void *)ctx[1];
	struct tcp_skb_cb *cb = (void *)skb + bpf_core_field_offset(struct sk_buff, cb);
	struct sock_event ev = {.proto = IPPROTO_TCP};
	struct note *n;
	__u16 segments;

	if (!is_ours(&sk->__sk_common) || !set_ends(&ev, sk))
		return 0;
	if (retrans_has_err && (int)ctx[2]) /* Linux 6.16: tried, but not sent */
		return 0;
	segments = BPF_CORE_READ(cb, tcp_gso_segs);
	count_retrans(&ev, segments ? segments : 1);
	if (sk->__sk_common.skc_state != SYN_SENT)
		return 0;
	n = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (n)
		tell_tcp(sk, SOCK_CONNECTED, 0); /* a SYN without an answer: who sends it */
	return 0;
}

SEC("tp_btf/tcp_retransmit_synack")
int weir_retrans_synack(__u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	struct request_sock *req = (void *)ctx[1];
	const struct sock_common *c = &req->__req_common;
	struct sock_event ev = {
		.local_port = BPF_CORE_READ(c, skc_num),
		.remote_port = bpf_ntohs(BPF_CORE_READ(c, skc_dport)),
	};

	if (!is_ours(&sk->__sk_common))
		return 0;
	if (BPF_CORE_READ(c, skc_family) == AF_INET) {
		map_v4(ev.local, BPF_CORE_READ(c, skc_rcv_saddr));
		map_v4(ev.remote, BPF_CORE_READ(c, skc_daddr));
	} else {
		BPF_CORE_READ_INTO(&ev.local, c, skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&ev.remote, c, skc_v6_daddr);
	}
	count_retrans(&ev, 1);
	return 0;
}

/* --- UDP ----------------------------------------------------------------------------------- */

static __always_inline bool is_udp(const struct bpf_sock *sk)
{
	return sk->type == SOCK_DGRAM && sk->protocol == IPPROTO_UDP;
}

SEC("cgroup/sock_create")
int weir_sock_create(struct bpf_sock *ctx)
{
	struct note *n;

	if (!is_udp(ctx) || bpf_get_netns_cookie(ctx) != netns_cookie)
		return 1;
	n = bpf_sk_storage_get(&owners, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (n)
		note_task(current_task(), &n->owner);
	else
		__sync_fetch_and_add(&sock_lost, 1);
	return 1;
}

static __always_inline bool set_udp(struct sock_event *ev, const struct sock *sk)
{
	ev->proto = IPPROTO_UDP;
	ev->now_ns = bpf_ktime_get_ns();
	if (!set_ends(ev, sk) || !ev->local_port)
		return false;
	ev->kind = ev->remote_port ? SOCK_CONNECTED : SOCK_BOUND;
	if (BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & BINDPORT_LOCK)
		ev->flags |= SOCK_EXPLICIT_PORT;
	return true;
}

static __always_inline bool set_tcp(struct sock_event *ev, const struct sock *sk)
{
	ev->proto = IPPROTO_TCP;
	ev->now_ns = bpf_ktime_get_ns();
	if (!set_ends(ev, sk) || !ev->local_port)
		return false;
	ev->kind = sk->__sk_common.skc_state == LISTEN ? SOCK_LISTENS : SOCK_CONNECTED;
	return ev->kind == SOCK_LISTENS || ev->remote_port;
}

/* The kernel's own struct behind the context. */
extern void *bpf_cast_to_kern_ctx(void *obj) __ksym;

/* The last reference of a process: one-shot UDP sockets are told here. */
SEC("cgroup/sock_release")
int weir_sock_release(struct bpf_sock *ctx)
{
	const struct sock *sk = bpf_cast_to_kern_ctx(ctx);
	struct sock_event ev = {};
	struct note *n;

	if (bpf_get_netns_cookie(ctx) != netns_cookie)
		return 1;
	n = bpf_sk_storage_get(&owners, ctx, 0, 0);
	if (!n)
		return 1;
	if (is_udp(ctx)) {
		if (!set_udp(&ev, sk))
			return 1; /* never used */
		ev.flags |= SOCK_IS_CLOSED;
	} else if (n->flags & SOCK_SERVER) {
		/* A listener's child, at last in the hands of the process that served it. */
		struct task_struct *task = current_task();

		if (BPF_CORE_READ(task, flags) & KTHREAD || !set_tcp(&ev, sk))
			return 1;
		note_task(task, &n->owner);
	} else {
		return 1;
	}
	set_note(&ev, n);
	tell(&ev);
	return 1;
}

/* --- iterators ----------------------------------------------------------------------------------
 */

/* Sockets that exist already, by the files that processes have open. */
SEC("iter/task_file")
int weir_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct sock_event ev = {};
	struct socket *socket;
	struct note *n;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket || !socket->sk)
		return 0;
	sk = socket->sk;
	if (!is_ours(&sk->__sk_common))
		return 0;
	if (sk->sk_protocol == IPPROTO_TCP && sk->sk_type == SOCK_STREAM) {
		if (!set_tcp(&ev, sk))
			return 0;
	} else if (sk->sk_protocol != IPPROTO_UDP || sk->sk_type != SOCK_DGRAM) {
		return 0;
	} else if (!set_udp(&ev, sk)) {
		ev.local_port = 0; /* not bound yet: only the note */
	}
	n = bpf_sk_storage_get(&owners, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!n) {
		__sync_fetch_and_add(&sock_lost, 1);
		return 0;
	}
	/* A socket of several processes is the last one's: children come after their parents. */
	note_task(task, &n->owner);
	n->flags |= ev.flags;
	set_note(&ev, n);
	if (ev.local_port)
		(void)bpf_seq_write(ctx->meta->seq, &ev, sizeof(ev));
	return 0;
}

SEC("iter/udp")
int weir_udp(struct bpf_iter__udp *ctx)
{
	struct sock *sk = (void *)ctx->udp_sk;
	struct sock_event ev = {};
	struct note *n;

	if (!sk || !is_ours(&sk->__sk_common) || !set_udp(&ev, sk))
		return 0;
	n = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (!n)
		return 0;
	set_note(&ev, n);
	(void)bpf_seq_write(ctx->meta->seq, &ev, sizeof(ev));
	return 0;
}

/* The kernel walks the listeners first; what comes after them ends the reader's interest. */
SEC("iter/tcp")
int weir_listeners(struct bpf_iter__tcp *ctx)
{
	struct sock_common *c = ctx->sk_common;
	struct sock_listener out = {};
	struct sock *sk = (void *)c;
	struct note *n;

	if (!c)
		return 0;
	if (c->skc_state != LISTEN) {
		(void)bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
		return 0;
	}
	if (!is_ours(c))
		return 0;
	if (c->skc_family == AF_INET)
		map_v4(out.local, c->skc_rcv_saddr);
	else
		BPF_CORE_READ_INTO(&out.local, c, skc_v6_rcv_saddr);
	out.local_port = c->skc_num;
	out.drops = BPF_CORE_READ(sk, sk_drops.counter);
	out.cookie = bpf_get_socket_cookie(c);
	n = bpf_sk_storage_get(&owners, c, 0, 0);
	if (n)
		out.owner = n->owner;
	(void)bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}
