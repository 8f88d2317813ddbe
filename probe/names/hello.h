/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * hello.h - the TLS ClientHello of a flow, over TCP or QUIC, put together from
 * the packets it came in.
 *
 * Threads: one struct hellos belongs to one thread. Memory: a hello that came
 * in several packets takes an ASSEMBLY_BYTES buffer until it is whole; at most
 * HELLO_ASSEMBLIES_MAX at a time, the rest tell what their first packet tells.
 */
#ifndef WEIR_PROBE_NAMES_HELLO_H
#define WEIR_PROBE_NAMES_HELLO_H

#include <stdbool.h>
#include <stdint.h>

#include "probe/names/names_counter.h"
#include "probe/names/tls.h"

struct assembly;
struct flow_payload;
struct flow_record;

#define HELLO_ASSEMBLIES_MAX 256

/* What all flows share. counters: NAMES_COUNTER_MAX of them, borrowed. */
struct hellos {
	uint64_t *counters;
	uint32_t n_assemblies;
};

/* The part of one flow. Zeroed: nothing seen. */
struct hello {
	bool started;
	bool done;   /* nothing more to be learnt */
	uint8_t dir; /* TLS over TCP: who sends it */
	uint32_t first_seq;
	uint32_t quic_version;	   /* 0: not QUIC */
	struct assembly *assembly; /* NULL: nothing to put together */
	struct tls_hello found;
};

/* A payload of kind PAYLOAD_TLS, PAYLOAD_QUIC; borrowed until the call returns. */
void hello_tls(struct hellos *all, struct hello *h, const struct flow_payload *p);
void hello_quic(struct hellos *all, struct hello *h, const struct flow_payload *p);

/* Fills tls_sni, tls_alpn and quic_version with what is known by now. */
void hello_tell(const struct hello *h, struct flow_record *r);

/* The flow has ended: releases what h holds. */
void hello_forget(struct hellos *all, struct hello *h);

#endif /* WEIR_PROBE_NAMES_HELLO_H */
