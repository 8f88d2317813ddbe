// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/spool/spool_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/cleanup.h"
#include "proto/frame.h"

#define APPLICATION_ID 0x77656970 /* "weip" */
#define VERSION	       1
#define PAGE_BYTES     4096
/* What a row takes beside the full pages of its frame, of which each has 4 bytes for itself. */
#define ROW_PAGES	  2
#define SMALL_ROW	  900 /* frames up to here share a page */
#define SLACK_PAGES	  16  /* the schema, parents, and what a change of the epochs takes */
#define JOURNAL_MIN_BYTES (128u << 10)
#define JOURNAL_MAX_BYTES (4u << 20)
#define BALLAST_BYTES	  (1u << 20) /* free pages of a new file, for a disk that is full later */

enum statement {
	BEGIN,
	COMMIT,
	ROLLBACK,
	ADD_EPOCH,
	PUT_EPOCH,
	REMOVE_EPOCH,
	REMOVE_EMPTY,
	EPOCHS,
	INSERT,
	SUM,
	REMOVE,
	FIND,
	FIND_BARE,
	PUT_SETTLED,
	SETTLED,
	PAGES,
	FREE_PAGES,
	STATEMENTS,
};

/* A batch is found by epoch and seq in one number: rows lie in the order of sending. */
static const char schema[] =
	"CREATE TABLE epoch (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL,"
	" probe_id BLOB NOT NULL, last_seq INTEGER NOT NULL, sent_seq INTEGER NOT NULL,"
	" batches INTEGER NOT NULL, frame_bytes INTEGER NOT NULL,"
	" rows INTEGER NOT NULL, packets INTEGER NOT NULL, bytes INTEGER NOT NULL,"
	" from_ns INTEGER NOT NULL, until_ns INTEGER NOT NULL) STRICT;"
	"CREATE TABLE batch (id INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL,"
	" kind INTEGER NOT NULL, rows INTEGER NOT NULL, packets INTEGER NOT NULL,"
	" bytes INTEGER NOT NULL, from_ns INTEGER NOT NULL, until_ns INTEGER NOT NULL,"
	" frame BLOB NOT NULL) STRICT;"
	"CREATE TABLE settled (id INTEGER PRIMARY KEY, instance INTEGER NOT NULL,"
	" groups INTEGER NOT NULL) STRICT;"
	"CREATE TABLE ballast (content BLOB) STRICT;";

static const char *const texts[STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[ADD_EPOCH] = "INSERT INTO epoch VALUES ((SELECT ifnull(max(id), 0) + 1 FROM epoch),"
		      " ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
	[PUT_EPOCH] = "INSERT OR REPLACE INTO epoch"
		      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
	[REMOVE_EPOCH] = "DELETE FROM epoch WHERE id = ?1",
	[REMOVE_EMPTY] = "DELETE FROM epoch WHERE batches = 0",
	[EPOCHS] = "SELECT id, epoch, probe_id, last_seq, sent_seq, batches, frame_bytes,"
		   " rows, packets, bytes, from_ns, until_ns FROM epoch ORDER BY id",
	[INSERT] = "INSERT INTO batch VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
	[SUM] = "SELECT count(*), sum(length(frame)), sum(rows), sum(packets), sum(bytes),"
		" min(nullif(from_ns, 0)), max(until_ns) FROM batch WHERE id BETWEEN ?1 AND ?2",
	[REMOVE] = "DELETE FROM batch WHERE id BETWEEN ?1 AND ?2",
	[FIND] = "SELECT id, first_seq, kind, rows, packets, bytes, from_ns, until_ns,"
		 " length(frame), frame"
		 " FROM batch WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1",
	[FIND_BARE] = "SELECT id, first_seq, kind, rows, packets, bytes, from_ns, until_ns,"
		      " length(frame) FROM batch WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1",
	[PUT_SETTLED] = "INSERT OR REPLACE INTO settled VALUES (1, ?1, ?2)",
	[SETTLED] = "SELECT instance, groups FROM settled WHERE id = 1",
	[PAGES] = "PRAGMA page_count",
	[FREE_PAGES] = "PRAGMA freelist_count",
};

struct spool_db {
	sqlite3 *sqlite;
	sqlite3_stmt *statements[STATEMENTS];
	uint64_t max_pages;
	uint8_t *frame; /* of the last find */
	size_t frame_room;
};

static int error_of(int code)
{
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_SCHEMA:
	case SQLITE_ERROR: /* a table or column of ours is not there */
	case SQLITE_MISMATCH:
	case SQLITE_CONSTRAINT:
	case SQLITE_FORMAT:
		return -EBADMSG;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return -EACCES;
	case SQLITE_CANTOPEN:
		return -ENOENT;
	default:
		return -EIO;
	}
}

/* --- one statement -------------------------------------------------------------- */

static sqlite3_stmt *use(struct spool_db *db, enum statement which)
{
	return db->statements[which];
}

/* Done with it: what it borrowed or locked is free again. The error was that of the step. */
static void done(sqlite3_stmt *s)
{
	(void)sqlite3_reset(s);
	(void)sqlite3_clear_bindings(s);
}

static int run(struct spool_db *db, enum statement which)
{
	sqlite3_stmt *s = use(db, which);
	int code = sqlite3_step(s);

	done(s);
	return error_of(code);
}

static void bind(sqlite3_stmt *s, int at, uint64_t value)
{
	(void)sqlite3_bind_int64(s, at, (sqlite3_int64)value); /* fails only for a wrong index */
}

static uint64_t column(sqlite3_stmt *s, int at)
{
	return (uint64_t)sqlite3_column_int64(s, at);
}

static int read_number(struct spool_db *db, enum statement which, uint64_t *ret)
{
	sqlite3_stmt *s = use(db, which);
	int code = sqlite3_step(s);

	if (code == SQLITE_ROW)
		*ret = column(s, 0);
	done(s);
	return code == SQLITE_DONE ? -EBADMSG : error_of(code);
}

static uint64_t row_id(const struct spool_epoch *e, uint64_t seq)
{
	return (uint64_t)e->id << SPOOL_SEQ_BITS | seq;
}

/* --- opening -------------------------------------------------------------------- */

static int exec(struct spool_db *db, const char *sql)
{
	return error_of(sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL));
}

static int pragma_number(struct spool_db *db, const char *sql, uint64_t *ret)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(db->sqlite, sql, -1, &s, NULL);

	if (code == SQLITE_OK)
		code = sqlite3_step(s);
	*ret = code == SQLITE_ROW ? column(s, 0) : 0;
	(void)sqlite3_finalize(s); /* the error of the step again */
	return error_of(code);
}

static uint64_t journal_bytes(uint64_t max_bytes)
{
	uint64_t bytes = max_bytes / 16;

	return bytes < JOURNAL_MIN_BYTES   ? JOURNAL_MIN_BYTES
	       : bytes > JOURNAL_MAX_BYTES ? JOURNAL_MAX_BYTES
					   : bytes;
}

static int set_pragmas(struct spool_db *db, uint64_t journal)
{
	char text[512];

	(void)snprintf(
		text, sizeof(text),
		"PRAGMA page_size=%d; PRAGMA locking_mode=EXCLUSIVE; PRAGMA secure_delete=OFF;"
		"PRAGMA journal_mode=PERSIST; PRAGMA journal_size_limit=%llu;"
		"PRAGMA synchronous=FULL; PRAGMA auto_vacuum=NONE; PRAGMA cache_size=-2048;"
		"PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;"
		"PRAGMA cell_size_check=ON; PRAGMA max_page_count=%llu",
		PAGE_BYTES, (unsigned long long)journal, (unsigned long long)db->max_pages);
	return exec(db, text);
}

/* A new file has some free pages from the start: see BALLAST_BYTES. */
static int create(struct spool_db *db, uint64_t max_bytes)
{
	uint64_t ballast = max_bytes / 4 < BALLAST_BYTES ? max_bytes / 4 : BALLAST_BYTES;
	char text[256];
	int err;

	(void)snprintf(text, sizeof(text),
		       "INSERT INTO ballast VALUES (zeroblob(%llu)); PRAGMA application_id=%d;"
		       "PRAGMA user_version=%d; COMMIT; DELETE FROM ballast",
		       (unsigned long long)ballast, APPLICATION_ID, VERSION);
	err = exec(db, "BEGIN IMMEDIATE");
	if (!err)
		err = exec(db, schema);
	if (!err)
		err = exec(db, text);
	if (err && !sqlite3_get_autocommit(db->sqlite))
		(void)exec(db, "ROLLBACK"); /* or by the next who opens it */
	return err;
}

/* Ours and of this version, or empty and then made ours. */
static int recognise(struct spool_db *db, uint64_t max_bytes)
{
	uint64_t application, version, tables;
	int err;

	err = exec(db, "BEGIN IMMEDIATE; COMMIT"); /* takes the lock, rolls back what is hot */
	if (!err)
		err = pragma_number(db, "PRAGMA application_id", &application);
	if (!err)
		err = pragma_number(db, "PRAGMA user_version", &version);
	if (!err)
		err = pragma_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
	if (err)
		return err;
	if (tables == 0 && application == 0)
		return create(db, max_bytes);
	return application == APPLICATION_ID && version == VERSION ? 0 : -EBADMSG;
}

/* The journal has its space from now on. Failing that, a full disk stops us earlier. */
static void allocate_journal(const char *path, uint64_t bytes)
{
	cleanup(free_p) char *name = NULL;
	cleanup(close_p) int fd = -1;

	if (strcmp(path, SPOOL_IN_MEMORY) == 0)
		return;
	if (asprintf(&name, "%s-journal", path) < 0) {
		name = NULL; /* unspecified after a failure */
		return;
	}
	fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		(void)fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes);
}

static int prepare(struct spool_db *db)
{
	for (int i = 0; i < STATEMENTS; i++) {
		int code = sqlite3_prepare_v3(db->sqlite, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
					      &db->statements[i], NULL);

		if (code != SQLITE_OK)
			return error_of(code);
	}
	return 0;
}

static int open_file(struct spool_db *db, const char *path, uint64_t max_bytes)
{
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
			  SQLITE_OPEN_PRIVATECACHE;
	uint64_t journal = journal_bytes(max_bytes);
	int err;

	db->max_pages = (max_bytes - journal) / PAGE_BYTES;
	err = error_of(sqlite3_open_v2(path, &db->sqlite, flags, NULL));
	if (err)
		return err;
	(void)sqlite3_extended_result_codes(db->sqlite, 1);
	(void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	err = set_pragmas(db, journal);
	if (!err)
		err = recognise(db, max_bytes);
	if (!err)
		err = prepare(db);
	if (!err)
		allocate_journal(path, journal);
	return err;
}

int spool_db_open(const char *path, uint64_t max_bytes, struct spool_db **ret)
{
	struct spool_db *db;
	int err;

	if (max_bytes < SPOOL_MIN_BYTES)
		return -EINVAL;
	db = calloc(1, sizeof(*db));
	if (!db)
		return -ENOMEM;
	err = open_file(db, path, max_bytes);
	if (err) {
		spool_db_close(db);
		return err;
	}
	*ret = db;
	return 0;
}

void spool_db_close(struct spool_db *db)
{
	if (!db)
		return;
	for (int i = 0; i < STATEMENTS; i++)
		(void)sqlite3_finalize(db->statements[i]); /* the last step's error again */
	(void)sqlite3_close(db->sqlite);		   /* no statement is left: cannot fail */
	free(db->frame);
	free(db);
}

/* --- changing -------------------------------------------------------------------- */

int spool_db_begin(struct spool_db *db)
{
	return run(db, BEGIN);
}

int spool_db_commit(struct spool_db *db)
{
	return run(db, COMMIT);
}

void spool_db_rollback(struct spool_db *db)
{
	if (!sqlite3_get_autocommit(db->sqlite)) /* else the error has done it */
		(void)run(db, ROLLBACK);
}

static void bind_load(sqlite3_stmt *s, int at, const struct spool_load *load)
{
	bind(s, at, load->rows);
	bind(s, at + 1, load->packets);
	bind(s, at + 2, load->bytes);
	bind(s, at + 3, load->from_ns);
	bind(s, at + 4, load->until_ns);
}

static struct spool_load column_load(sqlite3_stmt *s, int at)
{
	return (struct spool_load){column(s, at), column(s, at + 1), column(s, at + 2),
				   column(s, at + 3), column(s, at + 4)};
}

static void bind_epoch(sqlite3_stmt *s, const struct spool_epoch *e)
{
	bind(s, 2, e->epoch);
	(void)sqlite3_bind_blob(s, 3, e->probe_id, sizeof(e->probe_id), SQLITE_STATIC);
	bind(s, 4, e->last_seq);
	bind(s, 5, e->sent_seq);
	bind(s, 6, e->batches);
	bind(s, 7, e->frame_bytes);
	bind_load(s, 8, &e->load);
}

int spool_db_add_epoch(struct spool_db *db, struct spool_epoch *e)
{
	sqlite3_int64 id;
	int err;

	bind_epoch(use(db, ADD_EPOCH), e);
	err = run(db, ADD_EPOCH);
	if (err)
		return err;
	id = sqlite3_last_insert_rowid(db->sqlite);
	if (id < 1 || id > SPOOL_MAX_ID)
		return -EBADMSG;
	e->id = (uint32_t)id;
	return 0;
}

int spool_db_put_epoch(struct spool_db *db, const struct spool_epoch *e)
{
	bind(use(db, PUT_EPOCH), 1, e->id);
	bind_epoch(use(db, PUT_EPOCH), e);
	return run(db, PUT_EPOCH);
}

int spool_db_remove_epoch(struct spool_db *db, const struct spool_epoch *e)
{
	bind(use(db, REMOVE_EPOCH), 1, e->id);
	return run(db, REMOVE_EPOCH);
}

int spool_db_remove_empty(struct spool_db *db)
{
	return run(db, REMOVE_EMPTY);
}

int spool_db_insert(struct spool_db *db, const struct spool_epoch *e, const struct spool_row *row)
{
	sqlite3_stmt *s = use(db, INSERT);

	bind(s, 1, row_id(e, row->seq));
	bind(s, 2, row->first_seq);
	bind(s, 3, row->kind);
	bind_load(s, 4, &row->load);
	(void)sqlite3_bind_blob64(s, 9, row->frame, row->len, SQLITE_STATIC);
	return run(db, INSERT);
}

static int sum_of(struct spool_db *db, uint64_t first_id, uint64_t last_id, struct spool_sum *ret)
{
	sqlite3_stmt *s = use(db, SUM);
	int code;

	bind(s, 1, first_id);
	bind(s, 2, last_id);
	code = sqlite3_step(s);
	if (code == SQLITE_ROW)
		*ret = (struct spool_sum){
			.batches = column(s, 0),
			.frame_bytes = column(s, 1),
			.load = column_load(s, 2),
		};
	done(s);
	return error_of(code);
}

int spool_db_remove(struct spool_db *db, const struct spool_epoch *e, uint64_t first, uint64_t last,
		    struct spool_sum *ret_removed)
{
	struct spool_sum sum = {0};
	int err = 0;

	if (ret_removed)
		err = sum_of(db, row_id(e, first), row_id(e, last), &sum);
	if (err)
		return err;
	bind(use(db, REMOVE), 1, row_id(e, first));
	bind(use(db, REMOVE), 2, row_id(e, last));
	err = run(db, REMOVE);
	if (!err && ret_removed)
		*ret_removed = sum;
	return err;
}

int spool_db_put_settled(struct spool_db *db, const struct spool_settled *settled)
{
	bind(use(db, PUT_SETTLED), 1, settled->instance);
	bind(use(db, PUT_SETTLED), 2, settled->group);
	return run(db, PUT_SETTLED);
}

/* --- reading --------------------------------------------------------------------- */

static int read_epoch(sqlite3_stmt *s, struct spool_epoch *ret)
{
	uint64_t id = column(s, 0);
	const void *probe_id = sqlite3_column_blob(s, 2);

	if (id < 1 || id > SPOOL_MAX_ID || !probe_id ||
	    sqlite3_column_bytes(s, 2) != PROBE_ID_BYTES)
		return -EBADMSG;
	*ret = (struct spool_epoch){
		.id = (uint32_t)id,
		.epoch = column(s, 1),
		.last_seq = column(s, 3),
		.sent_seq = column(s, 4),
		.batches = column(s, 5),
		.frame_bytes = column(s, 6),
		.load = column_load(s, 7),
	};
	memcpy(ret->probe_id, probe_id, PROBE_ID_BYTES);
	return ret->last_seq >> SPOOL_SEQ_BITS || ret->sent_seq > ret->last_seq ? -EBADMSG : 0;
}

int spool_db_epochs(struct spool_db *db, int (*fn)(const struct spool_epoch *e, void *arg),
		    void *arg)
{
	sqlite3_stmt *s = use(db, EPOCHS);
	struct spool_epoch e;
	int code, err = 0;

	while (!err && (code = sqlite3_step(s)) == SQLITE_ROW) {
		err = read_epoch(s, &e);
		if (!err)
			err = fn(&e, arg);
	}
	if (!err)
		err = error_of(code);
	done(s);
	return err;
}

static int copy_frame(struct spool_db *db, sqlite3_stmt *s, struct spool_row *row)
{
	const void *blob = sqlite3_column_blob(s, 9);
	uint8_t *bigger;

	if (!blob || row->len == 0 || row->len > FRAME_MAX_BYTES ||
	    (size_t)sqlite3_column_bytes(s, 9) != row->len)
		return -EBADMSG;
	if (row->len > db->frame_room) {
		bigger = realloc(db->frame, row->len);
		if (!bigger)
			return -ENOMEM;
		db->frame = bigger;
		db->frame_room = row->len;
	}
	memcpy(db->frame, blob, row->len);
	row->frame = db->frame;
	return 0;
}

static int read_row(struct spool_db *db, sqlite3_stmt *s, bool want_frame, struct spool_row *ret)
{
	struct spool_row row = {
		.seq = column(s, 0) & ((1ull << SPOOL_SEQ_BITS) - 1),
		.first_seq = column(s, 1),
		.kind = (enum spool_kind)column(s, 2),
		.load = column_load(s, 3),
		.len = column(s, 8),
	};
	int err = want_frame ? copy_frame(db, s, &row) : 0;

	if (!err && (row.first_seq == 0 || row.first_seq > row.seq || row.kind > SPOOL_DAMAGED))
		err = -EBADMSG;
	if (!err)
		*ret = row;
	return err;
}

int spool_db_find(struct spool_db *db, const struct spool_epoch *e, uint64_t from, bool want_frame,
		  struct spool_row *ret)
{
	sqlite3_stmt *s = use(db, want_frame ? FIND : FIND_BARE);
	int code, err;

	bind(s, 1, row_id(e, from));
	bind(s, 2, row_id(e, (1ull << SPOOL_SEQ_BITS) - 1));
	code = sqlite3_step(s);
	err = code == SQLITE_ROW    ? read_row(db, s, want_frame, ret)
	      : code == SQLITE_DONE ? -ENOENT
				    : error_of(code);
	done(s);
	return err;
}

int spool_db_settled(struct spool_db *db, struct spool_settled *ret)
{
	sqlite3_stmt *s = use(db, SETTLED);
	int code = sqlite3_step(s);

	*ret = (struct spool_settled){0};
	if (code == SQLITE_ROW)
		*ret = (struct spool_settled){column(s, 0), column(s, 1)};
	done(s);
	return error_of(code);
}

/* --- room ------------------------------------------------------------------------ */

uint64_t spool_db_cost(size_t len)
{
	return (len <= SMALL_ROW ? 1 : len / (PAGE_BYTES - 4) + ROW_PAGES) * PAGE_BYTES;
}

int64_t spool_db_room(struct spool_db *db)
{
	uint64_t pages = 0, unused = 0;

	if (read_number(db, PAGES, &pages) != 0 || read_number(db, FREE_PAGES, &unused) != 0)
		return 0;
	return ((int64_t)db->max_pages - (int64_t)pages + (int64_t)unused - SLACK_PAGES) *
	       PAGE_BYTES;
}
