// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/compacting.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>

#include "collector/flowstore/compactor.h"
#include "collector/flowstore/segment.h"
#include "collector/rollup/roller.h"
#include "collector/rollup/rollup.h"
#include "collector/serve/job.h"
#include "collector/store/db.h"
#include "collector/store/wal.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "common/queue.h"

#define LOG_SHORT_BYTES	  (48u << 20) /* it shrinks to 32 MiB when it begins anew: db.c */
#define LOG_POLL_MS	  10
#define LOG_WAIT_MS	  10000
#define POLL_MS		  200
#define STORED_POLL_MS	  10
#define STORED_WAIT_MS	  60000	     /* for the writer; then it is made again */
#define MAX_PENDING	  3	     /* segments on their way to the writer */
#define ROLLUP_MAX_WEIGHT (4u << 20) /* there is but one on its way, and it has to fit */

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(struct compactor *, compactor_free)

/* Returns true when it is time to stop. */
static bool wait_ms(int stop_fd, int ms)
{
	struct pollfd p = {.fd = stop_fd, .events = POLLIN};

	return poll(&p, 1, ms) > 0;
}

/* Segments that the writer has not stored yet, by a fresh batch of each. */
struct pending {
	size_t n;
	int64_t fresh_ids[MAX_PENDING];
	uint64_t since_ns;
};

/* Takes the job. Returns false when it is time to stop. */
static bool push(struct queue *jobs, struct job *job, int stop_fd)
{
	while (queue_push(jobs, job, job->weight) != 0) { /* full: batches first */
		if (wait_ms(stop_fd, STORED_POLL_MS)) {
			job_free(job);
			return false;
		}
	}
	return true;
}

/* Hands s over. Takes s. */
static void hand_over(struct compactor *c, struct pending *p, struct segment *s, struct queue *jobs,
		      int stop_fd)
{
	int64_t first = s->fresh[0], last = s->fresh[s->n_fresh - 1];
	size_t weight = s->n_bytes;
	struct job *job;

	if (job_new(JOB_SEGMENT, s, 0, weight, &job) != 0) {
		segment_free(s);
		compactor_forget(c);
		return;
	}
	FAILPOINT("segment_made");
	if (!push(jobs, job, stop_fd))
		return;
	FAILPOINT("segment_queued");
	p->fresh_ids[p->n++] = first;
	p->since_ns = clock_mono_ns();
	compactor_set_handed_over(c, last);
}

/*
 * Forgets what is stored. When the writer has not stored the first for long, it
 * could not, and all of it is made again.
 */
static void settle(struct compactor *c, struct pending *p)
{
	bool late = clock_mono_ns() - p->since_ns > STORED_WAIT_MS * NS_PER_MS;

	if (p->n > 0 && late)
		compactor_forget(c);
	while (p->n > 0 && (late || compactor_is_stored(c, p->fresh_ids[0]))) {
		p->n--;
		memmove(p->fresh_ids, p->fresh_ids + 1, p->n * sizeof(p->fresh_ids[0]));
	}
	if (p->n == 0)
		compactor_set_handed_over(c, 0);
}

/* The log begins anew only when nobody reads: it gets its chance before we read on. */
static bool give_way(const char *wal, int stop_fd)
{
	bool stop = false;

	for (int i = 0; !stop && i < LOG_WAIT_MS / LOG_POLL_MS && wal_bytes(wal) >= LOG_SHORT_BYTES;
	     i++)
		stop = wait_ms(stop_fd, LOG_POLL_MS);
	return stop;
}

/* Adds segments to the rollups if it is time. */
static int roll(struct roller *roller, struct queue *jobs, int stop_fd)
{
	struct rollup *r = NULL;
	struct job *job;
	int found = roller_step(roller, clock_mono_ns(), &r);
	size_t weight;

	if (found <= 0)
		return found;
	weight = (r->n_minutes + r->n_hours) * sizeof(struct rollup_row);
	weight = weight < ROLLUP_MAX_WEIGHT ? weight : ROLLUP_MAX_WEIGHT;
	if (job_new(JOB_ROLLUP, r, 0, weight, &job) != 0) {
		rollup_free(r);
		return -ENOMEM;
	}
	(void)push(jobs, job, stop_fd); /* what is not stored is made again */
	return 1;
}

void compacting_run(const char *db_path, struct fresh_cache *fresh, struct queue *jobs, int stop_fd)
{
	cleanup(db_close_p) sqlite3 *db = NULL;
	cleanup(compactor_free_p) struct compactor *c = NULL;
	const char *why = "out of memory";
	struct pending pending = {0};
	cleanup(roller_done) struct roller roller = {0};
	struct flow_columns columns = {{0}};
	char wal[WAL_PATH_MAX];
	bool failing = false;
	int found = 0, rolled, err, pause_ms = POLL_MS;

	if (db_open_reader(db_path, &db, &why) != 0 ||
	    compactor_new(db, FAILPOINT_NUMBER("WEIR_SEGMENT_ROWS", 0),
			  FAILPOINT_NUMBER("WEIR_SEGMENT_BATCHES", 0), &c) != 0) {
		log_warn("compactor: %s: %s; batches stay as they came", db_path, why);
		return;
	}
	(void)wal_path(db_path, wal); /* SQLite has opened it */
	roller.db = db;
	rollup_table_columns(&columns);
	compactor_keep(c, &columns);
	compactor_use_cache(c, fresh);
	while (!wait_ms(stop_fd, pause_ms) && !give_way(wal, stop_fd)) {
		struct segment *s = NULL;

		settle(c, &pending);
		pause_ms = STORED_POLL_MS;
		if (pending.n == MAX_PENDING)
			continue;
		found = compactor_make(c, &s);
		if (found > 0) {
			err = rollup_ready_add(&roller.ready, db, s->id, compactor_block(c));
			hand_over(c, &pending, s, jobs, stop_fd);
			found = err ? err : found;
		}
		if (found >= 0 && (rolled = roll(&roller, jobs, stop_fd)) < 0)
			found = rolled;
		if (found < 0 && !failing)
			log_warn("compactor: cannot read the database: %s; trying again",
				 strerror(-found));
		failing = found < 0;
		pause_ms = found > 0 ? 0 : POLL_MS;
	}
}
