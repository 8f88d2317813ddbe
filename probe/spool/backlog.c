// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/spool/backlog_lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/failpoint.h"

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

struct lane *backlog_live(const struct backlog *b)
{
	return &b->lanes[b->n_lanes - 1];
}

struct lane *backlog_lane_of(struct backlog *b, uint64_t epoch)
{
	for (size_t i = 0; i < b->n_lanes; i++)
		if (b->lanes[i].e.epoch == epoch)
			return &b->lanes[i];
	return NULL;
}

struct lane *backlog_more_lanes(struct backlog *b)
{
	struct lane *bigger = realloc(b->lanes, (b->n_lanes + 1) * sizeof(*b->lanes));

	if (bigger)
		b->lanes = bigger;
	return bigger;
}

/* --- transactions ---------------------------------------------------------- */

int backlog_begin(struct backlog *b)
{
	b->before = b->stats;
	for (size_t i = 0; i < b->n_lanes; i++) {
		b->lanes[i].before = b->lanes[i].e;
		b->lanes[i].changed = false;
	}
	return b->db ? spool_db_begin(b->db) : -ENOENT;
}

int backlog_end(struct backlog *b, int err)
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
	spool_load_sub(&lane->e.load, &sum.load);
	if (lane->e.id == 0)
		return 0; /* nothing of it has ever been on disk */
	if (lane != backlog_live(b) && lane->e.batches == 0)
		return spool_db_remove_epoch(b->db, &lane->e);
	return spool_db_put_epoch(b->db, &lane->e);
}

int backlog_put_changed(struct backlog *b)
{
	int err = 0;

	for (size_t i = 0; !err && i < b->n_lanes; i++)
		if (b->lanes[i].changed || b->lanes[i].acked > b->lanes[i].removed)
			err = put_lane(b, &b->lanes[i]);
	return err;
}

void backlog_forget_lane(struct backlog *b, size_t i)
{
	free(b->lanes[i].flights);
	memmove(&b->lanes[i], &b->lanes[i + 1], (b->n_lanes - i - 1) * sizeof(*b->lanes));
	b->n_lanes--;
}

void backlog_note_removed(struct backlog *b)
{
	for (size_t i = b->n_lanes; i-- > 0;) {
		b->lanes[i].removed = b->lanes[i].acked;
		if (i + 1 < b->n_lanes && b->lanes[i].e.batches == 0)
			backlog_forget_lane(b, i);
	}
}

/* --- from the exporter ----------------------------------------------------- */

/* The lane of an item; NULL without memory. */
static struct lane *lane_for(struct backlog *b, uint64_t epoch)
{
	struct lane *lane = backlog_lane_of(b, epoch);

	if (lane)
		return lane;
	if (!backlog_more_lanes(b))
		return NULL;
	lane = &b->lanes[b->n_lanes++];
	*lane = (struct lane){.e.epoch = epoch};
	memcpy(lane->e.probe_id, b->probe_id, sizeof(lane->e.probe_id));
	lane->before = lane->e;
	return lane;
}

static int insert_row(struct backlog *b, struct lane *lane, const struct spool_row *row)
{
	int err = backlog_make_room(b, spool_db_cost(row->len));

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
		err = backlog_pack_tombstone(&lane->e, &row, NULL, 0, &frame);
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
	struct lane *lane = backlog_live(b);
	/* A sender that has sent all will send this at once: one note for both. */
	bool follows = lane->cursor == lane->e.last_seq;
	uint64_t epoch = lane->e.epoch;
	int err = backlog_begin(b);

	if (!err)
		err = backlog_put_changed(b); /* room first */
	for (const struct backlog_item *i = items; !err && i; i = i->next)
		err = insert(b, i);
	lane = backlog_lane_of(b, epoch); /* lanes may have moved */
	if (!err && follows)
		lane->e.sent_seq = lane->e.last_seq;
	if (!err)
		err = backlog_put_changed(b);
	if (!err)
		err = spool_db_put_settled(b->db, &settled);
	FAILPOINT("spool_inserted");
	err = backlog_end(b, err);
	if (err)
		return err;
	b->settled = settled;
	backlog_note_removed(b);
	return 0;
}

int backlog_commit(struct backlog *b, const struct backlog_item *items, uint64_t group)
{
	int err = backlog_open(b);

	if (!err)
		err = commit_once(b, items, group);
	if (err != -EBADMSG)
		return err;
	err = backlog_replace(b);
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
	err = backlog_begin(b);
	if (!err)
		err = backlog_put_changed(b);
	err = backlog_end(b, err);
	if (!err)
		backlog_note_removed(b);
	return err == -EBADMSG ? backlog_replace(b) : err;
}

/* --- how it stands --------------------------------------------------------- */

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
		bool last = lane == backlog_live(b);

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
