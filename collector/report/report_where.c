// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/report/report_where.h"

#include <errno.h>
#include <stdio.h>

#include "collector/cli/cli.h"
#include "collector/filter/filter.h"
#include "collector/filter/filter_predicate.h"
#include "collector/filter/filter_tree.h"
#include "collector/flowstore/host_names.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"

enum { WINDOW, FILTER, ALSO };

static int make_filter(struct report_where *w, sqlite3 *db)
{
	cleanup(host_names_done) struct host_names hosts;
	int err = db_errno(host_names_read(&hosts, db));

	if (!err)
		err = filter_predicate_new(w->tree, &hosts, &w->filter);
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
