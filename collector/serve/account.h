/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * account.h - what every host has told beside its records: counters, losses,
 * and both with the records by the minute, for coverage (sql/0005_delivery.sql).
 *
 * All of it is written in the transaction of the batch that brings it, so it
 * counts once. Cumulative counters are taken from the newest batch of a run; an
 * older one, from a backlog, changes nothing.
 *
 * Threads: that of the store. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_SERVE_ACCOUNT_H
#define WEIR_COLLECTOR_SERVE_ACCOUNT_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

struct account;
struct batch;
struct hello;

/* db is borrowed. Release with account_close(), before db. */
int account_open(sqlite3 *db, struct account **ret);
/* NULL is a no-op. */
void account_close(struct account *a);

/* The probe has said HELLO: notes the run, and which epochs it is done with. */
int account_hello(struct account *a, int64_t host_id, const struct hello *h, int64_t now_ms);

/* A batch that is new. */
int account_batch(struct account *a, int64_t host_id, const struct batch *batch, int64_t now_ms);

/*
 * The batches first_seq..last_seq will not come: another collector has them, or
 * this database had them and is a copy of before. How much it was, nobody knows.
 */
int account_gap(struct account *a, int64_t host_id, const struct hello *h, uint64_t first_seq,
		uint64_t last_seq, int64_t now_ms);

/*
 * Retention: deletes up to max_rows minutes before before_ms, which no rollup by
 * minute needs.
 */
int account_expire(struct account *a, int64_t before_ms, size_t max_rows);

#endif /* WEIR_COLLECTOR_SERVE_ACCOUNT_H */
