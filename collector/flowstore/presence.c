// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/presence.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/db.h"
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

struct presence {
	struct host *table; /* open addressing */
	size_t mask, n_hosts;
};

DEFINE_CLEANUP(struct presence *, presence_free)
DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

static struct host *place_of(const struct presence *p, uint32_t id)
{
	size_t at = id * UINT32_C(0x9e3779b1) >> 8 & p->mask;

	while (p->table[at].id && p->table[at].id != id)
		at = (at + 1) & p->mask;
	return &p->table[at];
}

/* --- loading ------------------------------------------------------------------- */

static int read_hosts(sqlite3 *db, struct presence *p)
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
	p->n_hosts = (size_t)sqlite3_column_int64(n, 0);
	while (places < 2 * p->n_hosts + 1)
		places *= 2;
	p->table = calloc(places, sizeof(*p->table));
	if (!p->table)
		return -ENOMEM;
	p->mask = places - 1;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		uint32_t id = (uint32_t)sqlite3_column_int64(st, 0);
		struct host *h = place_of(p, id);

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

/* By the key of the table, host after host: it may hold years. */
static int read_minutes(sqlite3 *db, struct presence *p, int64_t since_ms, int64_t until_ms)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int rc = SQLITE_DONE, err = 0;

	if (sqlite3_prepare_v2(db,
			       "SELECT minute_ms FROM coverage_minute WHERE host_id = ?"
			       " AND minute_ms BETWEEN ? AND ? AND batches > 0 ORDER BY minute_ms",
			       -1, &st, NULL) != SQLITE_OK)
		return db_last_errno(db);
	for (size_t i = 0; p->table && i <= p->mask && !err; i++) {
		struct host *h = &p->table[i];

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

int presence_load(sqlite3 *db, int64_t since_ms, int64_t until_ms, struct presence **ret)
{
	cleanup(presence_free_p) struct presence *p = calloc(1, sizeof(*p));
	int err = p ? read_hosts(db, p) : -ENOMEM;

	if (!err)
		err = read_minutes(db, p, since_ms, until_ms);
	if (!err)
		*ret = take_ptr(p);
	return err;
}

void presence_free(struct presence *p)
{
	if (!p)
		return;
	for (size_t i = 0; p->table && i <= p->mask; i++)
		free(p->table[i].spans);
	free(p->table);
	free(p);
}

/* --- asking -------------------------------------------------------------------- */

size_t presence_hosts(const struct presence *p)
{
	return p->n_hosts;
}

int64_t presence_skew(const struct presence *p, uint32_t host_id)
{
	return place_of(p, host_id)->skew_ms;
}

bool presence_has(const struct presence *p, uint32_t host_id, int64_t ms, int64_t slack_ms)
{
	const struct host *h = place_of(p, host_id);
	int64_t from_ms = ms + h->skew_ms - slack_ms, to_ms = ms + h->skew_ms + slack_ms;
	size_t low = 0, high = h->n_spans;

	while (low < high) { /* the first that ends after from_ms */
		size_t middle = low + (high - low) / 2;

		if (h->spans[middle].to_ms > from_ms)
			high = middle;
		else
			low = middle + 1;
	}
	return low < h->n_spans && h->spans[low].from_ms <= to_ms;
}
