// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/property/queries.h"

#include <string.h>

#include "common/array_size.h"
#include "tests/property/choices.h"
#include "tests/property/conditions.h"
#include "tests/property/row_table.h"

#define DEPTH	    3
#define MAX_OUTPUTS 4

static void say(struct writing *w, const char *text)
{
	sqlite3_str_appendall(w->sql, text);
}

static void write_where(struct writing *w)
{
	if (choose_rarely(w->c, 10))
		return;
	say(w, " WHERE ");
	write_condition(w, DEPTH);
}

/* --- what is asked for -------------------------------------------------------------- */

static void write_output(struct writing *w)
{
	const char *of = w->of, *name;

	switch (choose(w->c, 14)) {
	case 5:
		sqlite3_str_appendf(w->sql, "time_bucket(%send_ms, %u)", of, 1 + choose(w->c, 100));
		break;
	case 6:
		sqlite3_str_appendf(w->sql, "endpoint(%sdst_addr, %sdst_port)", of, of);
		break;
	case 7:
		sqlite3_str_appendf(w->sql, "tcp_flags(%stcp_flags)", of);
		break;
	case 8:
		sqlite3_str_appendf(w->sql, "proto_name(%sproto)", of);
		break;
	case 9:
		sqlite3_str_appendf(w->sql, "utc(%sstart_ms)", of);
		break;
	case 10:
		name = random_column(w)->name;
		sqlite3_str_appendf(w->sql, "ifnull(%s%s, 'none')", of, name);
		break;
	case 11:
		name = random_number_column(w)->name;
		sqlite3_str_appendf(w->sql, "%s%s %% %u", of, name, 1 + choose(w->c, 10));
		break;
	case 12:
		say(w, "CASE WHEN ");
		write_condition(w, 1);
		say(w, " THEN 1 ELSE 2 END");
		break;
	default:
		name = random_column(w)->name;
		sqlite3_str_appendf(w->sql, "%s%s", of, name);
		break;
	}
}

/* Columns, and how many. */
static uint32_t write_outputs(struct writing *w)
{
	uint32_t n = 1 + choose(w->c, MAX_OUTPUTS);

	for (uint32_t i = 0; i < n; i++) {
		say(w, i ? ", " : "");
		write_output(w);
	}
	return n;
}

static void write_aggregate(struct writing *w)
{
	const char *number = random_number_column(w)->name, *any = random_column(w)->name;
	const char *of = w->of;

	/* Sums of reals stay small, so that they are exact in every order of the rows. */
	switch (choose(w->c, 17)) {
	case 0:
		say(w, "count(*)");
		break;
	case 16:
		sqlite3_str_appendf(w->sql, "approx_distinct(%s%s)", of, any);
		break;
	case 1:
		sqlite3_str_appendf(w->sql, "count(%s%s)", of, any);
		break;
	case 2:
		sqlite3_str_appendf(w->sql, "count(DISTINCT %s%s)", of, any);
		break;
	case 3:
	case 4:
		sqlite3_str_appendf(w->sql, "min(%s%s)", of, any);
		break;
	case 5:
	case 6:
		sqlite3_str_appendf(w->sql, "max(%s%s)", of, any);
		break;
	case 7:
		sqlite3_str_appendf(w->sql, "avg(%s%s %% 100003)", of, number);
		break;
	case 8:
	case 9:
		sqlite3_str_appendf(w->sql, "quantile(%s%s, 0.%u)", of, number, choose(w->c, 1000));
		break;
	case 10:
		sqlite3_str_appendf(w->sql, "total(%s%s %% 100003)", of, number);
		break;
	case 11:
		sqlite3_str_appendf(w->sql, "sum(%sbytes + %srev_bytes)", of, of);
		break;
	case 12:
		say(w, "sum(");
		write_condition(w, 1);
		say(w, ")");
		break;
	case 13:
		sqlite3_str_appendf(w->sql, "sum(%s%s) FILTER (WHERE ", of, number);
		write_condition(w, 1);
		say(w, ")");
		break;
	default:
		sqlite3_str_appendf(w->sql, "sum(%s%s)", of, number);
		break;
	}
}

/* All of the row decides at last, so that the order is one only. */
static void write_order(struct writing *w, uint32_t n, bool own)
{
	say(w, " ORDER BY ");
	if (own && choose(w->c, 2)) {
		sqlite3_str_appendf(w->sql, "%s%s%s, ", w->of, random_column(w)->name,
				    choose_rarely(w->c, 8) ? " COLLATE NOCASE" : "");
	}
	for (uint32_t i = 1; i <= n; i++)
		sqlite3_str_appendf(w->sql, "%s%u%s", i > 1 ? ", " : "", i,
				    choose(w->c, 2) ? " DESC" : "");
}

static void write_limit(struct writing *w)
{
	sqlite3_str_appendf(w->sql, " LIMIT %u", choose(w->c, 100));
	if (choose_rarely(w->c, 3))
		sqlite3_str_appendf(w->sql, " OFFSET %u", choose(w->c, 50));
}

/* --- kinds of statements ---------------------------------------------------------------- */

static bool write_count(struct writing *w)
{
	say(w, "SELECT count(*), sum(flow_id % 1000003) FROM flows");
	write_where(w);
	return false;
}

static bool write_rows(struct writing *w)
{
	bool distinct = choose_rarely(w->c, 4);
	uint32_t n;

	say(w, distinct ? "SELECT DISTINCT " : "SELECT ");
	n = write_outputs(w);
	say(w, " FROM flows");
	write_where(w);
	write_order(w, n, !distinct);
	write_limit(w);
	return true;
}

/* A few rows, whole. */
static bool write_whole_rows(struct writing *w)
{
	say(w, "SELECT * FROM flows WHERE flow_id IN (SELECT flow_id FROM flows");
	write_where(w);
	say(w, " ORDER BY flow_id");
	write_limit(w);
	say(w, ")");
	return false;
}

static bool write_aggregates(struct writing *w)
{
	uint32_t n = 1 + choose(w->c, MAX_OUTPUTS);

	say(w, "SELECT ");
	for (uint32_t i = 0; i < n; i++) {
		say(w, i ? ", " : "");
		write_aggregate(w);
	}
	say(w, " FROM flows");
	write_where(w);
	return false;
}

static bool write_groups(struct writing *w)
{
	uint32_t keys, sums = 1 + choose(w->c, MAX_OUTPUTS);
	bool ordered = choose(w->c, 2);

	say(w, "SELECT ");
	keys = write_outputs(w);
	for (uint32_t i = 0; i < sums; i++) {
		say(w, ", ");
		write_aggregate(w);
	}
	say(w, " FROM flows");
	write_where(w);
	say(w, " GROUP BY ");
	for (uint32_t i = 1; i <= keys; i++)
		sqlite3_str_appendf(w->sql, "%s%u", i > 1 ? ", " : "", i);
	if (choose_rarely(w->c, 4))
		sqlite3_str_appendf(w->sql, " HAVING count(*) > %u", choose(w->c, 20));
	if (ordered) {
		bool by_sum = choose(w->c, 2); /* else in an order that groups may come in anyway */

		if (by_sum)
			sqlite3_str_appendf(w->sql, " ORDER BY %u DESC", keys + 1);
		for (uint32_t i = 1; i <= keys; i++)
			sqlite3_str_appendf(w->sql, "%s %u%s", by_sum || i > 1 ? "," : " ORDER BY",
					    i, choose(w->c, 2) ? " DESC" : "");
		write_limit(w);
	}
	return ordered;
}

static bool write_join(struct writing *w)
{
	static const char *const joins[] = {
		"flows f JOIN host h ON h.id = f.host_id",
		"host h JOIN flows f ON f.host = h.name",
		"host h LEFT JOIN flows f ON f.host_id = h.id AND f.proto = 6",
		"flows f LEFT JOIN host h ON h.name = f.host AND h.id > 1",
		"host h CROSS JOIN flows f ON f.host_id = h.id",
	};

	w->of = "f.";
	sqlite3_str_appendf(w->sql, "SELECT h.id, h.name, ");
	write_aggregate(w);
	sqlite3_str_appendf(w->sql, " FROM %s", joins[choose(w->c, ARRAY_SIZE(joins))]);
	write_where(w);
	say(w, " GROUP BY 1, 2");
	return false;
}

/* A flow with others that share a column with it; the first of few rows, as all are compared. */
static bool write_self_join(struct writing *w)
{
	const char *name = random_column(w)->name;

	sqlite3_str_appendf(w->sql,
			    "SELECT count(*), sum(f.flow_id %% 1009) FROM (SELECT %s AS x FROM"
			    " flows",
			    name);
	write_where(w);
	sqlite3_str_appendf(w->sql, " ORDER BY 1 LIMIT %u) few JOIN flows f ON f.%s %s few.x",
			    1 + choose(w->c, 4), name, choose_rarely(w->c, 4) ? ">" : "=");
	w->of = "f.";
	write_where(w);
	return false;
}

static bool write_subquery(struct writing *w)
{
	const struct flows_column *c = random_column(w);

	say(w, "SELECT count(*), min(flow_id), max(end_ms) FROM flows WHERE ");
	switch (choose(w->c, 5)) {
	case 0:
		sqlite3_str_appendf(w->sql, "%s IN (SELECT %s FROM flows", c->name, c->name);
		write_where(w);
		say(w, ")");
		break;
	case 1:
		sqlite3_str_appendf(w->sql, "%s %s (SELECT max(%s) FROM flows", c->name,
				    choose(w->c, 2) ? "=" : "<", c->name);
		write_where(w);
		say(w, ")");
		break;
	case 2:
		say(w, "EXISTS (SELECT 1 FROM flows");
		write_where(w);
		say(w, ")");
		break;
	case 3:
		say(w, "host_id NOT IN (SELECT id FROM host WHERE name = ");
		write_value(w, flows_columns(&(size_t){0})); /* the first column: host */
		say(w, ")");
		break;
	default:
		say(w, "host_id IN (SELECT id FROM host WHERE id > 1)");
		break;
	}
	say(w, " AND ");
	write_condition(w, 2);
	return false;
}

static bool write_nested(struct writing *w)
{
	say(w, "SELECT count(*), sum(x % 1009), min(x), max(x) FROM (SELECT ");
	sqlite3_str_appendf(w->sql, "%s AS x FROM flows", random_number_column(w)->name);
	write_where(w);
	if (choose(w->c, 2)) {
		say(w, " ORDER BY 1");
		write_limit(w);
	}
	say(w, ")");
	return false;
}

static bool write_limited_count(struct writing *w)
{
	say(w, "SELECT count(*) FROM (SELECT 1 FROM flows");
	write_where(w);
	write_limit(w);
	say(w, ")");
	return false;
}

static bool write_set(struct writing *w)
{
	static const char *const ops[] = {" UNION ", " EXCEPT ", " INTERSECT "};
	const char *a = random_column(w)->name, *b = random_column(w)->name;

	sqlite3_str_appendf(w->sql,
			    "SELECT count(*), min(x), max(x) FROM (SELECT %s AS x FROM"
			    " flows",
			    a);
	write_where(w);
	say(w, ops[choose(w->c, ARRAY_SIZE(ops))]);
	sqlite3_str_appendf(w->sql, "SELECT %s FROM flows", choose(w->c, 2) ? a : b);
	write_where(w);
	say(w, ")");
	return false;
}

static bool write_window(struct writing *w)
{
	const char *key = random_column(w)->name, *by = random_number_column(w)->name;

	sqlite3_str_appendf(w->sql,
			    "SELECT %s, rank() OVER (PARTITION BY %s ORDER BY %s) AS r, count(*)"
			    " OVER (PARTITION BY %s) AS n, flow_id FROM flows",
			    key, key, by, key);
	write_where(w);
	write_order(w, 4, false);
	write_limit(w);
	return true;
}

/* Records in the order of their time; those of one time come in any. */
static bool write_timeline(struct writing *w)
{
	bool falling = choose(w->c, 2), whole = choose(w->c, 2);

	say(w, whole ? "SELECT count(*), sum(flow_id % 1000003), sum(past > 0) FROM (SELECT"
		       " flow_id, lag(end_ms) OVER () - end_ms AS past FROM (SELECT * FROM flows"
		     : "SELECT end_ms FROM flows");
	write_where(w);
	say(w, falling && !whole ? " ORDER BY end_ms DESC" : " ORDER BY end_ms");
	if (whole)
		say(w, " LIMIT 1000000))");
	else
		write_limit(w);
	return !whole;
}

static bool (*const kinds[])(struct writing *w) = {
	write_count,	     write_count,      write_rows,     write_rows,   write_aggregates,
	write_aggregates,    write_groups,     write_groups,   write_groups, write_join,
	write_self_join,     write_subquery,   write_nested,   write_set,    write_window,
	write_limited_count, write_whole_rows, write_timeline,
};

char *random_query(struct choices *c, struct row_table *values, bool *ret_ordered)
{
	struct writing w = {.c = c, .sql = sqlite3_str_new(NULL), .values = values, .of = ""};

	*ret_ordered = kinds[choose(c, ARRAY_SIZE(kinds))](&w);
	return sqlite3_str_finish(w.sql);
}
