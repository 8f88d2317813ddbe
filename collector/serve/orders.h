/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * orders.h - what probes are told to do: the table probe_order.
 *
 * An order is due until its result is stored or its time is over; one that is
 * due is given out every ORDERS_AGAIN_MS. So it may reach a probe more than
 * once, and the probe sees to it that it is carried out once.
 *
 * Threads: that of the store; within its transaction. Errors: those of db.h.
 */
#ifndef WEIR_COLLECTOR_SERVE_ORDERS_H
#define WEIR_COLLECTOR_SERVE_ORDERS_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "proto/message.h"

struct admin_reply;

#define ORDERS_MAX	16   /* given out at a time */
#define ORDERS_AGAIN_MS 5000 /* without a result */
#define ORDERS_KINDS	"echo|block|unblock"

struct order {
	uint8_t probe_id[PROBE_ID_BYTES];
	struct host_command command;
};

struct order_result {
	uint8_t probe_id[PROBE_ID_BYTES];
	struct command_result result;
};

/* words: HOST KIND PREFIX TTL_S REASON ACTOR. A request of admin.h; answer: the number. */
int orders_create(sqlite3 *db, const char *const *words, int64_t now_ms, struct admin_reply *ret);

/* The orders that are due now, into ret with room for ORDERS_MAX. */
int orders_due(sqlite3 *db, int64_t now_ms, struct order *ret, size_t *ret_n);

/* Of a probe for one of its orders; only the first result counts. */
int orders_finish(sqlite3 *db, const struct order_result *r, int64_t now_ms);

#endif /* WEIR_COLLECTOR_SERVE_ORDERS_H */
