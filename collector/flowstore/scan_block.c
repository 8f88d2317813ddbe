// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* scan_block.c - a segment or fresh block, read and decoded as far as it is asked for. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/scan_private.h"
#include "collector/flowstore/segment.h"
#include "collector/sqlite/db_error.h"
#include "common/log.h"

/* --- reading, behind the lock ------------------------------------------------------ */

/* Room for len bytes more in the blob, which may move. */
static int reserve(struct scan_memory *m, size_t len)
{
	size_t wanted = m->blob_len + len, max = m->max_blob ? m->max_blob : 65536;
	uint8_t *blob;

	if (wanted <= m->max_blob)
		return 0;
	while (max < wanted)
		max *= 2;
	blob = realloc(m->blob, max);
	if (!blob)
		return -ENOMEM;
	m->blob = blob;
	m->max_blob = max;
	return 0;
}

/* Appends the blob of that id. Returns 1, or 0 if there is none, or an error. */
static int read_blob(struct scan *s, sqlite3_stmt *st, int64_t id, struct scan_memory *m,
		     size_t *ret_len)
{
	int rc, err = 0, found = 0;

	(void)sqlite3_bind_int64(st, 1, id); /* a parameter that is there */
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		size_t len = (size_t)sqlite3_column_bytes(st, 0);
		const void *data = sqlite3_column_blob(st, 0);

		err = !data && len ? -ENOMEM : reserve(m, len);
		if (!err && len)
			memcpy(m->blob + m->blob_len, data, len);
		if (!err)
			m->blob_len += *ret_len = len;
		s->totals.bytes_read += len;
		found = 1;
	} else if (rc != SQLITE_DONE) {
		err = db_last_errno(s->db);
	}
	(void)sqlite3_reset(st); /* repeats the code of the step */
	return err ? err : found;
}

/*
 * The same of flow_column, straight from SQLite's pages: a statement would put together
 * a copy of its own first.
 */
static int read_column(struct scan *s, int64_t id, struct scan_memory *m, size_t *ret_len)
{
	size_t len = 0;
	int err = 0, rc;

	if (s->column)
		rc = sqlite3_blob_reopen(s->column, id);
	else
		rc = sqlite3_blob_open(s->db, "main", "flow_column", "data", id, 0, &s->column);
	if (rc == SQLITE_OK) {
		len = (size_t)sqlite3_blob_bytes(s->column);
		err = reserve(m, len);
	}
	if (rc == SQLITE_OK && !err)
		rc = sqlite3_blob_read(s->column, m->blob + m->blob_len, (int)len, 0);
	if (rc != SQLITE_OK) {
		err = rc == SQLITE_ERROR ? 0 : db_errno(rc); /* that: there is no such row */
		(void)sqlite3_blob_close(s->column);	     /* of no use any more */
		s->column = NULL;
		return err;
	}
	if (err)
		return err;
	m->blob_len += *ret_len = len;
	s->totals.bytes_read += len;
	return 1;
}

/* Where in the blob each part lies that is not in the head. */
struct fetched {
	size_t at[FLOW_N_PARTS], len[FLOW_N_PARTS];
};

/* --- a block, decoded ---------------------------------------------------------------- */

static void note_damage(struct scan *s, const struct catalog_item *item, const char *part,
			const char *why)
{
	(void)pthread_mutex_lock(s->lock);
	s->totals.damaged_blocks++;
	s->totals.damaged_rows += item->n_rows;
	(void)pthread_mutex_unlock(s->lock);
	log_warn("damaged: %s %" PRIi64 "%s%s: %s; %" PRIu32 " flows are left out",
		 item->fresh ? "fresh block" : "segment", item->id, part ? ", part " : "",
		 part ? part : "", why ? why : "cannot be read", item->n_rows);
}

/*
 * Reads those parts in the set that are elsewhere, and checks them. Returns 1,
 * or 0 for a damaged one.
 */
static int load_parts(struct scan *s, const struct catalog_item *item, struct scan_memory *m,
		      struct flow_parts *parts, const bool needed[FLOW_N_PARTS])
{
	const uint8_t *before = m->blob;
	struct fetched f;
	int err = 1;

	(void)pthread_mutex_lock(s->lock);
	for (unsigned p = 0; err > 0 && p < FLOW_N_PARTS; p++)
		if (needed[p] && parts->part[p].elsewhere && !parts->part[p].data) {
			f.at[p] = m->blob_len;
			err = read_column(s, segment_column_id(item->id, parts, p), m, &f.len[p]);
			if (err == 0)
				f.len[p] = 0; /* its row is gone: damage */
			err = err < 0 ? err : 1;
		}
	(void)pthread_mutex_unlock(s->lock);
	if (err < 0)
		return err;
	for (unsigned p = 0; p < FLOW_N_PARTS; p++) {
		struct flow_part *part = &parts->part[p];
		size_t len;

		if (part->data && m->blob != before) /* the blob has moved */
			part->data = m->blob + (part->data - before);
		if (!needed[p] || !part->elsewhere || part->data)
			continue;
		if (!segment_column_open(m->blob + f.at[p], f.len[p], &len) || len != part->len) {
			note_damage(s, item,
				    p < FLOW_N_COLUMNS ? flow_column_info[p].name : "dictionary",
				    "wrong checksum");
			return 0;
		}
		part->data = m->blob + f.at[p];
	}
	return 1;
}

/* For as many rows as the largest block has: for more it would be fresh memory for nothing. */
static int reserve_codec(const struct scan *s, struct scan_memory *m)
{
	if (m->codec && s->most_rows <= column_codec_max_rows(m->codec))
		return 0;
	column_codec_free(m->codec);
	m->codec = NULL;
	return column_codec_new(s->most_rows, &m->codec);
}

int scan_block_open(struct scan *s, struct scan_memory *m)
{
	const struct catalog_item *item = &m->item;
	struct flow_parts *ret = &m->parts;
	const char *why = NULL;
	size_t len = 0;
	int err;

	m->blob_len = 0;
	(void)pthread_mutex_lock(s->lock);
	err = read_blob(s, item->fresh ? s->get_fresh : s->get_head, item->id, m, &len);
	s->totals.rows_read += item->n_rows;
	(void)pthread_mutex_unlock(s->lock);
	if (err < 0)
		return err;
	err = err ? flow_parts_open(m->blob, len, ret, &why) : -EBADMSG;
	if (err == -EBADMSG || (!err && ret->n_rows != item->n_rows)) {
		note_damage(s, item, NULL, why);
		return 0;
	}
	if (!err)
		err = reserve_codec(s, m);
	return err ? err : 1;
}

void scan_block_note_skipped(struct scan *s)
{
	(void)pthread_mutex_lock(s->lock);
	s->totals.blocks_skipped++;
	(void)pthread_mutex_unlock(s->lock);
}

int scan_block_try_dictionaries(struct scan *s, struct scan_memory *m)
{
	const struct catalog_item *item = &m->item;
	bool needed[FLOW_N_PARTS] = {[FLOW_PART_ADDRS] = true, [FLOW_PART_TEXTS] = true};
	struct zone of_host = {.max_end_ms = UINT64_MAX, .hosts = {1, {item->host_id}}};
	struct flow_block b;
	int err = load_parts(s, item, m, &m->parts, needed);

	if (err <= 0)
		return err;
	err = flow_parts_dictionaries(m->codec, &m->parts, true, true, &b, NULL);
	if (err == -EBADMSG) {
		note_damage(s, item, "dictionary", "is none");
		return 0;
	}
	if (err)
		return err;
	of_host.protos.n = of_host.dst_ports.n = ZONE_MAX_VALUES + 1;
	err = zone_admits(item->zone ? item->zone : &of_host, s->predicate, &b);
	flow_block_done(&b);
	if (!err)
		scan_block_note_skipped(s);
	return err;
}

int scan_block_decode(struct scan *s, struct scan_memory *m, const struct flow_columns *columns,
		      struct flow_block *ret)
{
	bool needed[FLOW_N_PARTS];
	const char *why = NULL;
	int err;

	flow_parts_needed(columns, needed);
	err = load_parts(s, &m->item, m, &m->parts, needed);
	if (err <= 0)
		return err;
	err = flow_parts_decode_rows(m->codec, &m->parts, columns, m->rows, ret, &why);
	if (err == -EBADMSG) {
		note_damage(s, &m->item, NULL, why);
		return 0;
	}
	if (err)
		return err;
	if (m->item.fresh && ret->column[FLOW_COLUMN_host_id].any)
		for (size_t i = 0; i < ret->n_rows; i++)
			FLOW_COL_U32(ret, host_id)[i] = m->item.host_id;
	return 1;
}

int scan_block_add(struct scan *s, struct scan_rows *rows, const struct flow_columns *columns)
{
	struct scan_memory *m = rows->owner;
	struct flow_columns missing = *columns, none = {{0}};
	struct flow_block b;
	int err;

	flow_columns_expand_id(&missing);
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (rows->block.column[c].any)
			flow_columns_remove(&missing, (enum flow_column)c);
	if (m->id_differences)
		flow_columns_remove(&missing, FLOW_COLUMN_ID_DIFFERENCES);
	if (memcmp(&missing, &none, sizeof(none)) == 0)
		return 1;
	err = scan_block_decode(s, m, &missing, &b);
	if (err <= 0)
		return err;
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (!rows->block.column[c].any)
			rows->block.column[c] = b.column[c];
	if (flow_columns_has(&missing, FLOW_COLUMN_ID_DIFFERENCES)) {
		rows->block.id_differences = b.id_differences;
		m->id_differences = true;
	}
	/* A block without such columns has but the first entry of a dictionary. */
	if (b.n_addrs > rows->block.n_addrs) {
		rows->block.addrs = b.addrs;
		rows->block.n_addrs = b.n_addrs;
	}
	if (b.n_texts > rows->block.n_texts) {
		rows->block.texts = b.texts;
		rows->block.n_texts = b.n_texts;
	}
	m->more[m->n_more++] = b;
	return 1;
}

void scan_block_drop(struct scan_memory *m)
{
	while (m->n_more > 0)
		flow_block_done(&m->more[--m->n_more]);
}
