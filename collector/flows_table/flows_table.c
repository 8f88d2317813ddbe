// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flows_table/flows_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flows_table/flows_plan.h"
#include "collector/flows_table/timeline.h"
#include "collector/flowstore/flow_community.h"
#include "collector/flowstore/flows_columns.h"
#include "collector/flowstore/scan.h"
#include "collector/sqlite/sql_functions.h"
#include "common/addr.h"
#include "proto/flow_words.h"

#define HIST_TEXT_MAX (RTT_BUCKETS * sizeof("65535"))

struct flows_table {
	sqlite3_vtab base;
	sqlite3 *db;
};

struct flows_cursor {
	sqlite3_vtab_cursor base;
	const struct flows_column *columns;
	struct flows_filter filter;
	struct flow_columns used;
	struct host_names names;
	struct scan *scan;     /* or: */
	struct gather *gather; /* or: */
	struct timeline *timeline;
	struct scan_rows *rows; /* of the scan */
	const struct flow_block *block;
	const uint32_t *order; /* rows of the block that are given */
	size_t n, at;	       /* of order */
	bool eof;
	/* Of the block: what is decoded, which rows have a value, addresses as text. */
	bool ready[FLOWS_MAX_COLUMNS];
	uint8_t *masks[FLOW_N_COLUMNS];
	uint8_t *addr_lens; /* 0: not yet */
	char (*addr_texts)[ADDR_TEXT_MAX];
};

static int sqlite_code(int err)
{
	switch (err) {
	case 0:
		return SQLITE_OK;
	case -ENOMEM:
		return SQLITE_NOMEM;
	case -EBUSY:
		return SQLITE_BUSY;
	case -EUCLEAN:
		return SQLITE_CORRUPT;
	case -EACCES:
		return SQLITE_AUTH;
	case -EINVAL:
		return SQLITE_ERROR;
	default:
		return SQLITE_IOERR;
	}
}

/* --- blocks ------------------------------------------------------------------------ */

static void forget_block(struct flows_cursor *c)
{
	for (unsigned i = 0; i < FLOW_N_COLUMNS; i++) {
		free(c->masks[i]);
		c->masks[i] = NULL;
	}
	memset(c->ready, 0, sizeof(c->ready));
	free(c->addr_lens);
	free(c->addr_texts);
	c->addr_lens = NULL;
	c->addr_texts = NULL;
}

static int next_block(struct flows_cursor *c)
{
	struct gather_rows r = {0};
	int found;

	forget_block(c);
	if (c->timeline) {
		found = timeline_next(c->timeline, &r);
	} else if (c->gather) {
		found = gather_next(c->gather, &r);
	} else {
		found = scan_next(c->scan, &c->rows);
		if (found > 0)
			r = (struct gather_rows){&c->rows->block, c->rows->selected,
						 c->rows->n_selected};
	}
	c->block = r.block;
	c->order = r.order;
	c->n = r.n;
	c->at = 0;
	c->eof = found <= 0;
	return found < 0 ? sqlite_code(found) : SQLITE_OK;
}

static int make_mask(struct flows_cursor *c, enum flow_column column)
{
	uint8_t *mask = malloc(c->block->n_rows + 1);

	if (!mask)
		return SQLITE_NOMEM;
	if (flow_block_has_mask(c->block, column, mask))
		c->masks[column] = mask;
	else
		free(mask);
	return SQLITE_OK;
}

/* The first time that a row of the block asks for it. */
static int make_ready(struct flows_cursor *c, int number)
{
	const struct flows_column *column = &c->columns[number];
	struct flow_columns needed = {{0}};
	int found = 1;

	flows_column_needs(column, &needed);
	if (c->scan) /* else all is gathered */
		found = scan_fetch(c->scan, c->rows, &needed);
	if (found <= 0)
		return found ? sqlite_code(found) : SQLITE_CORRUPT_VTAB;
	c->ready[number] = true;
	return c->masks[column->column] ? SQLITE_OK : make_mask(c, column->column);
}

/* --- values ------------------------------------------------------------------------- */

static int result_addr(struct flows_cursor *c, sqlite3_context *ctx, uint32_t number)
{
	const struct flow_block *b = c->block;

	if (!c->addr_lens) {
		c->addr_lens = calloc(b->n_addrs, sizeof(*c->addr_lens));
		c->addr_texts = malloc(b->n_addrs * sizeof(*c->addr_texts));
	}
	if (!c->addr_lens || !c->addr_texts)
		return SQLITE_NOMEM;
	if (!c->addr_lens[number])
		c->addr_lens[number] =
			(uint8_t)strlen(addr_format(b->addrs[number], c->addr_texts[number]));
	sqlite3_result_text(ctx, c->addr_texts[number], c->addr_lens[number], SQLITE_TRANSIENT);
	return SQLITE_OK;
}

static void result_text(sqlite3_context *ctx, const char *text)
{
	if (text)
		sqlite3_result_text(ctx, text, -1, SQLITE_TRANSIENT);
}

static char *put_decimal(char *at, uint16_t value)
{
	char digits[sizeof("65535")];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	while (n)
		*at++ = digits[--n];
	return at;
}

/* "0,0,3,..." */
static void result_hist(sqlite3_context *ctx, const uint16_t hist[RTT_BUCKETS])
{
	char text[HIST_TEXT_MAX], *at = text;

	for (size_t i = 0; i < RTT_BUCKETS; i++) {
		if (i)
			*at++ = ',';
		at = put_decimal(at, hist[i]);
	}
	sqlite3_result_text(ctx, text, (int)(at - text), SQLITE_TRANSIENT);
}

static void result_proto_name(sqlite3_context *ctx, const struct flow_block *b, size_t i)
{
	uint8_t proto = (uint8_t)FLOW_COL_U32(b, proto)[i];
	const char *name = FLOW_COL_U32(b, end_reason)[i] == FLOW_END_NO_RESOURCES
				   ? "catch-all"
				   : proto_name(proto);
	char number[16];

	if (!name)
		(void)snprintf(number, sizeof(number), "%u", proto);
	result_text(ctx, name ? name : number);
}

static int result_of(struct flows_cursor *c, sqlite3_context *ctx,
		     const struct flows_column *column, size_t i)
{
	const struct flow_block *b = c->block;
	union flow_array a = b->column[column->column];
	char word[FLOW_WORD_MAX], id[COMMUNITY_ID_MAX];

	switch (column->kind) {
	case FLOWS_NUMBER:
		sqlite3_result_int64(ctx, flow_column_info[column->column].kind == FLOW_U64
						  ? (sqlite3_int64)a.u64[i]
						  : (sqlite3_int64)a.u32[i]);
		break;
	case FLOWS_ADDR:
		return result_addr(c, ctx, a.u32[i]);
	case FLOWS_TEXT:
		result_text(ctx, b->texts[a.u32[i]]);
		break;
	case FLOWS_WORD:
		result_text(ctx, flow_word(column->column, a.u32[i], word));
		break;
	case FLOWS_HIST:
		result_hist(ctx, a.hist[i]);
		break;
	case FLOWS_HOST:
		result_text(ctx, host_names_get(&c->names, a.u32[i]));
		break;
	case FLOWS_PROTO_NAME:
		result_proto_name(ctx, b, i);
		break;
	case FLOWS_IP_VERSION:
		sqlite3_result_int(ctx, addr_is_v4(b->addrs[a.u32[i]]) ? 4 : 6);
		break;
	case FLOWS_COMMUNITY_ID:
		result_text(ctx, flow_community_id(b, i, id));
		break;
	}
	return SQLITE_OK;
}

/* --- the module ----------------------------------------------------------------------- */

static int table_connect(sqlite3 *db, void *aux, int argc, const char *const *argv,
			 sqlite3_vtab **ret, char **ret_why)
{
	struct flows_table *t;
	char *sql = flows_schema();
	int rc = sql ? sqlite3_declare_vtab(db, sql) : SQLITE_NOMEM;

	(void)aux;
	(void)argc;
	(void)argv;
	(void)ret_why;
	sqlite3_free(sql);
	if (rc != SQLITE_OK)
		return rc;
	(void)sqlite3_vtab_config(db, SQLITE_VTAB_INNOCUOUS); /* a known option */
	t = sqlite3_malloc(sizeof(*t));
	if (!t)
		return SQLITE_NOMEM;
	*t = (struct flows_table){.db = db};
	*ret = &t->base;
	return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *table)
{
	sqlite3_free(table);
	return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *table, sqlite3_vtab_cursor **ret)
{
	struct flows_cursor *c = sqlite3_malloc(sizeof(*c));
	size_t n;

	(void)table;
	if (!c)
		return SQLITE_NOMEM;
	*c = (struct flows_cursor){.eof = true, .columns = flows_columns(&n)};
	*ret = &c->base;
	return SQLITE_OK;
}

static void end_scan(struct flows_cursor *c)
{
	forget_block(c);
	scan_rows_free(c->rows);
	scan_close(c->scan);
	gather_close(c->gather);
	timeline_close(c->timeline);
	host_names_done(&c->names);
	c->rows = NULL;
	c->scan = NULL;
	c->gather = NULL;
	c->timeline = NULL;
}

static int close_cursor(sqlite3_vtab_cursor *cursor)
{
	struct flows_cursor *c = (struct flows_cursor *)cursor;

	end_scan(c);
	sqlite3_free(c);
	return SQLITE_OK;
}

/*
 * The columns that the statement reads are decoded with each block, so that what
 * is damaged is left out. Those that the mask has no bit of are decoded when a
 * row is asked for them; in the order of time, all are decoded if there may be one.
 */
static struct flow_columns used_columns(const struct flows_cursor *c)
{
	struct flow_columns used = {{0}};
	size_t n;

	(void)flows_columns(&n);
	if (c->filter.by_time && c->filter.used >> FLOWS_LAST_BIT)
		return flow_columns_all();
	for (size_t i = 0; i < n && i < FLOWS_LAST_BIT; i++)
		if (c->filter.used >> i & 1)
			flows_column_needs(&c->columns[i], &used);
	for (size_t i = 0; i < c->filter.n_keys; i++)
		flows_column_needs(c->filter.keys[i].column, &used);
	return used;
}

static int filter(sqlite3_vtab_cursor *cursor, int idx_num, const char *idx_str, int argc,
		  sqlite3_value **argv)
{
	struct flows_cursor *c = (struct flows_cursor *)cursor;
	sqlite3 *db = ((struct flows_table *)cursor->pVtab)->db;
	const struct predicate *where;
	int rc, err;

	(void)idx_num;
	end_scan(c);
	rc = host_names_read(&c->names, db);
	if (rc == SQLITE_OK)
		rc = flows_filter_init(&c->filter, idx_str, argc, argv, &c->names);
	if (rc != SQLITE_OK) {
		if (c->filter.why)
			cursor->pVtab->zErrMsg = sqlite3_mprintf("%s", c->filter.why);
		return rc;
	}
	where = c->filter.all.n_children ? &c->filter.all : NULL;
	c->used = used_columns(c);
	if (c->filter.by_time)
		err = timeline_open(db, where, &c->used, c->filter.keys, &c->names, &c->timeline);
	else if (c->filter.n_keys)
		err = gather_open(db, where, &c->used, c->filter.keys, c->filter.n_keys, &c->names,
				  GATHER_BYTES, &c->gather);
	else
		err = scan_open(db, where, &c->used, &c->scan);
	return err ? sqlite_code(err) : next_block(c);
}

static int next(sqlite3_vtab_cursor *cursor)
{
	struct flows_cursor *c = (struct flows_cursor *)cursor;

	return ++c->at < c->n ? SQLITE_OK : next_block(c);
}

static int eof(sqlite3_vtab_cursor *cursor)
{
	return ((struct flows_cursor *)cursor)->eof;
}

static int column(sqlite3_vtab_cursor *cursor, sqlite3_context *ctx, int number)
{
	struct flows_cursor *c = (struct flows_cursor *)cursor;
	size_t i = c->order[c->at];
	const uint8_t *mask;

	if (!c->ready[number]) {
		int rc = make_ready(c, number);

		if (rc != SQLITE_OK)
			return rc;
	}
	mask = c->masks[c->columns[number].column];
	if (mask && !mask[i])
		return SQLITE_OK; /* NULL */
	return result_of(c, ctx, &c->columns[number], i);
}

static int rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *ret)
{
	const struct flows_cursor *c = (struct flows_cursor *)cursor;
	uint32_t row = c->order[c->at];

	*ret = c->timeline ? timeline_row_key(c->timeline, row)
	       : c->gather ? gather_row_key(c->gather, row)
			   : scan_rows_key(c->rows) + scan_row_number(c->rows, row);
	return SQLITE_OK;
}

/* in_prefix() of a column is a condition that the plan can use. */
static int find_function(sqlite3_vtab *table, int n_args, const char *name,
			 void (**ret)(sqlite3_context *, int, sqlite3_value **), void **ret_arg)
{
	(void)table;
	if (n_args != 2 || sqlite3_stricmp(name, "in_prefix") != 0)
		return 0;
	*ret = sql_in_prefix;
	*ret_arg = NULL;
	return FLOWS_IN_PREFIX;
}

int flows_table_register(sqlite3 *db)
{
	static const sqlite3_module module = {
		.iVersion = 0,
		.xConnect = table_connect, /* no xCreate: it is there from the start */
		.xBestIndex = flows_best_index,
		.xDisconnect = table_disconnect,
		.xDestroy = table_disconnect,
		.xOpen = open_cursor,
		.xClose = close_cursor,
		.xFilter = filter,
		.xNext = next,
		.xEof = eof,
		.xColumn = column,
		.xRowid = rowid,
		.xFindFunction = find_function,
	};

	sqlite3_stmt *st = NULL;
	int rc = sqlite3_create_module_v2(db, "flows", &module, NULL, NULL);

	/* Makes it now: later there may be an authorizer that lets nobody make tables. */
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(db, "SELECT 1 FROM flows LIMIT 0", -1, &st, NULL);
	(void)sqlite3_finalize(st);		    /* never stepped */
	return rc == SQLITE_NOMEM ? rc : SQLITE_OK; /* else: what is wrong will be met again */
}
