/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_record.h - one flow record, with the names that SQL, JSON, CSV and the
 * filter language use.
 *
 * A flow is both directions of a conversation. src is the initiator: the
 * sender of the SYN where one was seen, else of the first packet seen. The
 * plain counters are src to dst, the rev_ ones dst to src.
 *
 * A long flow gives several records. Counters are the delta since the flow's
 * record before; the total_ ones run since the flow began, so that two hosts
 * can be compared at any boundary. flow_id ties the records of one flow at one
 * probe together.
 *
 * Bytes are wire bytes: the Ethernet frame without FCS, VLAN tags included,
 * each segment of a GSO or GRO packet with headers of its own.
 */
#ifndef WEIR_PROTO_FLOW_RECORD_H
#define WEIR_PROTO_FLOW_RECORD_H

#include <stddef.h>
#include <stdint.h>

#define IFACE_NAME_MAX 16 /* IFNAMSIZ */
/* Sizes of the texts below, with their NUL. */
#define DNS_NAME_MAX	256
#define TLS_SNI_MAX	256
#define TLS_ALPN_MAX	64
#define PROCESS_MAX	64 /* 15 bytes, each of them perhaps as \DDD */
#define CGROUP_PATH_MAX 256
#define DROP_REASON_MAX 40

#define DNS_RCODE_NONE 255

/* Bucket i counts samples of [2^(i+4), 2^(i+5)) us; the first and the last are open. */
#define RTT_BUCKETS 16

enum flow_direction {
	FLOW_DIRECTION_UNKNOWN,
	FLOW_DIRECTION_INGRESS, /* src to dst packets came into this host */
	FLOW_DIRECTION_EGRESS,	/* src to dst packets left this host */
	FLOW_DIRECTION_MAX,
};

enum flow_role {
	FLOW_ROLE_UNKNOWN, /* no SYN was seen, and no socket of this host tells */
	FLOW_ROLE_CLIENT,  /* this host opened the connection */
	FLOW_ROLE_SERVER,  /* this host was connected to, or owns the port that was */
	FLOW_ROLE_MAX,
};

/* RFC 5102 5.11.3 (flowEndReason), same numbers; 0 is ours. */
enum flow_end_reason {
	FLOW_END_NONE,	       /* only in the probe: not ended */
	FLOW_END_IDLE,	       /* idle timeout */
	FLOW_END_ACTIVE,       /* active timeout: the flow goes on */
	FLOW_END_DETECTED,     /* FIN on both sides, or RST */
	FLOW_END_FORCED,       /* the probe stopped */
	FLOW_END_NO_RESOURCES, /* catch-all: packets of flows the full table refused */
	FLOW_END_MAX,
};

/* What a flow travels in. Same numbers as enum flow_tunnel of the datapath. */
enum flow_encap {
	FLOW_ENCAP_NONE,
	FLOW_ENCAP_IPIP, /* IPv4 or IPv6 in IPv4 or IPv6 */
	FLOW_ENCAP_GRE,
	FLOW_ENCAP_ERSPAN,
	FLOW_ENCAP_VXLAN,
	FLOW_ENCAP_GENEVE,
	FLOW_ENCAP_GTPU,
	FLOW_ENCAP_TEREDO,
	FLOW_ENCAP_MAX,
};

/*
 * What became of a TCP connection, as of this record. Established is one whose
 * handshake was seen to its last ACK. So is one that was under way when it was
 * first seen (no SYN, no SYN-ACK), and, where only one direction passes here or
 * the SYN came before the probe, one that goes on as no other can: an ACK of
 * the initiator, PSH or FIN of the other end. In this order:
 *
 *	CLOSED          established, FIN of both sides
 *	RESET           established, then RST of either side
 *	TIMED_OUT       established, and this record ends it for its silence
 *	ESTABLISHED     established
 *	HALF_OPEN       SYN-ACK, and no ACK to it (an RST of the initiator is none)
 *	REFUSED         no SYN-ACK, but an RST of the other end
 *	SYN_UNANSWERED  neither
 *
 * The last three are final only in the last record of a flow: more may come.
 */
enum flow_verdict {
	FLOW_VERDICT_NONE, /* not TCP */
	FLOW_VERDICT_SYN_UNANSWERED,
	FLOW_VERDICT_REFUSED,
	FLOW_VERDICT_HALF_OPEN,
	FLOW_VERDICT_ESTABLISHED,
	FLOW_VERDICT_CLOSED,
	FLOW_VERDICT_RESET,
	FLOW_VERDICT_TIMED_OUT,
	FLOW_VERDICT_MAX,
};

/* Numbers are also rows of proto/flow_columns.h, which says when each is measured. */
struct flow_record {
	uint64_t flow_id;  /* random-looking, 1 to 2^53 - 1 so that JSON readers keep it exact */
	uint64_t start_ns; /* first packet of the flow */
	uint64_t end_ns;   /* last packet counted in this record */
	uint8_t src_addr[16], dst_addr[16]; /* common/addr.h form; all zero in a catch-all */
	uint16_t src_port, dst_port;	    /* 0 unless TCP, UDP, SCTP */
	uint8_t proto;			    /* IPPROTO_*; 0 (with no addresses) in a catch-all */
	uint8_t icmp_type, icmp_code;	    /* of src's messages; queries: the request */
	uint16_t icmp_id;		    /* echo identifier, 0 if the type has none */
	uint16_t vlan;			    /* outermost VLAN id, 0 untagged */
	char iface[IFACE_NAME_MAX]; /* interface that counted src to dst (else dst to src) */
	uint8_t direction;	    /* enum flow_direction */
	uint8_t role;		    /* enum flow_role, of this host */
	uint8_t end_reason;	    /* enum flow_end_reason */
	uint64_t packets, bytes, rev_packets, rev_bytes; /* since the record before */
	uint64_t total_packets, total_bytes, rev_total_packets, rev_total_bytes;
	uint16_t tcp_flags, rev_tcp_flags; /* OR of all seen since the flow began (RFC 9293 bits) */
	/*
	 * Handshake round trips, in the one record whose interval completed the
	 * handshake, else 0: rtt_server SYN to SYN-ACK (this point to the
	 * server and back), rtt_client SYN-ACK to ACK (to the client and back),
	 * rtt_us their sum. A measured time under 1 us is given as 1.
	 */
	uint32_t rtt_us, rtt_client_us, rtt_server_us;
	uint64_t retrans_pkts, retrans_bytes; /* TCP segments of src sent again; payload bytes */
	uint64_t rev_retrans_pkts, rev_retrans_bytes; /* the same of dst */

	/* Of what src sent and, rev_, of what dst sent, since the record before. TCP: */
	uint32_t ooo_pkts, rev_ooo_pkts;	 /* segments that came late, not sent again */
	uint32_t dup_acks, rev_dup_acks;	 /* RFC 5681 section 2 */
	uint32_t zero_windows, rev_zero_windows; /* segments that advertised no window */
	uint32_t ce_pkts, rev_ce_pkts;		 /* any IP: ECN congestion experienced */
	uint16_t mss, rev_mss;			 /* TCP: from its SYN; 0: not seen */
	/*
	 * Round trips since the record before, each counted at this point:
	 * payload of src (rev_: of dst) to the acknowledgement of the other
	 * end, or echo request to reply. min <= avg <= max.
	 */
	uint32_t data_rtt_samples, data_rtt_min_us, data_rtt_avg_us, data_rtt_max_us;
	uint32_t rev_data_rtt_samples, rev_data_rtt_min_us, rev_data_rtt_avg_us,
		rev_data_rtt_max_us;
	uint16_t data_rtt_hist[RTT_BUCKETS], rev_data_rtt_hist[RTT_BUCKETS];
	/*
	 * TCP and UDP: answers of dst since the record before, from the last
	 * byte that src asked with to the first byte of the answer.
	 */
	uint32_t responses, response_avg_us, response_max_us;
	uint32_t icmp_errors; /* that quote this flow, since the record before */
	uint8_t icmp_error_type, icmp_error_code; /* of the last of them */
	uint8_t tunnel;				  /* enum flow_encap */
	uint8_t verdict;			  /* enum flow_verdict */
	uint32_t tunnel_id; /* VNI, low 24 bits of a GRE key; 0 where there is none */
	/* With a tunnel: the outer addresses on src's and on dst's side, of the first packet. */
	uint8_t outer_src_addr[16], outer_dst_addr[16];

	/*
	 * DNS, UDP and TCP port 53, since the record before. The name, type,
	 * rcode and latency are of one query, the one that went worst: without
	 * an answer, else with an error for an answer, else the slowest. Texts
	 * are printable ASCII, lower case, other bytes as \DDD; "" is none.
	 */
	char dns_qname[DNS_NAME_MAX];
	uint16_t dns_qtype;
	uint8_t dns_rcode;		      /* DNS_RCODE_NONE: no answer (yet) */
	uint32_t dns_latency_us;	      /* query to answer; 0: not both seen */
	uint32_t dns_queries, dns_unanswered; /* 5 s without an answer, or the flow ended before */
	/* The TLS ClientHello of the connection, over TCP or QUIC, in each of its records. */
	char tls_sni[TLS_SNI_MAX];
	char tls_alpn[TLS_ALPN_MAX]; /* what the client offers, by comma */
	uint32_t quic_version;	     /* 0: not QUIC */

	/*
	 * The process of this host that the flow belongs to, by its socket: that
	 * connected, listens, made the UDP socket, or, of an accepted connection
	 * that is closed, closed it. pid 0: unknown, and so is the rest.
	 */
	char process[PROCESS_MAX]; /* name of the process; odd bytes as \DDD */
	uint32_t pid, uid;
	char cgroup[CGROUP_PATH_MAX]; /* version 2: "/system.slice/nginx.service"; "": unknown */
	/* What this host's kernel did to the flow's packets, both directions, since the record
	 * before. */
	uint32_t kernel_drops;			  /* thrown away */
	char kernel_drop_reason[DROP_REASON_MAX]; /* most frequent, the kernel's own name of it */
	uint32_t kernel_retrans_pkts;		  /* TCP: segments that this host sent again */
};

/* What many records tell of themselves without being looked at again. */
#define FLOW_MINUTE_MS	     60000
#define FLOW_SUMMARY_MINUTES 8
struct flow_summary {
	size_t n_rows;
	uint64_t min_start_ms, min_end_ms, max_end_ms;
	/* By the minute that they ended in; more of them than here: not known. */
	size_t n_minutes;
	struct flow_minute {
		uint64_t at_ms, records, packets; /* its beginning; both directions */
	} minutes[FLOW_SUMMARY_MINUTES];
};

#endif /* WEIR_PROTO_FLOW_RECORD_H */
