/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * host_addrs.h - which host has had which address, and when (table host_addr), as
 * HELLOs tell.
 *
 * What a host tells first, it has had as long as it is known; what changes later
 * changes at the time of the HELLO that tells. A host that is not heard of any
 * more cannot give an address back: when another one has it, it ended when the
 * first was last heard of.
 *
 * Of one host, HOST_ADDRS_MAX_PAST addresses that it no longer has are kept, the
 * newest.
 *
 * Threads: that of the store. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_SERVE_HOST_ADDRS_H
#define WEIR_COLLECTOR_SERVE_HOST_ADDRS_H

#include <stdint.h>

#include <sqlite3.h>

struct hello;

#define HOST_ADDRS_MAX_PAST 1024
#define HOST_ADDRS_GONE_MS                                                                         \
	600000 /* a host that is silent for so long may have lost its addresses */

/* Within a transaction. A probe of a version that tells none changes nothing. */
int host_addrs_put(sqlite3 *db, int64_t host_id, const struct hello *h, int64_t now_ms);

/* Retention: what ended before before_ms. */
int host_addrs_expire(sqlite3 *db, int64_t before_ms);

#endif /* WEIR_COLLECTOR_SERVE_HOST_ADDRS_H */
