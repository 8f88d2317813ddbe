/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * two_ended.h - flows that two hosts saw, one at either end: the view two_ended
 * (sql/0009_two_ended.sql, which says what is joined with what, and when a loss is
 * not known), worked out over columns.
 *
 *	err = two_ended_open(db, &predicate, &t);
 *	err = two_ended_visit(t, &visitor, arg);
 *	two_ended_close(t);
 *
 * Threads: of shuffle.h; visit() is called by several, each with its own worker.
 * Memory: 72 bytes a record, while it works half as much again.
 * Errors: those of collector/sqlite/db_error.h; -E2BIG: more than TWO_ENDED_MAX_RECORDS.
 */
#ifndef WEIR_COLLECTOR_REPORT_TWO_ENDED_H
#define WEIR_COLLECTOR_REPORT_TWO_ENDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#define TWO_ENDED_MAX_RECORDS (16u << 20)

struct predicate;
struct two_ended;

/* One flow. Counts are totals since it began, as the host that sent and the one that received say.
 */
struct two_ended_flow {
	uint32_t src_host, dst_host; /* their ids */
	uint32_t src_addr, dst_addr; /* for two_ended_addr() */
	uint16_t src_port, dst_port;
	uint8_t proto;
	bool known; /* both ends have told all of it, and nothing is missing */
	uint64_t sent_packets, received_packets;
	uint64_t rev_sent_packets, rev_received_packets;
	uint64_t kernel_drops; /* at both hosts */
};

struct two_ended_visitor {
	int (*open)(void *arg, void **ret_worker); /* of each thread */
	int (*visit)(void *worker, const struct two_ended_flow *flow);
	void (*close)(void *worker);
};

/* Reads the records that predicate (NULL: all) admits. Release with two_ended_close(). */
int two_ended_open(sqlite3 *db, const struct predicate *predicate, struct two_ended **ret);
/* NULL is a no-op. */
void two_ended_close(struct two_ended *t);

/* Once. */
int two_ended_visit(struct two_ended *t, const struct two_ended_visitor *v, void *arg);

/* For one thread at a time, after two_ended_visit(). */
const uint8_t *two_ended_addr(struct two_ended *t, uint32_t id);

#endif /* WEIR_COLLECTOR_REPORT_TWO_ENDED_H */
