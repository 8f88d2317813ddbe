// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/flows_plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/flows_columns.h"
#include "proto/flow_words.h"

/* Of a table of millions of rows; only their relations matter. */
#define ROWS	     1000000.0
#define COST_ROW     10.0
#define SHARE_TIME   0.05
#define SHARE_ADDR   0.01
#define SHARE_NUMBER 0.2

/* --- the plan ------------------------------------------------------------------- */

static bool is_order(unsigned char op)
{
	return op == SQLITE_INDEX_CONSTRAINT_GT || op == SQLITE_INDEX_CONSTRAINT_GE ||
	       op == SQLITE_INDEX_CONSTRAINT_LT || op == SQLITE_INDEX_CONSTRAINT_LE;
}

/* How much of the table a condition leaves; 0: it is not for us. */
static double share_of(const struct flows_column *c, unsigned char op)
{
	bool equal = op == SQLITE_INDEX_CONSTRAINT_EQ;

	switch (c->kind) {
	case FLOWS_NUMBER:
		if (!equal && !is_order(op))
			return 0;
		return c->column == FLOW_COLUMN_end_ms || c->column == FLOW_COLUMN_start_ms
			       ? SHARE_TIME
			       : SHARE_NUMBER;
	case FLOWS_ADDR:
		return equal || op == FLOWS_IN_PREFIX ? SHARE_ADDR : 0;
	case FLOWS_HOST:
	case FLOWS_TEXT:
	case FLOWS_WORD:
		return equal ? SHARE_NUMBER : 0;
	default:
		return 0;
	}
}

/* Texts that are equal in another way, as by COLLATE NOCASE, are not for us. */
static bool is_binary(sqlite3_index_info *info, int constraint)
{
	return sqlite3_stricmp(sqlite3_vtab_collation(info, constraint), "BINARY") == 0;
}

int flows_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
	size_t n_columns;
	const struct flows_column *columns = flows_columns(&n_columns);
	sqlite3_str *plan = sqlite3_str_new(NULL);
	double rows = ROWS;
	int n = 0;

	(void)table;
	for (int i = 0; i < info->nConstraint && n < FLOWS_MAX_TERMS; i++) {
		unsigned char op = info->aConstraint[i].op;
		int column = info->aConstraint[i].iColumn;
		double share;
		int in;

		if (!info->aConstraint[i].usable || column < 0 || (size_t)column >= n_columns)
			continue;
		share = share_of(&columns[column], op);
		if (share == 0 || (columns[column].kind != FLOWS_NUMBER && !is_binary(info, i)))
			continue;
		in = op == SQLITE_INDEX_CONSTRAINT_EQ && sqlite3_vtab_in(info, i, 1);
		sqlite3_str_appendf(plan, "%d %d %d;", column, op, in);
		info->aConstraintUsage[i].argvIndex = ++n;
		rows *= share;
	}
	info->idxStr = sqlite3_str_finish(plan);
	info->needToFreeIdxStr = 1;
	info->estimatedRows = rows < 1 ? 1 : (sqlite3_int64)rows;
	info->estimatedCost = rows * COST_ROW + 1000;
	return SQLITE_OK;
}

/* --- values ------------------------------------------------------------------------ */

static const struct predicate nothing = {.kind = PREDICATE_FALSE};
static const struct predicate anything = {.kind = PREDICATE_TRUE};

static struct predicate range(enum flow_column c, uint64_t low, uint64_t high)
{
	return (struct predicate){.kind = PREDICATE_RANGE, .column = c, .low = low, .high = high};
}

static struct predicate below(enum flow_column c, int64_t most)
{
	return most < 0 ? nothing : range(c, 0, (uint64_t)most);
}

static struct predicate above(enum flow_column c, int64_t least)
{
	return range(c, least < 0 ? 0 : (uint64_t)least, UINT64_MAX);
}

static struct predicate compare_int(enum flow_column c, int op, int64_t value)
{
	switch (op) {
	case SQLITE_INDEX_CONSTRAINT_EQ:
		return value < 0 ? nothing : range(c, (uint64_t)value, (uint64_t)value);
	case SQLITE_INDEX_CONSTRAINT_GT:
		return value == INT64_MAX ? nothing : above(c, value + 1);
	case SQLITE_INDEX_CONSTRAINT_GE:
		return above(c, value);
	case SQLITE_INDEX_CONSTRAINT_LT:
		return value == INT64_MIN ? nothing : below(c, value - 1);
	case SQLITE_INDEX_CONSTRAINT_LE:
		return below(c, value);
	default:
		return anything;
	}
}

/* A number with a fraction, or a text that is none: SQLite decides, we admit what may be. */
static struct predicate compare_number(enum flow_column c, int op, sqlite3_value *value)
{
	double real;

	switch (sqlite3_value_numeric_type(value)) {
	case SQLITE_INTEGER:
		return compare_int(c, op, sqlite3_value_int64(value));
	case SQLITE_FLOAT:
		real = sqlite3_value_double(value);
		if (fabs(real) > 9e15)
			return anything;
		if (op == SQLITE_INDEX_CONSTRAINT_EQ)
			return range(c, real < 0 ? 0 : (uint64_t)floor(real),
				     real < 0 ? 0 : (uint64_t)ceil(real));
		return op == SQLITE_INDEX_CONSTRAINT_GT || op == SQLITE_INDEX_CONSTRAINT_GE
			       ? above(c, (int64_t)floor(real))
			       : below(c, (int64_t)ceil(real));
	case SQLITE_NULL:
		return nothing;
	default:
		return anything;
	}
}

static struct predicate compare_addr(enum flow_column c, int op, const char *text)
{
	struct predicate p = {.kind = PREDICATE_PREFIX, .column = c};
	uint8_t addr[16];

	if (op == FLOWS_IN_PREFIX) /* what is no prefix is an error of the function */
		return addr_parse_prefix(text, &p.prefix) ? anything : p;
	if (addr_parse(text, addr))
		return nothing;
	memcpy(p.prefix.addr, addr, sizeof(addr));
	p.prefix.len = 128;
	return p;
}

/* The condition of one value. */
static struct predicate compare(const struct flows_column *c, int op, sqlite3_value *value,
				int64_t (*host_id)(const void *, const char *), const void *hosts)
{
	const char *text;
	uint32_t code;
	int64_t number;

	if (c->kind == FLOWS_NUMBER)
		return compare_number(c->column, op, value);
	if (sqlite3_value_type(value) == SQLITE_NULL)
		return nothing;
	text = (const char *)sqlite3_value_text(value);
	if (!text)
		return anything; /* out of memory: SQLite says so */
	switch (c->kind) {
	case FLOWS_ADDR:
		return compare_addr(c->column, op, text);
	case FLOWS_HOST:
		/* Several hosts may have one name: only a name that none has rules rows out. */
		number = host_id(hosts, text);
		if (number == -1)
			return nothing;
		return number < 0 ? anything : range(c->column, (uint64_t)number, (uint64_t)number);
	case FLOWS_TEXT:
		return (struct predicate){
			.kind = PREDICATE_TEXT, .column = c->column, .text = text};
	case FLOWS_WORD:
		return flow_word_code(c->column, text, &code) ? range(c->column, code, code)
							      : nothing;
	default:
		return anything;
	}
}

/* --- the predicate --------------------------------------------------------------------- */

struct term {
	const struct flows_column *column;
	int op;
	bool in;
};

static bool read_term(const char **at, struct term *ret)
{
	size_t n_columns;
	const struct flows_column *columns = flows_columns(&n_columns);
	int column, op, in, used;

	if (sscanf(*at, "%d %d %d;%n", &column, &op, &in, &used) != 3 || column < 0 ||
	    (size_t)column >= n_columns)
		return false;
	*at += used;
	*ret = (struct term){&columns[column], op, in != 0};
	return true;
}

int flows_filter_init(struct flows_filter *f, const char *idx_str, int n, sqlite3_value **args,
		      int64_t (*host_id)(const void *hosts, const char *name), const void *hosts)
{
	const char *at = idx_str ? idx_str : "";
	struct term t;

	f->all = (struct predicate){.kind = PREDICATE_ALL, .children = f->terms};
	f->n_values = 0;
	for (int i = 0; i < n && read_term(&at, &t); i++) {
		struct predicate *p = &f->terms[f->all.n_children++];
		sqlite3_value *value;
		int rc;

		if (!t.in) {
			*p = compare(t.column, t.op, args[i], host_id, hosts);
			continue;
		}
		*p = (struct predicate){.kind = PREDICATE_ANY, .children = f->values + f->n_values};
		for (rc = sqlite3_vtab_in_first(args[i], &value); rc == SQLITE_OK && value;
		     rc = sqlite3_vtab_in_next(args[i], &value)) {
			if (f->n_values == FLOWS_MAX_VALUES || t.column->kind == FLOWS_TEXT) {
				*p = anything; /* too many, or texts that do not stay */
				break;
			}
			f->values[f->n_values++] = compare(t.column, t.op, value, host_id, hosts);
			p->n_children++;
		}
		if (rc != SQLITE_OK && rc != SQLITE_DONE)
			return rc;
	}
	return SQLITE_OK;
}
