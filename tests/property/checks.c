// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/property/checks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/filter/filter.h"
#include "collector/filter/filter_predicate.h"
#include "collector/filter/filter_tree.h"
#include "collector/flowstore/host_names.h"
#include "collector/flowstore/scan.h"
#include "collector/sqlite/query.h"
#include "common/array_size.h"
#include "tests/property/answers.h"
#include "tests/property/choices.h"
#include "tests/property/data.h"
#include "tests/property/need.h"
#include "tests/property/queries.h"
#include "tests/property/reports.h"
#include "tests/property/row_table.h"

static char *copy(const char *text)
{
	char *c = strdup(text);

	need(c != NULL, "memory");
	return c;
}

/* question is copied, the answers are used up. */
static void compare(const char *question, struct answer *got, struct answer *wanted,
		    struct check_result *ret)
{
	size_t row = answers_differ(got, wanted);

	*ret = (struct check_result){
		.question = copy(question),
		.got = copy(answer_row(got, row)),
		.wanted = copy(answer_row(wanted, row)),
		.differs = row != SIZE_MAX,
		.error = wanted->error != NULL,
		.empty = !wanted->error &&
			 (wanted->n == 0 ||
			  (wanted->n == 1 && strncmp(wanted->rows[0], "0", 1) == 0)),
	};
	answer_done(got);
	answer_done(wanted);
}

void check_result_done(struct check_result *r)
{
	free(r->question);
	free(r->got);
	free(r->wanted);
	*r = (struct check_result){0};
}

/* --- SQL: the virtual table and the rows --------------------------------------------- */

static void check_sql(struct data *d, struct choices *c, struct check_result *ret)
{
	struct answer got, wanted;
	bool ordered;
	char *sql = random_query(c, d->plain, &ordered);

	need(sql != NULL, "memory");
	answer_of_sql(d->store, sql, &got);
	answer_of_sql(row_table_db(d->plain), sql, &wanted);
	if (!ordered) {
		answer_sort(&got);
		answer_sort(&wanted);
	}
	compare(sql, &got, &wanted, ret);
	sqlite3_free(sql);
}

/* --- filters: as SQL, and as a predicate on columns ---------------------------------------- */

#define FILTERED                                                                                   \
	"SELECT count(*), total(flow_id %% 1000003), total(end_ms %% 65521), total(host_id)"       \
	" FROM flows WHERE "

static void filter_sql(sqlite3 *db, const struct filter_tree *tree, struct answer *ret)
{
	struct query q;
	sqlite3_stmt *st = NULL;

	query_init(&q);
	query_add(&q, FILTERED);
	filter_tree_sql(tree, &q);
	need(query_prepare(&q, db, &st) == 0, sqlite3_errmsg(db));
	answer_of(st, ret);
	query_done(&q);
}

struct sums {
	uint64_t rows, ids, ends, hosts;
};

static struct sums scan_sums(sqlite3 *db, const struct predicate *p)
{
	struct flow_columns columns = {{0}};
	struct scan_rows *rows = NULL;
	struct sums s = {0};
	struct scan *scan;
	int found;

	flow_columns_add(&columns, FLOW_COLUMN_flow_id);
	flow_columns_add(&columns, FLOW_COLUMN_end_ms);
	flow_columns_add(&columns, FLOW_COLUMN_host_id);
	need(scan_open(db, p, &columns, &scan) == 0, "scan");
	while ((found = scan_next(scan, &rows)) > 0) {
		s.rows += rows->n_selected;
		for (size_t k = 0; k < rows->n_selected; k++) {
			uint32_t i = rows->selected[k];

			s.ids += FLOW_COL_U64(&rows->block, flow_id)[i] % 1000003;
			s.ends += FLOW_COL_U64(&rows->block, end_ms)[i] % 65521;
			s.hosts += FLOW_COL_U32(&rows->block, host_id)[i];
		}
	}
	need(found == 0, "scan");
	scan_rows_free(rows);
	scan_close(scan);
	return s;
}

static void filter_scan(sqlite3 *db, const struct filter_tree *tree, struct answer *ret)
{
	struct filter_predicate *f = NULL;
	struct host_names hosts;
	char sql[200];
	struct sums s;

	need(host_names_read(&hosts, db) == SQLITE_OK, "hosts");
	need(filter_predicate_new(tree, &hosts, &f) == 0, "memory");
	s = scan_sums(db, filter_predicate_root(f));
	filter_predicate_free(f);
	host_names_done(&hosts);
	(void)snprintf(sql, sizeof(sql),
		       "SELECT %" PRIu64 ", %" PRIu64 ".0, %" PRIu64 ".0, %" PRIu64 ".0", s.rows,
		       s.ids, s.ends, s.hosts);
	answer_of_sql(db, sql, ret);
}

static void check_filter_by(struct data *d, struct choices *c, struct check_result *ret,
			    void (*get)(sqlite3 *, const struct filter_tree *, struct answer *))
{
	char *text = random_filter(c, d->plain);
	struct filter_tree *tree = NULL;
	struct filter_error error;
	struct answer got, wanted;

	need(text != NULL, "memory");
	if (filter_parse(text, &tree, &error) != 0) {
		fprintf(stderr, "%s: %s\n", text, error.text);
		need(false, "the filter is one");
	}
	get(d->store, tree, &got);
	filter_sql(row_table_db(d->plain), tree, &wanted);
	compare(text, &got, &wanted, ret);
	filter_tree_free(tree);
	sqlite3_free(text);
}

static void check_filter_sql(struct data *d, struct choices *c, struct check_result *ret)
{
	check_filter_by(d, c, ret, filter_sql);
}

static void check_filter_predicate(struct data *d, struct choices *c, struct check_result *ret)
{
	check_filter_by(d, c, ret, filter_scan);
}

/* --- reports ------------------------------------------------------------------------------- */

static void check_report(struct data *d, struct choices *c, struct check_result *ret)
{
	struct answer got, wanted;
	char *question;

	ask_report(d, c, &question, &got, &wanted);
	need(question != NULL, "memory");
	compare(question, &got, &wanted, ret);
	sqlite3_free(question);
}

/* --- all of them ------------------------------------------------------------------------------ */

static const struct check checks[] = {
	{"SQL", 8, check_sql},
	{"a filter as SQL", 1, check_filter_sql},
	{"a filter as a predicate", 2, check_filter_predicate},
};

static const struct check report_check = {"a report", 1, check_report};

const struct check *check_of(const struct data *d, uint64_t random)
{
	unsigned sum = 0, at;

	if (d->for_reports)
		return &report_check;
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		sum += checks[i].share;
	at = (unsigned)(random % sum);
	for (size_t i = 0;; i++) {
		if (at < checks[i].share)
			return &checks[i];
		at -= checks[i].share;
	}
}
