// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/rollup/rollup_writer.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/rollup/rollup.h"
#include "collector/sqlite/binder.h"
#include "collector/sqlite/statement.h"
#include "common/cleanup.h"
#include "common/failpoint.h"

enum statement {
	ADD_MINUTE,
	ADD_HOUR,
	ADD_GAP,
	RAISE_SEGMENT,
	OLDEST_MINUTE,
	OLDEST_HOUR,
	EXPIRE_MINUTE,
	EXPIRE_HOUR,
	RAISE_MINUTE_SINCE,
	RAISE_HOUR_SINCE,
	N_STATEMENTS,
};

/* A sum stays below 2^63 whatever a probe says. */
#define NAME(name)	    ", " #name
#define PLACE(name)	    ", ?"
#define ADD_SUM(name)	    #name " = min(" #name " + excluded." #name ", 4611686018427387904), "
#define RAISE_MAXIMUM(name) #name " = max(" #name ", excluded." #name "), "
#define KEYS		    "start_ms, host_id, dst_port, proto, direction, role, ip_version, peer, claim"
#define ADD_ROW(table)                                                                             \
	"INSERT INTO " table " (" KEYS ROLLUP_SUMS(NAME)                                           \
		ROLLUP_MAXIMA(NAME) ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?" ROLLUP_SUMS(PLACE)       \
			ROLLUP_MAXIMA(PLACE) ") ON CONFLICT DO UPDATE SET " ROLLUP_SUMS(ADD_SUM)   \
				ROLLUP_MAXIMA(RAISE_MAXIMUM) "claim = claim"
#define EXPIRE(table)                                                                              \
	"DELETE FROM " table " WHERE start_ms = (SELECT min(start_ms) FROM " table ")"             \
	" AND start_ms < ?"

static const char *const statement_sql[N_STATEMENTS] = {
	[ADD_MINUTE] = ADD_ROW("rollup_minute"),
	[ADD_HOUR] = ADD_ROW("rollup_hour"),
	[ADD_GAP] = "INSERT INTO rollup_gap VALUES (?, ?, ?, ?)",
	[RAISE_SEGMENT] = "UPDATE rollup_state SET segment_id = ?2 WHERE segment_id = ?1",
	[OLDEST_MINUTE] = "SELECT min(start_ms) FROM rollup_minute",
	[OLDEST_HOUR] = "SELECT min(start_ms) FROM rollup_hour",
	[EXPIRE_MINUTE] = EXPIRE("rollup_minute"),
	[EXPIRE_HOUR] = EXPIRE("rollup_hour"),
	[RAISE_MINUTE_SINCE] = "UPDATE rollup_state SET minute_since_ms = ?1"
			       " WHERE minute_since_ms < ?1",
	[RAISE_HOUR_SINCE] = "UPDATE rollup_state SET hour_since_ms = ?1 WHERE hour_since_ms < ?1",
};

struct rollup_writer {
	sqlite3 *db;
	sqlite3_stmt *st[N_STATEMENTS];
};

DEFINE_CLEANUP(struct rollup_writer *, rollup_writer_close)

int rollup_writer_open(sqlite3 *db, struct rollup_writer **ret)
{
	cleanup(rollup_writer_close_p) struct rollup_writer *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->db = db;
	err = statements_prepare(db, statement_sql, N_STATEMENTS, w->st);
	if (err)
		return err;
	*ret = take_ptr(w);
	return 0;
}

void rollup_writer_close(struct rollup_writer *w)
{
	if (!w)
		return;
	statements_finalize(w->st, N_STATEMENTS);
	free(w);
}

/* --- rows ------------------------------------------------------------------------- */

static int add_row(struct rollup_writer *w, enum statement which, const struct rollup_row *r)
{
	struct binder b = binder_start(w->st[which]);

	binder_int(&b, r->key.start_ms);
	binder_int(&b, r->key.host_id);
	binder_int(&b, r->key.dst_port);
	binder_int(&b, r->key.proto);
	binder_int(&b, r->key.direction);
	binder_int(&b, r->key.role);
	binder_int(&b, r->key.ip_version);
	binder_int(&b, r->key.peer);
	binder_int(&b, r->key.claim);
#define BIND(name) binder_count(&b, r->name);
	ROLLUP_SUMS(BIND)
	ROLLUP_MAXIMA(BIND)
#undef BIND
	return binder_run(&b);
}

static int add_gap(struct rollup_writer *w, const struct rollup_gap *g)
{
	struct binder b = binder_start(w->st[ADD_GAP]);

	binder_int(&b, g->segment_id);
	binder_count(&b, g->n_rows);
	binder_count(&b, g->min_end_ms);
	binder_count(&b, g->max_end_ms);
	return binder_run(&b);
}

/* Nothing is in the tables twice: what follows another segment than the last is refused. */
static int raise_segment(struct rollup_writer *w, const struct rollup *r)
{
	struct binder b = binder_start(w->st[RAISE_SEGMENT]);
	int err;

	binder_int(&b, r->after);
	binder_int(&b, r->until);
	err = binder_run(&b);
	return err ? err : sqlite3_changes(w->db) == 1 ? 0 : -EINVAL;
}

int rollup_writer_add(struct rollup_writer *w, const struct rollup *r)
{
	int err = raise_segment(w, r);

	for (size_t i = 0; !err && i < r->n_minutes; i++)
		err = add_row(w, ADD_MINUTE, &r->minutes[i]);
	FAILPOINT("rollup_minutes");
	for (size_t i = 0; !err && i < r->n_hours; i++)
		err = add_row(w, ADD_HOUR, &r->hours[i]);
	for (size_t i = 0; !err && i < r->n_gaps; i++)
		err = add_gap(w, &r->gaps[i]);
	FAILPOINT("rollup_put");
	return err;
}

/* --- retention ---------------------------------------------------------------------- */

static int run_before(struct rollup_writer *w, enum statement which, int64_t before_ms)
{
	struct binder b = binder_start(w->st[which]);

	binder_int(&b, before_ms);
	return binder_run(&b);
}

static int expire(struct rollup_writer *w, enum statement which, enum statement since,
		  int64_t before_ms, size_t max_rows, size_t *rows)
{
	int err = run_before(w, since, before_ms), changed = 1;

	while (!err && changed && *rows < max_rows) {
		err = run_before(w, which, before_ms);
		changed = sqlite3_changes(w->db);
		*rows += err ? 0 : (size_t)changed;
	}
	return err;
}

int rollup_writer_expire(struct rollup_writer *w, int64_t minutes_before_ms,
			 int64_t hours_before_ms, size_t max_rows, size_t *ret_rows)
{
	size_t rows = 0;
	int err = expire(w, EXPIRE_MINUTE, RAISE_MINUTE_SINCE,
			 minutes_before_ms - minutes_before_ms % ROLLUP_MINUTE_MS, max_rows, &rows);

	if (!err)
		err = expire(w, EXPIRE_HOUR, RAISE_HOUR_SINCE,
			     hours_before_ms - hours_before_ms % ROLLUP_HOUR_MS, max_rows, &rows);
	*ret_rows = rows;
	return err;
}

/* *ret_ms: when the oldest began; returns whether there is one, or an error. */
static int find_oldest(struct rollup_writer *w, enum statement which, int64_t *ret_ms)
{
	struct binder b = binder_start(w->st[which]);
	int found = binder_row(&b);

	if (found > 0 && sqlite3_column_type(b.st, 0) == SQLITE_NULL)
		found = 0;
	if (found > 0)
		*ret_ms = sqlite3_column_int64(b.st, 0);
	binder_end(&b);
	return found;
}

int rollup_writer_drop_oldest(struct rollup_writer *w, size_t *ret_rows)
{
	int64_t start_ms = 0;
	int found = find_oldest(w, OLDEST_MINUTE, &start_ms);

	*ret_rows = 0;
	if (found > 0)
		return expire(w, EXPIRE_MINUTE, RAISE_MINUTE_SINCE, start_ms + ROLLUP_MINUTE_MS, 1,
			      ret_rows);
	if (!found)
		found = find_oldest(w, OLDEST_HOUR, &start_ms);
	if (found > 0)
		return expire(w, EXPIRE_HOUR, RAISE_HOUR_SINCE, start_ms + ROLLUP_HOUR_MS, 1,
			      ret_rows);
	return found;
}
