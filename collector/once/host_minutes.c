// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/once/host_minutes.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/sqlite/db_error.h"
#include "common/cleanup.h"

#define MINUTE_MS 60000

/* Minutes in a row, by the host's clock: from_ms <= t < to_ms. */
struct span {
	int64_t from_ms, to_ms;
};

struct host {
	uint32_t id; /* 0: a free place in the table */
	int64_t skew_ms;
	struct span *spans; /* rising */
	size_t n_spans, max_spans;
};

struct host_minutes {
	struct host *table; /* open addressing */
	size_t mask, n_hosts;
};

DEFINE_CLEANUP(struct host_minutes *, host_minutes_free)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

static struct host *place_of(const struct host_minutes *m, uint32_t id)
{
	size_t at = id * UINT32_C(0x9e3779b1) >> 8 & m->mask;

	while (m->table[at].id && m->table[at].id != id)
		at = (at + 1) & m->mask;
	return &m->table[at];
}

/* --- loading ------------------------------------------------------------------- */

static int read_hosts(sqlite3 *db, struct host_minutes *m)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *n = NULL;
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	size_t places = 2;
	int rc;

	if (sqlite3_prepare_v2(db, "SELECT count(*) FROM host", -1, &n, NULL) != SQLITE_OK ||
	    sqlite3_step(n) != SQLITE_ROW ||
	    sqlite3_prepare_v2(db, "SELECT id, clock_skew_ms FROM host", -1, &st, NULL) !=
		    SQLITE_OK)
		return db_last_errno(db);
	m->n_hosts = (size_t)sqlite3_column_int64(n, 0);
	while (places < 2 * m->n_hosts + 1)
		places *= 2;
	m->table = calloc(places, sizeof(*m->table));
	if (!m->table)
		return -ENOMEM;
	m->mask = places - 1;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		uint32_t id = (uint32_t)sqlite3_column_int64(st, 0);
		struct host *h = place_of(m, id);

		h->id = id;
		h->skew_ms = sqlite3_column_int64(st, 1);
	}
	return rc == SQLITE_DONE ? 0 : db_last_errno(db);
}

static int add_minute(struct host *h, int64_t ms)
{
	if (h->n_spans > 0 && h->spans[h->n_spans - 1].to_ms == ms) {
		h->spans[h->n_spans - 1].to_ms += MINUTE_MS;
		return 0;
	}
	if (h->n_spans == h->max_spans) {
		size_t max = h->max_spans ? 2 * h->max_spans : 4;
		struct span *spans = realloc(h->spans, max * sizeof(*spans));

		if (!spans)
			return -ENOMEM;
		h->spans = spans;
		h->max_spans = max;
	}
	h->spans[h->n_spans++] = (struct span){ms, ms + MINUTE_MS};
	return 0;
}

#define MINUTES_SQL(condition)                                                                     \
	"SELECT minute_ms FROM coverage_minute WHERE host_id = ? AND minute_ms BETWEEN ? AND ?"    \
	" AND " condition " ORDER BY minute_ms"

static const char *const minutes_sql[] = {
	[HOST_MINUTES_REPORTED] = MINUTES_SQL("batches > 0"),
	[HOST_MINUTES_LOSSY] = MINUTES_SQL("spool_drop_packets + rejected_packets"
					   " + damaged_packets + map_full_packets > 0"),
};

/* By the key of the table, host after host: it may hold years. */
static int read_minutes(sqlite3 *db, enum host_minutes_kind kind, struct host_minutes *m,
			int64_t since_ms, int64_t until_ms)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int rc = SQLITE_DONE, err = 0;

	if (sqlite3_prepare_v2(db, minutes_sql[kind], -1, &st, NULL) != SQLITE_OK)
		return db_last_errno(db);
	for (size_t i = 0; m->table && i <= m->mask && !err; i++) {
		struct host *h = &m->table[i];

		if (!h->id)
			continue;
		(void)sqlite3_bind_int64(st, 1, h->id); /* parameters that are there */
		(void)sqlite3_bind_int64(st, 2, since_ms + h->skew_ms);
		(void)sqlite3_bind_int64(st, 3, until_ms + h->skew_ms);
		while (!err && (rc = sqlite3_step(st)) == SQLITE_ROW)
			err = add_minute(h, sqlite3_column_int64(st, 0));
		if (!err && rc != SQLITE_DONE)
			err = db_last_errno(db);
		(void)sqlite3_reset(st); /* repeats the code of the step */
	}
	return err;
}

int host_minutes_load(sqlite3 *db, enum host_minutes_kind kind, int64_t since_ms, int64_t until_ms,
		      struct host_minutes **ret)
{
	cleanup(host_minutes_free_p) struct host_minutes *m = calloc(1, sizeof(*m));
	int err = m ? read_hosts(db, m) : -ENOMEM;

	if (!err)
		err = read_minutes(db, kind, m, since_ms, until_ms);
	if (!err)
		*ret = take_ptr(m);
	return err;
}

void host_minutes_free(struct host_minutes *m)
{
	if (!m)
		return;
	for (size_t i = 0; m->table && i <= m->mask; i++)
		free(m->table[i].spans);
	free(m->table);
	free(m);
}

/* --- asking -------------------------------------------------------------------- */

size_t host_minutes_hosts(const struct host_minutes *m)
{
	return m->n_hosts;
}

int64_t host_minutes_skew(const struct host_minutes *m, uint32_t host_id)
{
	return place_of(m, host_id)->skew_ms;
}

/* The first span that ends after ms, or n_spans. */
static size_t span_after(const struct host *h, int64_t ms)
{
	size_t low = 0, high = h->n_spans;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (h->spans[middle].to_ms > ms)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

bool host_minutes_near(const struct host_minutes *m, uint32_t host_id, int64_t ms, int64_t slack_ms)
{
	const struct host *h = place_of(m, host_id);
	int64_t from_ms = ms + h->skew_ms - slack_ms, to_ms = ms + h->skew_ms + slack_ms;
	size_t i = span_after(h, from_ms);

	return i < h->n_spans && h->spans[i].from_ms <= to_ms;
}

enum host_minutes_extent host_minutes_extent(const struct host_minutes *m, uint32_t host_id,
					     int64_t from_ms, int64_t to_ms, int64_t slack_ms)
{
	const struct host *h = place_of(m, host_id);
	int64_t first_ms = from_ms + h->skew_ms, last_ms = to_ms - 1 + h->skew_ms;
	size_t i = span_after(h, first_ms - slack_ms);

	if (i == h->n_spans || h->spans[i].from_ms > last_ms + slack_ms)
		return HOST_MINUTES_NEVER;
	/* Holes are whole minutes: no slack reaches over one. */
	return h->spans[i].from_ms <= first_ms + slack_ms && h->spans[i].to_ms > last_ms - slack_ms
		       ? HOST_MINUTES_ALWAYS
		       : HOST_MINUTES_SOMETIMES;
}

bool host_minutes_between(const struct host_minutes *m, uint32_t host_id, int64_t from_ms,
			  int64_t to_ms)
{
	const struct host *h = place_of(m, host_id);
	int64_t first_ms = from_ms + MINUTE_MS - 1;
	size_t i;

	first_ms -= ((first_ms % MINUTE_MS) + MINUTE_MS) % MINUTE_MS;
	i = span_after(h, first_ms);
	return i < h->n_spans &&
	       (h->spans[i].from_ms > first_ms ? h->spans[i].from_ms : first_ms) <= to_ms;
}
