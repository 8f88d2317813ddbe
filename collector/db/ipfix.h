/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ipfix.h - flow records as an IPFIX file (RFC 5655): messages of RFC 7011, one
 * after another, both directions in one record (RFC 5103).
 *
 * Bytes of weir are frames, so they go out as layer2OctetDeltaCount, never as
 * octetDeltaCount, which counts from the IP header. Times are milliseconds. The
 * observation domain is the host_id. What IPFIX has no element for (RTT,
 * retransmissions, names, ...) is not in the file.
 *
 * The templates stand at the beginning of the file and again for every domain.
 * A catch-all record has no addresses: it goes out as IPv4 with 0.0.0.0.
 *
 * Errors: -ENOMEM; -errno of the file. Threads: one writer belongs to one thread.
 */
#ifndef WEIR_COLLECTOR_DB_IPFIX_H
#define WEIR_COLLECTOR_DB_IPFIX_H

#include <stdint.h>
#include <stdio.h>

#include "proto/flow_record.h"

struct ipfix;

/* out is borrowed until ipfix_free(). */
int ipfix_new(FILE *out, struct ipfix **ret);

/* NULL is a no-op. What ipfix_finish() has not written is gone. */
void ipfix_free(struct ipfix *x);

/* Records of a host one after another make the fullest messages; any order is right. */
int ipfix_add(struct ipfix *x, uint32_t host_id, const struct flow_record *r);

/* Writes the last message. */
int ipfix_finish(struct ipfix *x);

#endif /* WEIR_COLLECTOR_DB_IPFIX_H */
