// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/uplink/export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "probe/spool/spool.h"
#include "probe/uplink/identity.h"

#define WARN_PERIOD_MS 30000

struct export
{
	struct spool *spool;
	struct batch batch;	/* being filled; its counters are the current ones */
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

static struct spool_load load_of(const struct flow_record *rows, size_t n)
{
	struct spool_load sum = {0};

	for (size_t i = 0; i < n; i++) {
		const struct spool_load one = {
			.rows = 1,
			.packets = rows[i].packets + rows[i].rev_packets,
			.bytes = rows[i].bytes + rows[i].rev_bytes,
			.from_ns = rows[i].end_ns, /* the packets up to then: a start may be days
						      ago */
			.until_ns = rows[i].end_ns,
		};

		spool_load_add(&sum, &one);
	}
	return sum;
}

/* Rows with long texts may not all fit one frame: then the half of them each. */
static void send_rows(struct export *x, struct flow_record *rows, size_t n)
{
	struct spool_load load = load_of(rows, n);
	struct batch b = x->batch;
	struct packed frame = {0};
	int err;

	b.first_seq = b.seq = x->next_seq;
	b.rows = rows;
	b.n_rows = n;
	err = batch_pack(&b, &frame);
	if (err == -E2BIG && n > 1) {
		send_rows(x, rows, n / 2);
		send_rows(x, rows + n / 2, n - n / 2);
		return;
	}
	if (err) {
		warn(x, "cannot pack a batch", err);
		frame = (struct packed){0};
	}
	push(x, &frame, &load);
}

static void send_batch(struct export *x)
{
	struct packed loss = {0};
	struct spool_load load;
	size_t n = x->batch.n_rows;

	if (spool_epoch_asked(x->spool))
		begin_epoch(x);
	if (x->lost.rows) {
		load = x->lost;
		x->lost = (struct spool_load){0};
		push(x, &loss, &load);
	}
	x->batch.counters_ns = counters_time(x);
	x->batch.n_rows = 0;
	send_rows(x, x->batch.rows, n);
}

void export_record(struct export *x, const struct flow_record *r)
{
	x->batch.rows[x->batch.n_rows++] = *r;
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
