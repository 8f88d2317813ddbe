// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/compactor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/fresh_cache.h"
#include "collector/flowstore/merge.h"
#include "collector/flowstore/segment.h"
#include "collector/sqlite/db_error.h"
#include "collector/sqlite/statement.h"
#include "common/cleanup.h"
#include "common/failpoint.h"
#include "common/log.h"
#include "proto/message.h"

#define MAX_DAMAGED 1024

enum statement {
	LIST,
	GET_FRESH,
	IS_FRESH,
	LAST_ID,
	LAST_SEGMENT,
	GET_HEAD,
	GET_COLUMN,
	N_STATEMENTS
};

static const char *const statement_sql[N_STATEMENTS] = {
	[LIST] = "SELECT id, host_id, n_rows FROM flow_fresh WHERE id > ? ORDER BY id",
	[GET_FRESH] = "SELECT data, id FROM flow_fresh WHERE id BETWEEN ? AND ? ORDER BY id",
	[IS_FRESH] = "SELECT 1 FROM flow_fresh WHERE id = ?",
	[LAST_ID] = "SELECT seq FROM sqlite_sequence WHERE name = 'flow_segment'",
	[LAST_SEGMENT] = ("SELECT id, n_rows FROM flow_segment"
			  " WHERE id > (SELECT segment_id FROM rollup_state)"
			  " ORDER BY id DESC LIMIT 1"),
	[GET_HEAD] = "SELECT head FROM flow_segment WHERE id = ?",
	[GET_COLUMN] = "SELECT data FROM flow_column WHERE id = ?",
};

/* Fresh batches that are not in a segment yet, in the order of their ids. */
struct fresh {
	int64_t id;
	uint32_t host_id;
	size_t n_rows;
};

/* A blob that is merged, and where it came from. */
struct source {
	bool fresh;
	int64_t id;
	uint8_t **blobs; /* of all its parts */
	size_t n_blobs;
};

struct compactor {
	sqlite3 *db;
	size_t wanted_rows, max_fresh;
	struct column_codec *codec;
	sqlite3_stmt *st[N_STATEMENTS];
	struct fresh *fresh;
	size_t n_fresh, max_list;
	size_t n_rows;	     /* of all in fresh */
	int64_t handed_over; /* up to this id, fresh batches are on their way into segments */
	int64_t damaged[MAX_DAMAGED];
	size_t n_damaged;
	/* Of the segment that is being made. */
	struct source *sources;
	struct merge_input *inputs;
	struct merge_memory *memory;
	size_t n_sources, max_sources;
	struct flow_columns columns; /* that are kept of it */
	struct merged merged;
	int64_t last_id;
	struct fresh_cache *cache; /* NULL: none */
	int64_t taken;		   /* no batch up to this one is in no segment; 0: not known */
};

DEFINE_CLEANUP(struct compactor *, compactor_free)
DEFINE_CLEANUP(struct segment *, segment_free)

int compactor_new(sqlite3 *db, size_t rows, size_t batches, struct compactor **ret)
{
	cleanup(compactor_free_p) struct compactor *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->db = db;
	c->wanted_rows = rows ? rows : SEGMENT_ROWS;
	c->max_fresh = batches ? batches : COMPACT_MAX_FRESH;
	zone_columns(&c->columns);
	err = column_codec_new(FLOW_BLOCK_MAX_ROWS, &c->codec);
	if (!err)
		err = statements_prepare(db, statement_sql, N_STATEMENTS, c->st);
	if (err)
		return err;
	*ret = take_ptr(c);
	return 0;
}

static void drop_sources(struct compactor *c)
{
	while (c->n_sources > 0) {
		struct source *s = &c->sources[--c->n_sources];

		for (size_t i = 0; i < s->n_blobs; i++)
			free(s->blobs[i]);
		free(s->blobs);
	}
}

void compactor_free(struct compactor *c)
{
	if (!c)
		return;
	drop_sources(c);
	statements_finalize(c->st, N_STATEMENTS);
	column_codec_free(c->codec);
	free(c->fresh);
	free(c->sources);
	free(c->inputs);
	merge_memory_free(c->memory);
	free(c);
}

/* --- what there is ----------------------------------------------------------------- */

static bool is_damaged(const struct compactor *c, int64_t id)
{
	for (size_t i = 0; i < c->n_damaged; i++)
		if (c->damaged[i] == id)
			return true;
	return false;
}

static int add_fresh(struct compactor *c, const struct fresh *f)
{
	if (c->n_fresh == c->max_list) {
		size_t max = c->max_list ? 2 * c->max_list : 256;
		struct fresh *list = realloc(c->fresh, max * sizeof(*list));

		if (!list)
			return -ENOMEM;
		c->fresh = list;
		c->max_list = max;
	}
	c->fresh[c->n_fresh++] = *f;
	c->n_rows += f->n_rows;
	return 0;
}

/* The oldest fresh batches, as many as one segment takes. */
static int read_list(struct compactor *c)
{
	int rc = SQLITE_DONE, err = 0;

	c->n_fresh = c->n_rows = 0;
	(void)sqlite3_bind_int64(c->st[LIST], 1, c->handed_over); /* a parameter that is there */
	while (!err && c->n_rows < c->wanted_rows &&
	       (rc = sqlite3_step(c->st[LIST])) == SQLITE_ROW) {
		struct fresh f = {sqlite3_column_int64(c->st[LIST], 0),
				  (uint32_t)sqlite3_column_int64(c->st[LIST], 1),
				  (size_t)sqlite3_column_int64(c->st[LIST], 2)};

		if (!is_damaged(c, f.id))
			err = add_fresh(c, &f);
	}
	if (!err && rc != SQLITE_DONE && rc != SQLITE_ROW)
		err = db_last_errno(c->db);
	(void)sqlite3_reset(c->st[LIST]); /* repeats the code of the step */
	return err;
}

/* --- reading it ------------------------------------------------------------------------ */

static struct source *add_source(struct compactor *c, bool fresh, int64_t id)
{
	if (c->n_sources == c->max_sources) {
		size_t max = c->max_sources ? 2 * c->max_sources : 64;
		struct source *sources = realloc(c->sources, max * sizeof(*sources));
		struct merge_input *inputs;

		if (!sources)
			return NULL;
		c->sources = sources;
		inputs = realloc(c->inputs, max * sizeof(*inputs));
		if (!inputs)
			return NULL;
		c->inputs = inputs;
		c->max_sources = max;
	}
	c->sources[c->n_sources] = (struct source){.fresh = fresh, .id = id};
	c->sources[c->n_sources].blobs = calloc(FLOW_N_PARTS + 1, sizeof(uint8_t *));
	return c->sources[c->n_sources].blobs ? &c->sources[c->n_sources++] : NULL;
}

/* Keeps a copy of the blob that is the first column of the row. Returns 1 or an error. */
static int copy_blob(struct compactor *c, sqlite3_stmt *st, struct source *s, size_t *ret_len)
{
	size_t len = (size_t)sqlite3_column_bytes(st, 0);
	const void *data = sqlite3_column_blob(st, 0);
	uint8_t *copy = malloc(len + 1);

	if (!copy || !data) {
		free(copy);
		return data || !len ? -ENOMEM : db_last_errno(c->db);
	}
	memcpy(copy, data, len);
	s->blobs[s->n_blobs++] = copy;
	*ret_len = len;
	return 1;
}

/* The same of the row with that id. Returns 1, 0 if there is none, or an error. */
static int read_blob(struct compactor *c, sqlite3_stmt *st, int64_t id, struct source *s,
		     size_t *ret_len)
{
	int rc, err = 0;

	(void)sqlite3_bind_int64(st, 1, id); /* a parameter that is there */
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		err = copy_blob(c, st, s, ret_len);
	else if (rc != SQLITE_DONE)
		err = db_last_errno(c->db);
	(void)sqlite3_reset(st); /* repeats the code of the step */
	return err;
}

/* Returns 1, 0 for one that cannot be used (and is named), or an error. */
static int note_damaged(struct compactor *c, const struct source *s, const char *why)
{
	log_warn("damaged: %s %" PRIi64 ": %s; it is left as it is",
		 s->fresh ? "fresh batch" : "segment", s->id, why ? why : "cannot be read");
	if (c->n_damaged < MAX_DAMAGED)
		c->damaged[c->n_damaged++] = s->fresh ? s->id : -s->id;
	return 0;
}

/* Opens the blob of the last source. 1, 0 if it is damaged, or an error. */
static int open_batch(struct compactor *c, uint32_t host_id, size_t len)
{
	struct source *s = &c->sources[c->n_sources - 1];
	struct merge_input *in = &c->inputs[c->n_sources - 1];
	const char *why = NULL;

	in->host_id = host_id;
	return flow_parts_open(s->blobs[0], len, &in->parts, &why) ? note_damaged(c, s, why) : 1;
}

/* The one that GET_FRESH is at. */
static int open_fresh(struct compactor *c, const struct fresh *f)
{
	struct source *s = add_source(c, true, f->id);
	size_t len = 0;
	int err;

	if (!s)
		return -ENOMEM;
	err = copy_blob(c, c->st[GET_FRESH], s, &len);
	return err < 0 ? err : open_batch(c, f->host_id, len);
}

/* All of the list, which was read in the same transaction. 1, 0 if one is damaged, or an error. */
static int open_all_fresh(struct compactor *c)
{
	sqlite3_stmt *st = c->st[GET_FRESH];
	size_t n = 0;
	int err = 1;

	(void)sqlite3_bind_int64(st, 1, c->fresh[0].id); /* parameters that are there */
	(void)sqlite3_bind_int64(st, 2, c->fresh[c->n_fresh - 1].id);
	while (err > 0 && n < c->n_fresh && sqlite3_step(st) == SQLITE_ROW)
		if (sqlite3_column_int64(st, 1) == c->fresh[n].id) /* else known to be damaged */
			err = open_fresh(c, &c->fresh[n++]);
	if (err > 0 && n < c->n_fresh)
		err = db_last_errno(c->db);
	(void)sqlite3_reset(st); /* repeats the code of the step */
	return err;
}

static int open_segment_parts(struct compactor *c, struct source *s, struct flow_parts *parts)
{
	for (unsigned p = 0; p < FLOW_N_PARTS; p++) {
		int64_t id = segment_column_id(s->id, parts, p);
		size_t len = 0;
		int err;

		if (!parts->part[p].elsewhere)
			continue;
		err = read_blob(c, c->st[GET_COLUMN], id, s, &len);
		if (err < 0)
			return err;
		if (err == 0 || !segment_column_open(s->blobs[s->n_blobs - 1], len, &len) ||
		    len != parts->part[p].len)
			return note_damaged(c, s, "a column is missing or damaged");
		parts->part[p].data = s->blobs[s->n_blobs - 1];
		parts->part[p].elsewhere = false;
	}
	return 1;
}

static int open_segment(struct compactor *c, int64_t id)
{
	struct source *s = add_source(c, false, id);
	struct merge_input *in;
	const char *why = NULL;
	size_t len = 0;
	int err;

	if (!s)
		return -ENOMEM;
	err = read_blob(c, c->st[GET_HEAD], id, s, &len);
	if (err <= 0)
		return err < 0 ? err : -EAGAIN;
	in = &c->inputs[c->n_sources - 1];
	in->host_id = 0;
	err = flow_parts_open(s->blobs[0], len, &in->parts, &why);
	return err ? note_damaged(c, s, why) : open_segment_parts(c, s, &in->parts);
}

/* --- making a segment ------------------------------------------------------------------------ */

static int take_ids(struct compactor *c, struct segment *s)
{
	s->fresh = calloc(c->n_sources + 1, sizeof(*s->fresh));
	s->segments = calloc(c->n_sources + 1, sizeof(*s->segments));
	if (!s->fresh || !s->segments)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_sources; i++) {
		if (c->sources[i].fresh)
			s->fresh[s->n_fresh++] = c->sources[i].id;
		else
			s->segments[s->n_segments++] = c->sources[i].id;
	}
	return 0;
}

/* Above all that there are or ever were, and all that are on their way. */
static int take_id(struct compactor *c, struct segment *s)
{
	int rc = sqlite3_step(c->st[LAST_ID]);
	int64_t last = rc == SQLITE_ROW ? sqlite3_column_int64(c->st[LAST_ID], 0) : 0;

	(void)sqlite3_reset(c->st[LAST_ID]); /* repeats the code of the step */
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return db_last_errno(c->db);
	c->last_id = 1 + (last > c->last_id ? last : c->last_id);
	s->id = c->last_id;
	return 0;
}

static int make_segment(struct compactor *c, struct segment **ret)
{
	cleanup(segment_free_p) struct segment *s = NULL;
	const char *why = NULL;
	size_t bad = 0;
	int err;

	FAILPOINT("segment_read");
	err = merge_blocks(c->codec, &c->memory, c->inputs, c->n_sources, &c->columns, &c->merged,
			   &bad, &why);
	if (err == -EBADMSG) {
		(void)note_damaged(c, &c->sources[bad], why);
		return -EAGAIN;
	}
	if (err)
		return err;
	err = segment_new(&c->merged.parts, &c->merged.block, &s);
	if (!err)
		err = take_ids(c, s);
	if (!err)
		err = take_id(c, s);
	if (err)
		return err;
	*ret = take_ptr(s);
	return 1;
}

/*
 * The last segment, if it is so small that it shall be made new, and is not in
 * the rollups. Returns 1, 0 or an error.
 */
static int find_small_segment(struct compactor *c, int64_t *ret)
{
	int rc = sqlite3_step(c->st[LAST_SEGMENT]), found = 0;

	if (rc == SQLITE_ROW) {
		size_t rows = (size_t)sqlite3_column_int64(c->st[LAST_SEGMENT], 1);

		*ret = sqlite3_column_int64(c->st[LAST_SEGMENT], 0);
		found = rows < c->wanted_rows / 2 && rows + c->n_rows <= FLOW_BLOCK_MAX_ROWS &&
			!is_damaged(c, -*ret);
	}
	(void)sqlite3_reset(c->st[LAST_SEGMENT]); /* repeats the code of the step */
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? found : db_last_errno(c->db);
}

/* 1, -EAGAIN if it is damaged, or an error. */
static int open_small_segment(struct compactor *c)
{
	int64_t small = 0;
	int err = 0;

	if (!c->handed_over) /* else the last segment may be one that is about to go */
		err = find_small_segment(c, &small);
	if (err <= 0)
		return err < 0 ? err : 1;
	err = open_segment(c, small);
	return err ? err : -EAGAIN;
}

/* Takes the batch. 1, 0 if it is damaged, or an error. */
static int open_cached(struct compactor *c, struct fresh_batch *b)
{
	struct source *s = add_source(c, true, b->id);

	if (!s)
		return -ENOMEM;
	s->blobs[s->n_blobs++] = take_ptr(b->data);
	return open_batch(c, b->host_id, b->len);
}

/* As read_sources(), but of the cache; -ENODATA if that does not have all. */
static int take_sources(struct compactor *c)
{
	struct fresh_batch *batches = NULL;
	int n = c->cache && c->taken ? fresh_cache_take(c->cache, c->taken, c->wanted_rows,
							c->max_fresh, &batches)
				     : -ENODATA;
	int err = n;

	c->n_rows = 0;
	for (int i = 0; i < n; i++)
		c->n_rows += batches[i].n_rows;
	if (n > 0)
		err = open_small_segment(c);
	for (int i = 0; i < n && err > 0; i++)
		err = open_cached(c, &batches[i]);
	for (int i = 0; i < n; i++)
		free(batches[i].data); /* what has not become a source */
	free(batches);
	return n > 0 && err == 0 ? -EAGAIN : err;
}

/* Reads what a segment is made of, if it is time for one. Returns 1, 0 or an error. */
static int read_sources(struct compactor *c)
{
	int err = take_sources(c);

	if (err != -ENODATA)
		return err;
	err = read_list(c);
	if (err || (c->n_rows < c->wanted_rows && c->n_fresh < c->max_fresh))
		return err;
	err = open_small_segment(c);
	if (err > 0)
		err = open_all_fresh(c);
	return err ? err : -EAGAIN;
}

/* In one transaction: to begin and end one takes longer than to read a small batch. */
static int read_at_once(struct compactor *c)
{
	int err = statement_exec(c->db, "BEGIN"), end;

	if (err)
		return err;
	err = read_sources(c);
	end = statement_exec(c->db, "COMMIT");
	return err < 0 ? err : end ? end : err;
}

int compactor_make(struct compactor *c, struct segment **ret)
{
	int err = -EAGAIN;

	/* Each time it begins again, one that is damaged is out. */
	while (err == -EAGAIN && c->n_damaged < MAX_DAMAGED) {
		err = read_at_once(c);
		if (err > 0)
			err = make_segment(c, ret);
		if (err > 0)
			c->taken = c->sources[c->n_sources - 1].id;
		else if (err < 0)
			c->taken = 0;
		drop_sources(c);
	}
	return err == -EAGAIN ? 0 : err;
}

void compactor_use_cache(struct compactor *c, struct fresh_cache *cache)
{
	c->cache = cache;
}

void compactor_forget(struct compactor *c)
{
	c->taken = 0;
}

void compactor_keep(struct compactor *c, const struct flow_columns *columns)
{
	for (unsigned i = 0; i < FLOW_N_COLUMNS; i++)
		if (flow_columns_has(columns, (enum flow_column)i))
			flow_columns_add(&c->columns, (enum flow_column)i);
}

const struct flow_block *compactor_block(const struct compactor *c)
{
	return &c->merged.block;
}

bool compactor_is_stored(struct compactor *c, int64_t fresh_id)
{
	int rc;

	(void)sqlite3_bind_int64(c->st[IS_FRESH], 1, fresh_id); /* a parameter that is there */
	rc = sqlite3_step(c->st[IS_FRESH]);
	(void)sqlite3_reset(c->st[IS_FRESH]); /* repeats the code of the step */
	return rc == SQLITE_DONE;
}

void compactor_set_handed_over(struct compactor *c, int64_t fresh_id)
{
	c->handed_over = fresh_id;
}
