// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* backlog_send.c - what the sender takes, and what comes of it. */
#include "probe/spool/backlog_lane.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/failpoint.h"
#include "common/log.h"
#include "proto/frame.h"

#define SENT_AHEAD 64 /* batches that may be sent for one note on disk that they were */

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
	err = backlog_begin(b);
	lane->e.sent_seq = ahead < lane->e.last_seq ? ahead : lane->e.last_seq;
	if (!err)
		err = spool_db_put_epoch(b->db, &lane->e);
	return backlog_end(b, err);
}

/* The frame has not stayed what it was: what it held is lost, and the row tells how much. */
static int bury_damaged(struct backlog *b, struct lane *lane, const struct spool_row *row)
{
	struct spool_row tombstone = *row;
	int err = backlog_begin(b);

	log_warn("batch %" PRIu64 " of the spool is damaged, counting it as lost", row->seq);
	b->stats.dropped_batches++;
	spool_load_add(&b->stats.dropped, &row->load);
	tombstone.kind = SPOOL_DAMAGED;
	if (!err)
		err = backlog_bury(b, lane, &tombstone);
	if (!err)
		err = backlog_put_changed(b);
	err = backlog_end(b, err);
	if (!err)
		backlog_note_removed(b);
	return err;
}

static bool is_sound(const struct spool_row *row)
{
	struct frame frame;

	return frame_open(row->frame, row->len, &frame) == FRAME_OK && frame.type == FRAME_BATCH;
}

/* The next to be sent. *lane is another place when that moved lanes. */
static int find_sound(struct backlog *b, struct lane **lane, struct spool_row *ret)
{
	uint64_t epoch = (*lane)->e.epoch;
	int err = spool_db_find(b->db, &(*lane)->e, (*lane)->cursor + 1, true, ret);

	if (err || is_sound(ret))
		return err;
	err = bury_damaged(b, *lane, ret);
	if (err)
		return err;
	*lane = backlog_lane_of(b, epoch); /* it is there: it has the tombstone */
	return spool_db_find(b->db, &(*lane)->e, (*lane)->cursor + 1, true, ret);
}

static int next_of(struct backlog *b, struct lane *lane, uint64_t credit_bytes,
		   struct spool_frame *ret)
{
	uint64_t in_flight = backlog_in_flight(b);
	struct spool_row row;
	int err;

	if (lane->cursor >= lane->e.last_seq)
		return -EAGAIN;
	err = find_sound(b, &lane, &row);
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
	struct lane *lane = backlog_lane_of(b, epoch);
	int err;

	if (!lane || (!b->db && lane->e.batches == 0))
		return -EAGAIN;
	err = backlog_open(b);
	lane = backlog_lane_of(b, epoch); /* lanes may have moved, or been found empty */
	if (!err && !lane)
		return -EAGAIN;
	if (!err)
		err = next_of(b, lane, credit_bytes, ret);
	if (err == -EBADMSG) {
		err = backlog_replace(b);
		return err ? err : -EAGAIN; /* the rest of the thread's round comes to it again */
	}
	return err;
}

bool backlog_ack(struct backlog *b, uint64_t epoch, uint64_t seq)
{
	struct lane *lane = backlog_lane_of(b, epoch);

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
	struct lane *lane = backlog_lane_of(b, epoch);

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
