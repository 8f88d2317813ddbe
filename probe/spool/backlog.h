/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * backlog.h - what the spool has on disk, epoch by epoch: where the sender
 * stands in each, what is acknowledged, and what gives way when it is full.
 *
 * probe/spool/spool.h has the rules, and the lock around this. Every change is one
 * transaction; when it fails, nothing has happened. The file is opened when it
 * is first needed, and again after an error.
 *
 * Threads: one at a time. Errors: -errno, those of probe/spool/spool_db.h but
 * -EBADMSG: a damaged file is replaced.
 */
#ifndef WEIR_PROBE_SPOOL_BACKLOG_H
#define WEIR_PROBE_SPOOL_BACKLOG_H

#include <stddef.h>
#include <stdint.h>

#include "probe/spool/spool.h"

struct backlog;

/* A batch on its way to the disk; takes part in a list. */
struct backlog_item {
	struct backlog_item *next;
	uint64_t epoch, seq;
	struct spool_load load;
	struct packed frame; /* owned; without data: a tombstone */
};

/* Does not open the file. settings->path is copied. Returns -ENOMEM. */
int backlog_new(const struct spool_settings *settings, struct backlog **ret);

/* NULL is a no-op. */
void backlog_free(struct backlog *b);

/* Opens the file, if it is not. */
int backlog_open(struct backlog *b);

/*
 * Stores the items, and that the flow table has reached this group. The first
 * item of an epoch that is not known makes it the live one. -EDQUOT: no room.
 */
int backlog_commit(struct backlog *b, const struct backlog_item *items, uint64_t group);

/* Deletes what is acknowledged, if anything is. */
int backlog_flush(struct backlog *b);

/* Of the flow table, before the first commit. */
void backlog_set_instance(struct backlog *b, uint64_t instance);

/* As spool_NAME(). */
struct spool_settled backlog_settled(const struct backlog *b);
size_t backlog_epochs(struct backlog *b, struct spool_backlog ret[static SPOOL_MAX_EPOCHS]);
int backlog_next(struct backlog *b, uint64_t epoch, uint64_t credit_bytes, struct spool_frame *ret);
/* Whether there is something to delete now. */
bool backlog_ack(struct backlog *b, uint64_t epoch, uint64_t seq);
void backlog_rewind(struct backlog *b, uint64_t epoch);
int backlog_refuse(struct backlog *b, uint64_t epoch, uint64_t seq, const char *why);
uint64_t backlog_in_flight(const struct backlog *b);

/* All but memory_bytes, errors and failing. */
void backlog_stats(const struct backlog *b, struct spool_stats *ret);

#endif /* WEIR_PROBE_SPOOL_BACKLOG_H */
