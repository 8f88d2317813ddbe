/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * spool_db.h - the file of the spool: one SQLite database, read and written by
 * one connection.
 *
 * A transaction is durable at its commit (rollback journal, synchronous=FULL),
 * and leaves nothing when it fails. The file never grows past max_bytes, nor
 * do file and journal together: a part of max_bytes is set aside for the
 * journal, which is allocated once and stays, so that a full disk stops growth
 * only. What a killed process leaves is rolled back by the next one to open.
 *
 * No call reads more than it names: a file of a million batches opens at once.
 *
 * Threads: one at a time (probe/spool/spool.c has the lock). Errors: -EBADMSG: the
 * file is damaged or not ours, -ENOSPC: no space on the disk, -EBUSY: another
 * process has it, -ENOMEM, other -errno.
 */
#ifndef WEIR_PROBE_SPOOL_SPOOL_DB_H
#define WEIR_PROBE_SPOOL_SPOOL_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"

struct spool_db;

/* What a batch holds: rows, packets and bytes of both directions, and of when. */
struct spool_load {
	uint64_t rows, packets, bytes;
	uint64_t from_ns, until_ns; /* first and last end; 0: no rows, or not known */
};

/* A stream of batches in order, and what waits of it. */
struct spool_epoch {
	uint32_t id; /* rises with every epoch; 0: not on disk yet */
	uint64_t epoch;
	uint8_t probe_id[PROBE_ID_BYTES];
	uint64_t last_seq; /* of the newest batch, waiting or not */
	uint64_t sent_seq; /* batches up to here may have been sent */
	uint64_t batches, frame_bytes;
	struct spool_load load; /* of the batches that wait; of tombstones what they stand for */
};

/* All but the first are tombstones. */
enum spool_kind { SPOOL_BATCH, SPOOL_DROPPED, SPOOL_REFUSED, SPOOL_DAMAGED };

struct spool_row {
	uint64_t first_seq, seq;
	enum spool_kind kind;
	struct spool_load load;
	const uint8_t *frame; /* from spool_db_find(): borrowed until the next call */
	size_t len;
};

/* Where the flow table stood: probe/datapath/settlement.h. */
struct spool_settled {
	uint64_t instance; /* 0: never noted */
	uint64_t group;
};

#define SPOOL_MIN_BYTES (1u << 20)
#define SPOOL_MAX_ID	(1u << 22) /* of an epoch */
#define SPOOL_IN_MEMORY ":memory:"
#define SPOOL_SEQ_BITS	40

int spool_db_open(const char *path, uint64_t max_bytes, struct spool_db **ret);

/* NULL is a no-op. */
void spool_db_close(struct spool_db *db);

/* --- transactions: begin, any number of changes, commit or rollback ----------- */

int spool_db_begin(struct spool_db *db);
int spool_db_commit(struct spool_db *db);
void spool_db_rollback(struct spool_db *db);

/* Adds an epoch, with an id above all others. Sets e->id. */
int spool_db_add_epoch(struct spool_db *db, struct spool_epoch *e);
int spool_db_put_epoch(struct spool_db *db, const struct spool_epoch *e);
int spool_db_remove_epoch(struct spool_db *db, const struct spool_epoch *e);

/* Epochs of which nothing waits. */
int spool_db_remove_empty(struct spool_db *db);

int spool_db_insert(struct spool_db *db, const struct spool_epoch *e, const struct spool_row *row);

/*
 * Removes the batches of e that end within first..last. *ret_removed, which
 * may be NULL: how many, with their bytes and loads summed up, of
 * tombstones what they stand for.
 */
struct spool_sum {
	uint64_t batches, frame_bytes;
	struct spool_load load;
};
int spool_db_remove(struct spool_db *db, const struct spool_epoch *e, uint64_t first, uint64_t last,
		    struct spool_sum *ret_removed);

int spool_db_put_settled(struct spool_db *db, const struct spool_settled *s);

/* --- reading ------------------------------------------------------------------ */

/* Calls fn for every epoch, oldest first, until it returns other than 0. */
int spool_db_epochs(struct spool_db *db, int (*fn)(const struct spool_epoch *e, void *arg),
		    void *arg);

/* The first batch of e that ends at from or later. -ENOENT. Without frame if !want_frame. */
int spool_db_find(struct spool_db *db, const struct spool_epoch *e, uint64_t from, bool want_frame,
		  struct spool_row *ret);

int spool_db_settled(struct spool_db *db, struct spool_settled *ret);

/* Bytes that may still be inserted, frames and overhead, before the file is full. */
int64_t spool_db_room(struct spool_db *db);

/* What a frame of len bytes takes of the room, at most. */
uint64_t spool_db_cost(size_t len);

#endif /* WEIR_PROBE_SPOOL_SPOOL_DB_H */
