/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * names.h - what flows are about: the name asked for in DNS and what came of
 * it, the server name and protocols of TLS, the version of QUIC.
 *
 * Fed with the payloads that the BPF programs copy (struct flow_payload), in
 * their order; asked when a flow is reported. A flow is known by its slot, so
 * every payload of a slot must come before names_fill() ends it, or it counts
 * for the flow that has the slot next: probe/drain/drain.c reads the ring once more
 * between taking a flow out of the index and its last record.
 *
 * A replay does all of it by itself, with the capture's clock:
 *
 *	after every packet	drain_payloads(), which calls names_consume()
 *	now and then		drain_run_at(), which calls names_expire(), names_fill()
 *
 * Threads: one struct names belongs to one thread. Memory: for half as many
 * flows as there are slots, allocated by names_new() (pages that are never used
 * stay unused), and what hello.h and DNS over TCP take. What finds no room is
 * counted: names_counter.h. Times: CLOCK_MONOTONIC ns, or the capture's.
 */
#ifndef WEIR_PROBE_NAMES_NAMES_H
#define WEIR_PROBE_NAMES_NAMES_H

#include <stdint.h>

#include "probe/names/names_counter.h"
#include "proto/flow_record.h"

struct flow_payload;
struct names;

/* n_slots: as many as the kernel's table has. Returns -ENOMEM. */
int names_new(uint32_t n_slots, struct names **ret);

/* NULL is a no-op. */
void names_free(struct names *n);

/* Takes one payload; borrowed until the call returns. */
void names_consume(struct names *n, const struct flow_payload *p);

/* DNS queries sent DNS_TIMEOUT_NS (dns_log.h) before now_ns count as unanswered. */
void names_expire(struct names *n, uint64_t now_ns);

/*
 * Fills the dns_, tls_ and quic_ members of ret, which are zero, for the flow
 * in slot: of DNS what has come since its last call. Any reason but
 * FLOW_END_ACTIVE ends the flow: it is forgotten, and its queries that still
 * wait count as unanswered, unless it is the probe that stops (FLOW_END_FORCED).
 */
void names_fill(struct names *n, uint32_t slot, enum flow_end_reason reason,
		struct flow_record *ret);

/* NAMES_COUNTER_MAX counters, since names_new(); owned by n. */
const uint64_t *names_counters(const struct names *n);

#endif /* WEIR_PROBE_NAMES_NAMES_H */
