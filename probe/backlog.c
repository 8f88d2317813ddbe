// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/backlog.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "probe/quarantine.h"
#include "proto/frame.h"

#define SENT_AHEAD 64 /* batches that may be sent for one note on disk that they were */

/* A batch between spool_next() and its acknowledgement. */
struct flight {
	uint64_t seq;
	size_t len;
};

struct lane {
	struct spool_epoch e; /* as on disk, but for a transaction that runs */
	struct spool_epoch before;
	uint64_t acked;	  /* acknowledged up to here */
	uint64_t removed; /* and removed from disk up to here */
	uint64_t cursor;  /* the next to send is the first that ends after this */
	uint64_t highest; /* ever given to the sender */
	struct flight *flights;
	size_t first_flight, n_flights, room; /* the flights are [first_flight, n_flights) */
	bool changed;			      /* by the transaction that runs */
	uint64_t in_flight;		      /* their bytes, by credit_cost() */
};

struct backlog {
	char *path;
	uint64_t max_bytes;
	uint8_t probe_id[PROBE_ID_BYTES];
	struct spool_db *db;	      /* NULL: not open */
	uint64_t instance;	      /* of the flow table */
	struct spool_settled settled; /* as on disk when it was opened, or since */
	struct lane *lanes;	      /* oldest first, the live one last; at least that */
	size_t n_lanes;
	struct spool_stats stats, before;
};

int backlog_new(const struct spool_settings *settings, struct backlog **ret)
{
	struct backlog *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->path = strdup(settings->path);
	b->lanes = calloc(1, sizeof(*b->lanes));
	if (!b->path || !b->lanes) {
		backlog_free(b);
		return -ENOMEM;
	}
	b->max_bytes = settings->max_bytes;
	memcpy(b->probe_id, settings->probe_id, sizeof(b->probe_id));
	b->lanes[0].e.epoch = settings->epoch;
	memcpy(b->lanes[0].e.probe_id, settings->probe_id, sizeof(b->probe_id));
	b->n_lanes = 1;
	*ret = b;
	return 0;
}

void backlog_free(struct backlog *b)
{
	if (!b)
		return;
	for (size_t i = 0; b->lanes && i < b->n_lanes; i++)
		free(b->lanes[i].flights);
	spool_db_close(b->db);
	free(b->lanes);
	free(b->path);
	free(b);
}

static struct lane *live(const struct backlog *b)
{
	return &b->lanes[b->n_lanes - 1];
}

static struct lane *lane_of(struct backlog *b, uint64_t epoch)
{
	for (size_t i = 0; i < b->n_lanes; i++)
		if (b->lanes[i].e.epoch == epoch)
			return &b->lanes[i];
	return NULL;
}

static void load_sub(struct spool_load *sum, const struct spool_load *less)
{
	sum->rows -= less->rows;
	sum->packets -= less->packets;
	sum->bytes -= less->bytes;
}

/* --- transactions --------------------------------------------------------------- */

static int begin(struct backlog *b)
{
	b->before = b->stats;
	for (size_t i = 0; i < b->n_lanes; i++) {
		b->lanes[i].before = b->lanes[i].e;
		b->lanes[i].changed = false;
	}
	return b->db ? spool_db_begin(b->db) : -ENOENT;
}

/* Ends the transaction, which has met err. An error closes a file that may be at fault. */
static int end(struct backlog *b, int err)
{
	if (!err)
		err = spool_db_commit(b->db);
	if (!err)
		return 0;
	if (b->db)
		spool_db_rollback(b->db);
	b->stats = b->before;
	for (size_t i = 0; i < b->n_lanes; i++)
		b->lanes[i].e = b->lanes[i].before;
	if (err != -EDQUOT && err != -ENOMEM)
		spool_db_close(take_ptr(b->db));
	return err;
}

/* What is acknowledged leaves with the next change. */
static int put_lane(struct backlog *b, struct lane *lane)
{
	struct spool_sum sum = {0};
	int err = 0;

	if (lane->acked > lane->removed)
		err = spool_db_remove(b->db, &lane->e, lane->removed + 1, lane->acked, &sum);
	if (err)
		return err;
	lane->e.batches -= sum.batches;
	lane->e.frame_bytes -= sum.frame_bytes;
	load_sub(&lane->e.load, &sum.load);
	if (lane->e.id == 0)
		return 0; /* nothing of it has ever been on disk */
	if (lane != live(b) && lane->e.batches == 0)
		return spool_db_remove_epoch(b->db, &lane->e);
	return spool_db_put_epoch(b->db, &lane->e);
}

static int put_changed(struct backlog *b)
{
	int err = 0;

	for (size_t i = 0; !err && i < b->n_lanes; i++)
		if (b->lanes[i].changed || b->lanes[i].acked > b->lanes[i].removed)
			err = put_lane(b, &b->lanes[i]);
	return err;
}

static void forget_lane(struct backlog *b, size_t i)
{
	free(b->lanes[i].flights);
	memmove(&b->lanes[i], &b->lanes[i + 1], (b->n_lanes - i - 1) * sizeof(*b->lanes));
	b->n_lanes--;
}

/* After a commit: what put_lane() has removed is no longer there. */
static void note_removed(struct backlog *b)
{
	for (size_t i = b->n_lanes; i-- > 0;) {
		b->lanes[i].removed = b->lanes[i].acked;
		if (i + 1 < b->n_lanes && b->lanes[i].e.batches == 0)
			forget_lane(b, i);
	}
}

/* --- opening ---------------------------------------------------------------------- */

/* Room for one more; NULL without memory. */
static struct lane *more_lanes(struct backlog *b)
{
	struct lane *bigger = realloc(b->lanes, (b->n_lanes + 1) * sizeof(*b->lanes));

	if (bigger)
		b->lanes = bigger;
	return bigger;
}

static int read_lane(const struct spool_epoch *e, void *arg)
{
	struct backlog *b = arg;
	struct lane *lane = lane_of(b, e->epoch), *bigger;

	if (lane) { /* opened again: what is on disk counts */
		lane->e = *e;
		return 0;
	}
	bigger = more_lanes(b);
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
			forget_lane(b, i); /* emptied by a transaction that seemed to fail */
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
		err = begin(b);
	if (!err)
		err = end(b, read_lanes(b));
	if (err)
		spool_db_close(take_ptr(b->db));
	return err;
}

static int pack_tombstone(const struct spool_epoch *e, const struct spool_row *row,
			  const uint8_t *newest, size_t newest_len, struct packed *ret);

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
	err = pack_tombstone(&lane->e, &row, NULL, 0, &frame);
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

static int replace(struct backlog *b)
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
		err = begin(b);
	for (size_t i = 0; !err && i < b->n_lanes; i++)
		err = mourn(b, &b->lanes[i]);
	if (!err)
		err = spool_db_put_settled(b->db, &b->settled);
	if (b->db)
		err = end(b, err);
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
	return err == -EBADMSG ? replace(b) : err;
}

/* --- losing ------------------------------------------------------------------------ */

/* The counters of the newest batch that is gone go on with the tombstone. */
static void keep_counters(struct batch *b, const uint8_t *data, size_t len)
{
	struct frame frame;
	struct batch *newest;

	if (!data || frame_open(data, len, &frame) != FRAME_OK || frame.type != FRAME_BATCH ||
	    batch_unpack(frame.body, frame.body_len, &newest, NULL) != 0)
		return;
	b->run = newest->run;
	b->counters_ns = newest->counters_ns;
	b->n_counters = newest->n_counters;
	memcpy(b->counters, newest->counters, sizeof(b->counters));
	batch_free(newest);
}

static int pack_tombstone(const struct spool_epoch *e, const struct spool_row *row,
			  const uint8_t *newest, size_t newest_len, struct packed *ret)
{
	cleanup(free_p) struct batch *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	memcpy(b->probe_id, e->probe_id, sizeof(b->probe_id));
	b->epoch = e->epoch;
	b->first_seq = row->first_seq;
	b->seq = row->seq;
	b->kind = BATCH_TOMBSTONE;
	b->dropped_rows = row->load.rows;
	b->dropped_packets = row->load.packets;
	b->dropped_bytes = row->load.bytes;
	b->reason = row->kind == SPOOL_REFUSED	 ? LOSS_REFUSED
		    : row->kind == SPOOL_DAMAGED ? LOSS_DAMAGED
						 : LOSS_NO_ROOM;
	b->lost_from_ns = row->load.from_ns;
	b->lost_until_ns = row->load.until_ns;
	keep_counters(b, newest, newest_len);
	return batch_pack(b, ret);
}

/* Puts row, a tombstone, in place of all batches within its first_seq..seq. */
static int bury(struct backlog *b, struct lane *lane, struct spool_row *row)
{
	struct spool_row newest = {0};
	struct spool_sum sum;
	struct packed frame;
	int err;

	err = spool_db_find(b->db, &lane->e, row->seq, true, &newest);
	if (row->kind == SPOOL_REFUSED)
		newest.frame = NULL; /* the counters may be what is refused; others follow */
	if (!err)
		err = pack_tombstone(&lane->e, row, newest.frame, newest.len, &frame);
	if (err)
		return err;
	row->frame = frame.data;
	row->len = frame.len;
	err = spool_db_remove(b->db, &lane->e, row->first_seq, row->seq, &sum);
	if (!err)
		err = spool_db_insert(b->db, &lane->e, row);
	free(frame.data);
	if (err)
		return err;
	lane->e.batches += 1 - sum.batches;
	lane->e.frame_bytes += row->len - sum.frame_bytes;
	lane->changed = true;
	return 0;
}

/*
 * Turns batches of the lane that were never sent into one tombstone, oldest
 * first, until want bytes are free. *ret_freed: whether it could free any.
 */
static int evict_from(struct backlog *b, struct lane *lane, uint64_t want, bool *ret_freed)
{
	struct spool_row all = {.kind = SPOOL_DROPPED}, row;
	uint64_t freed = 0, from = lane->e.sent_seq + 1;
	int err = 0;

	*ret_freed = false;
	while (freed < want) {
		err = spool_db_find(b->db, &lane->e, from, false, &row);
		if (err)
			break;
		if (!all.seq)
			all.first_seq = row.first_seq;
		all.seq = row.seq;
		spool_load_add(&all.load, &row.load);
		from = row.seq + 1;
		freed += row.len;
		if (row.kind != SPOOL_BATCH)
			continue;
		*ret_freed = true;
		b->stats.dropped_batches++;
		spool_load_add(&b->stats.dropped, &row.load);
	}
	if (err && err != -ENOENT)
		return err;
	return *ret_freed ? bury(b, lane, &all) : 0;
}

/* Makes room for that many bytes. -EDQUOT: all that waits may be on its way. */
static int make_room(struct backlog *b, uint64_t bytes)
{
	uint64_t want = bytes + b->max_bytes / 64;
	bool freed;
	int err;

	for (size_t i = 0; i < b->n_lanes; i++) {
		do {
			if (spool_db_room(b->db) >= (int64_t)bytes)
				return 0;
			err = evict_from(b, &b->lanes[i], want, &freed);
			if (err)
				return err;
		} while (freed);
	}
	return spool_db_room(b->db) >= (int64_t)bytes ? 0 : -EDQUOT;
}

/* --- from the exporter --------------------------------------------------------------- */

/* The lane of an item; NULL without memory. */
static struct lane *lane_for(struct backlog *b, uint64_t epoch)
{
	struct lane *lane = lane_of(b, epoch);

	if (lane)
		return lane;
	if (!more_lanes(b))
		return NULL;
	lane = &b->lanes[b->n_lanes++];
	*lane = (struct lane){.e.epoch = epoch};
	memcpy(lane->e.probe_id, b->probe_id, sizeof(lane->e.probe_id));
	lane->before = lane->e;
	return lane;
}

static int insert_row(struct backlog *b, struct lane *lane, const struct spool_row *row)
{
	int err = make_room(b, spool_db_cost(row->len));

	if (!err && lane->e.id == 0)
		err = spool_db_add_epoch(b->db, &lane->e);
	if (!err)
		err = spool_db_insert(b->db, &lane->e, row);
	if (err)
		return err;
	lane->changed = true;
	lane->e.last_seq = row->seq;
	lane->e.batches++;
	lane->e.frame_bytes += row->len;
	spool_load_add(&lane->e.load, &row->load);
	return 0;
}

static int insert(struct backlog *b, const struct backlog_item *item)
{
	struct lane *lane = lane_for(b, item->epoch);
	struct spool_row row = {
		.first_seq = item->seq,
		.seq = item->seq,
		.kind = SPOOL_BATCH,
		.load = item->load,
		.frame = item->frame.data,
		.len = item->frame.len,
	};
	cleanup(free_p) uint8_t *made = NULL;
	struct packed frame;
	int err;

	if (!lane)
		return -ENOMEM;
	if (item->seq <= lane->e.last_seq)
		return 0; /* committed by a transaction that seemed to fail */
	if (!row.frame) {
		row.kind = SPOOL_DROPPED;
		err = pack_tombstone(&lane->e, &row, NULL, 0, &frame);
		if (err)
			return err;
		made = frame.data;
		row.frame = made;
		row.len = frame.len;
		b->stats.dropped_batches++;
		spool_load_add(&b->stats.dropped, &row.load);
	}
	return insert_row(b, lane, &row);
}

static int commit_once(struct backlog *b, const struct backlog_item *items, uint64_t group)
{
	const struct spool_settled settled = {b->instance, group};
	struct lane *lane = live(b);
	/* A sender that has sent all will send this at once: one note for both. */
	bool follows = lane->cursor == lane->e.last_seq;
	uint64_t epoch = lane->e.epoch;
	int err = begin(b);

	if (!err)
		err = put_changed(b); /* room first */
	for (const struct backlog_item *i = items; !err && i; i = i->next)
		err = insert(b, i);
	lane = lane_of(b, epoch); /* lanes may have moved */
	if (!err && follows)
		lane->e.sent_seq = lane->e.last_seq;
	if (!err)
		err = put_changed(b);
	if (!err)
		err = spool_db_put_settled(b->db, &settled);
	FAILPOINT("spool_inserted");
	err = end(b, err);
	if (err)
		return err;
	b->settled = settled;
	note_removed(b);
	return 0;
}

int backlog_commit(struct backlog *b, const struct backlog_item *items, uint64_t group)
{
	int err = backlog_open(b);

	if (!err)
		err = commit_once(b, items, group);
	if (err != -EBADMSG)
		return err;
	err = replace(b);
	return err ? err : commit_once(b, items, group);
}

int backlog_flush(struct backlog *b)
{
	bool due = false;
	int err;

	for (size_t i = 0; i < b->n_lanes; i++)
		due |= b->lanes[i].acked > b->lanes[i].removed;
	if (!due)
		return 0;
	err = backlog_open(b);
	if (err)
		return err;
	err = begin(b);
	if (!err)
		err = put_changed(b);
	err = end(b, err);
	if (!err)
		note_removed(b);
	return err == -EBADMSG ? replace(b) : err;
}

/* --- from the sender ------------------------------------------------------------------ */

static int add_flight(struct lane *lane, uint64_t seq, size_t len)
{
	struct flight *bigger;
	size_t room;

	if (lane->n_flights == lane->room && lane->first_flight > 0) {
		lane->n_flights -= lane->first_flight;
		memmove(lane->flights, lane->flights + lane->first_flight,
			lane->n_flights * sizeof(*lane->flights));
		lane->first_flight = 0;
	}
	if (lane->n_flights == lane->room) {
		room = lane->room ? lane->room * 2 : 64;
		bigger = realloc(lane->flights, room * sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		lane->flights = bigger;
		lane->room = room;
	}
	lane->flights[lane->n_flights++] = (struct flight){seq, len};
	lane->in_flight += credit_cost(len);
	return 0;
}

/* On disk before it leaves: from now on the batch may be with the collector. */
static int note_sent(struct backlog *b, struct lane *lane, uint64_t seq)
{
	uint64_t ahead = seq + SENT_AHEAD - 1;
	int err;

	if (seq <= lane->e.sent_seq)
		return 0;
	err = begin(b);
	lane->e.sent_seq = ahead < lane->e.last_seq ? ahead : lane->e.last_seq;
	if (!err)
		err = spool_db_put_epoch(b->db, &lane->e);
	return end(b, err);
}

/* The frame has not stayed what it was: what it held is lost, and the row tells how much. */
static int bury_damaged(struct backlog *b, struct lane *lane, const struct spool_row *row)
{
	struct spool_row tombstone = *row;
	int err = begin(b);

	log_warn("batch %" PRIu64 " of the spool is damaged, counting it as lost", row->seq);
	b->stats.dropped_batches++;
	spool_load_add(&b->stats.dropped, &row->load);
	tombstone.kind = SPOOL_DAMAGED;
	if (!err)
		err = bury(b, lane, &tombstone);
	if (!err)
		err = put_changed(b);
	err = end(b, err);
	if (!err)
		note_removed(b);
	return err;
}

static bool is_sound(const struct spool_row *row)
{
	struct frame frame;

	return frame_open(row->frame, row->len, &frame) == FRAME_OK && frame.type == FRAME_BATCH;
}

static int find_sound(struct backlog *b, struct lane *lane, struct spool_row *ret)
{
	int err = spool_db_find(b->db, &lane->e, lane->cursor + 1, true, ret);

	if (err || is_sound(ret))
		return err;
	err = bury_damaged(b, lane, ret);
	return err ? err : spool_db_find(b->db, &lane->e, lane->cursor + 1, true, ret);
}

static int next_of(struct backlog *b, struct lane *lane, uint64_t credit_bytes,
		   struct spool_frame *ret)
{
	uint64_t in_flight = backlog_in_flight(b);
	struct spool_row row;
	int err;

	if (lane->cursor >= lane->e.last_seq)
		return -EAGAIN;
	err = find_sound(b, lane, &row);
	if (err)
		return err == -ENOENT ? -EAGAIN : err;
	if (in_flight && in_flight + credit_cost(row.len) > credit_bytes)
		return -EAGAIN;
	err = note_sent(b, lane, row.seq);
	FAILPOINT("send_noted");
	if (!err)
		err = add_flight(lane, row.seq, row.len);
	if (err)
		return err;
	if (row.seq <= lane->highest)
		b->stats.batches_resent++;
	else
		b->stats.batches_sent++;
	if (row.seq > lane->highest)
		lane->highest = row.seq;
	lane->cursor = row.seq;
	*ret = (struct spool_frame){row.frame, row.len, lane->e.epoch, row.first_seq, row.seq};
	return 0;
}

int backlog_next(struct backlog *b, uint64_t epoch, uint64_t credit_bytes, struct spool_frame *ret)
{
	struct lane *lane = lane_of(b, epoch);
	int err;

	if (!lane || (!b->db && lane->e.batches == 0))
		return -EAGAIN;
	err = backlog_open(b);
	lane = lane_of(b, epoch); /* lanes may have moved, or been found empty */
	if (!err && !lane)
		return -EAGAIN;
	if (!err)
		err = next_of(b, lane, credit_bytes, ret);
	if (err == -EBADMSG) {
		err = replace(b);
		return err ? err : -EAGAIN; /* the rest of the thread's round comes to it again */
	}
	return err;
}

bool backlog_ack(struct backlog *b, uint64_t epoch, uint64_t seq)
{
	struct lane *lane = lane_of(b, epoch);

	if (!lane || seq <= lane->acked)
		return false;
	lane->acked = seq < lane->e.last_seq ? seq : lane->e.last_seq;
	if (lane->cursor < lane->acked)
		lane->cursor = lane->acked;
	while (lane->first_flight < lane->n_flights &&
	       lane->flights[lane->first_flight].seq <= lane->acked)
		lane->in_flight -= credit_cost(lane->flights[lane->first_flight++].len);
	return lane->acked > lane->removed;
}

void backlog_rewind(struct backlog *b, uint64_t epoch)
{
	struct lane *lane = lane_of(b, epoch);

	if (!lane)
		return;
	lane->cursor = lane->acked;
	lane->first_flight = lane->n_flights = 0;
	lane->in_flight = 0;
}

uint64_t backlog_in_flight(const struct backlog *b)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < b->n_lanes; i++)
		sum += b->lanes[i].in_flight;
	return sum;
}

static int refuse_row(struct backlog *b, struct lane *lane, struct spool_row *row)
{
	struct spool_sum sum;
	int err;

	b->stats.refused_batches++;
	lane->changed = true;
	if (row->kind == SPOOL_BATCH) {
		spool_load_add(&b->stats.refused, &row->load);
		row->kind = SPOOL_REFUSED;
		return bury(b, lane, row);
	}
	err = spool_db_remove(b->db, &lane->e, row->seq, row->seq, &sum);
	if (err)
		return err;
	lane->e.batches -= sum.batches;
	lane->e.frame_bytes -= sum.frame_bytes;
	load_sub(&lane->e.load, &sum.load);
	return 0;
}

/* For inspection; that it is lost is told without it. */
static void keep_refused(struct backlog *b, uint64_t epoch, const struct spool_row *row,
			 const char *why)
{
	unsigned dropped;
	int err;

	if (row->kind != SPOOL_BATCH || strcmp(b->path, SPOOL_IN_MEMORY) == 0)
		return;
	err = quarantine_put(b->path, epoch, row->seq, row->frame, row->len, why, &dropped);
	if (err)
		log_warn("cannot keep a refused batch in %s.refused: %s", b->path, strerror(-err));
	b->stats.quarantine_dropped += err ? 1 : dropped;
}

int backlog_refuse(struct backlog *b, uint64_t epoch, uint64_t seq, const char *why)
{
	struct lane *lane = lane_of(b, epoch);
	struct spool_row row;
	int err;

	if (!lane || !b->db || seq <= lane->acked || seq > lane->highest)
		return -ENOENT;
	err = spool_db_find(b->db, &lane->e, seq, true, &row);
	if (err || row.seq != seq)
		return -ENOENT;
	keep_refused(b, epoch, &row, why);
	err = begin(b);
	if (!err)
		err = refuse_row(b, lane, &row);
	if (!err)
		err = put_changed(b);
	err = end(b, err);
	if (err)
		return err;
	backlog_rewind(b, epoch);
	note_removed(b);
	return 0;
}

/* --- how it stands ---------------------------------------------------------------------- */

void backlog_set_instance(struct backlog *b, uint64_t instance)
{
	b->instance = instance;
}

struct spool_settled backlog_settled(const struct backlog *b)
{
	return b->settled;
}

/* What is acknowledged no longer waits, though it may still be on disk. */
static bool waits(const struct lane *lane)
{
	return lane->e.batches > 0 && lane->acked < lane->e.last_seq;
}

static uint64_t oldest_seq(struct backlog *b, const struct lane *lane)
{
	struct spool_row row;

	if (!waits(lane))
		return lane->e.last_seq + 1;
	if (!b->db || spool_db_find(b->db, &lane->e, lane->acked + 1, false, &row) != 0)
		return lane->acked + 1;
	return row.first_seq;
}

size_t backlog_epochs(struct backlog *b, struct spool_backlog ret[static SPOOL_MAX_EPOCHS])
{
	size_t n = 0;

	for (size_t i = 0; i < b->n_lanes; i++) {
		const struct lane *lane = &b->lanes[i];
		bool last = lane == live(b);

		if (!last && (!waits(lane) || n == SPOOL_MAX_EPOCHS - 1))
			continue;
		ret[n] = (struct spool_backlog){
			.epoch = lane->e.epoch,
			.oldest_seq = oldest_seq(b, lane),
			.batches = waits(lane) ? lane->e.batches : 0,
		};
		memcpy(ret[n].probe_id, lane->e.probe_id, sizeof(ret[n].probe_id));
		n++;
	}
	return n;
}

void backlog_stats(const struct backlog *b, struct spool_stats *ret)
{
	*ret = b->stats;
	ret->batches = ret->bytes = 0;
	ret->epochs = b->n_lanes;
	for (size_t i = 0; i < b->n_lanes; i++) {
		if (!waits(&b->lanes[i]))
			continue;
		ret->batches += b->lanes[i].e.batches;
		ret->bytes += b->lanes[i].e.frame_bytes;
	}
}
