/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_abi.h - the contract between the BPF programs and probe/.
 *
 * All of it crosses the kernel boundary as raw bytes: fixed-width types only,
 * padding is a named field and zero (a key is hashed word by word), and the
 * size asserts fail the build of both sides on any drift. Times are
 * CLOCK_MONOTONIC ns.
 *
 * Objects of weir.bpf.c (see there for what each does):
 *	programs  weir_xdp, weir_xdp_frags        XDP ingress (frags: for MTU > a page)
 *	          weir_tc_ingress, weir_tc_egress TC or TCX, devices with Ethernet headers
 *	          weir_tc_ingress_l3, weir_tc_egress_l3  the same, devices without (tun, wg)
 *	maps      buckets    ARRAY, mmap    struct flow_bucket: the index of the table
 *	          slots      ARRAY, mmap    struct flow_slot: the flows
 *	          perf       ARRAY, mmap    struct flow_perf, same index as slots
 *	          free_ring  ARRAY, mmap    struct flow_free_ring and after it __u32 slot numbers
 *	          catch_all  PERCPU_ARRAY   enum flow_hook -> struct flow_totals
 *	          counters   PERCPU_ARRAY   one struct flow_counters per CPU
 *	          ethertypes HASH           ethertype -> struct flow_ethertype
 *	          fragments  LRU_HASH       ports of first fragments, for the later ones
 *	          payloads   RINGBUF        struct flow_payload
 *	rodata    bucket_mask, slot_mask, hash_seed, copy_payloads, replaying: set before load
 *	bss       replay: struct flow_replay
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
 * Protocols without ports, and fragments whose first was not seen: ports are 0.
 * In a tunnel: the innermost addresses that we read; tunnel tells it apart.
 */
struct flow_key {
	__u8 addr_a[16]; /* IPv6, or IPv4 mapped as ::ffff:a.b.c.d */
	__u8 addr_b[16];
	__be16 port_a;
	__be16 port_b;
	__u8 proto;	/* IPPROTO_* of the innermost header we read */
	__u8 icmp_type; /* 0 unless ICMP or ICMPv6 */
	__u16 vlan;	/* outermost VLAN id, host order, 0 untagged */
	__u32 tunnel;	/* 0: none; else enum flow_tunnel << 24 | VNI or GRE key (low bits) */
};

enum flow_tunnel {
	FLOW_TUNNEL_NONE,
	FLOW_TUNNEL_IPIP, /* IPv4 or IPv6 in IPv4 or IPv6, 6in4 among them; and what has no kind
			     here */
	FLOW_TUNNEL_GRE,
	FLOW_TUNNEL_ERSPAN,
	FLOW_TUNNEL_VXLAN,
	FLOW_TUNNEL_GENEVE,
	FLOW_TUNNEL_GTPU,
	FLOW_TUNNEL_TEREDO,
	FLOW_TUNNEL_MAX,
};

/*
 * One direction, the part that every packet touches. Counters run since the flow
 * began. The first five fields are those of struct flow_lane.
 */
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
	__u32 asked_at;	  /* of the initiator: last payload without an answer, ns >> 10 | 1; 0: none
			   */
	__u32 tcp_flags;  /* OR of all seen: FIN 1, SYN 2, ... CWR 128, NS 256 */
	__u32 seq_end;	  /* highest sequence number seen, plus one */
	__u32 ack;	  /* last acknowledgement that this side sent */
	__u32 sample_seq; /* RTT sample in flight: what acknowledges it (ICMP: echo sequence) */
	__u32 sample_ts;  /* its TCP timestamp, 0: none */
	__u16 window;	  /* as last advertised, unscaled */
	__u16 mss;	  /* from its SYN, 0: none seen */
	__u64 sample_ns;  /* when it left, 0: none in flight */
};

/*
 * What the CPUs other than the one at home (flow_slot.home) count of a direction,
 * on a cache line of its own: two CPUs in one flow took 2.7 times as long for a
 * packet when they had to pass one line to and fro. All counts of a direction
 * are those of its half and its lane together; the probe reads both if
 * FLOW_SPREAD is set.
 */
struct flow_lane {
	__u64 packets, bytes, last_ns;
	__u32 iface, asked_at;
};

/* A home that is silent for so long has lost its flow to the CPU that has it now. */
#define FLOW_REHOME_NS 100000000ull

enum flow_state {
	FLOW_SYN_SEEN = 1 << 0,	      /* initiator is known, not only assumed */
	FLOW_HANDSHAKE_DONE = 1 << 1, /* rtt_server_us and rtt_client_us are set */
	FLOW_CLOSING_A = 1 << 2,      /* FIN seen in half[0] */
	FLOW_CLOSING_B = 1 << 3,      /* FIN seen in half[1] */
	FLOW_RESET_A = 1 << 4,	      /* RST seen in half[0] */
	FLOW_RESET_B = 1 << 5,
	FLOW_SEQ_A = 1 << 6, /* half[0].seq_end is valid */
	FLOW_SEQ_B = 1 << 7,
	FLOW_SYNACK_SEEN = 1 << 8,
	FLOW_HELLO = 1 << 9,   /* hello_end is set: segments before it are copied */
	FLOW_SPREAD = 1 << 10, /* another CPU than the one at home has counted */
	FLOW_LIVE = 1u << 31,  /* the slot holds a flow: set last when it is made */
};

/*
 * A flow. Several CPUs may work on one: packets, bytes, the counters of
 * flow_perf and the bits of state and tcp_flags are changed atomically, so no
 * count is lost; the rest is written by the CPU that handles the direction,
 * which is one at a time wherever packets of a flow keep their order. (A
 * bpf_spin_lock around all of it measured 50 ns a packet.)
 */
struct flow_slot {
	struct flow_key key;
	__u32 state; /* enum flow_state bits */
	__u64 first_ns;
	__u32 place;	/* bucket << FLOW_WAY_BITS | way: where the index has it */
	__u8 initiator; /* which half opened: 0 (a to b) or 1 */
	__u8 sampling;	/* bit i: half[i].sample_ns may be set, worth a look at its line */
	__u8 home[2];	/* the CPU, as FLOW_CPU(), that counts in half[i]; 0: none yet */

	struct flow_half half[2]; /* [0] a to b, [1] b to a */

	__u64 syn_ns; /* latest SYN, SYN-ACK: for the handshake times */
	__u64 synack_ns;
	__u32 rtt_server_us;   /* SYN to SYN-ACK; at least 1 when measured */
	__u32 rtt_client_us;   /* SYN-ACK to ACK */
	__u64 response_sum_us; /* answers: last byte asked to first byte answered */
	__u32 responses;
	__u32 response_max_us; /* since the probe last took it */
	__u32 icmp_errors;     /* ICMP errors that quote this flow */
	__u16 icmp_error;      /* the last: type << 8 | code */
	__u16 zero;
	__u32 hello_end; /* sequence number behind the initiator's TLS ClientHello, while it comes
			  */
	__u32 zero2;
	__u64 zero3;
};

/* RTT histogram: bucket i counts samples of [2^(i+4), 2^(i+5)) us, open at both ends. */
#define FLOW_RTT_BUCKETS 16

/* One direction, the part that few packets touch. */
struct flow_perf_half {
	__u64 hole_ns; /* when the last gap below seq_end appeared, 0: none */
	__u32 hole_start;
	__u32 hole_end;
	__u64 retrans_bytes; /* payload sent again */
	__u32 retrans_pkts;  /* segments sent again */
	__u32 ooo_pkts;	     /* segments that came late */
	__u32 dup_acks;
	__u32 zero_windows;
	__u32 ce_pkts;	 /* IP ECN: congestion experienced */
	__u32 rtt_count; /* samples: payload of this side to the other's acknowledgement */
	__u64 rtt_sum_us;
	__u32 rtt_min_us; /* since the probe last took it; 0: none */
	__u32 rtt_max_us;
	__u16 rtt_hist[FLOW_RTT_BUCKETS]; /* wraps: the probe takes differences */
};

/* The header around a tunnelled flow, as its first packet had it. */
struct flow_outer {
	__u8 src_addr[16];
	__u8 dst_addr[16];
	__be16 src_port;
	__be16 dst_port;
	__u32 zero;
};

struct flow_perf {
	struct flow_perf_half half[2];
	struct flow_outer outer; /* key.tunnel != 0 */
	__u64 zero[3];
	struct flow_lane lane[2];
};

/* CPUs that are 128 apart share a number: nothing is lost, they only share a line. */
#define FLOW_CPU(cpu) ((__u8)(((cpu)&127) + 1))

/*
 * The index: FLOW_WAYS entries a bucket, one cache line. tag 0 is empty. A
 * bucket that is full puts what comes into the others of its group of
 * FLOW_GROUP (number ^ 1, ^ 2, ^ 3), and overflowed says how far. So a table
 * that is full to 95 % has a way for every flow: with pairs three of a million
 * found none. The programs put entries in, under the lock of the group's first
 * bucket; the probe takes them out:
 *	1. tag = 0: packets to come do not find the flow and open another one
 *	2. wait for an RCU grace period (membarrier MEMBARRIER_CMD_GLOBAL):
 *	   programs that had found the slot are done, its counts are final
 *	3. read it, clear it, give its number back through free_ring
 */
#define FLOW_WAYS     7
#define FLOW_WAY_BITS 3
#define FLOW_GROUP    4u
struct flow_bucket {
	__u32 tag[FLOW_WAYS];
	__u32 lock;
	__u32 slot[FLOW_WAYS];
	__u32 overflowed; /* stays: how many others of the group have to be looked at, too */
};

/* Numbers of free slots, first in first out. The programs move head, the probe tail. */
struct flow_free_ring {
	__u32 head;
	__u32 tail;
};

/*
 * The first bytes of a packet's payload, for what user space makes of them:
 * DNS messages, TLS ClientHello, QUIC Initial. At most PAYLOADS_PER_SECOND on
 * each CPU; what is over that, or finds the ring full, is counted.
 */
#define PAYLOAD_BYTES	    2048
#define PAYLOADS_PER_SECOND 10000

enum flow_payload_kind { PAYLOAD_DNS, PAYLOAD_TLS, PAYLOAD_QUIC, PAYLOAD_KIND_MAX };

struct flow_payload {
	__u64 now_ns;
	struct flow_key key;
	__u32 slot;  /* of the flow */
	__u8 kind;   /* enum flow_payload_kind */
	__u8 dir;    /* 0: sent by end a of the key */
	__u16 len;   /* bytes in data */
	__u32 whole; /* bytes of payload that the packet had */
	__u32 tcp_seq;
	__u32 zero;
	__u8 data[PAYLOAD_BYTES];
};

/* Replay of a capture: its clock and lengths stand in for the kernel's. */
struct flow_replay {
	__u64 now_ns;
	__u32 wire_len; /* of the frame as handed in, also what the capture cut off */
	__u32 bytes;	/* what it counts as */
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
 * What is not IP, by the last ethertype on the way to it. The keys of 32 bits hold
 * that, or one of these.
 */
#define FLOW_ETHERTYPE_LLC   1	     /* IEEE 802.3: an LLC header that names no ethertype */
#define FLOW_ETHERTYPE_OTHER 0x10000 /* of more ethertypes than there is room for */
#define FLOW_ETHERTYPES_MAX  256

struct flow_ethertype {
	__u64 packets;
	__u64 bytes;
};

#define FLOW_TAKEOVER_NS 1000000000ull

/*
 * Conservation, in wire packets:
 *	SEEN = half[].packets of all flows + catch_all + SEEN_ELSEWHERE
 *	       + every counter below that one
 */
enum flow_counter {
	FLOW_CNT_SEEN,		   /* wire packets that reached a program */
	FLOW_CNT_SEEN_BYTES,	   /* their wire bytes */
	FLOW_CNT_CATCH_ALL,	   /* packets counted in catch_all */
	FLOW_CNT_FLOWS_REFUSED,	   /* events, not packets: no slot or no way free for a new flow */
	FLOW_CNT_FLOWS_CREATED,	   /* events: new flows */
	FLOW_CNT_FRAGMENTS_ORPHAN, /* events: later fragments whose first was not seen */
	/* events: packets with a flow, of the ports that could be read, whose transport header
	 * is cut off, impossible */
	FLOW_CNT_TRANSPORT_TRUNCATED,
	FLOW_CNT_TRANSPORT_BAD_HEADER,
	FLOW_CNT_PAYLOADS_LOST,	  /* events: the payload ring was full */
	FLOW_CNT_PAYLOADS_CAPPED, /* events: more payloads than PAYLOADS_PER_SECOND */
	FLOW_CNT_SEEN_ELSEWHERE,  /* already counted on another interface or hook */
	FLOW_CNT_NOT_IP,	  /* ARP, LLDP, ... */
	FLOW_CNT_TRUNCATED,	  /* packet ends inside a link or IP header */
	FLOW_CNT_BAD_HEADER,	  /* version, header length or total length impossible */
	FLOW_CNT_TOO_DEEP,	  /* more labels, tags or IPv6 extension headers than we follow */
	FLOW_CNT_MAX,
};

/* The one value of the map counters. */
struct flow_counters {
	__u64 n[FLOW_CNT_MAX];
};

#define FLOW_COUNTER_NAMES                                                                         \
	{                                                                                          \
		"packets_seen", "bytes_seen", "packets_catch_all", "flows_refused",                \
			"flows_created", "fragments_orphan", "transport_truncated",                \
			"transport_bad_header", "payloads_lost", "payloads_capped",                \
			"packets_seen_elsewhere", "packets_not_ip", "packets_truncated",           \
			"packets_bad_header", "packets_too_deep"                                   \
	}

_Static_assert(sizeof(struct flow_key) == 44, "flow_key changed size");
_Static_assert(sizeof(struct flow_half) == 64, "flow_half changed size");
_Static_assert(sizeof(struct flow_slot) == 256, "flow_slot changed size");
_Static_assert(sizeof(struct flow_perf_half) == 96, "flow_perf_half changed size");
_Static_assert(sizeof(struct flow_lane) == 32, "flow_lane changed size");
_Static_assert(__builtin_offsetof(struct flow_half, last_ns) ==
			       __builtin_offsetof(struct flow_lane, last_ns) &&
		       __builtin_offsetof(struct flow_half, asked_at) ==
			       __builtin_offsetof(struct flow_lane, asked_at),
	       "a half does not begin as a lane");
_Static_assert(sizeof(struct flow_perf) == 320, "flow_perf changed size");
_Static_assert(sizeof(struct flow_bucket) == 64, "flow_bucket changed size");
_Static_assert(sizeof(struct flow_payload) == 72 + PAYLOAD_BYTES, "flow_payload changed size");
_Static_assert(sizeof(struct flow_totals) == 24, "flow_totals changed size");

#endif /* WEIR_BPF_FLOW_ABI_H */
