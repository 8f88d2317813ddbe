// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/access/admission.h"
#include "collector/detect/detection.h"
#include "collector/flowstore/flow_writer.h"
#include "collector/rollup/rollup_writer.h"
#include "collector/serve/account.h"
#include "collector/serve/admin.h"
#include "collector/serve/control.h"
#include "collector/serve/host_addrs.h"
#include "collector/serve/job.h"
#include "collector/serve/orders.h"
#include "collector/serve/retention.h"
#include "collector/sqlite/binder.h"
#include "collector/sqlite/statement.h"
#include "collector/store/db.h"
#include "collector/store/wal.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/exit_code.h"

/* "name hooks, name hooks" of all interfaces of a HELLO. */
#define IFACES_TEXT_MAX (HELLO_MAX_IFACES * (IFACE_NAME_MAX + 16 + 2))

enum statement {
	BEGIN,
	COMMIT,
	ROLLBACK,
	JOB_SAVE,
	JOB_UNDO,
	JOB_KEEP,
	PUT_HOST,
	PUT_EPOCH,
	GET_EPOCH,
	RAISE_EPOCH,
	PUT_SEEN,
	PUT_REFUSAL,
	GET_DONE_UNTIL,
	PUT_DONE_UNTIL,
	PUT_INCIDENT,
	EXTEND_INCIDENT,
	PUT_BASELINE,
	TRIM_BASELINES,
	N_STATEMENTS,
};

static const char *const statement_sql[N_STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[JOB_SAVE] = "SAVEPOINT job",
	[JOB_UNDO] = "ROLLBACK TO job",
	[JOB_KEEP] = "RELEASE job",
	[PUT_HOST] = "INSERT INTO host (probe_id, name, kernel, build, boot_id, ifaces,"
		     " first_seen_ms, last_seen_ms, clock_skew_ms)"
		     " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8)"
		     " ON CONFLICT (probe_id) DO UPDATE SET name = ?2, kernel = ?3, build = ?4,"
		     " boot_id = ?5, ifaces = ?6, last_seen_ms = ?7, clock_skew_ms = ?8"
		     " RETURNING id",
	[PUT_EPOCH] = "INSERT INTO epoch (host_id, epoch, last_seq, started_ms)"
		      " VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
	[GET_EPOCH] = "SELECT e.host_id, e.last_seq FROM host h JOIN epoch e ON e.host_id = h.id"
		      " WHERE h.probe_id = ? AND e.epoch = ?",
	[RAISE_EPOCH] = "UPDATE epoch SET last_seq = ?3, batches = batches + ?4"
			" WHERE host_id = ?1 AND epoch = ?2",
	[PUT_SEEN] = "UPDATE host SET last_seen_ms = ?2 WHERE probe_id = ?1",
	[PUT_REFUSAL] = "INSERT INTO refusal (peer, reason, count, first_ms, last_ms)"
			" VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
			" SET count = count + excluded.count, last_ms = excluded.last_ms",
	[GET_DONE_UNTIL] = "SELECT done_until_ms FROM detector_state WHERE name = ?",
	[PUT_DONE_UNTIL] = "INSERT OR REPLACE INTO detector_state (name, done_until_ms)"
			   " VALUES (?, ?)",
	[PUT_INCIDENT] = "INSERT INTO incident (kind, severity, start_ms, end_ms, src_addr,"
			 " dst_addr, dst_port, proto, hosts, value, baseline, threshold, unit,"
			 " minutes, detail, evidence_sql)"
			 " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[EXTEND_INCIDENT] = "UPDATE incident SET end_ms = ?2, hosts = ?3, minutes = ?4,"
			    " value = ?5, detail = ?6, evidence_sql = ?7 WHERE id = ?1",
	[PUT_BASELINE] = "INSERT OR REPLACE INTO baseline (subject, mean, variance, minutes,"
			 " updated_ms) VALUES (?, ?, ?, ?, ?)",
	[TRIM_BASELINES] = "DELETE FROM baseline WHERE subject IN (SELECT subject FROM baseline"
			   " ORDER BY updated_ms DESC LIMIT -1 OFFSET ?)",
};

struct store {
	sqlite3 *db;
	char wal[WAL_PATH_MAX];
	struct allow_list *allow; /* NULL: nobody asks */
	bool admissions_changed;  /* since allow was filled */
	struct flow_writer *flows;
	struct rollup_writer *rollups;
	sqlite3_stmt *st[N_STATEMENTS];
	struct account *account;
};

DEFINE_CLEANUP(struct store *, store_close)

int store_open(const char *path, struct store **ret, const char **ret_why)
{
	cleanup(store_close_p) struct store *s = calloc(1, sizeof(*s));
	int err;

	if (!s) {
		*ret_why = "out of memory";
		return -ENOMEM;
	}
	err = db_open_writer(path, &s->db, ret_why);
	if (!err) {
		*ret_why = "its tables are not those of its version";
		err = statements_prepare(s->db, statement_sql, N_STATEMENTS, s->st);
		if (!err)
			err = account_open(s->db, &s->account);
		if (!err)
			err = flow_writer_open(s->db, &s->flows);
		if (!err)
			err = rollup_writer_open(s->db, &s->rollups);
	}
	if (err)
		return err == -EINVAL ? -EUCLEAN : err;
	(void)wal_path(sqlite3_db_filename(s->db, "main"), s->wal); /* SQLite has opened it */
	*ret = take_ptr(s);
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	statements_finalize(s->st, N_STATEMENTS);
	account_close(s->account);
	flow_writer_close(s->flows);
	rollup_writer_close(s->rollups);
	db_close(s->db);
	free(s);
}

static struct binder start(struct store *s, enum statement which)
{
	return binder_start(s->st[which]);
}

static int run(struct store *s, enum statement which)
{
	struct binder b = start(s, which);

	return binder_run(&b);
}

int store_begin(struct store *s)
{
	return run(s, BEGIN);
}

/* What is committed is so for everybody, at once. Without memory: at the next commit. */
static void publish(struct store *s)
{
	if (s->admissions_changed && s->allow && admission_publish(s->db, s->allow) == 0)
		s->admissions_changed = false;
}

int store_commit(struct store *s)
{
	int err = run(s, COMMIT);

	if (!err)
		publish(s);
	return err;
}

int store_share(struct store *s, struct allow_list *l)
{
	s->allow = l;
	return admission_publish(s->db, l);
}

int store_has_admitted(struct store *s)
{
	return admission_any(s->db);
}

/* Within a transaction. */
static int expire(struct store *s, const struct retention *limits, size_t max_rows,
		  size_t *ret_rows)
{
	int err = retention_apply(limits, s->db, s->flows, s->rollups, max_rows, ret_rows);

	if (!err)
		err = account_expire(s->account, limits->flows_before_ms, max_rows);
	if (!err)
		err = host_addrs_expire(s->db, limits->flows_before_ms);
	return err;
}

/* expire BEFORE_MS MAX_BYTES */
static int expire_asked(struct store *s, const char *const *words, struct admin_reply *ret)
{
	const struct retention limits = {.flows_before_ms = strtoll(words[1], NULL, 10),
					 .max_bytes = strtoull(words[2], NULL, 10)};
	size_t rows = 0;
	int err = expire(s, &limits, ADMIN_EXPIRE_ROWS, &rows);

	*ret = (struct admin_reply){.exit_code = EXIT_OK};
	(void)snprintf(ret->text, sizeof(ret->text), "%zu", rows);
	return err;
}

static int command(struct store *s, size_t n, const char *const *words, int64_t now_ms,
		   struct admin_reply *ret)
{
	s->admissions_changed = true;
	if (n == 3 && strcmp(words[0], "expire") == 0)
		return expire_asked(s, words, ret);
	return admin_command(s->db, n, words, now_ms, ret);
}

int store_command(struct store *s, size_t n, const char *const *words, int64_t now_ms,
		  struct admin_reply *ret)
{
	int err = store_begin(s);

	if (!err)
		err = command(s, n, words, now_ms, ret);
	if (!err)
		err = store_commit(s);
	if (err)
		store_rollback(s);
	return err;
}

void store_rollback(struct store *s)
{
	if (!sqlite3_get_autocommit(s->db)) /* SQLite may have done it already */
		(void)run(s, ROLLBACK);	    /* needs no space; the transaction ends anyway */
}

/* The host and the last committed seq of an epoch. Returns 1, or 0 if it is not known. */
static int get_epoch(struct store *s, const uint8_t *probe_id, uint64_t epoch, int64_t *ret_host_id,
		     uint64_t *ret_last_seq)
{
	struct binder b = start(s, GET_EPOCH);
	int found;

	binder_blob(&b, probe_id, PROBE_ID_BYTES);
	binder_int(&b, (int64_t)epoch);
	found = binder_row(&b);
	if (found > 0) {
		*ret_host_id = sqlite3_column_int64(b.st, 0);
		*ret_last_seq = (uint64_t)sqlite3_column_int64(b.st, 1);
	}
	binder_end(&b);
	return found;
}

static void format_ifaces(const struct hello *h, char ret[IFACES_TEXT_MAX])
{
	size_t at = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < h->n_ifaces; i++)
		at += (size_t)snprintf(ret + at, IFACES_TEXT_MAX - at, "%s%s %s", i ? ", " : "",
				       h->ifaces[i].name, h->ifaces[i].hooks);
}

static int put_host(struct store *s, const struct hello *h, int64_t now_ms, int64_t *ret_id)
{
	struct binder b = start(s, PUT_HOST);
	char ifaces[IFACES_TEXT_MAX];
	int found;

	format_ifaces(h, ifaces);
	binder_blob(&b, h->probe_id, sizeof(h->probe_id));
	binder_text(&b, h->host_name);
	binder_text(&b, h->kernel);
	binder_text(&b, h->build);
	binder_blob(&b, h->boot_id, sizeof(h->boot_id));
	binder_text(&b, ifaces);
	binder_int(&b, now_ms);
	binder_int(&b, (int64_t)(h->real_ns / NS_PER_MS) - now_ms);
	found = binder_row(&b);
	if (found > 0)
		*ret_id = sqlite3_column_int64(b.st, 0);
	binder_end(&b);
	return found < 0 ? found : 0; /* RETURNING gives a row, or there is an error */
}

static int raise_epoch(struct store *s, int64_t host_id, uint64_t epoch, uint64_t seq,
		       int n_batches)
{
	struct binder b = start(s, RAISE_EPOCH);

	binder_int(&b, host_id);
	binder_int(&b, (int64_t)epoch);
	binder_count(&b, seq);
	binder_int(&b, n_batches);
	return binder_run(&b);
}

/*
 * The probe no longer has what comes next: another collector has it, or the
 * database is an older copy of the one that acknowledged it.
 */
static int skip_gap(struct store *s, int64_t host_id, const struct hello *h, uint64_t last_seq,
		    int64_t now_ms)
{
	uint64_t until = h->oldest_seq - 1;
	int err = account_gap(s->account, host_id, h, last_seq + 1, until, now_ms);

	return err ? err : raise_epoch(s, host_id, h->epoch, until, 0);
}

static int put_epoch(struct store *s, int64_t host_id, const struct hello *h, int64_t now_ms)
{
	struct binder b = start(s, PUT_EPOCH);

	binder_int(&b, host_id);
	binder_int(&b, (int64_t)h->epoch);
	binder_count(&b, h->oldest_seq ? h->oldest_seq - 1 : 0);
	binder_int(&b, now_ms);
	return binder_run(&b);
}

static int apply_hello(struct store *s, struct job *job, int64_t now_ms)
{
	const struct hello *h = job->hello;
	int64_t host_id = 0;
	bool changed = false;
	int err;

	err = put_host(s, h, now_ms, &host_id);
	if (!err)
		err = admission_used(s->db, job->key, now_ms, &changed);
	s->admissions_changed |= changed;
	if (!err)
		err = put_epoch(s, host_id, h, now_ms);
	if (!err)
		err = account_hello(s->account, host_id, h, now_ms);
	if (!err)
		err = host_addrs_put(s->db, host_id, h, now_ms);
	if (!err)
		err = get_epoch(s, h->probe_id, h->epoch, &host_id, &job->last_seq);
	if (err < 0)
		return err; /* the row is there: we have just put it */
	job->outcome = JOB_DONE;
	if (h->oldest_seq <= job->last_seq + 1)
		return 0;
	err = skip_gap(s, host_id, h, job->last_seq, now_ms);
	if (!err)
		job->last_seq = h->oldest_seq - 1;
	return err;
}

static int put_batch(struct store *s, struct job *job, int64_t host_id, int64_t now_ms)
{
	const struct batch *batch = job->batch;
	int err = 0;

	if (batch->n_rows) {
		err = flow_writer_fresh(s->flows, host_id, batch->block, batch->block_len,
					&batch->summary);
		job->fresh_id = sqlite3_last_insert_rowid(s->db);
		job->host_id = host_id;
	}
	if (!err)
		err = account_batch(s->account, host_id, batch, now_ms);
	if (!err)
		err = raise_epoch(s, host_id, batch->epoch, batch->seq, 1);
	return err;
}

static int apply_batch(struct store *s, struct job *job, int64_t now_ms)
{
	const struct batch *batch = job->batch;
	int64_t host_id;
	int found, err = 0;

	job->fresh_id = 0; /* it may have been applied before, in vain */
	found = get_epoch(s, batch->probe_id, batch->epoch, &host_id, &job->last_seq);
	if (found < 0)
		return found;
	if (found == 0) {
		job->outcome = JOB_UNKNOWN;
		return 0;
	}
	if (batch->seq > job->last_seq && batch->first_seq > job->last_seq + 1) {
		job->outcome = JOB_GAP;
		return 0;
	}
	job->outcome = JOB_DONE;
	if (batch->seq > job->last_seq) {
		err = put_batch(s, job, host_id, now_ms);
		if (!err)
			job->last_seq = batch->seq;
	}
	return err;
}

static int apply_seen(struct store *s, const struct job *job)
{
	int err = 0;

	for (size_t i = 0; !err && i < job->n; i++) {
		struct binder b = start(s, PUT_SEEN);

		binder_blob(&b, job->seen[i].probe_id, PROBE_ID_BYTES);
		binder_int(&b, job->seen[i].at_ms);
		err = binder_run(&b);
	}
	return err;
}

static int apply_refusals(struct store *s, const struct job *job)
{
	int err = 0;

	for (size_t i = 0; !err && i < job->n; i++) {
		const struct refusal *r = &job->refusals[i];
		struct binder b = start(s, PUT_REFUSAL);

		binder_text(&b, r->peer);
		binder_text(&b, r->reason);
		binder_count(&b, r->count);
		binder_int(&b, r->first_ms);
		binder_int(&b, r->last_ms);
		err = binder_run(&b);
	}
	return err;
}

static int put_incident(struct store *s, const struct finding *f)
{
	struct binder b = start(s, PUT_INCIDENT);

	binder_text(&b, f->kind);
	binder_text(&b, f->severity);
	binder_int(&b, f->start_ms);
	binder_int(&b, f->end_ms);
	binder_text(&b, f->src_addr);
	binder_text(&b, f->dst_addr);
	if (f->dst_port < 0)
		binder_null(&b);
	else
		binder_int(&b, f->dst_port);
	if (f->proto < 0)
		binder_null(&b);
	else
		binder_int(&b, f->proto);
	binder_text(&b, f->hosts);
	binder_real(&b, f->value);
	binder_real(&b, f->baseline);
	binder_real(&b, f->threshold);
	binder_text(&b, f->unit);
	binder_int(&b, f->minutes);
	binder_text(&b, f->detail);
	binder_text(&b, f->evidence_sql);
	return binder_run(&b);
}

static int extend_incident(struct store *s, const struct finding *f)
{
	struct binder b = start(s, EXTEND_INCIDENT);

	binder_int(&b, f->incident_id);
	binder_int(&b, f->end_ms);
	binder_text(&b, f->hosts);
	binder_int(&b, f->minutes);
	binder_real(&b, f->value);
	binder_text(&b, f->detail);
	binder_text(&b, f->evidence_sql);
	return binder_run(&b);
}

static int put_learnt(struct store *s, const struct learnt *l, int64_t at_ms)
{
	struct binder b = start(s, PUT_BASELINE);

	binder_text(&b, l->subject);
	binder_real(&b, l->mean);
	binder_real(&b, l->variance);
	binder_int(&b, l->minutes);
	binder_int(&b, at_ms);
	return binder_run(&b);
}

static int put_done_until(struct store *s, int64_t at_ms)
{
	struct binder b = start(s, PUT_DONE_UNTIL);

	binder_text(&b, DETECTOR_STATE);
	binder_int(&b, at_ms);
	return binder_run(&b);
}

/* Whether the bucket follows what is stored: one that was handed over twice does not. */
static int is_next(struct store *s, const struct detection *d)
{
	struct binder b = start(s, GET_DONE_UNTIL);
	int found;

	binder_text(&b, DETECTOR_STATE);
	found = binder_row(&b);
	if (found >= 0)
		found = found ? sqlite3_column_int64(b.st, 0) == d->done_until_ms
			      : d->done_until_ms == 0;
	binder_end(&b);
	return found;
}

static int apply_detection(struct store *s, const struct detection *d)
{
	int err = is_next(s, d);

	if (err <= 0)
		return err;
	err = put_done_until(s, d->until_ms);
	for (size_t i = 0; !err && i < d->n_findings; i++)
		err = d->findings[i].incident_id ? extend_incident(s, &d->findings[i])
						 : put_incident(s, &d->findings[i]);
	for (size_t i = 0; !err && i < d->n_learnt; i++)
		err = put_learnt(s, &d->learnt[i], d->until_ms);
	return err;
}

static int apply_enrollment(struct store *s, struct enrollment *e, int64_t now_ms)
{
	s->admissions_changed = true;
	return admission_enroll(s->db, e, now_ms);
}

static int apply_admin(struct store *s, struct admin_request *r, int64_t now_ms)
{
	r->applied = true;
	return command(s, r->n, r->words, now_ms, &r->reply);
}

static int apply(struct store *s, struct job *job, int64_t now_ms)
{
	switch (job->kind) {
	case JOB_HELLO:
		return apply_hello(s, job, now_ms);
	case JOB_BATCH:
		return apply_batch(s, job, now_ms);
	case JOB_SEEN:
		return apply_seen(s, job);
	case JOB_REFUSALS:
		return apply_refusals(s, job);
	case JOB_DETECTION:
		return apply_detection(s, job->detection);
	case JOB_ENROLL:
		return apply_enrollment(s, job->enrollment, now_ms);
	case JOB_ORDERS:
		return orders_due(s->db, now_ms, job->orders, &job->n);
	case JOB_RESULT:
		return orders_finish(s->db, job->result, now_ms);
	case JOB_ADMIN:
		return apply_admin(s, job->admin, now_ms);
	case JOB_SEGMENT:
		return flow_writer_segment(s->flows, job->segment);
	case JOB_ROLLUP:
		return rollup_writer_add(s->rollups, job->rollup);
	}
	return -EINVAL;
}

int store_apply(struct store *s, struct job *job, int64_t now_ms)
{
	int err;

	err = run(s, JOB_SAVE);
	if (err)
		return err;
	err = apply(s, job, now_ms);
	if (err == -EINVAL) {
		job->outcome = JOB_INVALID;
		err = run(s, JOB_UNDO);
	}
	return err ? err : run(s, JOB_KEEP);
}

int store_apply_surely(struct store *s, struct job *job, int64_t now_ms)
{
	bool often = job->kind == JOB_BATCH || job->kind == JOB_SEGMENT;

	return often ? apply(s, job, now_ms) : store_apply(s, job, now_ms);
}

void store_checkpoint(struct store *s)
{
	/* The writer must not wait for readers: what they hold is copied next time. */
	(void)sqlite3_busy_timeout(s->db, 0);
	(void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	(void)sqlite3_busy_timeout(s->db, DB_BUSY_MS);
}

uint64_t store_wal_bytes(const struct store *s)
{
	return wal_bytes(s->wal);
}

size_t store_readers(const struct store *s, char *ret, size_t size)
{
	return wal_readers(sqlite3_db_filename(s->db, "main"), ret, size);
}

int store_expire(struct store *s, const struct retention *limits, size_t max_rows, size_t *ret_rows)
{
	size_t rows = 0;
	int err = store_begin(s);

	if (err)
		return err;
	err = expire(s, limits, max_rows, &rows);
	if (!err)
		err = store_commit(s);
	if (err)
		store_rollback(s);
	else
		*ret_rows = rows;
	return err;
}

int store_trim_baselines(struct store *s, size_t max_rows, size_t *ret_rows)
{
	struct binder b = start(s, TRIM_BASELINES);
	int err;

	binder_count(&b, max_rows);
	err = binder_run(&b);
	if (!err)
		*ret_rows = (size_t)sqlite3_changes64(s->db);
	return err;
}
