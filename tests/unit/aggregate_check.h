/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * aggregate_check.h - an aggregate and the SQL that asks the same: do both answer
 * alike? For tests that make up questions.
 */
#ifndef WEIR_TESTS_UNIT_AGGREGATE_CHECK_H
#define WEIR_TESTS_UNIT_AGGREGATE_CHECK_H

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "collector/aggregate/aggregate.h"

/* A condition, both ways. */
struct aggregate_where {
	const struct predicate *predicate;
	const char *sql;
};

struct aggregate_question {
	const struct aggregate_spec *spec;
	const char *table;		      /* flows, or rows of the same columns */
	struct aggregate_where where;	      /* of all records; NULLs: every one */
	const struct aggregate_where *wheres; /* that measures may have */
	size_t n_wheres;
	const struct aggregate_order *orders;
	size_t n_orders;
	uint64_t limit;
};

static inline const char *aggregate_where_sql(const struct aggregate_question *q,
					      const struct predicate *p)
{
	for (size_t i = 0; i < q->n_wheres; i++)
		if (q->wheres[i].predicate == p)
			return q->wheres[i].sql;
	return "1";
}

static inline void aggregate_add_key_sql(sqlite3_str *s, const struct group_key *k)
{
	static const char *const worked_out[] = {[FLOWS_HOST] = "host",
						 [FLOWS_PROTO_NAME] = "proto_name",
						 [FLOWS_IP_VERSION] = "ip_version"};

	if (k->kind >= FLOWS_HOST)
		sqlite3_str_appendall(s, worked_out[k->kind]);
	else
		sqlite3_str_appendall(s, flow_column_info[k->column].name);
}

/* "a + b" */
static inline void aggregate_add_columns_sql(sqlite3_str *s, const struct measure *m)
{
	for (size_t i = 0; i < m->n_columns; i++)
		sqlite3_str_appendf(s, "%s%s", i ? " + " : "",
				    flow_column_info[m->columns[i]].name);
	if (m->n_columns == 0)
		sqlite3_str_appendall(s, "1");
}

static inline void aggregate_add_sum_sql(sqlite3_str *s, const struct aggregate_question *q,
					 const struct measure *m, const char *function)
{
	sqlite3_str_appendf(s, "%s(", function);
	aggregate_add_columns_sql(s, m);
	if (m->kind == MEASURE_QUANTILE)
		sqlite3_str_appendf(s, ", %.17g", m->q);
	sqlite3_str_appendf(s, ") FILTER (WHERE %s)", aggregate_where_sql(q, m->where));
}

static inline void aggregate_add_measure_sql(sqlite3_str *s, const struct aggregate_question *q,
					     const struct measure *m)
{
	static const char *const functions[] = {
		[MEASURE_SUM] = "sum", [MEASURE_AVG] = "avg",	  [MEASURE_MIN] = "min",
		[MEASURE_MAX] = "max", [MEASURE_COUNT] = "count", [MEASURE_QUANTILE] = "quantile",
	};

	switch (m->kind) {
	case MEASURE_MATCHES:
		sqlite3_str_appendall(s, "sum(iif(");
		aggregate_add_columns_sql(s, m);
		sqlite3_str_appendf(s, " IS NULL, NULL, %s))", aggregate_where_sql(q, m->where));
		break;
	case MEASURE_DISTINCT:
		sqlite3_str_appendf(s, "count(DISTINCT %s) FILTER (WHERE %s)",
				    flow_column_info[m->columns[0]].name,
				    aggregate_where_sql(q, m->where));
		break;
	case MEASURE_FLOWS:
		sqlite3_str_appendf(s,
				    "count(DISTINCT host_id || ' ' || flow_id)"
				    " FILTER (WHERE %s)",
				    aggregate_where_sql(q, m->where));
		break;
	case MEASURE_SHARE:
		sqlite3_str_appendall(s, "100.0 * ");
		aggregate_add_sum_sql(s, q, m, "sum");
		sqlite3_str_appendall(s, " / (SELECT ");
		aggregate_add_sum_sql(s, q, m, "sum");
		sqlite3_str_appendf(s, " FROM %s WHERE %s)", q->table,
				    q->where.sql ? q->where.sql : "1");
		break;
	case MEASURE_PERCENT:
		sqlite3_str_appendall(s, "100.0 * ");
		aggregate_add_sum_sql(s, q, m, "sum");
		sqlite3_str_appendall(s, " / ");
		aggregate_add_sum_sql(s, q, m->of, "sum");
		break;
	case MEASURE_DIFFERENCE:
		aggregate_add_sum_sql(s, q, m, "sum");
		sqlite3_str_appendall(s, " - ");
		aggregate_add_sum_sql(s, q, m->of, "sum");
		break;
	case MEASURE_CHANGE:
		sqlite3_str_appendall(s, "100.0 * (");
		aggregate_add_sum_sql(s, q, m, "sum");
		sqlite3_str_appendall(s, " - ");
		aggregate_add_sum_sql(s, q, m->of, "sum");
		sqlite3_str_appendall(s, ") / ");
		aggregate_add_sum_sql(s, q, m->of, "sum");
		break;
	default:
		aggregate_add_sum_sql(s, q, m, functions[m->kind]);
		break;
	}
}

/* For sqlite3_free(). */
static inline char *aggregate_sql(const struct aggregate_question *q)
{
	sqlite3_str *s = sqlite3_str_new(NULL);
	const struct aggregate_spec *spec = q->spec;

	sqlite3_str_appendall(s, "SELECT ");
	for (size_t k = 0; k < spec->n_keys; k++) {
		aggregate_add_key_sql(s, &spec->keys[k]);
		sqlite3_str_appendall(s, ", ");
	}
	for (size_t m = 0; m < spec->n_measures; m++) {
		sqlite3_str_appendall(s, m ? ", " : "");
		aggregate_add_measure_sql(s, q, &spec->measures[m]);
		sqlite3_str_appendf(s, " AS m%d", (int)m);
	}
	sqlite3_str_appendf(s, " FROM %s WHERE %s GROUP BY ", q->table,
			    q->where.sql ? q->where.sql : "1");
	for (size_t k = 0; k < spec->n_keys; k++)
		sqlite3_str_appendf(s, "%s%d", k ? ", " : "", (int)k + 1);
	sqlite3_str_appendall(s, " ORDER BY ");
	for (size_t i = 0; i < q->n_orders; i++)
		sqlite3_str_appendf(s, q->orders[i].absolute ? "abs(m%d)%s, " : "m%d%s, ",
				    (int)q->orders[i].measure, q->orders[i].rising ? "" : " DESC");
	for (size_t k = 0; k < spec->n_keys; k++)
		sqlite3_str_appendf(s, "%s%d", k ? ", " : "", (int)k + 1);
	if (q->limit)
		sqlite3_str_appendf(s, " LIMIT %llu", (unsigned long long)q->limit);
	return sqlite3_str_finish(s);
}

static inline bool aggregate_same(const struct aggregate_value *v, sqlite3_stmt *st, int column)
{
	double wanted = sqlite3_column_double(st, column);
	const char *text;

	switch (v->type) {
	case AGGREGATE_NULL:
		return sqlite3_column_type(st, column) == SQLITE_NULL;
	case AGGREGATE_INT:
		return sqlite3_column_type(st, column) == SQLITE_INTEGER &&
		       sqlite3_column_int64(st, column) == v->integer;
	case AGGREGATE_REAL: /* SQLite's avg() adds fractions */
		return sqlite3_column_type(st, column) == SQLITE_FLOAT &&
		       fabs(wanted - v->real) <= 1e-9 * fabs(wanted);
	default:
		text = (const char *)sqlite3_column_text(st, column);
		return text && strcmp(text, v->text) == 0;
	}
}

/* Whether the rows of st are those groups; *ret_row, *ret_column: the first that is not. */
static inline bool aggregate_compare(struct aggregate *a, const struct aggregate_spec *spec,
				     const uint32_t *groups, size_t n, sqlite3_stmt *st,
				     size_t *ret_row, size_t *ret_column)
{
	size_t row = 0;

	*ret_column = 0;
	while (sqlite3_step(st) == SQLITE_ROW) {
		for (size_t c = 0; row < n && c < spec->n_keys + spec->n_measures; c++) {
			char buffer[GROUP_KEY_TEXT_MAX];
			struct aggregate_value v =
				c < spec->n_keys
					? aggregate_key(a, groups[row], c, buffer)
					: aggregate_value(a, groups[row], c - spec->n_keys);

			*ret_row = row;
			*ret_column = c;
			if (!aggregate_same(&v, st, (int)c))
				return false;
		}
		row++;
	}
	*ret_row = row;
	return row == n;
}

/* Asks both. Prints the SQL and where they differ, and returns false, if they do. */
static inline bool aggregate_check(sqlite3 *db, const struct aggregate_question *q)
{
	struct aggregate_input in = {.predicate = q->where.predicate};
	struct aggregate *a = NULL;
	sqlite3_stmt *st = NULL;
	char *sql = aggregate_sql(q);
	size_t n = 0, row = 0, column = 0;
	uint32_t *groups = NULL;
	int err = aggregate_new(db, q->spec, &a);
	bool same;

	if (!err)
		err = aggregate_read(a, &in);
	if (!err)
		err = aggregate_finish(a);
	if (!err)
		err = aggregate_select(a, q->orders, q->n_orders, q->limit, &groups, &n);
	same = !err && sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK &&
	       aggregate_compare(a, q->spec, groups, n, st, &row, &column);
	if (!same)
		fprintf(stderr, "%s\n%s, error %d, %zu groups, row %zu, column %zu\n", sql,
			sqlite3_errmsg(db), err, n, row, column);
	sqlite3_finalize(st);
	sqlite3_free(sql);
	free(groups);
	aggregate_free(a);
	return same;
}

#endif /* WEIR_TESTS_UNIT_AGGREGATE_CHECK_H */
