// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/scan_private.h"
#include "collector/sqlite/statement.h"
#include "common/cleanup.h"

#define FEW_ROWS 256 /* below it, one column by itself takes as long as all of them */

DEFINE_CLEANUP(struct scan *, scan_close)

/* --- the scan ------------------------------------------------------------------ */

/* A condition on nothing but the host that every row must meet. */
static const struct predicate *of_hosts(const struct predicate *p)
{
	struct flow_columns columns = {{0}}, host = {{0}};

	flow_columns_add(&host, FLOW_COLUMN_host_id);
	predicate_columns(p, &columns);
	if (memcmp(&columns, &host, sizeof(host)) == 0)
		return p;
	for (size_t i = 0; p->kind == PREDICATE_ALL && p->children && i < p->n_children; i++) {
		const struct predicate *found = of_hosts(&p->children[i]);

		if (found)
			return found;
	}
	return NULL;
}

static int open_within(struct scan *s, const struct catalog_range *range)
{
	int err =
		statement_prepare(s->db, "SELECT data FROM flow_fresh WHERE id = ?", &s->get_fresh);

	if (!err)
		err = statement_prepare(s->db, "SELECT head FROM flow_segment WHERE id = ?",
					&s->get_head);
	return err ? err
		   : catalog_open(&s->catalog, s->db, range, s->predicate, s->dictionaries_first);
}

static int set_tests(struct scan *s)
{
	int err = predicate_without(s->predicate, FLOW_COLUMN_end_ms, &s->untimed);

	if (!err)
		err = scan_test_make(s->predicate, &s->whole);
	if (!err)
		err = scan_test_make(s->untimed ? s->untimed : s->predicate, &s->within);
	return err;
}

/* beside: whose lock it shares, or NULL. */
static int open_scan(sqlite3 *db, const struct catalog_range *range,
		     const struct predicate *predicate, const struct flow_columns *columns,
		     const struct scan *beside, struct scan **ret)
{
	cleanup(scan_close_p) struct scan *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	(void)pthread_mutex_init(&s->own_lock, NULL); /* cannot fail on Linux */
	s->lock = beside ? beside->lock : &s->own_lock;
	s->db = db;
	s->predicate = predicate;
	s->wanted = *columns;
	if (predicate) {
		err = set_tests(s);
		if (err)
			return err;
		s->dictionaries_first = zone_dictionaries_help(predicate);
		s->of_hosts = of_hosts(predicate);
	}
	(void)pthread_mutex_lock(s->lock);
	err = open_within(s, range);
	(void)pthread_mutex_unlock(s->lock);
	if (err)
		return err;
	for (size_t i = 0; i < s->catalog.n; i++)
		if (s->catalog.items[i].n_rows > s->most_rows)
			s->most_rows = s->catalog.items[i].n_rows;
	s->totals.blocks = s->catalog.n_all;
	s->totals.blocks_skipped = s->catalog.n_all - s->catalog.n;
	s->totals.damaged_zones = s->catalog.n_damaged;
	*ret = take_ptr(s);
	return 0;
}

int scan_open(sqlite3 *db, const struct predicate *predicate, const struct flow_columns *columns,
	      struct scan **ret)
{
	return open_scan(db, NULL, predicate, columns, NULL, ret);
}

int scan_open_range(sqlite3 *db, const struct catalog_range *range,
		    const struct predicate *predicate, const struct flow_columns *columns,
		    struct scan **ret)
{
	return open_scan(db, range, predicate, columns, NULL, ret);
}

int scan_open_beside(const struct scan_rows *rows, const struct predicate *predicate,
		     const struct flow_columns *columns, struct scan **ret)
{
	const struct scan *s = rows->owner->scan;

	return open_scan(s->db, NULL, predicate, columns, s, ret);
}

void scan_close(struct scan *s)
{
	if (!s)
		return;
	(void)pthread_mutex_lock(s->lock); /* a scan beside may go on */
	catalog_close(&s->catalog);
	(void)sqlite3_finalize(s->get_fresh); /* all repeat an old error at most */
	(void)sqlite3_finalize(s->get_head);
	(void)sqlite3_blob_close(s->column);
	(void)pthread_mutex_unlock(s->lock);
	(void)pthread_mutex_destroy(&s->own_lock);
	scan_test_done(&s->whole);
	scan_test_done(&s->within);
	free(s->untimed);
	free(s);
}

struct scan_totals scan_totals(struct scan *s)
{
	struct scan_totals t;

	(void)pthread_mutex_lock(s->lock);
	t = s->totals;
	(void)pthread_mutex_unlock(s->lock);
	return t;
}

/* --- threads come in here ------------------------------------------------------------------ */

static int fail(struct scan *s, int err)
{
	(void)pthread_mutex_lock(s->lock);
	s->err = err;
	(void)pthread_mutex_unlock(s->lock);
	return err;
}

static int rows_new(struct scan_rows **ret)
{
	struct scan_rows *rows = calloc(1, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	rows->owner = calloc(1, sizeof(*rows->owner));
	if (!rows->owner) {
		scan_rows_free(rows);
		return -ENOMEM;
	}
	*ret = rows;
	return 0;
}

void scan_rows_free(struct scan_rows *rows)
{
	if (!rows)
		return;
	if (rows->owner) {
		scan_block_drop(rows->owner);
		column_codec_free(rows->owner->codec);
		free(rows->owner->blob);
		free(rows->owner->selected);
		free(rows->owner->picked);
		free(rows->owner->costs);
		free(rows->owner->scratch);
		free(rows->owner);
	}
	free(rows);
}

int scan_fetch(struct scan *s, struct scan_rows *rows, const struct flow_columns *columns)
{
	struct scan_memory *m = rows->owner;
	struct flow_columns wanted = m->item.n_rows < FEW_ROWS ? flow_columns_all() : *columns;
	int err = 1;

	if (!m->opened)
		err = scan_block_open(s, m);
	m->opened = true;
	if (err > 0)
		err = scan_block_add(s, rows, &wanted);
	return err < 0 ? fail(s, err) : err;
}

int64_t scan_rows_key(const struct scan_rows *rows)
{
	const struct scan_memory *m = rows->owner;

	return m->item.id << (SCAN_ROW_BITS + 1) | (int64_t)m->item.fresh << SCAN_ROW_BITS;
}

static bool take_item(struct scan *s, struct catalog_item *ret, int *ret_err)
{
	bool more;

	(void)pthread_mutex_lock(s->lock);
	more = !s->err && s->next < s->catalog.n;
	if (more)
		*ret = s->catalog.items[s->next++];
	*ret_err = s->err;
	(void)pthread_mutex_unlock(s->lock);
	return more;
}

int scan_next(struct scan *s, struct scan_rows **rows)
{
	struct catalog_item item;
	int err = 0;

	if (!*rows) {
		err = rows_new(rows);
		if (err)
			return fail(s, err);
	}
	(*rows)->owner->scan = s;
	while (take_item(s, &item, &err)) {
		scan_block_drop((*rows)->owner);
		err = scan_match_item(s, &item, *rows);
		if (err < 0)
			return fail(s, err);
		if (err > 0)
			return 1;
	}
	return err;
}
