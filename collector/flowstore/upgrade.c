// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/upgrade.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/flow_writer.h"
#include "collector/flowstore/segment.h"
#include "collector/sqlite/db_error.h"
#include "collector/sqlite/statement.h"
#include "common/addr.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/progress.h"
#include "proto/flow_block.h"

#define STEP_ROWS 16384 /* 25 MB of records */

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)
DEFINE_CLEANUP(struct flow_writer *, flow_writer_close)
DEFINE_CLEANUP(struct segment *, segment_free)
DEFINE_CLEANUP(struct column_codec *, column_codec_free)

struct upgrade {
	sqlite3 *db;
	struct flow_writer *writer;
	struct column_codec *codec;
	struct flow_record *rows;
	uint32_t *host_ids;
	size_t n;
	int64_t last_id;
	uint64_t moved;
};

/* --- a row of before as a record ---------------------------------------------------- */

static void get_addr(sqlite3_stmt *st, int i, uint8_t ret[16])
{
	const char *text = (const char *)sqlite3_column_text(st, i);

	if (text && addr_parse(text, ret) != 0)
		memset(ret, 0, 16);
}

static void get_hist(sqlite3_stmt *st, int i, uint16_t hist[RTT_BUCKETS])
{
	const char *at = (const char *)sqlite3_column_text(st, i);

	for (size_t b = 0; at && *at && b < RTT_BUCKETS; b++) {
		char *end;

		hist[b] = (uint16_t)strtoul(at, &end, 10);
		at = *end == ',' ? end + 1 : end;
	}
}

static void get_text(sqlite3_stmt *st, int i, char *ret, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(st, i);

	(void)snprintf(ret, size, "%s", text ? text : "");
}

/* What has its own column in every record. */
static void get_column(sqlite3_stmt *st, int i, enum flow_column c, struct flow_record *r)
{
	switch (c) {
	case FLOW_COLUMN_src_addr:
		get_addr(st, i, r->src_addr);
		break;
	case FLOW_COLUMN_dst_addr:
		get_addr(st, i, r->dst_addr);
		break;
	case FLOW_COLUMN_outer_src_addr:
		get_addr(st, i, r->outer_src_addr);
		break;
	case FLOW_COLUMN_outer_dst_addr:
		get_addr(st, i, r->outer_dst_addr);
		break;
	case FLOW_COLUMN_data_rtt_hist:
		get_hist(st, i, r->data_rtt_hist);
		break;
	case FLOW_COLUMN_rev_data_rtt_hist:
		get_hist(st, i, r->rev_data_rtt_hist);
		break;
	case FLOW_COLUMN_start_ms:
		r->start_ns = (uint64_t)sqlite3_column_int64(st, i) * NS_PER_MS;
		break;
	case FLOW_COLUMN_duration_us: /* behind start_ms in the table */
		r->end_ns = r->start_ns + (uint64_t)sqlite3_column_int64(st, i) * NS_PER_US;
		break;
#define GET(name, max, has)                                                                        \
	case FLOW_COLUMN_##name:                                                                   \
		r->name = (__typeof__(r->name))sqlite3_column_int64(st, i);                        \
		break;
		FLOW_COLUMNS(GET)
#define GET_TEXT(name, max, has)                                                                   \
	case FLOW_COLUMN_##name:                                                                   \
		get_text(st, i, r->name, max);                                                     \
		break;
		FLOW_TEXTS(GET_TEXT)
	default:
		break;
	}
}

static void get_row(struct upgrade *u, sqlite3_stmt *st)
{
	struct flow_record *r = &u->rows[u->n];

	memset(r, 0, sizeof(*r));
	for (int i = 0; i < sqlite3_column_count(st); i++) {
		const char *name = sqlite3_column_name(st, i);
		int c = flow_column_find(name);

		if (strcmp(name, "id") == 0)
			u->last_id = sqlite3_column_int64(st, i);
		else if (strcmp(name, "host_id") == 0)
			u->host_ids[u->n] = (uint32_t)sqlite3_column_int64(st, i);
		else if (strcmp(name, "dns_rcode") == 0 &&
			 sqlite3_column_type(st, i) == SQLITE_NULL)
			r->dns_rcode = DNS_RCODE_NONE;
		else if (c >= 0)
			get_column(st, i, (enum flow_column)c, r);
	}
	u->n++;
}

/* --- steps --------------------------------------------------------------------------- */

static int read_rows(struct upgrade *u)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int rc, err = statement_prepare(u->db, "SELECT * FROM flow_row ORDER BY id LIMIT ?", &st);

	u->n = 0;
	if (err)
		return err;
	(void)sqlite3_bind_int(st, 1, STEP_ROWS); /* a parameter that is there */
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		get_row(u, st);
	return rc == SQLITE_DONE ? 0 : db_last_errno(u->db);
}

static int make_segment(struct upgrade *u, struct segment **ret)
{
	struct flow_columns columns = {{0}};
	struct flow_parts parts;
	struct flow_block b;
	int err = flow_block_from_rows(u->rows, u->n, &b);

	if (err)
		return err;
	memcpy(FLOW_COL_U32(&b, host_id), u->host_ids, u->n * sizeof(*u->host_ids));
	err = flow_block_encode(u->codec, &b, COLUMN_SMALL, &parts);
	flow_block_done(&b);
	if (err)
		return err;
	zone_columns(&columns); /* as they are kept: times are not always as exact */
	err = flow_parts_decode(u->codec, &parts, &columns, &b, NULL);
	if (!err) {
		err = segment_new(&parts, &b, ret);
		flow_block_done(&b);
	}
	flow_parts_done(&parts);
	return err == -EBADMSG ? -EINVAL : err;
}

static int move_rows(struct upgrade *u)
{
	cleanup(segment_free_p) struct segment *s = NULL;
	char sql[80];
	int err = make_segment(u, &s);

	(void)snprintf(sql, sizeof(sql), "DELETE FROM flow_row WHERE id <= %" PRIi64, u->last_id);
	if (!err)
		err = statement_exec(u->db, "BEGIN IMMEDIATE");
	if (err)
		return err;
	err = flow_writer_segment(u->writer, s);
	if (!err)
		err = statement_exec(u->db, sql);
	if (!err)
		err = statement_exec(u->db, "COMMIT");
	if (err && !sqlite3_get_autocommit(u->db))
		(void)statement_exec(u->db, "ROLLBACK"); /* err already says what went wrong */
	return err;
}

/* The number of the last row. */
static int read_last(struct upgrade *u, int64_t *ret)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int err = statement_prepare(u->db, "SELECT max(id) FROM flow_row", &st);

	if (err)
		return err;
	if (sqlite3_step(st) != SQLITE_ROW)
		return db_last_errno(u->db);
	*ret = sqlite3_column_int64(st, 0);
	return 0;
}

static int move_all(struct upgrade *u)
{
	struct progress bar = progress_begin("moving flow records into columns", false);
	int64_t last = 0, before = 0;
	int err = read_last(u, &last);

	if (!err)
		err = read_rows(u);
	if (!err && u->n) {
		log_info("moving flow records into columns");
		before = u->last_id - (int64_t)u->n;
	}
	while (!err && u->n) {
		err = move_rows(u);
		u->moved += u->n;
		progress_show(&bar, (uint64_t)(u->last_id - before), (uint64_t)(last - before));
		if (!err)
			err = read_rows(u);
	}
	progress_end(&bar);
	if (!err && u->moved)
		log_info("%" PRIu64 " flow records moved", u->moved);
	return err ? err : statement_exec(u->db, "DROP TABLE flow_row");
}

/* Returns 1, 0 or an error. */
static int has_rows(struct upgrade *u)
{
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int rc, err = statement_prepare(u->db,
					"SELECT 1 FROM sqlite_schema WHERE name = 'flow_row'", &st);

	if (err)
		return err;
	rc = sqlite3_step(st);
	return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : db_last_errno(u->db);
}

int upgrade_rows(sqlite3 *db)
{
	cleanup(flow_writer_close_p) struct flow_writer *writer = NULL;
	cleanup(column_codec_free_p) struct column_codec *codec = NULL;
	cleanup(free_p) struct flow_record *rows = NULL;
	cleanup(free_p) uint32_t *host_ids = NULL;
	struct upgrade u = {.db = db};
	int err = has_rows(&u);

	if (err <= 0)
		return err;
	err = flow_writer_open(db, &writer);
	if (!err)
		err = column_codec_new(STEP_ROWS, &codec);
	u.rows = rows = malloc(STEP_ROWS * sizeof(*rows));
	u.host_ids = host_ids = malloc(STEP_ROWS * sizeof(*host_ids));
	if (!err && (!rows || !host_ids))
		err = -ENOMEM;
	u.writer = writer;
	u.codec = codec;
	return err ? err : move_all(&u);
}
