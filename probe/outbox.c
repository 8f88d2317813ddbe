// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/outbox.h"

#include <errno.h>
#include <pthread.h>
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
	bool tombstone;
	bool sent; /* at least once; such items come before all others */
};

struct outbox {
	uint8_t probe_id[PROBE_ID_BYTES];
	uint64_t epoch;
	uint64_t max_bytes;
	int event_fd;

	pthread_mutex_t lock; /* guards all below */
	struct item *head, *tail;
	struct item *cursor; /* next to send, NULL: all are on their way */
	struct item *unsent; /* first that was never sent */
	uint64_t last_seq;   /* of the last push */
	uint64_t in_flight;  /* bytes of the frames before cursor */
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
	o->epoch = epoch;
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
	for (item = o->head; item; item = next) {
		next = item->next;
		item_free(item);
	}
	pthread_mutex_destroy(&o->lock);
	close(o->event_fd);
	free(o);
}

static uint64_t weight(const struct item *item)
{
	return sizeof(*item) + item->frame.len;
}

static void load_add(struct outbox_load *sum, const struct outbox_load *more)
{
	sum->rows += more->rows;
	sum->packets += more->packets;
	sum->bytes += more->bytes;
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
	load_add(&o->stats.dropped, &item->load);
	make_tombstone(o, item);
}

/* Puts the item behind a tombstone that was never sent into it. */
static void swallow_next(struct outbox *o, struct item *tombstone)
{
	struct item *eaten = tombstone->next;

	if (!eaten->tombstone)
		drop(o, eaten);
	discard_frame(o, tombstone); /* packed already, if only the credit held it back */
	load_add(&tombstone->load, &eaten->load);
	tombstone->seq = eaten->seq;
	tombstone->next = eaten->next;
	if (o->tail == eaten)
		o->tail = tombstone;
	o->stats.bytes -= weight(eaten);
	o->stats.batches--;
	item_free(eaten);
}

static void make_room(struct outbox *o)
{
	struct item *oldest = o->unsent;

	while (o->stats.bytes > o->max_bytes) {
		if (!oldest->tombstone)
			drop(o, oldest);
		else if (oldest->next)
			swallow_next(o, oldest);
		else
			return; /* a lone tombstone over the limit: nothing smaller tells the loss
				 */
	}
}

/* --- from the exporter --------------------------------------------------------- */

static void append(struct outbox *o, struct item *item)
{
	if (o->tail)
		o->tail->next = item;
	else
		o->head = item;
	o->tail = item;
	if (!o->cursor)
		o->cursor = item;
	if (!o->unsent)
		o->unsent = item;
	o->last_seq = item->seq;
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
		append(o, item);
	}
	(void)!write(o->event_fd, &one, sizeof(one)); /* full only if readable anyway */
	return 0;
}

/* --- from the sender ----------------------------------------------------------- */

static int pack_tombstone(struct outbox *o, struct item *item)
{
	cleanup(free_p) struct batch *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	memcpy(b->probe_id, o->probe_id, sizeof(b->probe_id));
	b->epoch = o->epoch;
	b->first_seq = item->first_seq;
	b->seq = item->seq;
	b->kind = BATCH_TOMBSTONE;
	b->dropped_rows = item->load.rows;
	b->dropped_packets = item->load.packets;
	b->dropped_bytes = item->load.bytes;
	err = batch_pack(b, &item->frame);
	if (!err)
		o->stats.bytes += item->frame.len;
	return err;
}

int outbox_next(struct outbox *o, uint64_t credit_bytes, struct outbox_frame *ret)
{
	GUARD(o);
	struct item *item = o->cursor;

	if (!item)
		return -EAGAIN;
	if (!item->frame.data) {
		int err = pack_tombstone(o, item);

		if (err)
			return err;
	}
	if (o->in_flight && o->in_flight + item->frame.len > credit_bytes)
		return -EAGAIN;

	if (item->sent)
		o->stats.batches_resent++;
	else
		o->stats.batches_sent++;
	item->sent = true;
	if (item == o->unsent)
		o->unsent = item->next;
	o->cursor = item->next;
	o->in_flight += item->frame.len;
	*ret = (struct outbox_frame){
		.data = item->frame.data,
		.len = item->frame.len,
		.first_seq = item->first_seq,
		.seq = item->seq,
	};
	return 0;
}

/* Releases the item that *link points to, whose predecessor is prev. */
static void release(struct outbox *o, struct item **link, struct item *prev)
{
	struct item *item = *link;

	if (item == o->cursor)
		o->cursor = item->next;
	if (item == o->unsent)
		o->unsent = item->next;
	if (item == o->tail)
		o->tail = prev;
	*link = item->next;
	o->stats.batches--;
	o->stats.bytes -= weight(item);
	item_free(item);
}

void outbox_ack(struct outbox *o, uint64_t seq)
{
	GUARD(o);

	while (o->head && o->head->seq <= seq) {
		if (o->head != o->cursor)
			o->in_flight -= o->head->frame.len;
		release(o, &o->head, NULL);
	}
}

static void rewind_locked(struct outbox *o)
{
	o->cursor = o->head;
	o->in_flight = 0;
}

void outbox_rewind(struct outbox *o)
{
	GUARD(o);

	rewind_locked(o);
}

int outbox_refuse(struct outbox *o, uint64_t seq)
{
	GUARD(o);
	struct item **link = &o->head, *prev = NULL;

	while (*link && (*link)->seq != seq) {
		prev = *link;
		link = &prev->next;
	}
	if (!*link || !(*link)->sent)
		return -ENOENT;
	o->stats.refused_batches++;
	if ((*link)->tombstone) {
		release(o, link, prev);
	} else {
		load_add(&o->stats.refused, &(*link)->load);
		make_tombstone(o, *link);
	}
	rewind_locked(o);
	return 0;
}

uint64_t outbox_oldest_seq(struct outbox *o)
{
	GUARD(o);

	return o->head ? o->head->first_seq : o->last_seq + 1;
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
