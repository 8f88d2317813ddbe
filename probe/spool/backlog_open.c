// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* backlog_open.c - opening the file, and beginning anew when it is damaged. */
#include "probe/spool/backlog_lane.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"

static int read_lane(const struct spool_epoch *e, void *arg)
{
	struct backlog *b = arg;
	struct lane *lane = backlog_lane_of(b, e->epoch), *bigger;

	if (lane) { /* opened again: what is on disk counts */
		lane->e = *e;
		return 0;
	}
	bigger = backlog_more_lanes(b);
	if (!bigger)
		return -ENOMEM;
	bigger[b->n_lanes] = bigger[b->n_lanes - 1]; /* the live one stays last */
	bigger[b->n_lanes - 1] = (struct lane){.e = *e, .highest = e->sent_seq};
	b->n_lanes++;
	return 0;
}

static int read_lanes(struct backlog *b)
{
	struct spool_settled settled;
	int err;

	for (size_t i = 0; i < b->n_lanes; i++)
		b->lanes[i].e.id = 0;
	err = spool_db_remove_empty(b->db);
	if (!err)
		err = spool_db_epochs(b->db, read_lane, b);
	if (!err)
		err = spool_db_settled(b->db, &settled);
	if (err)
		return err;
	if (settled.instance)
		b->settled = settled;
	for (size_t i = b->n_lanes - 1; i-- > 0;)
		if (b->lanes[i].e.id == 0)
			backlog_forget_lane(b,
					    i); /* emptied by a transaction that seemed to fail */
	return 0;
}

/* The damaged file stays for whoever wants to look at it: the latest one. */
static int set_aside(struct backlog *b)
{
	cleanup(free_p) char *pattern = NULL, *name = NULL, *journal = NULL;
	glob_t old = {0};

	if (strcmp(b->path, SPOOL_IN_MEMORY) == 0)
		return 0;
	if (asprintf(&pattern, "%s.corrupt-*", b->path) < 0 ||
	    asprintf(&name, "%s.corrupt-%" PRIu64, b->path,
		     (uint64_t)(clock_real_ns() / NS_PER_SEC)) < 0 ||
	    asprintf(&journal, "%s-journal", b->path) < 0)
		return -ENOMEM;
	if (glob(pattern, GLOB_NOSORT, NULL, &old) == 0)
		for (size_t i = 0; i < old.gl_pathc; i++)
			(void)unlink(old.gl_pathv[i]); /* else one more stays */
	globfree(&old);
	if (rename(b->path, name) != 0 && unlink(b->path) != 0 && errno != ENOENT)
		return -errno;
	if (unlink(journal) != 0 && errno != ENOENT)
		return -errno;
	log_warn("%s is damaged or of another version: set aside as %s, beginning a new one",
		 b->path, name);
	return 0;
}

/* Readable for its owner alone: SQLite would ask the umask. */
static void make_file(const char *path)
{
	int fd;

	if (strcmp(path, SPOOL_IN_MEMORY) == 0)
		return;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
}

static int open_once(struct backlog *b)
{
	int err;

	make_file(b->path);
	err = spool_db_open(b->path, b->max_bytes, &b->db);
	if (!err)
		err = backlog_begin(b);
	if (!err)
		err = backlog_end(b, read_lanes(b));
	if (err)
		spool_db_close(take_ptr(b->db));
	return err;
}

/* All that was in the file that is gone: the numbers are in memory. */
static int mourn(struct backlog *b, struct lane *lane)
{
	struct spool_row row = {.first_seq = lane->acked + 1,
				.seq = lane->e.last_seq,
				.kind = SPOOL_DAMAGED,
				.load = lane->e.load};
	struct packed frame;
	int err;

	lane->e.id = 0;
	lane->removed = lane->acked;
	if (lane->e.batches == 0 || row.seq < row.first_seq)
		return 0;
	err = spool_db_add_epoch(b->db, &lane->e);
	if (err)
		return err;
	err = backlog_pack_tombstone(&lane->e, &row, NULL, 0, &frame);
	if (err)
		return err;
	row.frame = frame.data;
	row.len = frame.len;
	err = spool_db_insert(b->db, &lane->e, &row);
	free(frame.data);
	b->stats.dropped_batches += lane->e.batches;
	spool_load_add(&b->stats.dropped, &lane->e.load);
	lane->e.batches = 1;
	lane->e.frame_bytes = row.len;
	return err ? err : spool_db_put_epoch(b->db, &lane->e);
}

int backlog_replace(struct backlog *b)
{
	int err;

	spool_db_close(take_ptr(b->db));
	err = set_aside(b);
	if (err)
		return err;
	b->stats.resets++;
	make_file(b->path);
	err = spool_db_open(b->path, b->max_bytes, &b->db);
	if (!err)
		err = backlog_begin(b);
	for (size_t i = 0; !err && i < b->n_lanes; i++)
		err = mourn(b, &b->lanes[i]);
	if (!err)
		err = spool_db_put_settled(b->db, &b->settled);
	if (b->db)
		err = backlog_end(b, err);
	for (size_t i = 0; !err && i < b->n_lanes; i++)
		backlog_rewind(b, b->lanes[i].e.epoch);
	return err;
}

int backlog_open(struct backlog *b)
{
	int err;

	if (b->db)
		return 0;
	err = open_once(b);
	return err == -EBADMSG ? backlog_replace(b) : err;
}
