/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sockets_abi.h - the contract of sockets.bpf.c with probe/stack/sockets.c.
 *
 *	programs  weir_sock_state   tracepoint sock:inet_sock_set_state: TCP
 *	          weir_sock_create, weir_sock_release
 *	                            cgroup hooks of the root cgroup2: UDP
 *	          weir_retrans, weir_retrans_synack   tracepoints tcp:tcp_retransmit_*
 *	          weir_files        iterator over open files: the sockets that exist already
 *	          weir_udp          iterator over UDP sockets
 *	          weir_listeners    iterator over TCP sockets: struct sock_listener of those
 *	                            that listen; stop reading at one with port 0
 *	maps      owners   SK_STORAGE, inherited by accepted sockets
 *	          news     RINGBUF   struct sock_event, struct sock_cgroup
 *	          cgroups  LRU_HASH  ids whose names have been told; forgotten: told again
 *	          tallies  tally_abi.h, TALLY_RETRANS
 *	bss       sock_lost  events and notes that found no room
 *	rodata    netns_cookie, pidns, retrans_has_err
 *
 * Iterators write struct sock_event (weir_listeners: struct sock_listener).
 */
#ifndef WEIR_BPF_SOCKETS_ABI_H
#define WEIR_BPF_SOCKETS_ABI_H

#include <linux/types.h>

#define SOCK_COMM_BYTES 16

/* The process that a socket belongs to. */
struct sock_owner {
	char comm[SOCK_COMM_BYTES]; /* of the main thread */
	__u32 pid;    /* of the process, as the probe's pid namespace counts; 0: none */
	__u32 uid;    /* as the initial user namespace counts */
	__u64 cgroup; /* id of its cgroup (version 2) */
};

enum sock_event_kind {
	SOCK_LISTENS,	/* TCP: local address and port */
	SOCK_CONNECTED, /* TCP: both ends; UDP: a socket that has one peer */
	SOCK_BOUND,	/* UDP: local address and port, any peer */
	SOCK_CLOSED,	/* whatever was told of the same ends before */
	SOCK_CGROUP,	/* struct sock_cgroup */
};

enum sock_flag {
	SOCK_CLIENT = 1 << 0,	     /* TCP: by connect() */
	SOCK_SERVER = 1 << 1,	     /* TCP: by accept() */
	SOCK_EXPLICIT_PORT = 1 << 2, /* bound to a port that it asked for */
	SOCK_IS_CLOSED = 1 << 3,     /* told and closed at once */
};

/* Times are CLOCK_MONOTONIC ns; IPv4 addresses mapped as ::ffff:a.b.c.d; ports host order. */
struct sock_event {
	__u32 kind; /* enum sock_event_kind */
	__u8 proto;
	__u8 flags; /* enum sock_flag */
	__u16 local_port;
	__u8 local[16]; /* all zero, or ::ffff:0.0.0.0: any */
	__u8 remote[16];
	__u16 remote_port;
	__u16 zero;
	__u32 zero2;
	__u64 now_ns;
	struct sock_owner owner;
};

/* A cgroup's path, last name first. Read while its process is there: it may be gone soon. */
#define SOCK_CGROUP_NAMES 8
#define SOCK_CGROUP_BYTES 112

struct sock_cgroup {
	__u32 kind;  /* SOCK_CGROUP */
	__u32 names; /* as many as are filled */
	__u64 id;
	char name[SOCK_CGROUP_NAMES][SOCK_CGROUP_BYTES];
};

/* A listening TCP socket: what it has refused since it listens. */
struct sock_listener {
	__u8 local[16];
	__u16 local_port; /* 0: the last of the listeners has been told */
	__u16 zero;
	__u32 drops;
	__u64 cookie; /* of the socket: never another's */
	struct sock_owner owner;
};

_Static_assert(sizeof(struct sock_owner) == 32, "sock_owner changed size");
_Static_assert(sizeof(struct sock_event) == 88, "sock_event changed size");
_Static_assert(sizeof(struct sock_cgroup) == 16 + 8 * 112, "sock_cgroup changed size");
_Static_assert(sizeof(struct sock_listener) == 64, "sock_listener changed size");

#endif /* WEIR_BPF_SOCKETS_ABI_H */
