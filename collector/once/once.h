/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * once.h - every conversation counted once, whoever has reported it.
 *
 * When both ends of a conversation (and routers between) run a probe, each
 * reports it, and sums over records would count it once per probe. So a record
 * is set aside when another host's record counts for it:
 *
 *	- the host that it is left to by the book of addresses
 *	  (address_book_claims()), if that host reported at that time
 *	  (coverage_minute, its clock taken into account);
 *	- where neither end is owned, or where the predicate takes part of the
 *	  hosts' views only (host, direction, role, iface, process, measurements):
 *	  another record that matches, of the same conversation, at an overlapping
 *	  time, that ranks before: first of the host that sent src to dst
 *	  (direction egress), then the lower host_id.
 *
 * The same conversation: equal protocol, pair of (address, port) and ICMP
 * identifier, whichever end is called src. Overlapping: the times that the two
 * records count (from the end of the flow's record before, on the collector's
 * clock) come within ONCE_SLACK_MS. Never set aside: loopback (each host has its
 * own) and catch-all records (they name no conversation).
 *
 *	err = once_open(db, &predicate, &once);
 *	once_columns(once, &columns);
 *	err = scan_open(db, &predicate, &columns, &scan);
 *	in each thread:
 *		struct once_memory *memory = NULL;
 *		while ((err = scan_next(scan, &rows)) > 0) {
 *			err = once_select(once, &memory, rows, &set_aside);
 *			... rows->selected[0 .. rows->n_selected): what counts; may be none
 *		}
 *		once_memory_free(memory);
 *	once_close(once);
 *
 * The caller holds a read transaction from before once_open() until the scan is
 * over, so that both see the same records.
 *
 * Memory: 42 bytes for each record that only records decide about; beyond
 * ONCE_MAX_RECORDS of them all of these count, and the log says so.
 *
 * Records whose hosts disagree on addresses (NAT between them) are two
 * conversations, unless a host at an end is claimed by the other.
 *
 * Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_ONCE_ONCE_H
#define WEIR_COLLECTOR_ONCE_ONCE_H

#include <stdint.h>

#include <sqlite3.h>

#include "proto/flow_block.h"

#define ONCE_SLACK_MS	 2000
#define ONCE_MAX_RECORDS (16u << 20)

struct once;
struct once_memory; /* of one thread */
struct host_minutes;
struct predicate;
struct scan_rows;

/*
 * predicate (NULL: every record) is that of the scan to come, or admits more than
 * it. Its root is copied, the rest borrowed until once_close(), for which NULL is
 * a no-op.
 */
int once_open(sqlite3 *db, const struct predicate *predicate, struct once **ret);
void once_close(struct once *o);

/* What decides whether a record counts. */
enum once_rule {
	ONCE_ALL,     /* nothing: each does */
	ONCE_CLAIMS,  /* its claim (address_book.h), and records where that is none's */
	ONCE_RECORDS, /* the other records that match */
};
enum once_rule once_rule(const struct once *o);
/* When the hosts have reported; borrowed. */
const struct host_minutes *once_presence(const struct once *o);

/* Adds the columns that once_select() reads. */
void once_columns(const struct once *o, struct flow_columns *columns);

/*
 * Takes what does not count out of rows->selected and adds how many that were to
 * *set_aside. *memory is NULL at first and is used again. The first call that
 * meets a record that only records decide about has all of these read, beside
 * the scan.
 */
int once_select(const struct once *o, struct once_memory **memory, struct scan_rows *rows,
		uint64_t *set_aside);
void once_memory_free(struct once_memory *memory);

#endif /* WEIR_COLLECTOR_ONCE_ONCE_H */
