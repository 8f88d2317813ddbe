// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/report/report_where.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/cli/cli.h"
#include "collector/filter/filter.h"
#include "collector/filter/filter_predicate.h"
#include "collector/filter/filter_tree.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

enum { WINDOW, FILTER, ALSO };

struct hosts {
	struct filter_host *hosts;
	size_t n;
};

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

static void hosts_done(struct hosts *h)
{
	for (size_t i = 0; i < h->n; i++)
		free((char *)h->hosts[i].name);
	free(h->hosts);
}

static int add_host(struct hosts *h, sqlite3_stmt *st)
{
	struct filter_host *hosts = realloc(h->hosts, (h->n + 1) * sizeof(*hosts));
	const char *name = (const char *)sqlite3_column_text(st, 1);

	if (!hosts || !name)
		return -ENOMEM;
	h->hosts = hosts;
	hosts += h->n;
	hosts->id = (uint32_t)sqlite3_column_int64(st, 0);
	hosts->name = strdup(name);
	if (!hosts->name)
		return -ENOMEM;
	h->n++;
	return 0;
}

static int read_hosts(sqlite3 *db, struct hosts *h)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int err = db_errno(sqlite3_prepare_v2(db, "SELECT id, name FROM host", -1, &st, NULL));

	while (!err && sqlite3_step(st) == SQLITE_ROW)
		err = add_host(h, st);
	return err ? err : db_last_errno(db);
}

static int make_filter(struct report_where *w, sqlite3 *db)
{
	cleanup(hosts_done) struct hosts hosts = {0};
	const char *column = NULL;
	int err = read_hosts(db, &hosts);

	if (!err)
		err = filter_predicate_new(w->tree, hosts.hosts, hosts.n, &w->filter, &column);
	if (err == -ENOTSUP) {
		log_error("a report cannot look for one %s: name addresses and ports, or use "
			  "'report flow', 'flows' or 'sql'",
			  column);
		return EXIT_USAGE;
	}
	return err ? cli_fail(db, err) : EXIT_OK;
}

static struct predicate window(int64_t since_ms, int64_t until_ms)
{
	struct predicate p = {.kind = PREDICATE_RANGE,
			      .column = FLOW_COLUMN_end_ms,
			      .low = since_ms > 0 ? (uint64_t)since_ms : 0,
			      .high = UINT64_MAX};

	if (until_ms == INT64_MIN)
		p.kind = since_ms == INT64_MIN ? PREDICATE_TRUE : PREDICATE_RANGE;
	else if (until_ms <= 0)
		p.kind = PREDICATE_FALSE;
	else
		p.high = (uint64_t)until_ms - 1;
	return p;
}

int report_where_init(struct report_where *w, sqlite3 *db, int64_t since_ms, int64_t until_ms,
		      int argc, char **argv)
{
	int code;

	*w = (struct report_where){
		.all = {.kind = PREDICATE_ALL, .children = w->children, .n_children = 2},
	};
	w->children[WINDOW] = window(since_ms, until_ms);
	code = cli_parse_filter(argc, argv, &w->tree);
	if (!code)
		code = make_filter(w, db);
	if (!code)
		w->children[FILTER] = *filter_predicate_root(w->filter);
	return code;
}

void report_where_done(struct report_where *w)
{
	filter_predicate_free(w->filter);
	filter_tree_free(w->tree);
}

const struct predicate *report_where_and(struct report_where *w, const struct predicate *also)
{
	w->all.n_children = also ? 3 : 2;
	if (also)
		w->children[ALSO] = *also;
	return &w->all;
}
