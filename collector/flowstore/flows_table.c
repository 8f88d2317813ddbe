// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/flows_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/flows_columns.h"
#include "collector/flowstore/flows_plan.h"
#include "collector/flowstore/scan.h"
#include "collector/sql_functions.h"
#include "common/addr.h"
#include "common/community_id.h"
#include "proto/flow_words.h"

#define HIST_TEXT_MAX (RTT_BUCKETS * sizeof("65535"))

struct flows_table {
	sqlite3_vtab base;
	sqlite3 *db;
};

/* Names by id, in the order of the ids. */
struct host_names {
	size_t n;
	struct host_name {
		int64_t id;
		char *name;
	} * hosts;
};

struct flows_cursor {
	sqlite3_vtab_cursor base;
	struct flows_filter filter;
	struct host_names names;
	struct scan *scan;
	struct scan_rows *rows;
	size_t at; /* in rows->selected */
	bool eof;
	/* Of the block: which rows have a value in a column, and addresses as text. */
	uint8_t *masks[FLOW_N_COLUMNS];
	bool asked[FLOW_N_COLUMNS];
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

/* --- hosts ----------------------------------------------------------------------- */

static void names_done(struct host_names *n)
{
	for (size_t i = 0; i < n->n; i++)
		sqlite3_free(n->hosts[i].name);
	sqlite3_free(n->hosts);
	*n = (struct host_names){0};
}

static int names_add(struct host_names *n, sqlite3_stmt *st)
{
	struct host_name *hosts = sqlite3_realloc64(n->hosts, (n->n + 1) * sizeof(*hosts));
	char *name;

	if (!hosts)
		return SQLITE_NOMEM;
	n->hosts = hosts;
	name = sqlite3_mprintf("%s", (const char *)sqlite3_column_text(st, 1));
	if (!name)
		return SQLITE_NOMEM;
	hosts[n->n++] = (struct host_name){sqlite3_column_int64(st, 0), name};
	return SQLITE_OK;
}

static int names_read(struct host_names *n, sqlite3 *db)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, "SELECT id, name FROM host ORDER BY id", -1, &st, NULL);

	while (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		rc = names_add(n, st);
	if (rc == SQLITE_OK)
		rc = sqlite3_finalize(st);
	else
		(void)sqlite3_finalize(st); /* rc says it already */
	return rc;
}

static int compare_ids(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = ((const struct host_name *)b)->id;

	return (x > y) - (x < y);
}

static const char *name_of(const struct host_names *n, int64_t id)
{
	const struct host_name *h = bsearch(&id, n->hosts, n->n, sizeof(*n->hosts), compare_ids);

	return h ? h->name : NULL;
}

/* The id of the only host of that name; -1: there is none, -2: there are several. */
static int64_t id_of(const void *names, const char *name)
{
	const struct host_names *n = names;
	int64_t found = -1;

	for (size_t i = 0; i < n->n; i++)
		if (strcmp(n->hosts[i].name, name) == 0)
			found = found == -1 ? n->hosts[i].id : -2;
	return found;
}

/* --- blocks ------------------------------------------------------------------------ */

static void forget_block(struct flows_cursor *c)
{
	for (unsigned i = 0; i < FLOW_N_COLUMNS; i++) {
		free(c->masks[i]);
		c->masks[i] = NULL;
		c->asked[i] = false;
	}
	free(c->addr_texts);
	c->addr_texts = NULL;
}

static int next_block(struct flows_cursor *c)
{
	int found;

	forget_block(c);
	found = scan_next(c->scan, &c->rows);
	c->at = 0;
	c->eof = found <= 0;
	return found < 0 ? sqlite_code(found) : SQLITE_OK;
}

/* Decodes a column of the block, the first time that a row asks for it. */
static int want(struct flows_cursor *c, enum flow_column column)
{
	int found;

	if (c->asked[column])
		return SQLITE_OK;
	found = scan_fetch(c->scan, c->rows, column);
	if (found == 0)
		return SQLITE_CORRUPT_VTAB;
	if (found < 0)
		return sqlite_code(found);
	c->masks[column] = malloc(c->rows->block.n_rows + 1);
	if (!c->masks[column])
		return SQLITE_NOMEM;
	if (!flow_block_has_mask(&c->rows->block, column, c->masks[column])) {
		free(c->masks[column]);
		c->masks[column] = NULL;
	}
	c->asked[column] = true;
	return SQLITE_OK;
}

/* --- values ------------------------------------------------------------------------- */

static int addr_text(struct flows_cursor *c, uint32_t number, const char **ret)
{
	const struct flow_block *b = &c->rows->block;

	if (!c->addr_texts)
		c->addr_texts = calloc(b->n_addrs, sizeof(*c->addr_texts));
	if (!c->addr_texts)
		return SQLITE_NOMEM;
	if (!c->addr_texts[number][0])
		(void)addr_format(b->addrs[number], c->addr_texts[number]);
	*ret = c->addr_texts[number];
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

static int result_proto_name(struct flows_cursor *c, sqlite3_context *ctx, size_t i)
{
	const struct flow_block *b = &c->rows->block;
	int rc = want(c, FLOW_COLUMN_end_reason);
	const char *name;
	char number[16];

	if (rc != SQLITE_OK)
		return rc;
	name = FLOW_COL_U32(b, end_reason)[i] == FLOW_END_NO_RESOURCES
		       ? "catch-all"
		       : proto_name((uint8_t)FLOW_COL_U32(b, proto)[i]);
	(void)snprintf(number, sizeof(number), "%u", FLOW_COL_U32(b, proto)[i]);
	result_text(ctx, name ? name : number);
	return SQLITE_OK;
}

static int result_community_id(struct flows_cursor *c, sqlite3_context *ctx, size_t i)
{
	static const enum flow_column reads[] = {
		FLOW_COLUMN_dst_addr,	FLOW_COLUMN_src_port,  FLOW_COLUMN_dst_port,
		FLOW_COLUMN_proto,	FLOW_COLUMN_icmp_type, FLOW_COLUMN_icmp_code,
		FLOW_COLUMN_end_reason,
	};
	const struct flow_block *b = &c->rows->block;
	char text[COMMUNITY_ID_MAX];
	uint32_t proto;
	bool icmp;

	for (size_t k = 0; k < sizeof(reads) / sizeof(reads[0]); k++) {
		int rc = want(c, reads[k]);

		if (rc != SQLITE_OK)
			return rc;
	}
	if (FLOW_COL_U32(b, end_reason)[i] == FLOW_END_NO_RESOURCES)
		return SQLITE_OK; /* NULL */
	proto = FLOW_COL_U32(b, proto)[i];
	icmp = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
	result_text(ctx, community_id(b->addrs[FLOW_COL_U32(b, src_addr)[i]],
				      b->addrs[FLOW_COL_U32(b, dst_addr)[i]], (uint8_t)proto,
				      (uint16_t)(icmp ? FLOW_COL_U32(b, icmp_type)
						      : FLOW_COL_U32(b, src_port))[i],
				      (uint16_t)(icmp ? FLOW_COL_U32(b, icmp_code)
						      : FLOW_COL_U32(b, dst_port))[i],
				      text));
	return SQLITE_OK;
}

static int result_of(struct flows_cursor *c, sqlite3_context *ctx,
		     const struct flows_column *column, size_t i)
{
	const struct flow_block *b = &c->rows->block;
	union flow_array a = b->column[column->column];
	const char *text = NULL;
	char word[FLOW_WORD_MAX];
	int rc = SQLITE_OK;

	switch (column->kind) {
	case FLOWS_NUMBER:
		sqlite3_result_int64(ctx, flow_column_info[column->column].kind == FLOW_U64
						  ? (sqlite3_int64)a.u64[i]
						  : (sqlite3_int64)a.u32[i]);
		break;
	case FLOWS_ADDR:
		rc = addr_text(c, a.u32[i], &text);
		result_text(ctx, text);
		break;
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
		result_text(ctx, name_of(&c->names, a.u32[i]));
		break;
	case FLOWS_PROTO_NAME:
		rc = result_proto_name(c, ctx, i);
		break;
	case FLOWS_IP_VERSION:
		sqlite3_result_int(ctx, addr_is_v4(b->addrs[a.u32[i]]) ? 4 : 6);
		break;
	case FLOWS_COMMUNITY_ID:
		rc = result_community_id(c, ctx, i);
		break;
	}
	return rc;
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

	(void)table;
	if (!c)
		return SQLITE_NOMEM;
	*c = (struct flows_cursor){.eof = true};
	*ret = &c->base;
	return SQLITE_OK;
}

static void end_scan(struct flows_cursor *c)
{
	forget_block(c);
	scan_rows_free(c->rows);
	scan_close(c->scan);
	names_done(&c->names);
	c->rows = NULL;
	c->scan = NULL;
}

static int close_cursor(sqlite3_vtab_cursor *cursor)
{
	struct flows_cursor *c = (struct flows_cursor *)cursor;

	end_scan(c);
	sqlite3_free(c);
	return SQLITE_OK;
}

static int filter(sqlite3_vtab_cursor *cursor, int idx_num, const char *idx_str, int argc,
		  sqlite3_value **argv)
{
	struct flows_cursor *c = (struct flows_cursor *)cursor;
	sqlite3 *db = ((struct flows_table *)cursor->pVtab)->db;
	const struct flow_columns none = {{0}}; /* more as rows ask for it */
	int rc, err;

	(void)idx_num;
	end_scan(c);
	rc = names_read(&c->names, db);
	if (rc == SQLITE_OK)
		rc = flows_filter_init(&c->filter, idx_str, argc, argv, id_of, &c->names);
	if (rc != SQLITE_OK)
		return rc;
	err = scan_open(db, &c->filter.all, &none, &c->scan);
	return err ? sqlite_code(err) : next_block(c);
}

static int next(sqlite3_vtab_cursor *cursor)
{
	struct flows_cursor *c = (struct flows_cursor *)cursor;

	return ++c->at < c->rows->n_selected ? SQLITE_OK : next_block(c);
}

static int eof(sqlite3_vtab_cursor *cursor)
{
	return ((struct flows_cursor *)cursor)->eof;
}

static int column(sqlite3_vtab_cursor *cursor, sqlite3_context *ctx, int number)
{
	struct flows_cursor *c = (struct flows_cursor *)cursor;
	size_t n, i = c->rows->selected[c->at];
	const struct flows_column *columns = flows_columns(&n);
	int rc = want(c, columns[number].column);

	if (rc != SQLITE_OK)
		return rc;
	if (c->masks[columns[number].column] && !c->masks[columns[number].column][i])
		return SQLITE_OK; /* NULL */
	return result_of(c, ctx, &columns[number], i);
}

static int rowid(sqlite3_vtab_cursor *cursor, sqlite3_int64 *ret)
{
	const struct flows_cursor *c = (struct flows_cursor *)cursor;

	*ret = scan_rows_key(c->rows) + c->rows->selected[c->at];
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
