// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/bench-store/peer.h"

#include <errno.h>
#include <stdlib.h>

#include <sqlite3.h>

#include "collector/flowstore/segment.h"
#include "collector/store/db.h"
#include "common/addr.h"
#include "proto/flow_block.h"
#include "proto/flow_words.h"

/* Those of the collector's own connection. */
#define PRAGMAS                                                                                    \
	"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"                                    \
	"PRAGMA wal_autocheckpoint = 500; PRAGMA journal_size_limit = 33554432;"

struct peer_of_rows {
	struct peer base;
	sqlite3 *db;
	sqlite3_stmt *insert;
};

static int exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_last_errno(db);
}

static bool is_number(enum flow_column c)
{
	enum flow_kind kind = flow_column_info[c].kind;

	return (kind == FLOW_U32 || kind == FLOW_U64) && !flow_words_of(c);
}

static int make_table(sqlite3 *db)
{
	sqlite3_str *sql = sqlite3_str_new(db);
	char *text;
	int err;

	sqlite3_str_appendf(sql, "PRAGMA page_size = %d;" PRAGMAS "CREATE TABLE flow (",
			    SEGMENT_PAGE_BYTES);
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		sqlite3_str_appendf(sql, "%s%s %s", c ? ", " : "", flow_column_info[c].name,
				    is_number(c)			    ? "INTEGER"
				    : flow_column_info[c].kind == FLOW_HIST ? "BLOB"
									    : "TEXT");
	sqlite3_str_appendall(sql, ") STRICT; CREATE INDEX flow_by_end ON flow (end_ms)");
	text = sqlite3_str_finish(sql);
	err = text ? exec(db, text) : -ENOMEM;
	sqlite3_free(text);
	return err;
}

static int prepare_insert(struct peer_of_rows *p)
{
	sqlite3_str *sql = sqlite3_str_new(p->db);
	char *text;
	int err = 0;

	sqlite3_str_appendall(sql, "INSERT INTO flow VALUES (?");
	for (unsigned c = 1; c < FLOW_N_COLUMNS; c++)
		sqlite3_str_appendall(sql, ", ?");
	sqlite3_str_appendall(sql, ")");
	text = sqlite3_str_finish(sql);
	if (!text)
		err = -ENOMEM;
	else if (sqlite3_prepare_v2(p->db, text, -1, &p->insert, NULL) != SQLITE_OK)
		err = db_last_errno(p->db);
	sqlite3_free(text);
	return err;
}

static void close_rows(struct peer *peer)
{
	struct peer_of_rows *p = (struct peer_of_rows *)peer;

	(void)sqlite3_finalize(p->insert); /* repeats an old error at most */
	(void)sqlite3_close(p->db);	   /* nothing is open any more */
	free(p);
}

static int open_rows(const struct peer_settings *settings, struct peer **ret)
{
	struct peer_of_rows *p = calloc(1, sizeof(*p));
	int err = 0;

	if (!p)
		return -ENOMEM;
	p->base.kind = &peer_rows;
	if (sqlite3_open(settings->to, &p->db) != SQLITE_OK)
		err = db_last_errno(p->db);
	if (!err)
		err = make_table(p->db);
	if (!err)
		err = prepare_insert(p);
	if (!err)
		err = exec(p->db, "BEGIN");
	if (err) {
		close_rows(&p->base);
		return err;
	}
	*ret = &p->base;
	return 0;
}

static void bind_number(sqlite3_stmt *st, int at, const struct flow_block *b, unsigned c, size_t i)
{
	if (flow_column_info[c].kind == FLOW_U64)
		(void)sqlite3_bind_int64(st, at, (sqlite3_int64)b->column[c].u64[i]);
	else
		(void)sqlite3_bind_int64(st, at, b->column[c].u32[i]);
}

/* Failures of bind cannot be: the statement is reset, and no value is too long. Texts are borrowed
 * until it has run. */
static void bind_value(sqlite3_stmt *st, const struct peer_chunk *k, unsigned c, size_t i,
		       const char *text)
{
	const union flow_array a = k->block.column[c];
	int at = (int)c + 1;
	char word[FLOW_WORD_MAX];

	if (!peer_chunk_has(k, c, i))
		(void)sqlite3_bind_null(st, at);
	else if (flow_words_of(c))
		(void)sqlite3_bind_text(st, at, flow_word(c, a.u32[i], word), -1, SQLITE_TRANSIENT);
	else if (flow_column_info[c].kind == FLOW_HIST)
		(void)sqlite3_bind_blob(st, at, a.hist[i], sizeof(a.hist[i]), SQLITE_STATIC);
	else if (text)
		(void)sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC);
	else
		bind_number(st, at, &k->block, c, i);
}

static int insert_row(struct peer_of_rows *p, const struct peer_chunk *k, size_t i)
{
	char addrs[FLOW_N_COLUMNS][ADDR_TEXT_MAX];

	(void)sqlite3_bind_int64(p->insert, 1, k->host_ids[i]);
	for (unsigned c = 1; c < FLOW_N_COLUMNS; c++) {
		const char *text = NULL;

		if (flow_column_info[c].kind == FLOW_ADDR && peer_chunk_has(k, c, i))
			text = addr_format(k->block.addrs[k->block.column[c].u32[i]], addrs[c]);
		if (flow_column_info[c].kind == FLOW_TEXT)
			text = k->block.texts[k->block.column[c].u32[i]];
		bind_value(p->insert, k, c, i, text);
	}
	if (sqlite3_step(p->insert) != SQLITE_DONE)
		return db_last_errno(p->db);
	(void)sqlite3_reset(p->insert); /* repeats an old error at most */
	return 0;
}

static int put_rows(struct peer *peer, const struct peer_chunk *chunk)
{
	int err = 0;

	for (size_t i = 0; !err && i < chunk->n; i++)
		err = insert_row((struct peer_of_rows *)peer, chunk, i);
	return err;
}

static int commit_rows(struct peer *peer)
{
	return exec(((struct peer_of_rows *)peer)->db, "COMMIT; BEGIN");
}

const struct peer_kind peer_rows = {
	.name = "rows",
	.open = open_rows,
	.put = put_rows,
	.commit = commit_rows,
	.close = close_rows,
};
