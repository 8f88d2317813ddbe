/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns.h - DNS messages (RFC 1035), and where they are in a TCP stream.
 *
 * Reads the header and the first question; the records behind it, EDNS among
 * them, are not looked at, so a message may be cut anywhere after that.
 *
 * Threads: no state of its own; any. Memory: the caller's.
 */
#ifndef WEIR_PROBE_NAMES_DNS_H
#define WEIR_PROBE_NAMES_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/flow_record.h"

#define DNS_NAME_UNREAD "\\?" /* no name is written like this */

struct dns_message {
	uint16_t id;
	bool response;
	uint8_t rcode;	  /* of the header; 0 in a query */
	uint16_t qtype;	  /* 0 without a question */
	uint16_t answers; /* records in the answer section, as announced */
	bool cut;	  /* the name did not fit qname */
	bool damaged;	  /* the question cannot be read */
	/*
	 * As zone files write it, lower case, no dot at the end; "." is the
	 * root, "" no question. A dot within a label is written \. and what is
	 * not printable ASCII \DDD. DNS_NAME_UNREAD in a query that asks nothing
	 * or what cannot be read.
	 */
	char qname[DNS_NAME_MAX];
};

/*
 * Returns -EBADMSG for what has no header of DNS. The question is damaged when the
 * message ends before it does, or the name breaks the rules: a label of a reserved
 * type, more than 255 bytes, or a compression pointer. The first name of a message has
 * no earlier one to point to (RFC 1035 4.1.4), so a pointer there is a mistake or an
 * attempt to loop. The header counts all the same: an answer is one by its number.
 */
int dns_parse(const uint8_t *msg, size_t len, struct dns_message *ret);

/* What of a message is kept when its segment ends early: up to the end of the question. */
#define DNS_HEAD_BYTES (2 + 12 + 255 + 4)

/* One direction of a TCP connection. Zeroed: nothing seen yet. */
struct dns_stream {
	bool started;
	uint32_t next_seq; /* first byte not seen yet */
	uint32_t skip;	   /* bytes of the current message still to come, of no interest */
	uint16_t n_head;
	uint8_t head[DNS_HEAD_BYTES]; /* the current message, with the length before it */
};

/* msg is borrowed until the call returns; it holds the start of the message or all of it. */
typedef void (*dns_message_fn)(const uint8_t *msg, size_t len, void *arg);

/*
 * Takes a segment: whole bytes at seq, of which the first len are in data.
 * Calls fn for every message whose question (or end) comes with it. Bytes that
 * were there before are skipped. After a gap the next segment is taken for the
 * start of a message.
 */
void dns_stream_feed(struct dns_stream *s, uint32_t seq, const uint8_t *data, size_t len,
		     size_t whole, dns_message_fn fn, void *arg);

#endif /* WEIR_PROBE_NAMES_DNS_H */
