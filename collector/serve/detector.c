// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/detector.h"

#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>

#include <sqlite3.h>

#include "collector/serve/job.h"
#include "collector/sqlite/binder.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/queue.h"

#define POLL_MS	       1000 /* looks for new flows */
#define COMMIT_POLL_MS 20
#define COMMIT_WAIT_MS 5000 /* for the writer; then the bucket is judged again */

struct detector {
	const struct detector_settings *settings;
	struct queue *jobs;
	int stop_fd;
	sqlite3 *db;
	int64_t origin_ms; /* where a database without detector_state begins */
	bool failing;
};

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

static int64_t real_ms(void)
{
	return (int64_t)(clock_real_ns() / NS_PER_MS);
}

/* Returns true when it is time to stop. */
static bool wait_ms(const struct detector *d, int ms)
{
	struct pollfd p = {.fd = d->stop_fd, .events = POLLIN};

	return poll(&p, 1, ms) > 0;
}

/* The number in the only row of sql, whose only parameter is text or else number; 0 if NULL. */
static int read_int(struct detector *d, const char *sql, const char *text, int64_t number,
		    int64_t *ret)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	struct binder b;
	int found;

	if (sqlite3_prepare_v2(d->db, sql, -1, &st, NULL) != SQLITE_OK)
		return db_last_errno(d->db);
	b = binder_start(st);
	if (text)
		binder_text(&b, text);
	else
		binder_int(&b, number);
	found = binder_row(&b);
	if (found < 0)
		return found;
	*ret = found ? sqlite3_column_int64(st, 0) : 0;
	return 0;
}

static int read_done_until(struct detector *d, int64_t *ret)
{
	return read_int(d, "SELECT max(done_until_ms) FROM detector_state WHERE name = ?",
			DETECTOR_STATE, 0, ret);
}

/* The end of the bucket that holds at_ms. */
static int64_t bucket_end(const struct detector *d, int64_t at_ms)
{
	int64_t length = (int64_t)d->settings->interval_ms;

	return (at_ms / length + 1) * length;
}

static bool is_closed(const struct detector *d, int64_t until_ms)
{
	return real_ms() >= until_ms + (int64_t)d->settings->delay_ms;
}

/* No record that ended at ?1 or later ended before this; NULL: there is none. */
static const char earliest_sql[] =
	"SELECT min(max(min_end_ms, ?1)) FROM (SELECT min_end_ms, max_end_ms FROM flow_segment"
	" UNION ALL SELECT min_end_ms, max_end_ms FROM flow_fresh) WHERE max_end_ms >= ?1";

/* [from, until), after what is done until done. */
struct range {
	int64_t done_ms, from_ms, until_ms;
};

/*
 * The next bucket with flows, if it is closed. A bucket begins where the last
 * one ended, even if their length was another then. Returns 1, or 0: not yet.
 */
static int next_bucket(struct detector *d, struct range *ret)
{
	int64_t length = (int64_t)d->settings->interval_ms;
	int64_t done = 0, from, first = 0, until;
	int err;

	err = read_done_until(d, &done);
	if (err)
		return err;
	from = done ? done : d->origin_ms;
	if (!is_closed(d, bucket_end(d, from)))
		return 0; /* and looking for it would read the head of every batch */
	/* What is known of segments and batches as a whole tells mostly that it is too early. */
	err = read_int(d, earliest_sql, NULL, from, &first);
	if (err || first < from || !is_closed(d, bucket_end(d, first)))
		return err;
	err = read_int(d, "SELECT min(end_ms) FROM flows WHERE end_ms >= ?", NULL, from, &first);
	if (err || first < from)
		return err; /* none */
	until = bucket_end(d, first);
	if (!is_closed(d, until))
		return 0;
	*ret = (struct range){done, from > until - length ? from : until - length, until};
	return 1;
}

static void hand_over(struct detector *d, struct detection *detection)
{
	size_t n = detection->n_findings + detection->n_learnt;
	struct job *job;

	if (detection->n_left_out > 0)
		log_warn("detectors: %zu findings and baselines are beyond the limits of one "
			 "bucket and left out",
			 detection->n_left_out);
	if (job_new(JOB_DETECTION, detection, n, 0, &job) != 0) {
		detection_free(detection);
		return;
	}
	job->weight = n * sizeof(struct finding);
	if (queue_push(d->jobs, job, job->weight) != 0)
		job_free(job); /* the bucket is judged again */
}

/* Waits until the writer has stored the bucket, or has had time enough to. */
static bool wait_stored(struct detector *d, int64_t until_ms)
{
	int64_t done = 0;

	for (int i = 0; i < COMMIT_WAIT_MS / COMMIT_POLL_MS; i++) {
		if (wait_ms(d, COMMIT_POLL_MS))
			return true;
		if (read_done_until(d, &done) != 0 || done >= until_ms)
			break;
	}
	return false;
}

/* One bucket, if one is closed. Returns 1 if so, 0 if not, else the error. */
static int step(struct detector *d)
{
	struct detection *detection = NULL;
	struct range bucket = {0};
	int found = next_bucket(d, &bucket);
	int err;

	if (found <= 0)
		return found;
	err = detection_new(d->db, &d->settings->limits, bucket.from_ms, bucket.until_ms,
			    &detection);
	if (err)
		return err;
	detection->done_until_ms = bucket.done_ms;
	log_debug("detectors: bucket until %" PRId64 ": %zu findings, %zu subjects",
		  bucket.until_ms, detection->n_findings, detection->n_learnt);
	hand_over(d, detection);
	return wait_stored(d, bucket.until_ms) ? 0 : 1;
}

static void note_state(struct detector *d, int err)
{
	if (err && !d->failing)
		log_warn("detectors: cannot read the database: %s; trying again", strerror(-err));
	if (!err && d->failing)
		log_info("detectors: reading the database again");
	d->failing = err != 0;
}

void detector_run(const char *db_path, const struct detector_settings *settings, struct queue *jobs,
		  int stop_fd)
{
	cleanup(db_close_p) sqlite3 *db = NULL;
	struct detector d = {.settings = settings, .jobs = jobs, .stop_fd = stop_fd};
	const char *why;
	int found = 0;

	if (db_open_reader(db_path, &db, &why) != 0) {
		log_warn("detectors: %s: %s; no incidents will be raised", db_path, why);
		return;
	}
	d.db = db;
	d.origin_ms = bucket_end(&d, real_ms()) - (int64_t)settings->interval_ms;
	while (!wait_ms(&d, found > 0 ? 0 : POLL_MS)) {
		found = step(&d);
		note_state(&d, found < 0 ? found : 0);
	}
}
