// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "collector/flowstore/fresh_cache.h"
#include "collector/serve/job.h"
#include "collector/serve/retention.h"
#include "collector/serve/store.h"
#include "collector/store/wal.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/queue.h"

#define GROUP_MAX_JOBS	256
#define GROUP_MAX_BYTES (16u << 20)

#define FAILING_LOG_MS	 30000
#define IDLE_MS		 1000
#define WAL_RETRY_MS	 500
#define READERS_TEXT_MAX 256
#define EXPIRE_PERIOD_MS 60000
#define EXPIRE_MAX_ROWS	 50000 /* in one transaction: batches are waiting */
#define TIDY_PERIOD_MS	 600000
#define BASELINES_MAX	 100000

struct writer {
	struct store *store;
	const struct writer_settings *settings;
	struct queue *jobs, *replies;
	bool failing;			   /* and said so: no batch can be committed */
	uint64_t failing_log;		   /* log_due() */
	uint64_t expire_at_ms, tidy_at_ms; /* CLOCK_MONOTONIC */
	uint64_t wal_at_ms;		   /* not before: asking a full WAL again */
	bool doubtful;			   /* one of the group has been refused */
	size_t n;
	struct job *group[GROUP_MAX_JOBS];
};

static uint64_t mono_ms(void)
{
	return clock_mono_ns() / NS_PER_MS;
}

static int64_t real_ms(void)
{
	return (int64_t)(clock_real_ns() / NS_PER_MS);
}

/*
 * -EBUSY while the WAL is full because somebody reads. What one more group
 * adds still fits.
 */
static int has_room(struct writer *w)
{
	uint64_t now_ms = mono_ms();

	if (store_wal_bytes(w->store) < WAL_FULL_BYTES)
		return 0;
	if (now_ms < w->wal_at_ms)
		return -EBUSY;
	w->wal_at_ms = now_ms + WAL_RETRY_MS;
	store_checkpoint(w->store);
	return store_wal_bytes(w->store) < WAL_FULL_BYTES ? 0 : -EBUSY;
}

/* All of the group again, so that one that is refused leaves the others as they are. */
static int apply_again(struct writer *w)
{
	int err;

	store_rollback(w->store);
	err = store_begin(w->store);
	for (size_t i = 0; !err && i < w->n; i++)
		err = store_apply(w->store, w->group[i], real_ms());
	return err;
}

/* The last of the group. */
static int apply(struct writer *w)
{
	struct job *job = w->group[w->n - 1];
	int err;

	if (w->doubtful)
		return store_apply(w->store, job, real_ms());
	err = store_apply_surely(w->store, job, real_ms());
	w->doubtful = err == -EINVAL;
	return w->doubtful ? apply_again(w) : err;
}

/* Applies first and what follows it until the group is full or its time is over. */
static int apply_group(struct writer *w, struct job *first)
{
	uint64_t until_ms = mono_ms() + w->settings->commit_interval_ms, now_ms;
	struct job *job = first;
	size_t bytes = 0;
	int err = has_room(w);

	if (!err)
		err = store_begin(w->store);
	w->n = 0;
	w->doubtful = false;
	while (job) {
		w->group[w->n++] = job;
		bytes += job->weight;
		if (!err)
			err = apply(w);
		now_ms = mono_ms();
		if (err || w->n == GROUP_MAX_JOBS || bytes >= GROUP_MAX_BYTES || now_ms >= until_ms)
			break;
		job = queue_pop(w->jobs, (int)(until_ms - now_ms));
	}
	return err;
}

static void give_back(struct writer *w, struct job *job, bool written)
{
	bool awaited = job->kind != JOB_SEEN && job->kind != JOB_DETECTION &&
		       job->kind != JOB_ADMIN && job->kind != JOB_RESULT &&
		       job->kind != JOB_SEGMENT && job->kind != JOB_ROLLUP;

	if (!written)
		job->outcome = JOB_STORAGE;
	if (!awaited || queue_push(w->replies, job, 0) != 0)
		job_free(job); /* the receiver is gone, and with it all who wait */
}

static bool holds_batch(const struct writer *w)
{
	for (size_t i = 0; i < w->n; i++) {
		if (w->group[i]->kind == JOB_BATCH && w->group[i]->outcome == JOB_DONE)
			return true;
	}
	return false;
}

/*
 * Says it once, both when it begins and when it is over: that is when a batch
 * is committed, as less may fit long before. At the brink it may be neither.
 */
static void note_state(struct writer *w, int err)
{
	char readers[READERS_TEXT_MAX], busy[READERS_TEXT_MAX + 64];

	if (err && !w->failing && log_due(&w->failing_log, FAILING_LOG_MS)) {
		(void)store_readers(w->store, readers, sizeof(readers)); /* may be none by now */
		(void)snprintf(busy, sizeof(busy), "its log is full while it is read by %s",
			       readers[0] ? readers : "somebody");
		log_warn("the database cannot be written: %s; batches are refused until it can "
			 "be, the probes keep them",
			 err == -ENOSPC	 ? "disk full"
			 : err == -EBUSY ? busy
					 : strerror(-err));
		w->failing = true;
	}
	if (!err && w->failing && holds_batch(w)) {
		log_info("the database can be written again");
		w->failing = false;
	}
}

/* What is committed, for the compactor. A command may have deleted some. */
static void note_fresh(struct writer *w, const struct job *job)
{
	struct fresh_cache *cache = w->settings->fresh;

	if (cache && job->kind == JOB_BATCH && job->fresh_id)
		fresh_cache_add(cache, &(struct fresh_batch){job->fresh_id, (uint32_t)job->host_id,
							     job->batch->n_rows, job->batch->block,
							     job->batch->block_len});
	if (cache && job->kind == JOB_ADMIN)
		fresh_cache_clear(cache);
}

static void write_group(struct writer *w, struct job *first)
{
	int err = apply_group(w, first);

	FAILPOINT("commit");
	if (!err)
		err = store_commit(w->store);
	FAILPOINT("committed");
	if (err)
		store_rollback(w->store);
	if (err == -ENOSPC)
		store_checkpoint(w->store); /* what is in the WAL may fit into holes of the file */
	note_state(w, err);
	for (size_t i = 0; i < w->n && !err; i++)
		note_fresh(w, w->group[i]);
	for (size_t i = 0; i < w->n; i++)
		give_back(w, w->group[i], err == 0);
}

/* What is older goes; keep_ms 0: nothing does. */
static int64_t horizon(uint64_t keep_ms)
{
	return keep_ms ? real_ms() - (int64_t)keep_ms : 0;
}

/* Returns whether there is more to delete at once. */
static bool expire(struct writer *w)
{
	const struct writer_settings *keep = w->settings;
	const struct retention limits = {
		.flows_before_ms = horizon(keep->retention_ms),
		.minutes_before_ms = horizon(keep->rollup_minute_retention_ms),
		.hours_before_ms = horizon(keep->rollup_hour_retention_ms),
		.max_bytes = keep->retention_bytes,
	};
	uint64_t now_ms = mono_ms();
	size_t rows = 0;

	if (now_ms < w->expire_at_ms)
		return false;
	if (store_expire(w->store, &limits, EXPIRE_MAX_ROWS, &rows) == 0 && rows > 0) {
		if (keep->fresh)
			fresh_cache_clear(keep->fresh); /* it has those that were deleted */
		return true;
	}
	w->expire_at_ms = now_ms + EXPIRE_PERIOD_MS; /* of trouble, ingest tells */
	return false;
}

static void tidy(struct writer *w)
{
	uint64_t now_ms = mono_ms();
	size_t rows = 0;

	if (now_ms < w->tidy_at_ms)
		return;
	w->tidy_at_ms = now_ms + TIDY_PERIOD_MS;
	if (store_trim_baselines(w->store, BASELINES_MAX, &rows) == 0 && rows > 0)
		log_warn("%zu baselines forgotten: more than %d are learnt", rows, BASELINES_MAX);
	store_checkpoint(w->store);
}

void writer_run(struct store *store, const struct writer_settings *settings, struct queue *jobs,
		struct queue *replies)
{
	struct writer w = {
		.store = store,
		.settings = settings,
		.jobs = jobs,
		.replies = replies,
		.tidy_at_ms = mono_ms() + TIDY_PERIOD_MS,
	};
	int wait_ms = 0;

	while (true) {
		struct job *job = queue_pop(jobs, wait_ms);

		if (job)
			write_group(&w, job);
		else if (queue_closed(jobs) && queue_length(jobs) == 0)
			break;
		wait_ms = expire(&w) ? 0 : IDLE_MS;
		tidy(&w);
	}
	store_checkpoint(store);
	queue_close(replies);
}
