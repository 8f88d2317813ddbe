// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flows_table/flows_plan.h"

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
	case FLOWS_COMMUNITY_ID:
		return equal ? SHARE_ADDR : 0;
	default:
		return 0;
	}
}

/* Texts that are equal in another way, as by COLLATE NOCASE, are not for us. */
static bool is_binary(sqlite3_index_info *info, int constraint)
{
	return sqlite3_stricmp(sqlite3_vtab_collation(info, constraint), "BINARY") == 0;
}

/*
 * The columns of a GROUP BY, in whose order we can give the rows. (SQLite says
 * that any order will do in which equal ones are together, but counts on the
 * real one where an ORDER BY follows: 3.40, "SELECT a FROM t GROUP BY a ORDER BY a".)
 */
static bool can_group(const sqlite3_index_info *info, const struct flows_column *columns,
		      size_t n_columns)
{
	if (sqlite3_vtab_distinct((sqlite3_index_info *)info) != 1 || info->nOrderBy < 1 ||
	    info->nOrderBy > GATHER_MAX_KEYS || info->colUsed >> FLOWS_LAST_BIT)
		return false;
	for (int i = 0; i < info->nOrderBy; i++) {
		int column = info->aOrderBy[i].iColumn;

		if (column < 0 || (size_t)column >= n_columns ||
		    !gather_takes(&columns[column], i == 0))
			return false;
	}
	return true;
}

static bool is_end(const struct flows_column *column)
{
	return column->kind == FLOWS_NUMBER && column->column == FLOW_COLUMN_end_ms;
}

/* Also for a GROUP BY or DISTINCT. */
static bool is_by_time(const sqlite3_index_info *info, const struct flows_column *columns)
{
	return info->nOrderBy == 1 && info->aOrderBy[0].iColumn >= 0 &&
	       is_end(&columns[info->aOrderBy[0].iColumn]);
}

static void plan_order(sqlite3_index_info *info, const struct flows_column *columns,
		       size_t n_columns, sqlite3_str *plan)
{
	bool can = is_by_time(info, columns) || can_group(info, columns, n_columns);

	sqlite3_str_appendf(plan, "%llx %d", info->colUsed, can ? info->nOrderBy : 0);
	for (int i = 0; can && i < info->nOrderBy; i++)
		sqlite3_str_appendf(plan, " %d %d", info->aOrderBy[i].iColumn,
				    info->aOrderBy[i].desc);
	sqlite3_str_appendall(plan, ";");
	info->orderByConsumed = can;
}

/*
 * A Community ID is worked out of each row: once for a constant, but a join must not look for
 * one after the other so. SQLite makes an index for it.
 */
static bool is_costly(sqlite3_index_info *info, int constraint, const struct flows_column *c)
{
	sqlite3_value *value;

	return c->kind == FLOWS_COMMUNITY_ID &&
	       sqlite3_vtab_rhs_value(info, constraint, &value) != SQLITE_OK;
}

int flows_best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
	size_t n_columns;
	const struct flows_column *columns = flows_columns(&n_columns);
	sqlite3_str *plan = sqlite3_str_new(NULL);
	double rows = ROWS;
	int n = 0;

	(void)table;
	plan_order(info, columns, n_columns, plan);
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
		if (is_costly(info, i, &columns[column]))
			continue;
		in = op == SQLITE_INDEX_CONSTRAINT_EQ && sqlite3_vtab_in(info, i, 1);
		sqlite3_str_appendf(plan, "%d %d %d;", column, op, in);
		info->aConstraintUsage[i].argvIndex = ++n;
		info->aConstraintUsage[i].omit = !in; /* a long list is not tested by us */
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

/* Columns hold whole numbers that are not negative. */
static struct predicate compare_real(enum flow_column c, int op, double value)
{
	bool more = op == SQLITE_INDEX_CONSTRAINT_GT || op == SQLITE_INDEX_CONSTRAINT_GE;
	double whole = floor(value);

	if (value < 0 || value >= 9e18) /* below all of them, or above */
		return (value < 0) == more && op != SQLITE_INDEX_CONSTRAINT_EQ
			       ? range(c, 0, UINT64_MAX)
			       : nothing;
	if (whole == value)
		return compare_int(c, op, (int64_t)value);
	if (op == SQLITE_INDEX_CONSTRAINT_EQ)
		return nothing;
	return more ? above(c, (int64_t)whole + 1) : below(c, (int64_t)whole);
}

/* As SQL has it: a text that is a number is that number, any other is above all numbers. */
static struct predicate compare_number(enum flow_column c, int op, sqlite3_value *value)
{
	switch (sqlite3_value_numeric_type(value)) {
	case SQLITE_INTEGER:
		return compare_int(c, op, sqlite3_value_int64(value));
	case SQLITE_FLOAT:
		return compare_real(c, op, sqlite3_value_double(value));
	case SQLITE_NULL:
		return nothing;
	default:
		return op == SQLITE_INDEX_CONSTRAINT_LT || op == SQLITE_INDEX_CONSTRAINT_LE
			       ? range(c, 0, UINT64_MAX)
			       : nothing;
	}
}

/* Texts are equal byte by byte: another spelling of an address is not that address. */
static struct predicate compare_addr(enum flow_column c, const char *text)
{
	struct predicate p = {.kind = PREDICATE_PREFIX, .column = c};
	char spelled[ADDR_TEXT_MAX];
	uint8_t addr[16];

	if (addr_parse(text, addr) || strcmp(addr_format(addr, spelled), text) != 0)
		return nothing;
	memcpy(p.prefix.addr, addr, sizeof(addr));
	p.prefix.len = 128;
	return p;
}

static struct predicate compare_word(enum flow_column c, const char *text)
{
	char word[FLOW_WORD_MAX];
	const char *spelled;
	uint32_t code;

	if (!flow_word_code(c, text, &code))
		return nothing;
	spelled = flow_word(c, code, word);
	return spelled && strcmp(spelled, text) == 0 ? range(c, code, code) : nothing;
}

/* The condition of one value, exactly: SQLite does not test it again. */
static int compare(struct flows_filter *f, const struct flows_column *c, int op,
		   sqlite3_value *value, struct predicate *ret)
{
	const char *text;

	*ret = nothing;
	if (c->kind == FLOWS_NUMBER) {
		*ret = compare_number(c->column, op, value);
		return SQLITE_OK;
	}
	if (sqlite3_value_type(value) == SQLITE_NULL)
		return SQLITE_OK;
	text = (const char *)sqlite3_value_text(value);
	if (!text)
		return SQLITE_NOMEM;
	if (strlen(text) != (size_t)sqlite3_value_bytes(value))
		return SQLITE_OK; /* no value has a NUL */
	switch (c->kind) {
	case FLOWS_ADDR:
		if (op != FLOWS_IN_PREFIX) {
			*ret = compare_addr(c->column, text);
			break;
		}
		*ret = (struct predicate){.kind = PREDICATE_PREFIX, .column = c->column};
		if (addr_parse_prefix(text, &ret->prefix)) {
			f->why = "in_prefix: not a prefix such as 10.0.0.0/8";
			return SQLITE_ERROR;
		}
		break;
	case FLOWS_HOST:
		*ret = host_names_find(f->hosts, text);
		break;
	case FLOWS_TEXT:
		*ret = (struct predicate){
			.kind = PREDICATE_TEXT, .column = c->column, .text = text};
		break;
	case FLOWS_COMMUNITY_ID:
		*ret = (struct predicate){.kind = PREDICATE_COMMUNITY_ID, .text = text};
		break;
	default:
		*ret = compare_word(c->column, text);
		break;
	}
	return SQLITE_OK;
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

/* An IN list: any of its values. */
static int compare_list(struct flows_filter *f, const struct term *t, sqlite3_value *list,
			struct predicate *ret)
{
	struct predicate any = {.kind = PREDICATE_ANY, .children = f->values + f->n_values};
	sqlite3_value *value;
	int rc;

	*ret = anything;
	for (rc = sqlite3_vtab_in_first(list, &value); rc == SQLITE_OK && value;
	     rc = sqlite3_vtab_in_next(list, &value)) {
		if (f->n_values == FLOWS_MAX_VALUES || t->column->kind == FLOWS_TEXT ||
		    t->column->kind == FLOWS_COMMUNITY_ID)
			return SQLITE_OK; /* too many, or texts that do not stay */
		rc = compare(f, t->column, t->op, value, &f->values[f->n_values++]);
		if (rc != SQLITE_OK)
			return rc;
		any.n_children++;
	}
	if (rc != SQLITE_OK && rc != SQLITE_DONE)
		return rc;
	*ret = any;
	return SQLITE_OK;
}

/* As plan_order() wrote it. */
static void read_order(struct flows_filter *f, const char **at)
{
	size_t n_columns;
	const struct flows_column *columns = flows_columns(&n_columns);
	unsigned long long used = 0;
	int n = 0, len = 0, column, falling;

	f->used = 0;
	f->n_keys = 0;
	f->by_time = false;
	if (sscanf(*at, "%llx %d%n", &used, &n, &len) < 2)
		return;
	f->used = used;
	for (*at += len; n > 0 && f->n_keys < GATHER_MAX_KEYS; n--) {
		if (sscanf(*at, " %d %d%n", &column, &falling, &len) < 2 || column < 0 ||
		    (size_t)column >= n_columns)
			break;
		f->keys[f->n_keys++] = (struct gather_key){&columns[column], falling != 0};
		*at += len;
	}
	*at += **at == ';';
	f->by_time = f->n_keys == 1 && is_end(f->keys[0].column);
}

int flows_filter_init(struct flows_filter *f, const char *idx_str, int n, sqlite3_value **args,
		      const struct host_names *hosts)
{
	const char *at = idx_str ? idx_str : "";
	int rc = SQLITE_OK;
	struct term t;

	f->all = (struct predicate){.kind = PREDICATE_ALL, .children = f->terms};
	f->n_values = 0;
	f->hosts = hosts;
	f->why = NULL;
	read_order(f, &at);
	for (int i = 0; rc == SQLITE_OK && i < n && read_term(&at, &t); i++) {
		struct predicate *p = &f->terms[f->all.n_children++];

		rc = t.in ? compare_list(f, &t, args[i], p)
			  : compare(f, t.column, t.op, args[i], p);
	}
	return rc;
}
