/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * backlog_lane.h - what the files backlog_*.c share. Not for others.
 *
 * A lane is an epoch as the spool has it: on disk, and how far the sender is.
 * A change is one transaction: backlog_begin(), the change, backlog_end(), which
 * puts all back if there was an error, and then backlog_note_removed().
 */
#ifndef WEIR_PROBE_SPOOL_BACKLOG_LANE_H
#define WEIR_PROBE_SPOOL_BACKLOG_LANE_H

#include "probe/spool/backlog.h"
#include "probe/spool/spool_db.h"
#include "proto/message.h"

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

/* The lane of what is exported now. */
struct lane *backlog_live(const struct backlog *b);
/* NULL: there is none. */
struct lane *backlog_lane_of(struct backlog *b, uint64_t epoch);
/* Room for one more; NULL without memory. */
struct lane *backlog_more_lanes(struct backlog *b);
void backlog_forget_lane(struct backlog *b, size_t i);

int backlog_begin(struct backlog *b);
/* Ends the transaction, which has met err. An error closes a file that may be at fault. */
int backlog_end(struct backlog *b, int err);
/* What the lanes are now; what is acknowledged leaves. */
int backlog_put_changed(struct backlog *b);
/* After a commit: what backlog_put_changed() has removed is no longer there. */
void backlog_note_removed(struct backlog *b);

/* Begins a new file in the place of a damaged one. */
int backlog_replace(struct backlog *b);

/* newest: the frame of the last batch that it stands for, whose counters go on; or NULL. */
int backlog_pack_tombstone(const struct spool_epoch *e, const struct spool_row *row,
			   const uint8_t *newest, size_t newest_len, struct packed *ret);
/* Puts row, a tombstone, in place of all batches within its first_seq..seq. */
int backlog_bury(struct backlog *b, struct lane *lane, struct spool_row *row);
/* Makes room for that many bytes. -EDQUOT: all that waits may be on its way. */
int backlog_make_room(struct backlog *b, uint64_t bytes);

#endif /* WEIR_PROBE_SPOOL_BACKLOG_LANE_H */
