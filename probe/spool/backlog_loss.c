// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* backlog_loss.c - what is given up: tombstones, eviction, what the collector refuses. */
#include "probe/spool/backlog_lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "probe/spool/quarantine.h"
#include "proto/frame.h"

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

int backlog_pack_tombstone(const struct spool_epoch *e, const struct spool_row *row,
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

int backlog_bury(struct backlog *b, struct lane *lane, struct spool_row *row)
{
	struct spool_row newest = {0};
	struct spool_sum sum;
	struct packed frame;
	int err;

	err = spool_db_find(b->db, &lane->e, row->seq, true, &newest);
	if (row->kind == SPOOL_REFUSED)
		newest.frame = NULL; /* the counters may be what is refused; others follow */
	if (!err)
		err = backlog_pack_tombstone(&lane->e, row, newest.frame, newest.len, &frame);
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
	return *ret_freed ? backlog_bury(b, lane, &all) : 0;
}

int backlog_make_room(struct backlog *b, uint64_t bytes)
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

static int refuse_row(struct backlog *b, struct lane *lane, struct spool_row *row)
{
	struct spool_sum sum;
	int err;

	b->stats.refused_batches++;
	lane->changed = true;
	if (row->kind == SPOOL_BATCH) {
		spool_load_add(&b->stats.refused, &row->load);
		row->kind = SPOOL_REFUSED;
		return backlog_bury(b, lane, row);
	}
	err = spool_db_remove(b->db, &lane->e, row->seq, row->seq, &sum);
	if (err)
		return err;
	lane->e.batches -= sum.batches;
	lane->e.frame_bytes -= sum.frame_bytes;
	spool_load_sub(&lane->e.load, &sum.load);
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
	struct lane *lane = backlog_lane_of(b, epoch);
	struct spool_row row;
	int err;

	if (!lane || !b->db || seq <= lane->acked || seq > lane->highest)
		return -ENOENT;
	err = spool_db_find(b->db, &lane->e, seq, true, &row);
	if (err || row.seq != seq)
		return -ENOENT;
	keep_refused(b, epoch, &row, why);
	err = backlog_begin(b);
	if (!err)
		err = refuse_row(b, lane, &row);
	if (!err)
		err = backlog_put_changed(b);
	err = backlog_end(b, err);
	if (err)
		return err;
	backlog_rewind(b, epoch);
	backlog_note_removed(b);
	return 0;
}
