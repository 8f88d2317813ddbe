// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/property/conditions.h"

#include <string.h>

#include "common/array_size.h"
#include "tests/property/choices.h"
#include "tests/property/row_table.h"

#define MAX_LIST  6
#define LONG_LIST 300 /* more than a plan takes */

/* --- columns ------------------------------------------------------------------------ */

/* Those that people ask for come more often than the rest. */
static const char *const favourites[] = {
	"bytes",  "proto",   "dst_port", "src_addr", "end_ms",	 "host",    "dst_addr",	 "src_port",
	"rtt_us", "verdict", "iface",	 "host_id",  "start_ms", "packets", "tcp_flags", "vlan",
};

static const struct flows_column *column_of(const char *name)
{
	size_t n;
	const struct flows_column *columns = flows_columns(&n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(columns[i].name, name) == 0)
			return &columns[i];
	return columns;
}

static bool is_number(const struct flows_column *c)
{
	return c->kind == FLOWS_NUMBER || c->kind == FLOWS_IP_VERSION;
}

const struct flows_column *random_column(struct writing *w)
{
	size_t n;
	const struct flows_column *columns = flows_columns(&n);

	if (choose(w->c, 3) < 2)
		return column_of(favourites[choose(w->c, ARRAY_SIZE(favourites))]);
	return &columns[choose(w->c, (uint32_t)n)];
}

const struct flows_column *random_number_column(struct writing *w)
{
	const struct flows_column *c;

	for (int i = 0; i < 8; i++) {
		c = random_column(w);
		if (is_number(c))
			return c;
	}
	return column_of("bytes");
}

/* --- values -------------------------------------------------------------------------- */

/* As SQL writes it. */
static const char *value_of(struct writing *w, const struct flows_column *column)
{
	size_t n, rows = row_table_rows(w->values);
	const struct flows_column *columns = flows_columns(&n);

	return rows ? row_table_value(w->values, (size_t)(column - columns),
				      choose(w->c, (uint32_t)rows))
		    : "NULL";
}

static void write_number(struct writing *w, const struct flows_column *column)
{
	const char *value = value_of(w, column);
	bool null = strcmp(value, "NULL") == 0;

	switch (choose(w->c, 14)) {
	case 1:
		sqlite3_str_appendf(w->sql, null ? "1" : "%s + 1", value);
		break;
	case 2:
		sqlite3_str_appendf(w->sql, null ? "0" : "%s - 1", value);
		break;
	case 3:
		sqlite3_str_appendf(w->sql, "%u", choose(w->c, 300));
		break;
	case 4:
		sqlite3_str_appendf(w->sql, null ? "0.5" : "%s.5", value);
		break;
	case 5:
		sqlite3_str_appendf(w->sql, null ? "'7'" : "'%s'", value);
		break;
	case 6:
		sqlite3_str_appendf(w->sql, "%s%lld", choose(w->c, 2) ? "-" : "",
				    (long long)(INT64_MAX >> choose(w->c, 64)));
		break;
	case 7:
		sqlite3_str_appendf(w->sql, "%s1e%u", choose(w->c, 2) ? "-" : "", choose(w->c, 20));
		break;
	case 8:
		sqlite3_str_appendall(w->sql, choose(w->c, 2) ? "NULL" : "'text'");
		break;
	default:
		sqlite3_str_appendall(w->sql, null && choose(w->c, 4) ? "0" : value);
		break;
	}
}

static void write_text(struct writing *w, const struct flows_column *column)
{
	static const char *const strange[] = {"''",    "'nothing'", "NULL",	"5",
					      "x'00'", "'host9'",   "'EST''D'", "'::1'"};

	if (choose_rarely(w->c, 8)) {
		sqlite3_str_appendall(w->sql, strange[choose(w->c, ARRAY_SIZE(strange))]);
	} else if (choose_rarely(w->c, 12)) {
		sqlite3_str_appendf(w->sql, "upper(%s)", value_of(w, column));
	} else {
		sqlite3_str_appendall(w->sql, value_of(w, column));
	}
}

void write_value(struct writing *w, const struct flows_column *column)
{
	if (is_number(column))
		write_number(w, column);
	else
		write_text(w, column);
}

/* --- one condition ---------------------------------------------------------------------- */

static void write_column(struct writing *w, const struct flows_column *column)
{
	sqlite3_str_appendf(w->sql, "%s%s", w->of, column->name);
}

static void write_comparison(struct writing *w, const struct flows_column *column)
{
	static const char *const ops[] = {
		" = ", " < ", " > ", " <= ", " >= ", " <> ", " IS ", " IS NOT "};
	uint32_t how = choose(w->c, 12);

	if (how == 11) { /* the other way round */
		write_value(w, column);
		sqlite3_str_appendall(w->sql, ops[choose(w->c, ARRAY_SIZE(ops))]);
	}
	if (how == 10) /* no index, says SQLite */
		sqlite3_str_appendall(w->sql, "+");
	write_column(w, column);
	if (how < 11) {
		sqlite3_str_appendall(w->sql, ops[choose(w->c, ARRAY_SIZE(ops))]);
		write_value(w, column);
	}
	if (how == 9)
		sqlite3_str_appendall(w->sql, " COLLATE NOCASE");
}

static void write_list(struct writing *w, const struct flows_column *column)
{
	bool long_one = choose_rarely(w->c, 60);
	uint32_t n = long_one ? LONG_LIST : choose(w->c, MAX_LIST);

	write_column(w, column);
	sqlite3_str_appendf(w->sql, "%s IN (", choose_rarely(w->c, 5) ? " NOT" : "");
	for (uint32_t i = 0; i < n; i++) {
		sqlite3_str_appendall(w->sql, i ? ", " : "");
		if (long_one)
			sqlite3_str_appendf(w->sql, "%u", i);
		else
			write_value(w, column);
	}
	sqlite3_str_appendall(w->sql, ")");
}

static void write_between(struct writing *w, const struct flows_column *column)
{
	write_column(w, column);
	sqlite3_str_appendall(w->sql, choose_rarely(w->c, 5) ? " NOT BETWEEN " : " BETWEEN ");
	write_value(w, column);
	sqlite3_str_appendall(w->sql, " AND ");
	write_value(w, column);
}

static void write_null(struct writing *w, const struct flows_column *column)
{
	write_column(w, column);
	sqlite3_str_appendall(w->sql, choose(w->c, 2) ? " IS NULL" : " IS NOT NULL");
}

/* A prefix of an address that a row has, whatever that is. */
static void write_prefix(struct writing *w, const struct flows_column *column)
{
	const char *value = value_of(w, column);
	bool null = strcmp(value, "NULL") == 0, v6 = strchr(value, ':') != NULL;

	sqlite3_str_appendall(w->sql, choose_rarely(w->c, 6) ? "NOT in_prefix(" : "in_prefix(");
	write_column(w, column);
	if (choose_rarely(w->c, 12))
		sqlite3_str_appendall(w->sql, ", NULL)");
	else
		sqlite3_str_appendf(w->sql, ", %s || '/%u')", null ? "'10.0.0.0'" : value,
				    choose(w->c, v6 ? 129 : 33));
}

static void write_pattern(struct writing *w, const struct flows_column *column)
{
	const char *value = value_of(w, column);
	bool glob = choose(w->c, 2);

	write_column(w, column);
	sqlite3_str_appendf(w->sql, "%s %s substr(%s, 1, %u) || '%s'",
			    choose_rarely(w->c, 5) ? " NOT" : "", glob ? "GLOB" : "LIKE", value,
			    choose(w->c, 12), glob ? "*" : "%");
}

/* What only SQLite can test. */
static void write_expression(struct writing *w)
{
	const char *a, *b;

	switch (choose(w->c, 5)) {
	case 0:
		a = random_number_column(w)->name;
		sqlite3_str_appendf(w->sql, "%s%s %% 7 = %u", w->of, a, choose(w->c, 7));
		break;
	case 1:
		a = random_number_column(w)->name;
		b = random_number_column(w)->name;
		sqlite3_str_appendf(w->sql, "%s%s < %s%s", w->of, a, w->of, b);
		break;
	case 2:
		sqlite3_str_appendf(w->sql, "%ssrc_addr %s %sdst_addr", w->of,
				    choose(w->c, 2) ? "=" : ">", w->of);
		break;
	case 3:
		a = random_number_column(w)->name;
		sqlite3_str_appendf(w->sql, "%s%s & %u", w->of, a, 1u << choose(w->c, 16));
		break;
	default:
		a = random_column(w)->name;
		sqlite3_str_appendf(w->sql, "length(%s%s) > %u", w->of, a, choose(w->c, 20));
		break;
	}
}

static void write_term(struct writing *w)
{
	const struct flows_column *column = random_column(w);

	switch (choose(w->c, 12)) {
	case 5:
		write_list(w, column);
		break;
	case 6:
		write_between(w, column);
		break;
	case 7:
		write_null(w, column);
		break;
	case 8:
		if (column->kind == FLOWS_ADDR)
			write_prefix(w, column);
		else
			write_pattern(w, column);
		break;
	case 9:
		write_pattern(w, column);
		break;
	case 10:
		write_expression(w);
		break;
	case 11:
		write_prefix(w, column_of(choose(w->c, 2) ? "src_addr" : "dst_addr"));
		break;
	default:
		write_comparison(w, column);
		break;
	}
}

/* --- trees ---------------------------------------------------------------------------------- */

void write_condition(struct writing *w, unsigned depth)
{
	uint32_t kind = depth ? choose(w->c, 8) : 0, n;
	const char *join;

	if (kind == 7) {
		sqlite3_str_appendall(w->sql, "NOT (");
		write_condition(w, depth - 1);
		sqlite3_str_appendall(w->sql, ")");
		return;
	}
	if (kind < 3) {
		write_term(w);
		return;
	}
	join = kind < 6 ? " AND " : " OR ";
	n = 1 + choose(w->c, choose_rarely(w->c, 20) ? 24 : 4);
	sqlite3_str_appendall(w->sql, "(");
	for (uint32_t i = 0; i < n; i++) {
		sqlite3_str_appendall(w->sql, i ? join : "");
		write_condition(w, depth - 1);
	}
	sqlite3_str_appendall(w->sql, ")");
}
