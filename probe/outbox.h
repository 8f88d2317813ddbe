/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * outbox.h - batches that the collector has not acknowledged, in order, in
 * memory, bounded in bytes.
 *
 * Full: the oldest batches that were never sent make room. A tombstone takes
 * their place: one batch that covers their sequence numbers and carries the
 * exact totals of what is gone; it grows until it is sent. A batch that was
 * sent is kept until it is answered, since the collector may have it: folding
 * it into a tombstone would count it as delivered and as lost.
 *
 * Threads: one pushes, one (the sender) does all the rest; a mutex inside.
 * Memory: owns the frames. Errors: -errno.
 */
#ifndef WEIR_PROBE_OUTBOX_H
#define WEIR_PROBE_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"

struct outbox;

/* What a batch holds: rows, and packets and bytes of both directions. */
struct outbox_load {
	uint64_t rows, packets, bytes;
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
	uint64_t first_seq, seq;
};

/* probe_id and epoch go into tombstones. Returns -ENOMEM, -errno. */
int outbox_new(const uint8_t probe_id[PROBE_ID_BYTES], uint64_t epoch, uint64_t max_bytes,
	       struct outbox **ret);

/* NULL is a no-op. */
void outbox_free(struct outbox *o);

/*
 * Appends the batch seq, the successor of the one before. Takes frame->data,
 * always. A frame without data (it could not be packed) is counted as dropped
 * at once. Returns -ENOMEM if not even the loss could be noted; then seq is
 * not used up and the caller gives the load again, with the next.
 */
int outbox_push(struct outbox *o, uint64_t seq, struct packed *frame,
		const struct outbox_load *load);

/*
 * The next batch to send, if it fits: at most credit_bytes may be on their
 * way, or one batch. Returns -EAGAIN if there is none, -ENOMEM.
 */
int outbox_next(struct outbox *o, uint64_t credit_bytes, struct outbox_frame *ret);

/* All up to seq is committed: released. Later calls may name earlier numbers. */
void outbox_ack(struct outbox *o, uint64_t seq);

/* Sends again from the first batch that is not acknowledged. */
void outbox_rewind(struct outbox *o);

/*
 * The collector will never take the batch that ends with seq: it becomes a
 * tombstone, a refused tombstone is released. Returns -ENOENT if it is not
 * here. The caller rewinds.
 */
int outbox_refuse(struct outbox *o, uint64_t seq);

/* First sequence number that is kept; the next one to come if none is. */
uint64_t outbox_oldest_seq(struct outbox *o);

void outbox_stats(struct outbox *o, struct outbox_stats *ret);

/* Readable (an eventfd) after a push: read it, then ask outbox_next(). */
int outbox_fd(const struct outbox *o);

#endif /* WEIR_PROBE_OUTBOX_H */
