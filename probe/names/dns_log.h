/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dns_log.h - what became of the DNS queries of a flow.
 *
 * A record can tell of one query only, besides the counts. It is the one that
 * went worst: first those without an answer, then those whose answer is an
 * error (any rcode but NOERROR and NXDOMAIN), then the slowest.
 *
 * A query is answered by the first response of the other side with its id and
 * question. The same query sent again is counted but waits no longer than the
 * first; another query with the id of one that waits leaves that unanswered.
 *
 * Threads: one log belongs to one thread. Memory: all of it allocated by
 * dns_log_new() (pages that are never used stay unused).
 */
#ifndef WEIR_PROBE_NAMES_DNS_LOG_H
#define WEIR_PROBE_NAMES_DNS_LOG_H

#include <stdint.h>

#include "probe/names/names_counter.h"
#include "proto/flow_record.h"

struct dns_log;
struct dns_message;
struct dns_query;

#define DNS_TIMEOUT_NS	     5000000000ull /* no answer by then: unanswered */
#define DNS_WAITING_MAX	     8192	   /* queries without an answer, of all flows */
#define DNS_FLOW_WAITING_MAX 256	   /* of one flow */

/* The part of one flow. Zeroed: no message seen. Must stay where it is while queries wait. */
struct dns_flow {
	struct dns_query *waiting; /* latest first */
	uint32_t n_waiting;
	/* Since the last dns_log_take(). */
	uint32_t queries;
	uint32_t unanswered;
	uint64_t rank; /* of the query that is told of; 0: none */
	uint32_t latency_us;
	uint16_t qtype;
	uint8_t rcode;
	char qname[DNS_NAME_MAX];
};

/* counters: NAMES_COUNTER_MAX of them, borrowed until dns_log_free(). Returns -ENOMEM. */
int dns_log_new(uint64_t *counters, struct dns_log **ret);

/* NULL is a no-op. */
void dns_log_free(struct dns_log *log);

/* A message of end dir (0 or 1) at now_ns, monotonic. */
void dns_log_message(struct dns_log *log, struct dns_flow *f, unsigned dir, uint64_t now_ns,
		     const struct dns_message *m);

/* Gives up every query that was sent DNS_TIMEOUT_NS or more before now_ns. */
void dns_log_expire(struct dns_log *log, uint64_t now_ns);

/* Gives up the queries of f: no answer can come any more. */
void dns_log_give_up(struct dns_log *log, struct dns_flow *f);

/* Fills the dns_ members with what has come since the last call. */
void dns_log_take(struct dns_flow *f, struct flow_record *r);

/* Forgets the queries of f, without a word on them. */
void dns_log_forget(struct dns_log *log, struct dns_flow *f);

#endif /* WEIR_PROBE_NAMES_DNS_LOG_H */
