// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe/identity.h"
#include "probe/spool.h"

#define WARN_PERIOD_MS 30000

struct export
{
	struct spool *spool;
	struct batch batch;	/* being filled; its counters are the current ones */
	struct spool_load load; /* of its rows */
	struct spool_load lost; /* not even noted in the spool yet: no memory */
	uint64_t next_seq;
	uint64_t records;
	uint64_t flushed_ns;
	uint64_t warn_state;
};

int export_new(const uint8_t probe_id[PROBE_ID_BYTES], uint64_t epoch, struct spool *spool,
	       struct export **ret)
{
	struct export *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->batch.rows = calloc(BATCH_MAX_ROWS, sizeof(*x->batch.rows));
	if (!x->batch.rows) {
		free(x);
		return -ENOMEM;
	}
	memcpy(x->batch.probe_id, probe_id, sizeof(x->batch.probe_id));
	x->batch.epoch = x->batch.run = epoch;
	x->batch.kind = BATCH_FLOWS;
	x->spool = spool;
	x->next_seq = 1;
	*ret = x;
	return 0;
}

void export_free(struct export *x)
{
	if (!x)
		return;
	free(x->batch.rows);
	free(x);
}

uint64_t export_records(const struct export *x)
{
	return x->records;
}

int export_set_counter(struct export *x, const char *name, uint64_t value)
{
	struct batch *b = &x->batch;
	size_t len = strlen(name), i;

	for (i = 0; i < b->n_counters; i++)
		if (strcmp(b->counters[i].name, name) == 0)
			break;
	if (i == b->n_counters) {
		if (i == BATCH_MAX_COUNTERS)
			return -ENOSPC;
		if (len == 0 || len >= COUNTER_NAME_MAX)
			return -EINVAL;
		memcpy(b->counters[i].name, name, len + 1);
		b->n_counters++;
	}
	b->counters[i].value = value;
	return 0;
}

static void warn(struct export *x, const char *what, int err)
{
	if (log_due(&x->warn_state, WARN_PERIOD_MS))
		log_warn("%s: %s, counting its records as lost", what, strerror(-err));
}

/* Hands frame (without data: a loss) with that load to the spool, under the next number. */
static void push(struct export *x, struct packed *frame, const struct spool_load *load)
{
	int err = spool_push(x->spool, x->next_seq, frame, load);

	if (!err) {
		x->next_seq++;
		return;
	}
	warn(x, "cannot keep a batch", err);
	spool_load_add(&x->lost, load);
}

/* The sender shall not keep what happens now behind a backlog. */
static void begin_epoch(struct export *x)
{
	uint64_t epoch;
	int err = identity_new_epoch(&epoch);

	if (!err)
		err = spool_begin(x->spool, epoch);
	if (err)
		return; /* as many streams as there may be: in order, then */
	x->batch.epoch = epoch;
	x->next_seq = 1;
}

/* Rises, even when the wall clock is set back: the collector keeps the newest. */
static uint64_t counters_time(const struct export *x)
{
	uint64_t now_ns = clock_real_ns();

	return now_ns > x->batch.counters_ns ? now_ns : x->batch.counters_ns + 1;
}

static void send_batch(struct export *x)
{
	struct packed frame = {0};
	struct spool_load load;
	int err;

	if (spool_epoch_asked(x->spool))
		begin_epoch(x);
	if (x->lost.rows) {
		load = x->lost;
		x->lost = (struct spool_load){0};
		push(x, &frame, &load);
	}
	x->batch.first_seq = x->batch.seq = x->next_seq;
	x->batch.counters_ns = counters_time(x);
	err = batch_pack(&x->batch, &frame);
	if (err) {
		warn(x, "cannot pack a batch", err);
		frame = (struct packed){0};
	}
	load = x->load;
	x->load = (struct spool_load){0};
	x->batch.n_rows = 0;
	push(x, &frame, &load);
}

void export_record(struct export *x, const struct flow_record *r)
{
	const struct spool_load load = {
		.rows = 1,
		.packets = r->packets + r->rev_packets,
		.bytes = r->bytes + r->rev_bytes,
		.from_ns = r->end_ns, /* it is the packets up to then: a start may be days ago */
		.until_ns = r->end_ns,
	};

	x->batch.rows[x->batch.n_rows++] = *r;
	spool_load_add(&x->load, &load);
	x->records++;
	if (x->batch.n_rows == BATCH_MAX_ROWS)
		send_batch(x);
}

void export_flush(struct export *x, uint64_t now_ns, bool always)
{
	if (x->batch.n_rows == 0 && !always && now_ns - x->flushed_ns < EXPORT_QUIET_NS)
		return;
	send_batch(x);
	x->flushed_ns = now_ns;
}
