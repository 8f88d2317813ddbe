/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * store.h - the one connection that writes the database.
 *
 * Work comes as jobs (collector/serve/job.h) within a transaction, so that many
 * batches share one flush to disk:
 *
 *	store_begin(s);
 *	for each job: store_apply(s, job, now_ms);
 *	store_commit(s);		then, and only then, tell the peers
 *
 * After any error but 0 the caller must store_rollback(): the jobs of the
 * transaction have then left nothing behind.
 *
 * Deduplication: the database keeps the last committed seq of each epoch of
 * each probe, written in the transaction of the rows. A batch at or below it
 * is DONE without a row; one that leaves a hole is a GAP.
 *
 * Threads: one store belongs to one thread.
 * Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_SERVE_STORE_H
#define WEIR_COLLECTOR_SERVE_STORE_H

#include <stddef.h>
#include <stdint.h>

struct admin_reply;
struct retention;
struct allow_list;
struct job;
struct store;

/* Release with store_close(). */
int store_open(const char *path, struct store **ret, const char **ret_why);

/* NULL is a no-op. */
void store_close(struct store *s);

/*
 * From now on l (borrowed until store_close()) holds the admitted keys: at once,
 * and after each commit that changed them.
 */
int store_share(struct store *s, struct allow_list *l);

/* Whether any key is admitted; -errno. */
int store_has_admitted(struct store *s);

/* A request of admin.h, in a transaction of its own. */
int store_command(struct store *s, size_t n, const char *const *words, int64_t now_ms,
		  struct admin_reply *ret);

int store_begin(struct store *s);
int store_commit(struct store *s);
void store_rollback(struct store *s);

/*
 * Does the job and sets job->outcome and job->last_seq, which hold only once
 * the transaction is committed. A job that the schema refuses (JOB_INVALID)
 * leaves nothing behind and is no error.
 */
int store_apply(struct store *s, struct job *job, int64_t now_ms);
/*
 * The same for what comes often and is hardly ever refused: without keeping each page that
 * it changes for the case that it is. -EINVAL: it is, then the transaction is to be
 * rolled back, and all its jobs done again by store_apply().
 */
int store_apply_surely(struct store *s, struct job *job, int64_t now_ms);

/* Copies the WAL into the database and cuts it to nothing, unless a reader is in the way. */
void store_checkpoint(struct store *s);

/* How long the WAL is, and who reads the database (see wal_readers()). */
uint64_t store_wal_bytes(const struct store *s);
size_t store_readers(const struct store *s, char *ret, size_t size);

/*
 * retention_apply() in a transaction of its own, and then what is known of hosts'
 * time and addresses before flows_before_ms.
 */
int store_expire(struct store *s, const struct retention *limits, size_t max_rows,
		 size_t *ret_rows);

/* Forgets the baselines beyond the max_rows latest. *ret_rows: how many. */
int store_trim_baselines(struct store *s, size_t max_rows, size_t *ret_rows);

#endif /* WEIR_COLLECTOR_SERVE_STORE_H */
