// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/spool/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "probe/spool/backlog.h"

#define RETRY_NS	 NS_PER_SEC
#define FLUSH_NS	 (200 * NS_PER_MS) /* acknowledgements gather this long */
#define WARN_PERIOD_MS	 30000
#define MEMORY_MIN_BYTES (256u << 10)
#define MEMORY_MAX_BYTES (32u << 20)

struct group {
	struct backlog_item *items, **end;
	uint64_t bytes;
	uint64_t number;
};

struct spool {
	struct spool_settled settled; /* when it was opened */
	uint64_t memory_bytes;
	int lock_fd;
	int event_fd;
	pthread_t thread;
	bool started; /* the thread */

	pthread_mutex_t disk; /* guards backlog; held while the disk works. Before lock */
	struct backlog *backlog;

	pthread_mutex_t lock; /* guards the rest; never held for long */
	pthread_cond_t work, idle;
	struct group gathering;
	struct group submitted; /* on its way to the disk; items NULL: none */
	bool busy;		/* submitted holds a group */
	bool acked;		/* something can be deleted */
	bool stop;
	uint64_t live; /* the epoch of what is pushed */
	bool asked;    /* for a new one */
	uint64_t committed;
	struct spool_stats stats; /* as of the last change */
	uint64_t warn_state;
};

static void unlock_p(pthread_mutex_t **lock)
{
	pthread_mutex_unlock(*lock);
}

/* Holds the lock until the end of the scope. */
#define GUARD(mutex)                                                                               \
	cleanup(unlock_p) pthread_mutex_t *held_ = &(mutex);                                       \
	pthread_mutex_lock(held_)

void spool_load_add(struct spool_load *sum, const struct spool_load *more)
{
	sum->rows += more->rows;
	sum->packets += more->packets;
	sum->bytes += more->bytes;
	if (more->from_ns && (!sum->from_ns || more->from_ns < sum->from_ns))
		sum->from_ns = more->from_ns;
	if (more->until_ns > sum->until_ns)
		sum->until_ns = more->until_ns;
}

void spool_load_sub(struct spool_load *sum, const struct spool_load *less)
{
	sum->rows -= less->rows;
	sum->packets -= less->packets;
	sum->bytes -= less->bytes;
}

static void empty(struct group *g)
{
	*g = (struct group){0};
	g->end = &g->items;
}

static void free_items(struct backlog_item *item)
{
	struct backlog_item *next;

	for (; item; item = next) {
		next = item->next;
		free(item->frame.data);
		free(item);
	}
}

static void wake_sender(const struct spool *s)
{
	uint64_t one = 1;

	(void)!write(s->event_fd, &one, sizeof(one)); /* full only if readable anyway */
}

/* Needs s->disk: takes over what the backlog has counted. */
static void take_stats(struct spool *s)
{
	struct spool_stats now;

	backlog_stats(s->backlog, &now);
	GUARD(s->lock);
	now.errors = s->stats.errors;
	now.failing = s->stats.failing;
	s->stats = now;
}

/* --- the thread -------------------------------------------------------------------- */

static void note_result(struct spool *s, int err)
{
	GUARD(s->lock);

	if (!err) {
		if (s->stats.failing)
			log_info("the spool takes batches again");
		s->stats.failing = false;
		s->warn_state = 0;
		return;
	}
	s->stats.failing = true;
	s->stats.errors++;
	if (log_due(&s->warn_state, WARN_PERIOD_MS))
		log_warn("the spool cannot be written (%s): keeping batches in memory, "
			 "trying again",
			 err == -EDQUOT ? "full of batches on their way" : strerror(-err));
}

/* Returns whether the group is on disk. */
static bool store(struct spool *s)
{
	struct backlog_item *items;
	int err;

	{
		GUARD(s->disk);
		FAILPOINT("spool_commit");
		err = backlog_commit(s->backlog, s->submitted.items, s->submitted.number);
		FAILPOINT("spool_committed");
		take_stats(s);
	}
	note_result(s, err);
	if (err)
		return false;
	items = s->submitted.items; /* ours while busy */
	if (items)
		wake_sender(s); /* before anybody can have waited for us */
	{
		GUARD(s->lock);
		s->committed = s->submitted.number;
		s->busy = false;
		empty(&s->submitted);
		pthread_cond_broadcast(&s->idle);
	}
	free_items(items);
	return true;
}

/* An error leaves it for the next time; a group that is stored deletes as well. */
static void flush(struct spool *s)
{
	GUARD(s->disk);

	(void)backlog_flush(s->backlog);
	FAILPOINT("released");
	take_stats(s);
}

static void sleep_until(struct spool *s, uint64_t mono_ns)
{
	struct timespec when = {(time_t)(mono_ns / NS_PER_SEC), (long)(mono_ns % NS_PER_SEC)};

	(void)pthread_cond_timedwait(&s->work, &s->lock, &when); /* ETIMEDOUT is as good */
}

enum task { TASK_STORE, TASK_FLUSH, TASK_STOP };

/* Waits for something to do. not_before_ns: after a failure. */
static enum task wait_for_task(struct spool *s, uint64_t not_before_ns, uint64_t flushed_ns)
{
	GUARD(s->lock);

	for (;;) {
		uint64_t now_ns = clock_mono_ns();

		if (s->stop)
			return s->busy ? TASK_STORE : TASK_STOP;
		if (s->busy && now_ns >= not_before_ns)
			return TASK_STORE;
		if (s->acked && now_ns - flushed_ns >= FLUSH_NS) {
			s->acked = false;
			return TASK_FLUSH;
		}
		if (s->acked)
			sleep_until(s, flushed_ns + FLUSH_NS);
		else if (s->busy)
			sleep_until(s, not_before_ns);
		else
			(void)pthread_cond_wait(&s->work, &s->lock); /* cannot fail */
	}
}

static void *run(void *arg)
{
	struct spool *s = arg;
	uint64_t retry_ns = 0, flushed_ns = 0;

	for (;;) {
		enum task task = wait_for_task(s, retry_ns, flushed_ns);

		if (task == TASK_STORE) {
			bool stored = store(s);

			retry_ns = stored ? 0 : clock_mono_ns() + RETRY_NS;
			if (s->stop && !stored)
				break; /* only we clear it: no lock needed to read */
		} else {
			flush(s);
			flushed_ns = clock_mono_ns();
			wake_sender(s); /* it may wait for the end of the backlog */
		}
		if (task == TASK_STOP)
			break;
	}
	return NULL;
}

/* --- opening ------------------------------------------------------------------------- */

/* The folder of the file, if only that is missing. */
static void make_folder(const char *path)
{
	cleanup(free_p) char *folder = strdup(path);
	char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!slash || slash == folder)
		return;
	*slash = '\0';
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		log_debug("cannot make the folder %s: %s", folder, strerror(errno));
}

/* -EBUSY if another process has it. Where there can be no lock there is none. */
static int take_lock(const char *path, int *ret_fd)
{
	cleanup(free_p) char *name = NULL;
	cleanup(close_p) int fd = -1;

	*ret_fd = -1;
	if (strcmp(path, SPOOL_IN_MEMORY) == 0)
		return 0;
	make_folder(path);
	if (asprintf(&name, "%s.lock", path) < 0) {
		name = NULL; /* unspecified after a failure */
		return -ENOMEM;
	}
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		log_debug("cannot make %s: %s", name, strerror(errno));
		return 0;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		return -EBUSY;
	*ret_fd = take_fd(&fd);
	return 0;
}

static void init_locks(struct spool *s)
{
	pthread_condattr_t attr;

	/* None of these can fail with such arguments. */
	pthread_mutex_init(&s->disk, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->work, &attr);
	pthread_cond_init(&s->idle, &attr);
	pthread_condattr_destroy(&attr);
}

static void release(struct spool *s)
{
	backlog_free(s->backlog);
	free_items(s->gathering.items);
	free_items(s->submitted.items);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->disk);
	if (s->event_fd >= 0)
		close(s->event_fd);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	free(s);
}

static int open_all(struct spool *s, const struct spool_settings *settings)
{
	int err = take_lock(settings->path, &s->lock_fd);

	if (err)
		return err;
	s->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (s->event_fd < 0)
		return -errno;
	err = backlog_new(settings, &s->backlog);
	if (err)
		return err;
	err = backlog_open(s->backlog);
	if (err)
		note_result(s, err);
	take_stats(s);
	s->settled = backlog_settled(s->backlog);
	return 0;
}

int spool_open(const struct spool_settings *settings, struct spool **ret)
{
	struct spool_settings bounded = *settings;
	uint64_t share;
	struct spool *s;
	int err;

	if (settings->max_bytes < SPOOL_MIN_BYTES)
		return -EINVAL;
	if (strcmp(settings->path, SPOOL_IN_MEMORY) == 0 &&
	    bounded.max_bytes > SPOOL_MEMORY_MAX_BYTES)
		bounded.max_bytes = SPOOL_MEMORY_MAX_BYTES;
	share = bounded.max_bytes / 16;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->lock_fd = s->event_fd = -1;
	s->memory_bytes = share < MEMORY_MIN_BYTES   ? MEMORY_MIN_BYTES
			  : share > MEMORY_MAX_BYTES ? MEMORY_MAX_BYTES
						     : share;
	s->live = settings->epoch;
	empty(&s->gathering);
	empty(&s->submitted);
	init_locks(s);
	err = open_all(s, &bounded);
	if (err) {
		release(s);
		return err;
	}
	*ret = s;
	return 0;
}

int spool_start(struct spool *s, uint64_t instance, uint64_t group)
{
	int err;

	backlog_set_instance(s->backlog, instance);
	s->submitted.number = group; /* a group without batches */
	s->busy = true;
	err = -pthread_create(&s->thread, NULL, run, s);
	s->started = !err;
	return err;
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	{
		GUARD(s->lock);
		s->stop = true;
		pthread_cond_broadcast(&s->work);
	}
	if (s->started)
		(void)pthread_join(s->thread, NULL); /* fails only for one that is not ours */
	release(s);
}

struct spool_settled spool_settled(const struct spool *s)
{
	return s->settled;
}

/* --- from the exporter ----------------------------------------------------------------- */

static uint64_t weight(const struct backlog_item *item)
{
	return sizeof(*item) + item->frame.len;
}

int spool_push(struct spool *s, uint64_t seq, struct packed *frame, const struct spool_load *load)
{
	struct backlog_item *item = calloc(1, sizeof(*item));

	if (!item) {
		free(take_ptr(frame->data));
		return -ENOMEM;
	}
	item->seq = seq;
	item->load = *load;
	item->frame.len = frame->data ? frame->len : 0;
	item->frame.data = take_ptr(frame->data);
	{
		GUARD(s->lock);
		item->epoch = s->live;
		*s->gathering.end = item;
		s->gathering.end = &item->next;
		s->gathering.bytes += weight(item);
	}
	return 0;
}

int spool_begin(struct spool *s, uint64_t epoch)
{
	GUARD(s->lock);

	if (s->stats.epochs >= SPOOL_MAX_EPOCHS)
		return -ENOSPC;
	s->live = epoch;
	return 0;
}

bool spool_epoch_asked(struct spool *s)
{
	GUARD(s->lock);
	bool asked = s->asked;

	s->asked = false;
	return asked;
}

bool spool_idle(struct spool *s)
{
	GUARD(s->lock);

	return !s->busy;
}

int spool_submit(struct spool *s, uint64_t group)
{
	GUARD(s->lock);

	if (s->busy)
		return -EAGAIN;
	s->submitted = s->gathering;
	s->submitted.number = group;
	if (!s->submitted.items)
		s->submitted.end = &s->submitted.items;
	s->busy = true;
	empty(&s->gathering);
	pthread_cond_broadcast(&s->work);
	return 0;
}

uint64_t spool_gathered(struct spool *s)
{
	GUARD(s->lock);

	return s->gathering.bytes;
}

bool spool_full(struct spool *s)
{
	GUARD(s->lock);

	return s->gathering.bytes >= s->memory_bytes;
}

uint64_t spool_committed(struct spool *s)
{
	GUARD(s->lock);

	return s->committed;
}

int spool_wait(struct spool *s, uint64_t wait_ms)
{
	uint64_t until = clock_mono_ns() + wait_ms * NS_PER_MS;
	struct timespec when = {(time_t)(until / NS_PER_SEC), (long)(until % NS_PER_SEC)};
	int err = 0;
	GUARD(s->lock);

	while (s->busy && !err)
		err = pthread_cond_timedwait(&s->idle, &s->lock, &when);
	return s->busy ? -ETIMEDOUT : 0;
}

/* --- from the sender --------------------------------------------------------------------- */

size_t spool_epochs(struct spool *s, struct spool_backlog ret[static SPOOL_MAX_EPOCHS])
{
	GUARD(s->disk);

	return backlog_epochs(s->backlog, ret);
}

void spool_ask_epoch(struct spool *s)
{
	GUARD(s->lock);

	s->asked = true;
}

uint64_t spool_in_flight(struct spool *s)
{
	GUARD(s->disk);

	return backlog_in_flight(s->backlog);
}

int spool_next(struct spool *s, uint64_t epoch, uint64_t credit_bytes, struct spool_frame *ret)
{
	GUARD(s->disk);
	int err = backlog_next(s->backlog, epoch, credit_bytes, ret);

	take_stats(s);
	return err;
}

void spool_ack(struct spool *s, uint64_t epoch, uint64_t seq)
{
	bool due;
	{
		GUARD(s->disk);
		due = backlog_ack(s->backlog, epoch, seq);
		take_stats(s);
	}
	if (due) {
		GUARD(s->lock);
		s->acked = true;
		pthread_cond_broadcast(&s->work);
	}
}

void spool_rewind(struct spool *s, uint64_t epoch)
{
	GUARD(s->disk);

	backlog_rewind(s->backlog, epoch);
}

int spool_refuse(struct spool *s, uint64_t epoch, uint64_t seq, const char *why)
{
	GUARD(s->disk);
	int err = backlog_refuse(s->backlog, epoch, seq, why);

	take_stats(s);
	return err;
}

void spool_stats(struct spool *s, struct spool_stats *ret)
{
	GUARD(s->lock);

	*ret = s->stats;
	ret->memory_bytes = s->gathering.bytes + s->submitted.bytes;
}

int spool_fd(const struct spool *s)
{
	return s->event_fd;
}
