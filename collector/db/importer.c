// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/importer.h"

#include <errno.h>
#include <stdlib.h>

#include "collector/flowstore/compactor.h"
#include "collector/flowstore/flow_writer.h"
#include "collector/flowstore/segment.h"
#include "collector/sqlite/one_shot.h"
#include "collector/sqlite/statement.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "proto/flow_block.h"
#include "proto/message.h"

/* Records of one host that wait. */
struct pile {
	int64_t host_id;
	struct flow_record *rows;
	size_t n, max;
};

struct importer {
	sqlite3 *db, *reader;
	struct flow_writer *writer;
	struct compactor *compactor;
	struct column_codec *codec;
	struct pile *piles;
	size_t n_piles, n_rows; /* of all piles */
	int64_t id;		/* of the source */
	uint64_t pending, committed;
};

DEFINE_CLEANUP(struct importer *, importer_close)
DEFINE_CLEANUP(struct segment *, segment_free)

int importer_open(const char *db_path, struct importer **ret, const char **ret_why)
{
	cleanup(importer_close_p) struct importer *i = calloc(1, sizeof(*i));
	int err;

	*ret_why = "out of memory";
	if (!i)
		return -ENOMEM;
	err = db_open_writer(db_path, &i->db, ret_why);
	if (!err)
		err = db_open_reader(db_path, &i->reader, ret_why);
	if (!err)
		err = flow_writer_open(i->db, &i->writer);
	if (!err)
		err = compactor_new(i->reader, 0, 0, &i->compactor);
	if (!err)
		err = column_codec_new(BATCH_MAX_ROWS, &i->codec);
	if (err)
		return err;
	*ret = take_ptr(i);
	return 0;
}

static void drop_piles(struct importer *i)
{
	for (size_t p = 0; p < i->n_piles; p++)
		free(i->piles[p].rows);
	free(i->piles);
	i->piles = NULL;
	i->n_piles = i->n_rows = 0;
	i->pending = 0;
}

void importer_close(struct importer *i)
{
	if (!i)
		return;
	drop_piles(i);
	flow_writer_close(i->writer);
	compactor_free(i->compactor);
	column_codec_free(i->codec);
	db_close(i->reader);
	db_close(i->db);
	free(i);
}

/* --- what is here -------------------------------------------------------------------- */

int importer_begin(struct importer *i, const uint8_t hash[IMPORT_HASH_BYTES], const char *source,
		   int64_t now_ms, enum import_state *ret)
{
	cleanup(one_shot_end) struct one_shot find = one_shot_begin(
		i->db, "SELECT id, finished_ms IS NOT NULL FROM import WHERE source_hash = ?");
	cleanup(one_shot_end) struct one_shot put =
		one_shot_begin(i->db, "INSERT INTO import (source_hash, source, n_rows, started_ms)"
				      " VALUES (?, ?, 0, ?) RETURNING id");
	int found;

	i->committed = 0;
	binder_blob(&find.b, hash, IMPORT_HASH_BYTES);
	found = one_shot_row(&find);
	if (found < 0)
		return found;
	if (found > 0) {
		i->id = sqlite3_column_int64(find.st, 0);
		*ret = sqlite3_column_int(find.st, 1) ? IMPORT_DONE : IMPORT_INTERRUPTED;
		return 0;
	}
	binder_blob(&put.b, hash, IMPORT_HASH_BYTES);
	binder_text(&put.b, source);
	binder_int(&put.b, now_ms);
	found = one_shot_row(&put);
	if (found <= 0)
		return found < 0 ? found : -EIO;
	i->id = sqlite3_column_int64(put.st, 0);
	found = one_shot_row(&put); /* to its end: it is committed then */
	*ret = IMPORT_NEW;
	return found;
}

int importer_has_unit(struct importer *i, const uint8_t hash[IMPORT_HASH_BYTES])
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(i->db, "SELECT 1 FROM import_unit WHERE hash = ?");

	binder_blob(&o.b, hash, IMPORT_HASH_BYTES);
	return one_shot_row(&o);
}

int importer_unit(struct importer *i, const uint8_t hash[IMPORT_HASH_BYTES])
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(i->db, "INSERT INTO import_unit (hash, import_id) VALUES (?, ?)");

	binder_blob(&o.b, hash, IMPORT_HASH_BYTES);
	binder_int(&o.b, i->id);
	return one_shot_run(&o);
}

/* --- records --------------------------------------------------------------------------- */

static int put_batch(struct importer *i, int64_t host_id, const struct flow_record *rows, size_t n)
{
	cleanup(free_p) uint8_t *block = NULL;
	struct flow_summary summary;
	size_t len;
	int err = batch_seal_rows(rows, n, &block, &len);

	if (!err)
		err = flow_block_check(i->codec, block, len, &summary, NULL);
	return err ? err : flow_writer_fresh(i->writer, host_id, block, len, &summary);
}

static int put_piles(struct importer *i)
{
	int err = 0;

	for (size_t p = 0; !err && p < i->n_piles; p++) {
		struct pile *pile = &i->piles[p];

		for (size_t at = 0; !err && at < pile->n; at += BATCH_MAX_ROWS)
			err = put_batch(i, pile->host_id, pile->rows + at,
					pile->n - at < BATCH_MAX_ROWS ? pile->n - at
								      : BATCH_MAX_ROWS);
		pile->n = 0;
	}
	i->n_rows = 0;
	return err;
}

static struct pile *pile_of(struct importer *i, int64_t host_id)
{
	struct pile *piles;

	for (size_t p = 0; p < i->n_piles; p++)
		if (i->piles[p].host_id == host_id)
			return &i->piles[p];
	piles = realloc(i->piles, (i->n_piles + 1) * sizeof(*piles));
	if (!piles)
		return NULL;
	i->piles = piles;
	piles[i->n_piles] = (struct pile){.host_id = host_id};
	return &piles[i->n_piles++];
}

int importer_put(struct importer *i, int64_t host_id, const struct flow_record *r)
{
	struct pile *pile = pile_of(i, host_id);

	if (!pile)
		return -ENOMEM;
	if (pile->n == pile->max) {
		size_t max = pile->max ? 2 * pile->max : 64;
		struct flow_record *rows = realloc(pile->rows, max * sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		pile->rows = rows;
		pile->max = max;
	}
	pile->rows[pile->n++] = *r;
	i->pending++;
	return ++i->n_rows < IMPORTER_ROWS ? 0 : put_piles(i);
}

/* --- transactions ------------------------------------------------------------------------ */

int importer_transaction(struct importer *i)
{
	return statement_exec(i->db, "BEGIN IMMEDIATE");
}

void importer_rollback(struct importer *i)
{
	drop_piles(i);
	if (!sqlite3_get_autocommit(i->db))
		(void)statement_exec(i->db, "ROLLBACK"); /* the transaction ends anyway */
}

static int put_progress(struct importer *i, bool last, int64_t now_ms)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(i->db, "UPDATE import SET n_rows = n_rows + ?2,"
				      " finished_ms = iif(?3, ?4, NULL) WHERE id = ?1");

	binder_int(&o.b, i->id);
	binder_count(&o.b, i->pending);
	binder_int(&o.b, last);
	binder_int(&o.b, now_ms);
	return one_shot_run(&o);
}

static int make_segments(struct importer *i)
{
	int found;

	while (true) {
		cleanup(segment_free_p) struct segment *s = NULL;
		int err;

		found = compactor_make(i->compactor, &s);
		if (found <= 0)
			return found;
		err = importer_transaction(i);
		if (!err)
			err = flow_writer_segment(i->writer, s);
		if (!err)
			err = statement_exec(i->db, "COMMIT");
		if (err)
			return err;
	}
}

int importer_commit(struct importer *i, bool last, int64_t now_ms)
{
	int err = put_piles(i);

	if (!err)
		err = put_progress(i, last, now_ms);
	if (!err)
		err = statement_exec(i->db, "COMMIT");
	if (err)
		return err;
	i->committed += i->pending;
	i->pending = 0;
	return make_segments(i);
}

uint64_t importer_rows(const struct importer *i)
{
	return i->committed;
}

sqlite3 *importer_db(struct importer *i)
{
	return i->db;
}
