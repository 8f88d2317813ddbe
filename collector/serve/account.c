// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/account.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/sqlite/binder.h"
#include "collector/sqlite/statement.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "proto/message.h"

#define MINUTE_MS 60000
/* A loss over more minutes than this is told of the last ones. */
#define SPREAD_MAX_MINUTES 1440
/*
 * An epoch that the probe is done with is kept as long as a late duplicate of a
 * batch could still be on its way, and far longer.
 */
#define FORGET_AFTER_MS (24ll * 3600 * 1000)

enum statement {
	PUT_COUNTER,
	GET_COUNTER,
	PUT_LOSS,
	PUT_MINUTE,
	PUT_RUN,
	SET_HOST_RUN,
	NEWER_COUNTERS,
	CLOSE_EPOCHS,
	OPEN_EPOCH,
	FORGET_EPOCHS,
	FORGET_RUNS,
	FORGET_COUNTERS,
	EXPIRE_MINUTES,
	N_STATEMENTS,
};

static const char *const statement_sql[N_STATEMENTS] = {
	[PUT_COUNTER] = "INSERT INTO probe_counter (host_id, epoch, name, value, updated_ms)"
			" VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
			" SET value = excluded.value, updated_ms = excluded.updated_ms",
	[GET_COUNTER] = "SELECT value FROM probe_counter WHERE host_id = ? AND epoch = ?"
			" AND name = ?",
	[PUT_LOSS] = "INSERT INTO loss (host_id, epoch, first_seq, last_seq, rows, packets, bytes,"
		     " recorded_ms, reason, from_ms, until_ms)"
		     " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[PUT_MINUTE] = "INSERT INTO coverage_minute (host_id, minute_ms, batches, records, packets,"
		       " spool_drop_packets, rejected_packets, damaged_packets,"
		       " not_parsed_packets, map_full_packets, ring_lost_payloads)"
		       " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
		       " batches = batches + excluded.batches,"
		       " records = records + excluded.records,"
		       " packets = packets + excluded.packets,"
		       " spool_drop_packets = spool_drop_packets + excluded.spool_drop_packets,"
		       " rejected_packets = rejected_packets + excluded.rejected_packets,"
		       " damaged_packets = damaged_packets + excluded.damaged_packets,"
		       " not_parsed_packets = not_parsed_packets + excluded.not_parsed_packets,"
		       " map_full_packets = map_full_packets + excluded.map_full_packets,"
		       " ring_lost_payloads = ring_lost_payloads + excluded.ring_lost_payloads",
	[PUT_RUN] = "INSERT INTO probe_run (host_id, run, started_ms) VALUES (?, ?, ?)"
		    " ON CONFLICT DO NOTHING",
	[SET_HOST_RUN] = "UPDATE host SET run = ?2 WHERE id = ?1 AND run IS NOT ?2",
	[NEWER_COUNTERS] = "INSERT INTO probe_run (host_id, run, started_ms, counters_ns)"
			   " VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
			   " SET counters_ns = excluded.counters_ns"
			   " WHERE excluded.counters_ns > counters_ns RETURNING 1",
	[CLOSE_EPOCHS] = "UPDATE epoch SET closed_ms = ?2 WHERE host_id = ?1 AND closed_ms IS NULL",
	[OPEN_EPOCH] = "UPDATE epoch SET closed_ms = NULL WHERE host_id = ? AND epoch = ?",
	[FORGET_EPOCHS] = "DELETE FROM epoch WHERE host_id = ? AND closed_ms < ?",
	[FORGET_RUNS] = "DELETE FROM probe_run WHERE host_id = ?1 AND run <> ?2"
			" AND run NOT IN (SELECT epoch FROM epoch WHERE host_id = ?1)"
			" AND run NOT IN (SELECT epoch FROM probe_counter WHERE host_id = ?1)",
	[FORGET_COUNTERS] = "DELETE FROM probe_counter WHERE host_id = ? AND epoch <> ?"
			    " AND updated_ms < ?",
	[EXPIRE_MINUTES] = "DELETE FROM coverage_minute WHERE (host_id, minute_ms) IN"
			   " (SELECT host_id, minute_ms FROM coverage_minute"
			   " WHERE minute_ms < ?1 AND minute_ms <"
			   "  (SELECT ifnull(min(start_ms), ?1) FROM rollup_minute) LIMIT ?2)",
};

struct account {
	sqlite3 *db;
	sqlite3_stmt *st[N_STATEMENTS];
};

DEFINE_CLEANUP(struct account *, account_close)

int account_open(sqlite3 *db, struct account **ret)
{
	cleanup(account_close_p) struct account *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	a->db = db;
	err = statements_prepare(db, statement_sql, N_STATEMENTS, a->st);
	if (err)
		return err;
	*ret = take_ptr(a);
	return 0;
}

void account_close(struct account *a)
{
	if (!a)
		return;
	statements_finalize(a->st, N_STATEMENTS);
	free(a);
}

static struct binder start(struct account *a, enum statement which)
{
	return binder_start(a->st[which]);
}

/* --- by the minute --------------------------------------------------------------- */

/* In the order of PUT_MINUTE. */
enum share {
	BATCHES,
	RECORDS,
	PACKETS,
	SPOOL_DROP,
	REJECTED,
	DAMAGED,
	NOT_PARSED,
	MAP_FULL,
	RING_LOST,
	N_SHARES,
};

struct minute {
	int64_t at_ms;
	uint64_t shares[N_SHARES];
};

/* The minutes of one batch: few, as a rule. */
struct tally {
	struct account *a;
	int64_t host_id;
	size_t n;
	struct minute minutes[8];
	int err;
};

static void flush(struct tally *t)
{
	for (size_t i = 0; i < t->n && !t->err; i++) {
		struct binder b = start(t->a, PUT_MINUTE);

		binder_int(&b, t->host_id);
		binder_int(&b, t->minutes[i].at_ms);
		for (size_t j = 0; j < N_SHARES; j++)
			binder_count(&b, t->minutes[i].shares[j]);
		t->err = binder_run(&b);
	}
	t->n = 0;
}

static void add(struct tally *t, uint64_t at_ns, enum share share, uint64_t amount)
{
	int64_t ms = (int64_t)(at_ns / NS_PER_MS);
	size_t i = 0;

	ms -= ms % MINUTE_MS;
	while (i < t->n && t->minutes[i].at_ms != ms)
		i++;
	if (i == sizeof(t->minutes) / sizeof(t->minutes[0])) {
		flush(t);
		i = 0;
	}
	if (i == t->n)
		t->minutes[t->n++] = (struct minute){.at_ms = ms};
	t->minutes[i].shares[share] += amount;
}

/* Evenly over the minutes that it may be of, to the packet. */
static void add_loss(struct tally *t, const struct batch *batch, uint64_t now_ns)
{
	static const enum share shares[] = {
		[LOSS_NO_ROOM] = SPOOL_DROP,
		[LOSS_REFUSED] = REJECTED,
		[LOSS_DAMAGED] = DAMAGED,
	};
	const uint64_t minute_ns = MINUTE_MS * NS_PER_MS;
	uint64_t until_ns = batch->lost_until_ns ? batch->lost_until_ns : now_ns;
	uint64_t from_ns = batch->lost_from_ns ? batch->lost_from_ns : until_ns;
	uint64_t n = until_ns / minute_ns - from_ns / minute_ns + 1;
	uint64_t left = batch->dropped_packets;

	if (n > SPREAD_MAX_MINUTES)
		n = SPREAD_MAX_MINUTES;
	for (; n > 0; n--) {
		uint64_t part = left / n;

		add(t, until_ns - (n - 1) * minute_ns, shares[batch->reason], part);
		left -= part;
	}
}

/* Records of more minutes than a summary has: a batch that waited long. */
static int add_each_row(struct tally *t, const struct batch *batch)
{
	struct flow_record *rows;
	int err = batch_rows(batch, &rows);

	if (err)
		return err == -EBADMSG ? -EINVAL : err;
	for (size_t i = 0; i < batch->n_rows; i++) {
		add(t, rows[i].end_ns, RECORDS, 1);
		add(t, rows[i].end_ns, PACKETS, rows[i].packets + rows[i].rev_packets);
	}
	free(rows);
	return 0;
}

static int add_rows(struct tally *t, const struct batch *batch)
{
	const struct flow_summary *s = &batch->summary;

	if (s->n_minutes > FLOW_SUMMARY_MINUTES)
		return add_each_row(t, batch);
	for (size_t i = 0; i < s->n_minutes; i++) {
		add(t, s->minutes[i].at_ms * NS_PER_MS, RECORDS, s->minutes[i].records);
		add(t, s->minutes[i].at_ms * NS_PER_MS, PACKETS, s->minutes[i].packets);
	}
	return 0;
}

/* --- counters ---------------------------------------------------------------------- */

/* What of a counter's rise goes into the minute. */
static const struct {
	const char *name;
	enum share share;
} by_minute[] = {
	{"packets_truncated", NOT_PARSED}, {"packets_bad_header", NOT_PARSED},
	{"packets_too_deep", NOT_PARSED},  {"packets_catch_all", MAP_FULL},
	{"payloads_lost", RING_LOST},
};

static int get_counter(struct account *a, int64_t host_id, uint64_t run, const char *name,
		       uint64_t *ret)
{
	struct binder b = start(a, GET_COUNTER);
	int found;

	binder_int(&b, host_id);
	binder_int(&b, (int64_t)run);
	binder_text(&b, name);
	found = binder_row(&b);
	*ret = found > 0 ? (uint64_t)sqlite3_column_int64(b.st, 0) : 0;
	binder_end(&b);
	return found < 0 ? found : 0;
}

static int add_rise(struct tally *t, const struct batch *batch, const struct counter_value *c,
		    uint64_t at_ns)
{
	uint64_t before;
	int err;

	for (size_t i = 0; i < sizeof(by_minute) / sizeof(by_minute[0]); i++) {
		if (strcmp(by_minute[i].name, c->name) != 0)
			continue;
		err = get_counter(t->a, t->host_id, batch->run, c->name, &before);
		if (err)
			return err;
		if (c->value > before)
			add(t, at_ns, by_minute[i].share, c->value - before);
	}
	return 0;
}

/* Whether the counters are newer than those that are stored; then they are noted as the newest. */
static int are_newer(struct account *a, int64_t host_id, const struct batch *batch, uint64_t at_ns,
		     int64_t now_ms)
{
	struct binder b;
	int found;

	if (!batch->counters_ns)
		return 1; /* an older probe does not say; it has no backlog either */
	b = start(a, NEWER_COUNTERS);
	binder_int(&b, host_id);
	binder_int(&b, (int64_t)batch->run);
	binder_int(&b, now_ms);
	binder_count(&b, at_ns);
	found = binder_row(&b);
	binder_end(&b);
	return found;
}

static int put_counters(struct tally *t, const struct batch *batch, uint64_t at_ns, int64_t now_ms)
{
	int err = 0;

	for (size_t i = 0; !err && i < batch->n_counters; i++) {
		const struct counter_value *c = &batch->counters[i];
		struct binder b;

		err = add_rise(t, batch, c, at_ns);
		if (err)
			return err;
		b = start(t->a, PUT_COUNTER);
		binder_int(&b, t->host_id);
		binder_int(&b, (int64_t)batch->run);
		binder_text(&b, c->name);
		binder_count(&b, c->value);
		binder_int(&b, now_ms);
		err = binder_run(&b);
	}
	return err;
}

/* --- losses -------------------------------------------------------------------------- */

static void bind_ns(struct binder *b, uint64_t ns)
{
	if (ns)
		binder_count(b, ns / NS_PER_MS);
	else
		binder_null(b);
}

static int put_loss(struct account *a, int64_t host_id, const struct batch *lost,
		    const char *reason, int64_t now_ms)
{
	struct binder b = start(a, PUT_LOSS);

	binder_int(&b, host_id);
	binder_int(&b, (int64_t)lost->epoch);
	binder_count(&b, lost->first_seq);
	binder_count(&b, lost->seq);
	binder_count(&b, lost->dropped_rows);
	binder_count(&b, lost->dropped_packets);
	binder_count(&b, lost->dropped_bytes);
	binder_int(&b, now_ms);
	binder_text(&b, reason);
	bind_ns(&b, lost->lost_from_ns);
	bind_ns(&b, lost->lost_until_ns);
	return binder_run(&b);
}

int account_gap(struct account *a, int64_t host_id, const struct hello *h, uint64_t first_seq,
		uint64_t last_seq, int64_t now_ms)
{
	const struct batch lost = {.epoch = h->epoch, .first_seq = first_seq, .seq = last_seq};

	return put_loss(a, host_id, &lost, h->elsewhere ? "elsewhere" : "unknown", now_ms);
}

int account_batch(struct account *a, int64_t host_id, const struct batch *batch, int64_t now_ms)
{
	static const char *const reasons[] = {
		[LOSS_NO_ROOM] = "spool_drop",
		[LOSS_REFUSED] = "rejected",
		[LOSS_DAMAGED] = "damaged",
	};
	uint64_t now_ns = (uint64_t)now_ms * NS_PER_MS;
	uint64_t at_ns = batch->counters_ns ? batch->counters_ns : now_ns;
	struct tally t = {.a = a, .host_id = host_id};
	int err = 0, newer = 0;

	if (batch->kind == BATCH_TOMBSTONE) {
		err = put_loss(a, host_id, batch, reasons[batch->reason], now_ms);
		add_loss(&t, batch, now_ns);
	} else {
		add(&t, at_ns, BATCHES, 1);
		err = add_rows(&t, batch);
	}
	if (!err && batch->n_counters > 0)
		newer = are_newer(a, host_id, batch, at_ns, now_ms);
	if (newer > 0)
		err = put_counters(&t, batch, at_ns, now_ms);
	else if (newer < 0)
		err = newer;
	flush(&t);
	return err ? err : t.err;
}

/* --- runs and epochs ------------------------------------------------------------------ */

static int run_2(struct account *a, enum statement which, int64_t first, int64_t second)
{
	struct binder b = start(a, which);

	binder_int(&b, first);
	binder_int(&b, second);
	return binder_run(&b);
}

static int put_run(struct account *a, int64_t host_id, const struct hello *h, int64_t now_ms)
{
	struct binder b = start(a, PUT_RUN);
	int err;

	binder_int(&b, host_id);
	binder_int(&b, (int64_t)h->run);
	binder_int(&b, now_ms);
	err = binder_run(&b);
	return err ? err : run_2(a, SET_HOST_RUN, host_id, (int64_t)h->run);
}

static int forget(struct account *a, int64_t host_id, const struct hello *h, int64_t now_ms)
{
	struct binder b;
	int err;

	err = run_2(a, FORGET_EPOCHS, host_id, now_ms - FORGET_AFTER_MS);
	if (err)
		return err;
	b = start(a, FORGET_COUNTERS);
	binder_int(&b, host_id);
	binder_int(&b, (int64_t)h->run);
	binder_int(&b, now_ms - FORGET_AFTER_MS);
	err = binder_run(&b);
	return err ? err : run_2(a, FORGET_RUNS, host_id, (int64_t)h->run);
}

/*
 * The epochs that the probe still has stay open; a probe that has so many that
 * it may not have named all closes none.
 */
static int close_epochs(struct account *a, int64_t host_id, const struct hello *h, int64_t now_ms)
{
	int err;

	if (h->n_open_epochs == 0 || h->n_open_epochs == HELLO_MAX_EPOCHS)
		return 0;
	err = run_2(a, CLOSE_EPOCHS, host_id, now_ms);
	for (size_t i = 0; !err && i < h->n_open_epochs; i++)
		err = run_2(a, OPEN_EPOCH, host_id, (int64_t)h->open_epochs[i]);
	return err ? err : run_2(a, OPEN_EPOCH, host_id, (int64_t)h->epoch);
}

int account_hello(struct account *a, int64_t host_id, const struct hello *h, int64_t now_ms)
{
	int err = put_run(a, host_id, h, now_ms);

	if (!err)
		err = close_epochs(a, host_id, h, now_ms);
	return err ? err : forget(a, host_id, h, now_ms);
}

int account_expire(struct account *a, int64_t before_ms, size_t max_rows)
{
	if (before_ms < INT64_MIN + MINUTE_MS) /* nothing is too old */
		return 0;
	return run_2(a, EXPIRE_MINUTES, before_ms - MINUTE_MS, (int64_t)max_rows);
}
