/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * owners.h - which process a flow belongs to, and on which side of it this
 * host is, from what the kernel tells of its sockets (bpf/sockets_abi.h).
 *
 * A flow is looked for by both its ends; then, where it is this host's by its
 * local address, by the local end alone: a socket that listens, or a UDP socket
 * with any peer. Only sockets of this network namespace are told.
 *
 * The role is the SYN's where one was seen. Else, by the socket:
 *
 *	connect()                                client
 *	accept(), or the local port listens      server
 *	UDP, the port was asked for, any peer    server; unknown when this end spoke
 *	                                         first and both have the same port
 *	UDP, the port was given by the kernel    client if this end spoke first
 *	all else                                 unknown
 *
 * A socket that is closed is remembered until the flows have been looked at
 * twice, and OWNERS_LINGER_NS; a flow keeps what was found while it lives.
 *
 * Threads: one struct owners belongs to one thread. Memory: allocated by
 * owners_new() for as many sockets and flows as there are slots (pages that are
 * never used stay unused); what finds no room is counted. Times:
 * CLOCK_MONOTONIC ns.
 */
#ifndef WEIR_PROBE_STACK_OWNERS_H
#define WEIR_PROBE_STACK_OWNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/flow_record.h"

struct flow_view;
struct owners;
struct sock_cgroup;
struct sock_event;

#define OWNERS_LINGER_NS   10000000000ull
#define OWNERS_MAX_CGROUPS 8192
#define OWNERS_TRIES	   5 /* looks at a flow without an owner, beside its records */

struct owners_stats {
	uint64_t full;		   /* sockets that found no room: flows of theirs have no process */
	uint64_t cgroups_replaced; /* paths that gave way to others */
};

/* seed: random. Returns -ENOMEM. */
int owners_new(uint32_t n_slots, uint64_t seed, struct owners **ret);

/* NULL is a no-op. */
void owners_free(struct owners *o);

/* All borrowed until the call returns. existing: told by an iterator, maybe not for the first time.
 */
void owners_event(struct owners *o, const struct sock_event *ev, bool existing);
void owners_cgroup(struct owners *o, const struct sock_cgroup *cgroup);

/* Forgets every socket, not what was found of flows: all that exist will be told again. */
void owners_forget_sockets(struct owners *o);

/* The addresses of this host, common/addr.h form, broadcast ones too. Returns -ENOMEM. */
int owners_set_addresses(struct owners *o, const uint8_t (*addrs)[16], size_t n);

/* Between two looks at all flows: forgets what was closed long enough ago. */
void owners_pass(struct owners *o, uint64_t now_ns);

/*
 * A look at a flow, due or not: its socket may be gone when it is. Returns
 * whether it is UDP, young, and its owner unknown.
 */
bool owners_look(struct owners *o, const struct flow_view *v);

/*
 * Fills process, pid, uid and cgroup of ret, and its role if no SYN told. Any
 * reason but FLOW_END_ACTIVE ends the flow: what is remembered of the slot is
 * forgotten.
 */
void owners_fill(struct owners *o, const struct flow_view *v, enum flow_end_reason reason,
		 struct flow_record *ret);

const struct owners_stats *owners_stats(const struct owners *o);

#endif /* WEIR_PROBE_STACK_OWNERS_H */
