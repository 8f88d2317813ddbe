/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_abi.h - the contract between the BPF programs and probe/.
 *
 * All of it crosses the kernel boundary as raw bytes: fixed-width types only,
 * padding is a named field and zero (a map key is hashed byte by byte), and
 * the size asserts fail the build of both sides on any drift. Times are
 * CLOCK_MONOTONIC ns.
 *
 * Objects of weir.bpf.c (see there for what each does):
 *	programs  weir_xdp, weir_xdp_frags        XDP ingress (frags: for MTU > a page)
 *	          weir_tc_ingress, weir_tc_egress TC or TCX, devices with Ethernet headers
 *	          weir_tc_ingress_l3, weir_tc_egress_l3  the same, devices without (tun, wg)
 *	          weir_reap                       run by the probe, struct flow_reap
 *	maps      flows      HASH           struct flow_key -> struct flow_entry
 *	          catch_all  PERCPU_ARRAY   enum flow_hook -> struct flow_totals
 *	          counters   PERCPU_ARRAY   one struct flow_counters per CPU
 */
#ifndef WEIR_BPF_FLOW_ABI_H
#define WEIR_BPF_FLOW_ABI_H

#include <linux/bpf.h>
#include <linux/types.h>

/*
 * A conversation. Both directions share one key: (addr_a, port_a) is the end
 * that sorts first, addresses compared as 128-bit numbers, then ports. The
 * interface is not part of it: see flow_half.iface.
 *
 * ICMP queries (echo, timestamp, ...): both ports are the identifier and
 * icmp_type is the request's. Other ICMP: both ports are htons(code).
 * Protocols without ports, and fragments after the first: ports are 0.
 */
struct flow_key {
	__u8 addr_a[16]; /* IPv6, or IPv4 mapped as ::ffff:a.b.c.d */
	__u8 addr_b[16];
	__be16 port_a;
	__be16 port_b;
	__u8 proto;	/* IPPROTO_* of the innermost header we read */
	__u8 icmp_type; /* 0 unless ICMP or ICMPv6 */
	__u16 vlan;	/* outermost VLAN id, host order, 0 untagged */
	__u32 tunnel;	/* 0: tunnels are not opened yet */
};

/* One direction. Counters run since the flow began. */
struct flow_half {
	__u64 packets; /* wire packets: a GSO packet counts as its segments */
	__u64 bytes;   /* wire bytes, L2 headers included */
	__u64 last_ns; /* 0: nothing seen in this direction */
	/*
	 * Where this direction is counted: ifindex << 1 | egress. The same
	 * packet met again elsewhere (veth, bridge, NIC) only raises
	 * FLOW_CNT_SEEN_ELSEWHERE, unless this place has been silent for
	 * FLOW_TAKEOVER_NS.
	 */
	__u32 iface;
	__u32 tcp_flags; /* OR of all seen: FIN 1, SYN 2, ... CWR 128, NS 256 */
	/* TCP: sequence space. */
	__u32 seq_end;	  /* highest sequence number seen, plus one */
	__u32 hole_start; /* last gap below seq_end; hole_ns 0: none */
	__u32 hole_end;
	__u32 retrans_pkts;  /* segments sent again */
	__u64 hole_ns;	     /* when the gap appeared */
	__u64 retrans_bytes; /* their payload */
};

enum flow_state {
	FLOW_SYN_SEEN = 1 << 0,	      /* initiator is known, not only assumed */
	FLOW_HANDSHAKE_DONE = 1 << 1, /* rtt_server_us and rtt_client_us are set */
	FLOW_CLOSING_A = 1 << 2,      /* FIN seen in half[0] */
	FLOW_CLOSING_B = 1 << 3,      /* FIN seen in half[1] */
	FLOW_RESET = 1 << 4,	      /* RST seen */
	FLOW_REAPED = 1 << 5,	      /* set by weir_reap: about to be deleted */
	FLOW_SEQ_A = 1 << 6,	      /* half[0].seq_end is valid */
	FLOW_SEQ_B = 1 << 7,
};

/*
 * Several CPUs may work on one entry. Packets, bytes, retransmissions and the
 * bits of state and tcp_flags are changed atomically, so no count is lost; the
 * rest is written by the CPU that handles the direction, which is one at a time
 * wherever packets of a flow keep their order. (A bpf_spin_lock around all of
 * it measured 50 ns a packet, more than half of a bare HASH update.)
 */
struct flow_entry {
	__u32 state;	 /* enum flow_state bits */
	__u32 initiator; /* which half opened: 0 (a to b) or 1 */
	__u64 first_ns;
	__u64 syn_ns; /* latest SYN, SYN-ACK: for the handshake times */
	__u64 synack_ns;
	__u32 rtt_server_us;	  /* SYN to SYN-ACK; at least 1 when measured */
	__u32 rtt_client_us;	  /* SYN-ACK to ACK */
	struct flow_half half[2]; /* [0] a to b, [1] b to a */
};

/* Where a program is attached, and the two rows of catch_all. */
enum flow_hook { FLOW_HOOK_INGRESS, FLOW_HOOK_EGRESS, FLOW_HOOK_MAX };

/* Packets of flows that the full table refused: totals stay right. */
struct flow_totals {
	__u64 packets;
	__u64 bytes;
	__u64 last_ns;
};

/*
 * weir_reap: freezes flows that the probe wants to end. Run through
 * BPF_PROG_TEST_RUN with this as the packet. For each item whose flow has seen
 * nothing since last_ns, sets FLOW_REAPED and reaped = 1. Programs that began
 * before may still add their packet: the probe waits for an RCU grace period
 * (membarrier MEMBARRIER_CMD_GLOBAL), after which the entry does not change and
 * is taken with lookup-and-delete. Packets of a reaped flow that come before
 * the delete go to catch_all.
 */
#define FLOW_REAP_MAX 32
struct flow_reap_item {
	struct flow_key key;
	__u32 reaped;
	__u64 last_ns; /* later of both halves, as the probe read it */
};
struct flow_reap {
	__u32 n; /* items used, up to FLOW_REAP_MAX */
	__u32 zero;
	struct flow_reap_item item[FLOW_REAP_MAX];
};

#define FLOW_TAKEOVER_NS 1000000000ull

/*
 * Conservation, in wire packets:
 *	SEEN = half[].packets of all flows + catch_all + SEEN_ELSEWHERE
 *	       + every counter below that one
 */
enum flow_counter {
	FLOW_CNT_SEEN,		 /* wire packets that reached a program */
	FLOW_CNT_SEEN_BYTES,	 /* their wire bytes */
	FLOW_CNT_CATCH_ALL,	 /* packets counted in catch_all: table full or flow reaped */
	FLOW_CNT_FLOWS_REFUSED,	 /* events, not packets: a new flow found the table full */
	FLOW_CNT_FLOWS_CREATED,	 /* events: new entries */
	FLOW_CNT_SEEN_ELSEWHERE, /* already counted on another interface or hook */
	FLOW_CNT_NOT_IP,	 /* ARP, LLDP, ... */
	FLOW_CNT_TRUNCATED,	 /* packet ends inside a header */
	FLOW_CNT_BAD_HEADER,	 /* version, header length or total length impossible */
	FLOW_CNT_TOO_DEEP,	 /* more VLAN tags or IPv6 extension headers than we follow */
	FLOW_CNT_MAX,
};

/* The one value of the map counters. */
struct flow_counters {
	__u64 n[FLOW_CNT_MAX];
};

#define FLOW_COUNTER_NAMES                                                                         \
	{                                                                                          \
		"packets_seen", "bytes_seen", "packets_catch_all", "flows_refused",                \
			"flows_created", "packets_seen_elsewhere", "packets_not_ip",               \
			"packets_truncated", "packets_bad_header", "packets_too_deep"              \
	}

_Static_assert(sizeof(struct flow_key) == 44, "flow_key changed size");
_Static_assert(sizeof(struct flow_half) == 64, "flow_half changed size");
_Static_assert(sizeof(struct flow_entry) == 168, "flow_entry changed size");
_Static_assert(sizeof(struct flow_totals) == 24, "flow_totals changed size");
_Static_assert(sizeof(struct flow_reap_item) == 56, "flow_reap_item changed size");
_Static_assert(sizeof(struct flow_reap) == 8 + 56 * FLOW_REAP_MAX, "flow_reap changed size");

#endif /* WEIR_BPF_FLOW_ABI_H */
