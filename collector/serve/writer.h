/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * writer.h - the thread that owns the store: takes jobs, commits them in
 * groups, gives them back, and keeps the database in shape (retention,
 * checkpoints).
 *
 * While the database cannot be written (a full disk, say), every group is
 * rolled back and its jobs come back as JOB_STORAGE: nothing is ever told as
 * committed that is not. The next group is the next attempt, so writing goes
 * on by itself once there is room.
 */
#ifndef WEIR_COLLECTOR_SERVE_WRITER_H
#define WEIR_COLLECTOR_SERVE_WRITER_H

#include <stdint.h>

struct queue;
struct store;

struct writer_settings {
	uint64_t commit_interval_ms; /* a group is committed at the latest after it */
	uint64_t retention_ms;	     /* 0: flow records are kept for ever */
	uint64_t retention_bytes;    /* the oldest go when the database is larger; 0: no limit */
	uint64_t rollup_minute_retention_ms, rollup_hour_retention_ms; /* 0: for ever */
	struct fresh_cache *fresh; /* gets what is committed; borrowed; NULL: nobody asks */
};

/*
 * Runs until jobs is closed and empty, then closes replies. Jobs that nobody
 * waits for are freed. All arguments are borrowed; the store is used by this
 * thread only while it runs.
 */
void writer_run(struct store *store, const struct writer_settings *settings, struct queue *jobs,
		struct queue *replies);

#endif /* WEIR_COLLECTOR_SERVE_WRITER_H */
