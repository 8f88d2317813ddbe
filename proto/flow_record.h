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

#include <stdint.h>

#define IFACE_NAME_MAX 16 /* IFNAMSIZ */

enum flow_direction {
	FLOW_DIRECTION_UNKNOWN,
	FLOW_DIRECTION_INGRESS, /* src to dst packets came into this host */
	FLOW_DIRECTION_EGRESS,	/* src to dst packets left this host */
	FLOW_DIRECTION_MAX,
};

enum flow_role {
	FLOW_ROLE_UNKNOWN, /* nobody saw the connection being opened */
	FLOW_ROLE_CLIENT,  /* this host opened the connection */
	FLOW_ROLE_SERVER,  /* this host was connected to */
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
};

#endif /* WEIR_PROTO_FLOW_RECORD_H */
