// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/property/row_table.h"

#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/flows_columns.h"
#include "collector/sqlite/sql_functions.h"
#include "common/addr.h"
#include "common/clock.h"
#include "common/community_id.h"
#include "proto/flow_columns.h"
#include "proto/flow_words.h"
#include "tests/property/need.h"

#define US_PER_MS 1000

struct row_table {
	sqlite3 *db;
	sqlite3_stmt *insert, *value[FLOWS_MAX_COLUMNS], *host_name;
	const struct flows_column *columns;
	size_t n_columns, n_rows;
	char *last; /* row_table_value() */
};

/* --- values of a record ------------------------------------------------------------ */

static void bind_text(sqlite3_stmt *st, int at, const char *text)
{
	need(sqlite3_bind_text(st, at, text, -1, SQLITE_TRANSIENT) == SQLITE_OK, "bind");
}

static void bind_number(sqlite3_stmt *st, int at, uint64_t value)
{
	need(sqlite3_bind_int64(st, at, (sqlite3_int64)value) == SQLITE_OK, "bind");
}

static void bind_addr(sqlite3_stmt *st, int at, const uint8_t addr[16])
{
	char text[ADDR_TEXT_MAX];

	bind_text(st, at, addr_format(addr, text));
}

static void bind_hist(sqlite3_stmt *st, int at, const uint16_t hist[RTT_BUCKETS])
{
	sqlite3_str *text = sqlite3_str_new(NULL);

	for (size_t i = 0; i < RTT_BUCKETS; i++)
		sqlite3_str_appendf(text, "%s%d", i ? "," : "", hist[i]);
	need(sqlite3_bind_text(st, at, sqlite3_str_finish(text), -1, sqlite3_free) == SQLITE_OK,
	     "bind");
}

static void bind_word(sqlite3_stmt *st, int at, enum flow_column c, uint32_t code)
{
	char word[FLOW_WORD_MAX];
	const char *text = flow_word(c, code, word);

	if (text)
		bind_text(st, at, text);
}

/* As proto/flow_block.h says: what lasts for long is kept in ms. */
static uint64_t duration_us(const struct flow_record *r)
{
	uint64_t us = r->end_ns < r->start_ns ? 0 : (r->end_ns - r->start_ns) / NS_PER_US;

	return us < FLOW_DURATION_EXACT_US ? us : us / US_PER_MS * US_PER_MS;
}

static uint64_t start_ms(const struct flow_record *r)
{
	return r->start_ns / NS_PER_MS;
}

/* Columns of flow_columns.h. */
static bool bind_listed(sqlite3_stmt *st, int at, enum flow_column c, const struct flow_record *r)
{
	switch (c) {
#define BIND(name, max, has, bind)                                                                 \
	case FLOW_COLUMN_##name:                                                                   \
		if (has)                                                                           \
			(bind);                                                                    \
		return true;
#define BIND_NUMBER(name, max, has) BIND(name, max, has, bind_number(st, at, r->name))
#define BIND_WORD(name, max, has)   BIND(name, max, has, bind_word(st, at, c, r->name))
#define BIND_TEXT(name, max, has)   BIND(name, max, has, bind_text(st, at, r->name))
		FLOW_COUNTERS(BIND_NUMBER)
		FLOW_NUMBERS(BIND_NUMBER)
		FLOW_CODES(BIND_WORD)
		FLOW_DNS_CODES(BIND_WORD)
		FLOW_TEXTS(BIND_TEXT)
	default:
		return false;
	}
}

static void bind_other(sqlite3_stmt *st, int at, enum flow_column c, uint32_t host_id,
		       const struct flow_record *r)
{
	switch (c) {
	case FLOW_COLUMN_host_id:
		return bind_number(st, at, host_id);
	case FLOW_COLUMN_start_ms:
		return bind_number(st, at, start_ms(r));
	case FLOW_COLUMN_end_ms:
		return bind_number(st, at, start_ms(r) + duration_us(r) / US_PER_MS);
	case FLOW_COLUMN_duration_us:
		return bind_number(st, at, duration_us(r));
	case FLOW_COLUMN_src_addr:
		return bind_addr(st, at, r->src_addr);
	case FLOW_COLUMN_dst_addr:
		return bind_addr(st, at, r->dst_addr);
	case FLOW_COLUMN_outer_src_addr:
		return r->tunnel ? bind_addr(st, at, r->outer_src_addr) : (void)0;
	case FLOW_COLUMN_outer_dst_addr:
		return r->tunnel ? bind_addr(st, at, r->outer_dst_addr) : (void)0;
	case FLOW_COLUMN_data_rtt_hist:
		return r->data_rtt_samples ? bind_hist(st, at, r->data_rtt_hist) : (void)0;
	case FLOW_COLUMN_rev_data_rtt_hist:
		return r->rev_data_rtt_samples ? bind_hist(st, at, r->rev_data_rtt_hist) : (void)0;
	default:
		need(false, flow_column_info[c].name);
	}
}

static void bind_proto_name(sqlite3_stmt *st, int at, const struct flow_record *r)
{
	const char *name = flow_is_catch_all(r) ? "catch-all" : proto_name(r->proto);
	char number[8];

	(void)snprintf(number, sizeof(number), "%u", r->proto);
	bind_text(st, at, name ? name : number);
}

static void bind_community_id(sqlite3_stmt *st, int at, const struct flow_record *r)
{
	char text[COMMUNITY_ID_MAX];
	const char *id = community_id(r->src_addr, r->dst_addr, r->proto,
				      flow_is_icmp(r) ? r->icmp_type : r->src_port,
				      flow_is_icmp(r) ? r->icmp_code : r->dst_port, text);

	if (id && !flow_is_catch_all(r))
		bind_text(st, at, id);
}

static void bind_host(struct row_table *t, int at, uint32_t host_id)
{
	need(sqlite3_bind_int64(t->host_name, 1, host_id) == SQLITE_OK, "bind");
	need(sqlite3_step(t->host_name) == SQLITE_ROW, "a host");
	need(sqlite3_bind_value(t->insert, at, sqlite3_column_value(t->host_name, 0)) == SQLITE_OK,
	     "bind");
	(void)sqlite3_reset(t->host_name); /* gave a row */
}

/* --- the table ------------------------------------------------------------------------ */

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st = NULL;

	need(sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK, sql);
	return st;
}

static void prepare_insert(struct row_table *t)
{
	sqlite3_str *sql = sqlite3_str_new(NULL);
	char *text;

	sqlite3_str_appendall(sql, "INSERT INTO flows VALUES (?");
	for (size_t i = 1; i < t->n_columns; i++)
		sqlite3_str_appendall(sql, ", ?");
	sqlite3_str_appendall(sql, ")");
	text = sqlite3_str_finish(sql);
	t->insert = prepare(t->db, text);
	sqlite3_free(text);
}

struct row_table *row_table_new(void)
{
	struct row_table *t = calloc(1, sizeof(*t));
	char *schema = flows_schema();

	need(t && schema, "memory");
	t->columns = flows_columns(&t->n_columns);
	need(sqlite3_open(":memory:", &t->db) == SQLITE_OK, "a database in memory");
	need(sql_functions_register(t->db) == 0, "functions");
	need(sqlite3_exec(t->db, schema, NULL, NULL, NULL) == SQLITE_OK, schema);
	need(sqlite3_exec(t->db,
			  "CREATE TABLE host (id INTEGER PRIMARY KEY, name TEXT,"
			  " clock_skew_ms INTEGER NOT NULL DEFAULT 0)",
			  NULL, NULL, NULL) == SQLITE_OK,
	     "a table");
	sqlite3_free(schema);
	prepare_insert(t);
	t->host_name = prepare(t->db, "SELECT name FROM host WHERE id = ?");
	return t;
}

void row_table_free(struct row_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_columns; i++)
		(void)sqlite3_finalize(t->value[i]); /* repeats an old error at most */
	(void)sqlite3_finalize(t->insert);
	(void)sqlite3_finalize(t->host_name);
	sqlite3_free(t->last);
	need(sqlite3_close(t->db) == SQLITE_OK, "close");
	free(t);
}

void row_table_add_host(struct row_table *t, uint32_t id, const char *name)
{
	char *sql = sqlite3_mprintf("INSERT INTO host (id, name) VALUES (%u, %Q)", id, name);

	need(sql && sqlite3_exec(t->db, sql, NULL, NULL, NULL) == SQLITE_OK, "a host");
	sqlite3_free(sql);
}

void row_table_add(struct row_table *t, uint32_t host_id, const struct flow_record *r)
{
	(void)sqlite3_clear_bindings(t->insert); /* always SQLITE_OK */
	for (size_t i = 0; i < t->n_columns; i++) {
		const struct flows_column *c = &t->columns[i];
		int at = (int)i + 1;

		if (c->kind == FLOWS_HOST)
			bind_host(t, at, host_id);
		else if (c->kind == FLOWS_PROTO_NAME)
			bind_proto_name(t->insert, at, r);
		else if (c->kind == FLOWS_IP_VERSION)
			bind_number(t->insert, at, addr_is_v4(r->src_addr) ? 4 : 6);
		else if (c->kind == FLOWS_COMMUNITY_ID)
			bind_community_id(t->insert, at, r);
		else if (!bind_listed(t->insert, at, c->column, r))
			bind_other(t->insert, at, c->column, host_id, r);
	}
	need(sqlite3_step(t->insert) == SQLITE_DONE, "a row");
	(void)sqlite3_reset(t->insert); /* went well */
	t->n_rows++;
}

size_t row_table_rows(const struct row_table *t)
{
	return t->n_rows;
}

sqlite3 *row_table_db(const struct row_table *t)
{
	return t->db;
}

const char *row_table_value(struct row_table *t, size_t column, size_t row)
{
	sqlite3_stmt *st = t->value[column];

	if (!st) {
		char *sql = sqlite3_mprintf("SELECT quote(%s) FROM flows WHERE rowid = ?",
					    t->columns[column].name);

		need(sql != NULL, "memory");
		st = t->value[column] = prepare(t->db, sql);
		sqlite3_free(sql);
	}
	need(sqlite3_bind_int64(st, 1, (sqlite3_int64)row + 1) == SQLITE_OK, "bind");
	need(sqlite3_step(st) == SQLITE_ROW, "a value");
	sqlite3_free(t->last);
	t->last = sqlite3_mprintf("%s", (const char *)sqlite3_column_text(st, 0));
	need(t->last != NULL, "memory");
	(void)sqlite3_reset(st); /* gave a row */
	return t->last;
}
