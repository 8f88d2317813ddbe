// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/outbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/cleanup.h"

struct item {
	struct item *next;
	uint64_t first_seq, seq;
	struct outbox_load load;
	struct packed frame; /* of a tombstone: packed when it is first sent */
	bool tombstone, refused;
	bool sent; /* at least once; such items come before all others */
};

/* The batches of one epoch. */
struct stream {
	uint64_t epoch;
	struct item *head, *tail;
	struct item *cursor; /* next to send, NULL: all are on their way */
	struct item *unsent; /* first that was never sent */
	uint64_t last_seq;   /* of the last push */
	uint64_t in_flight;  /* of the frames before cursor, by credit_cost() */
	uint64_t batches;
};

struct outbox {
	uint8_t probe_id[PROBE_ID_BYTES];
	uint64_t max_bytes;
	int event_fd;
	atomic_bool asked; /* for a new epoch */

	pthread_mutex_t lock;			  /* guards all below */
	size_t n;				  /* at least 1 */
	struct stream streams[OUTBOX_MAX_EPOCHS]; /* oldest first, the live one last */
	struct outbox_stats stats;
};

static void unlock_p(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

/* Holds the lock until the end of the scope. */
#define GUARD(o)                                                                                   \
	cleanup(unlock_p) pthread_mutex_t *held_ = &(o)->lock;                                     \
	pthread_mutex_lock(held_)

int outbox_new(const uint8_t probe_id[PROBE_ID_BYTES], uint64_t epoch, uint64_t max_bytes,
	       struct outbox **ret)
{
	struct outbox *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (o->event_fd < 0) {
		int err = -errno;

		free(o);
		return err;
	}
	pthread_mutex_init(&o->lock, NULL); /* cannot fail with default attributes */
	memcpy(o->probe_id, probe_id, sizeof(o->probe_id));
	o->streams[o->n++].epoch = epoch;
	o->max_bytes = max_bytes;
	*ret = o;
	return 0;
}

static void item_free(struct item *item)
{
	free(item->frame.data);
	free(item);
}

void outbox_free(struct outbox *o)
{
	struct item *item, *next;

	if (!o)
		return;
	for (size_t i = 0; i < o->n; i++) {
		for (item = o->streams[i].head; item; item = next) {
			next = item->next;
			item_free(item);
		}
	}
	pthread_mutex_destroy(&o->lock);
	close(o->event_fd);
	free(o);
}

static uint64_t weight(const struct item *item)
{
	return sizeof(*item) + item->frame.len;
}

void outbox_load_add(struct outbox_load *sum, const struct outbox_load *more)
{
	sum->rows += more->rows;
	sum->packets += more->packets;
	sum->bytes += more->bytes;
	if (more->from_ns && (!sum->from_ns || more->from_ns < sum->from_ns))
		sum->from_ns = more->from_ns;
	if (more->until_ns > sum->until_ns)
		sum->until_ns = more->until_ns;
}

static struct stream *live(struct outbox *o)
{
	return &o->streams[o->n - 1];
}

/* NULL: there is no such epoch any more. */
static struct stream *find(struct outbox *o, uint64_t epoch)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->streams[i].epoch == epoch)
			return &o->streams[i];
	return NULL;
}

/* A backlog that is delivered needs no place. */
static void remove_if_done(struct outbox *o, struct stream *s)
{
	if (s->head || s == live(o))
		return;
	memmove(s, s + 1, (size_t)(live(o) - s) * sizeof(*s));
	o->n--;
}

/* --- losing ------------------------------------------------------------------ */

static void discard_frame(struct outbox *o, struct item *item)
{
	o->stats.bytes -= item->frame.len;
	free(item->frame.data);
	item->frame = (struct packed){0};
}

static void make_tombstone(struct outbox *o, struct item *item)
{
	discard_frame(o, item);
	item->tombstone = true;
}

static void drop(struct outbox *o, struct item *item)
{
	o->stats.dropped_batches++;
	outbox_load_add(&o->stats.dropped, &item->load);
	make_tombstone(o, item);
}

/* Puts the item behind a tombstone that was never sent into it. */
static void swallow_next(struct outbox *o, struct stream *s, struct item *tombstone)
{
	struct item *eaten = tombstone->next;

	if (!eaten->tombstone)
		drop(o, eaten);
	discard_frame(o, tombstone); /* packed already, if only the credit held it back */
	outbox_load_add(&tombstone->load, &eaten->load);
	tombstone->seq = eaten->seq;
	tombstone->next = eaten->next;
	if (s->tail == eaten)
		s->tail = tombstone;
	o->stats.bytes -= weight(eaten);
	o->stats.batches--;
	s->batches--;
	item_free(eaten);
}

/* Drops of one epoch until there is room; false when it has nothing more to give. */
static bool shrink(struct outbox *o, struct stream *s)
{
	while (o->stats.bytes > o->max_bytes) {
		struct item *oldest = s->unsent;

		if (!oldest)
			return false;
		if (!oldest->tombstone)
			drop(o, oldest);
		else if (oldest->next)
			swallow_next(o, s, oldest);
		else
			return false; /* nothing smaller tells the loss */
	}
	return true;
}

static void make_room(struct outbox *o)
{
	for (size_t i = 0; i < o->n; i++)
		if (shrink(o, &o->streams[i]))
			return;
}

/* --- from the exporter --------------------------------------------------------- */

static void append(struct outbox *o, struct stream *s, struct item *item)
{
	if (s->tail)
		s->tail->next = item;
	else
		s->head = item;
	s->tail = item;
	if (!s->cursor)
		s->cursor = item;
	if (!s->unsent)
		s->unsent = item;
	s->last_seq = item->seq;
	s->batches++;
	o->stats.batches++;
	o->stats.bytes += weight(item);
	if (!item->frame.data)
		drop(o, item);
	make_room(o);
}

int outbox_push(struct outbox *o, uint64_t seq, struct packed *frame,
		const struct outbox_load *load)
{
	struct item *item = calloc(1, sizeof(*item));
	uint64_t one = 1;

	if (!item) {
		free(take_ptr(frame->data));
		return -ENOMEM;
	}
	item->first_seq = item->seq = seq;
	item->load = *load;
	item->frame.len = frame->data ? frame->len : 0;
	item->frame.data = take_ptr(frame->data);
	{
		GUARD(o);
		append(o, live(o), item);
	}
	(void)!write(o->event_fd, &one, sizeof(one)); /* full only if readable anyway */
	return 0;
}

int outbox_begin(struct outbox *o, uint64_t epoch)
{
	GUARD(o);

	if (o->n == OUTBOX_MAX_EPOCHS && live(o)->head)
		return -ENOSPC;
	if (live(o)->head)
		o->n++;
	*live(o) = (struct stream){.epoch = epoch};
	return 0;
}

bool outbox_epoch_asked(struct outbox *o)
{
	return atomic_exchange(&o->asked, false);
}

/* --- from the sender ----------------------------------------------------------- */

void outbox_ask_epoch(struct outbox *o)
{
	o->asked = true;
}

size_t outbox_epochs(struct outbox *o, struct outbox_epoch ret[static OUTBOX_MAX_EPOCHS])
{
	GUARD(o);

	for (size_t i = 0; i < o->n; i++) {
		const struct stream *s = &o->streams[i];

		ret[i] = (struct outbox_epoch){
			.epoch = s->epoch,
			.oldest_seq = s->head ? s->head->first_seq : s->last_seq + 1,
			.batches = s->batches,
		};
	}
	return o->n;
}

static int pack_tombstone(struct outbox *o, const struct stream *s, struct item *item)
{
	cleanup(free_p) struct batch *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	memcpy(b->probe_id, o->probe_id, sizeof(b->probe_id));
	b->epoch = s->epoch;
	b->first_seq = item->first_seq;
	b->seq = item->seq;
	b->kind = BATCH_TOMBSTONE;
	b->reason = item->refused ? LOSS_REFUSED : LOSS_NO_ROOM;
	b->dropped_rows = item->load.rows;
	b->dropped_packets = item->load.packets;
	b->dropped_bytes = item->load.bytes;
	b->lost_from_ns = item->load.from_ns;
	b->lost_until_ns = item->load.until_ns;
	err = batch_pack(b, &item->frame);
	if (!err)
		o->stats.bytes += item->frame.len;
	return err;
}

static uint64_t in_flight(const struct outbox *o)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < o->n; i++)
		sum += o->streams[i].in_flight;
	return sum;
}

uint64_t outbox_in_flight(struct outbox *o)
{
	GUARD(o);

	return in_flight(o);
}

static void send_item(struct outbox *o, struct stream *s, struct item *item)
{
	if (item->sent)
		o->stats.batches_resent++;
	else
		o->stats.batches_sent++;
	item->sent = true;
	if (item == s->unsent)
		s->unsent = item->next;
	s->cursor = item->next;
	s->in_flight += credit_cost(item->frame.len);
}

int outbox_next(struct outbox *o, uint64_t epoch, uint64_t credit_bytes, struct outbox_frame *ret)
{
	GUARD(o);
	struct stream *s = find(o, epoch);
	struct item *item = s ? s->cursor : NULL;
	uint64_t busy = in_flight(o);

	if (!item)
		return -EAGAIN;
	if (!item->frame.data) {
		int err = pack_tombstone(o, s, item);

		if (err)
			return err;
	}
	if (busy && busy + credit_cost(item->frame.len) > credit_bytes)
		return -EAGAIN;
	send_item(o, s, item);
	*ret = (struct outbox_frame){
		.data = item->frame.data,
		.len = item->frame.len,
		.epoch = epoch,
		.first_seq = item->first_seq,
		.seq = item->seq,
	};
	return 0;
}

/* Releases the item that *link points to, whose predecessor is prev. */
static void release(struct outbox *o, struct stream *s, struct item **link, struct item *prev)
{
	struct item *item = *link;

	if (item == s->cursor)
		s->cursor = item->next;
	if (item == s->unsent)
		s->unsent = item->next;
	if (item == s->tail)
		s->tail = prev;
	*link = item->next;
	s->batches--;
	o->stats.batches--;
	o->stats.bytes -= weight(item);
	item_free(item);
}

void outbox_ack(struct outbox *o, uint64_t epoch, uint64_t seq)
{
	GUARD(o);
	struct stream *s = find(o, epoch);

	if (!s)
		return;
	while (s->head && s->head->seq <= seq) {
		if (s->head != s->cursor)
			s->in_flight -= credit_cost(s->head->frame.len);
		release(o, s, &s->head, NULL);
	}
	remove_if_done(o, s);
}

static void rewind_stream(struct stream *s)
{
	s->cursor = s->head;
	s->in_flight = 0;
}

void outbox_rewind(struct outbox *o, uint64_t epoch)
{
	GUARD(o);
	struct stream *s = find(o, epoch);

	if (s)
		rewind_stream(s);
}

int outbox_refuse(struct outbox *o, uint64_t epoch, uint64_t seq, const char *why)
{
	GUARD(o);
	struct stream *s = find(o, epoch);
	struct item **link = s ? &s->head : NULL, *prev = NULL;

	(void)why; /* in memory there is no place to keep a refused batch for inspection */
	while (link && *link && (*link)->seq != seq) {
		prev = *link;
		link = &prev->next;
	}
	if (!link || !*link || !(*link)->sent)
		return -ENOENT;
	o->stats.refused_batches++;
	if ((*link)->tombstone) {
		release(o, s, link, prev);
	} else {
		outbox_load_add(&o->stats.refused, &(*link)->load);
		make_tombstone(o, *link);
		(*link)->refused = true;
	}
	rewind_stream(s);
	remove_if_done(o, s);
	return 0;
}

void outbox_stats(struct outbox *o, struct outbox_stats *ret)
{
	GUARD(o);

	*ret = o->stats;
}

int outbox_fd(const struct outbox *o)
{
	return o->event_fd;
}
