/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * spool.h - batches that the collector has not acknowledged, on disk.
 *
 * An epoch is a stream of batches in order, numbered from 1. New batches go to
 * the live one, the last that was begun; the others are backlog, of this start
 * of the probe or of earlier ones, and vanish when they are empty. Each is
 * sent, acknowledged and refused by itself. Batches are kept as the exact
 * frames. The sender sees a batch only when it is on disk; from then on neither
 * kill -9 nor a loss of power takes it away.
 *
 * Pushed batches gather in memory as a group. spool_submit() hands the group
 * to a thread that commits it in one transaction, with the number of the group
 * (probe/datapath/settlement.h makes the flow table follow it). While that lasts, or
 * fails, the next batches gather: a slow or full disk delays them, and holds
 * up nobody. spool_full() says when to take no more out of the kernel.
 *
 * max_bytes full: the oldest batches that were never sent make room. A
 * tombstone takes their place, in one transaction: one batch that covers their
 * numbers and carries exactly what is gone. A batch that was sent is kept until
 * it is answered, since the collector may have it.
 *
 * A file that is damaged, or is not a spool of this version, is set aside as
 * PATH.corrupt-TIME (one is kept), `resets` counts, and a new one begins. What
 * of it was known, because it happened while running, becomes tombstones. A
 * file that cannot be opened or written is tried again every second; the only
 * error at start is another probe that has it: -EBUSY, by PATH.lock.
 *
 * Threads: one pushes, submits and begins epochs, one (the sender) takes, acknowledges and
 * refuses; spool_stats() any. Errors: -errno.
 */
#ifndef WEIR_PROBE_SPOOL_SPOOL_H
#define WEIR_PROBE_SPOOL_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe/spool/spool_db.h"
#include "proto/message.h"

struct spool;

struct spool_settings {
	const char *path; /* SPOOL_IN_MEMORY: no file, nothing outlives the process */
	uint64_t max_bytes;
	uint8_t probe_id[PROBE_ID_BYTES];
	uint64_t epoch; /* the first live one: random, not 0 */
};

/* Epochs that may be told apart at once. */
#define SPOOL_MAX_EPOCHS HELLO_MAX_EPOCHS

struct spool_stats {
	uint64_t batches, bytes; /* waiting now, sent or not, of all epochs; frames */
	uint64_t memory_bytes;	 /* of those that are not on disk yet */
	size_t epochs;
	/* Since the start: */
	uint64_t batches_sent, batches_resent;
	uint64_t dropped_batches, refused_batches; /* for want of room; by the collector */
	uint64_t quarantine_dropped;		   /* refused, and no longer kept to be looked at */
	struct spool_load dropped, refused;
	uint64_t resets, errors; /* files set aside; transactions that failed */
	bool failing;		 /* the disk does not take batches at the moment */
};

/* A batch on its way; data is borrowed until the next spool_next(). */
struct spool_frame {
	const uint8_t *data;
	size_t len;
	uint64_t epoch, first_seq, seq;
};

/* Adds more to sum; the time becomes that of both. */
void spool_load_add(struct spool_load *sum, const struct spool_load *more);
/* Takes the counts away; the times stay. */
void spool_load_sub(struct spool_load *sum, const struct spool_load *less);

/*
 * Opens the file. What it has of earlier epochs waits to be sent. In memory
 * max_bytes is at most SPOOL_MEMORY_MAX_BYTES. Returns -EBUSY, -EINVAL for
 * max_bytes below SPOOL_MIN_BYTES, -ENOMEM.
 */
int spool_open(const struct spool_settings *settings, struct spool **ret);
#define SPOOL_MEMORY_MAX_BYTES (64u << 20)

/*
 * Starts the thread: nothing gets to the disk before. instance, not 0: of the
 * flow table; it is noted with every group, and at once with the group that the
 * table has reached, so that nothing is sealed that the file cannot judge.
 * Returns -errno.
 */
int spool_start(struct spool *s, uint64_t instance, uint64_t group);

/* Commits what was submitted, if it can be, and closes. NULL is a no-op. */
void spool_close(struct spool *s);

/* What the file knew of the flow table when it was opened. */
struct spool_settled spool_settled(const struct spool *s);

/* --- from the exporter ---------------------------------------------------------- */

/*
 * What is pushed from now on is of this epoch, which is new, and begins with 1.
 * Returns -ENOSPC when there are SPOOL_MAX_EPOCHS already: nothing changes.
 */
int spool_begin(struct spool *s, uint64_t epoch);

/*
 * Appends the batch seq, the successor of the one before, to the group. Takes
 * frame->data, always. A frame without data (it could not be packed) is a
 * tombstone. Returns -ENOMEM if not even the loss could be noted; then seq is
 * not used up and the caller gives the load again, with the next.
 */
int spool_push(struct spool *s, uint64_t seq, struct packed *frame, const struct spool_load *load);

/* Whether spool_submit() would be taken: no group is on its way to the disk. */
bool spool_idle(struct spool *s);

/* Hands over what has gathered, as group number `group`. Only when idle; else -EAGAIN. */
int spool_submit(struct spool *s, uint64_t group);

/* Bytes of the group that gathers. */
uint64_t spool_gathered(struct spool *s);

/* Whether memory is full of batches that wait for the disk. */
bool spool_full(struct spool *s);

/* The last group that is on disk, 0: none since spool_open(). */
uint64_t spool_committed(struct spool *s);

/* Waits until no group is on its way, at most wait_ms. -ETIMEDOUT. */
int spool_wait(struct spool *s, uint64_t wait_ms);

/* --- from the sender ------------------------------------------------------------ */

/*
 * What waits, by epoch, oldest first, the live one last, which is always there.
 * Returns how many; of more than SPOOL_MAX_EPOCHS the youngest but the live one
 * are left out until others are gone.
 */
struct spool_backlog {
	uint64_t epoch;
	uint8_t probe_id[PROBE_ID_BYTES];
	uint64_t oldest_seq; /* first that is kept; the next one to come if none is */
	uint64_t batches;    /* waiting now, sent or not */
};
size_t spool_epochs(struct spool *s, struct spool_backlog ret[static SPOOL_MAX_EPOCHS]);

/*
 * The next batch of that epoch to send, if it fits: at most credit_bytes (counted
 * by credit_cost()) may be on their way, of all epochs together, or one batch. Returns -EAGAIN if
 * there is none, -ENOMEM, -errno of the disk (try again later).
 */
int spool_next(struct spool *s, uint64_t epoch, uint64_t credit_bytes, struct spool_frame *ret);

/* How much is on its way, of all epochs, by credit_cost(). */
uint64_t spool_in_flight(struct spool *s);

/* All of the epoch up to seq is committed: released. Later calls may name earlier numbers. */
void spool_ack(struct spool *s, uint64_t epoch, uint64_t seq);

/* Sends again from the first batch of the epoch that is not acknowledged. */
void spool_rewind(struct spool *s, uint64_t epoch);

/*
 * The collector will never take the batch that ends with seq, and said why: it
 * becomes a tombstone, a refused tombstone is released. Returns -ENOENT if it
 * is not here. The epoch is rewound.
 */
int spool_refuse(struct spool *s, uint64_t epoch, uint64_t seq, const char *why);

void spool_stats(struct spool *s, struct spool_stats *ret);

/* Readable (an eventfd) when batches have come: read it, then ask spool_next(). */
int spool_fd(const struct spool *s);

/* The sender asks for a new epoch; the other thread takes the question, once, and answers it
 * with spool_begin(). */
void spool_ask_epoch(struct spool *s);
bool spool_epoch_asked(struct spool *s);

#endif /* WEIR_PROBE_SPOOL_SPOOL_H */
