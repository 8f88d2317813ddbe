/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * outbox.h - batches that the collector has not acknowledged, in memory,
 * bounded in bytes.
 *
 * An epoch is a stream of batches in order, numbered from 1. New batches go to
 * the live one, the last that was begun; the others are backlog and vanish when
 * they are empty. Each is sent, acknowledged and refused by itself, so that
 * what happens now does not wait behind what has been waiting.
 *
 * Full: the oldest batches that were never sent make room. A tombstone takes
 * their place: one batch that covers their sequence numbers and carries the
 * exact totals of what is gone; it grows until it is sent. A batch that was
 * sent is kept until it is answered, since the collector may have it: folding
 * it into a tombstone would count it as delivered and as lost.
 *
 * Threads: one pushes and begins epochs, one (the sender) does all the rest; a
 * mutex inside. Memory: owns the frames. Errors: -errno.
 */
#ifndef WEIR_PROBE_OUTBOX_H
#define WEIR_PROBE_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"

struct outbox;

#define OUTBOX_MAX_EPOCHS HELLO_MAX_EPOCHS

/* What a batch holds: rows, packets and bytes of both directions, and of when. */
struct outbox_load {
	uint64_t rows, packets, bytes;
	uint64_t from_ns, until_ns; /* first start, last end; 0: no rows, or not known */
};

struct outbox_stats {
	uint64_t batches, bytes; /* waiting now, sent or not */
	/* Since the start: */
	uint64_t batches_sent, batches_resent;
	uint64_t dropped_batches, refused_batches; /* for want of room; by the collector */
	struct outbox_load dropped, refused;
};

/* A batch on its way; data is borrowed until it is acknowledged or refused. */
struct outbox_frame {
	const uint8_t *data;
	size_t len;
	uint64_t epoch, first_seq, seq;
};

struct outbox_epoch {
	uint64_t epoch;
	uint64_t oldest_seq; /* first that is kept; the next one to come if none is */
	uint64_t batches;    /* waiting now, sent or not */
};

/* Adds more to sum; the time becomes that of both. */
void outbox_load_add(struct outbox_load *sum, const struct outbox_load *more);

/* probe_id goes into tombstones; epoch is the first live one. Returns -ENOMEM, -errno. */
int outbox_new(const uint8_t probe_id[PROBE_ID_BYTES], uint64_t epoch, uint64_t max_bytes,
	       struct outbox **ret);

/* NULL is a no-op. */
void outbox_free(struct outbox *o);

/*
 * What is pushed from now on is of this epoch, which is new, and begins with 1.
 * Returns -ENOSPC when there are OUTBOX_MAX_EPOCHS already: nothing changes.
 */
int outbox_begin(struct outbox *o, uint64_t epoch);

/*
 * Appends the batch seq, the successor of the one before, to the live epoch.
 * Takes frame->data, always. A frame without data (it could not be packed) is
 * counted as dropped at once. Returns -ENOMEM if not even the loss could be
 * noted; then seq is not used up and the caller gives the load again, with the
 * next.
 */
int outbox_push(struct outbox *o, uint64_t seq, struct packed *frame,
		const struct outbox_load *load);

/* The epochs, oldest first, the live one last. Returns how many. */
size_t outbox_epochs(struct outbox *o, struct outbox_epoch ret[static OUTBOX_MAX_EPOCHS]);

/*
 * The next batch of the epoch to send, if it fits: at most credit_bytes
 * (counted by credit_cost()) may be on their way, of all epochs together, or
 * one batch. Returns -EAGAIN if there is none, -ENOMEM.
 */
int outbox_next(struct outbox *o, uint64_t epoch, uint64_t credit_bytes, struct outbox_frame *ret);

/* How much is on its way, of all epochs, by credit_cost(). */
uint64_t outbox_in_flight(struct outbox *o);

/* All of the epoch up to seq is committed: released. Later calls may name earlier numbers. */
void outbox_ack(struct outbox *o, uint64_t epoch, uint64_t seq);

/* Sends the epoch again from its first batch that is not acknowledged. */
void outbox_rewind(struct outbox *o, uint64_t epoch);

/*
 * The collector will never take the batch that ends with seq, and said why: it
 * becomes a tombstone, a refused tombstone is released. Returns -ENOENT if it
 * is not here. The epoch is rewound.
 */
int outbox_refuse(struct outbox *o, uint64_t epoch, uint64_t seq, const char *why);

void outbox_stats(struct outbox *o, struct outbox_stats *ret);

/* Readable (an eventfd) after a push: read it, then ask outbox_next(). */
int outbox_fd(const struct outbox *o);

/* The sender asks for a new epoch; the other thread takes the question, once, and answers it
 * with outbox_begin(). */
void outbox_ask_epoch(struct outbox *o);
bool outbox_epoch_asked(struct outbox *o);

#endif /* WEIR_PROBE_OUTBOX_H */
