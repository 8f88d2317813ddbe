// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/scan.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/catalog.h"
#include "collector/flowstore/segment.h"
#include "collector/sqlite/db_error.h"
#include "collector/sqlite/statement.h"
#include "common/cleanup.h"
#include "common/log.h"

#define FEW_ROWS    256 /* below it, one column by itself takes as long as all of them */
#define MAX_FETCHED (FLOW_N_COLUMNS + 1) /* columns of one block that were fetched later */

/* What the rows of a block are tested by. */
struct test {
	const struct predicate *predicate; /* NULL: nothing */
	struct flow_columns columns;	   /* that it reads */
};

struct scan {
	sqlite3 *db;
	const struct predicate *predicate;
	struct predicate *untimed; /* without its conditions on end_ms; NULL: has none */
	struct test whole, within; /* within: of blocks that lie within these conditions */
	struct flow_columns wanted;
	bool dictionaries_first;	  /* they may rule a segment out */
	const struct predicate *of_hosts; /* a part that must hold; NULL: there is none */
	struct catalog catalog;
	sqlite3_stmt *get_fresh, *get_head, *get_column;
	pthread_mutex_t own_lock, *lock; /* of all below, and of db; own, or of a scan beside */
	size_t next;			 /* of the catalog */
	struct scan_totals totals;
	int err; /* of a thread: all stop */
};

/* What a thread needs for one block after another. */
struct scan_memory {
	struct column_codec *codec;
	uint8_t *blob; /* the parts that were read */
	size_t blob_len, max_blob;
	uint32_t *selected;
	size_t max_selected;
	uint8_t *scratch;
	size_t max_scratch;
	const struct scan *scan;  /* for scan_open_beside() */
	struct catalog_item item; /* of the block, for scan_fetch() */
	struct column_rows rows;  /* of the item; all that is in the block */
	struct flow_parts parts;
	bool opened;	/* parts are those of the item */
	bool id_of_few; /* the block has what flow_block_ids() needs */
	struct flow_block more[MAX_FETCHED];
	size_t n_more;
};

DEFINE_CLEANUP(struct scan *, scan_close)

/* --- the scan ------------------------------------------------------------------ */

/* A condition on nothing but the host that every row must meet. */
static const struct predicate *of_hosts(const struct predicate *p)
{
	struct flow_columns columns = {{0}}, host = {{0}};

	flow_columns_add(&host, FLOW_COLUMN_host_id);
	predicate_columns(p, &columns);
	if (memcmp(&columns, &host, sizeof(host)) == 0)
		return p;
	for (size_t i = 0; p->kind == PREDICATE_ALL && p->children && i < p->n_children; i++) {
		const struct predicate *found = of_hosts(&p->children[i]);

		if (found)
			return found;
	}
	return NULL;
}

static int open_within(struct scan *s, const struct catalog_range *range)
{
	int err =
		statement_prepare(s->db, "SELECT data FROM flow_fresh WHERE id = ?", &s->get_fresh);

	if (!err)
		err = statement_prepare(s->db, "SELECT head FROM flow_segment WHERE id = ?",
					&s->get_head);
	if (!err)
		err = statement_prepare(s->db, "SELECT data FROM flow_column WHERE id = ?",
					&s->get_column);
	return err ? err
		   : catalog_open(&s->catalog, s->db, range, s->predicate, s->dictionaries_first);
}

static int set_tests(struct scan *s)
{
	int err = predicate_without(s->predicate, FLOW_COLUMN_end_ms, &s->untimed);

	if (err)
		return err;
	s->whole.predicate = s->predicate;
	predicate_columns(s->predicate, &s->whole.columns);
	s->within = s->whole;
	if (s->untimed) {
		s->within = (struct test){.predicate = s->untimed};
		predicate_columns(s->untimed, &s->within.columns);
	}
	return 0;
}

/* beside: whose lock it shares, or NULL. */
static int open_scan(sqlite3 *db, const struct catalog_range *range,
		     const struct predicate *predicate, const struct flow_columns *columns,
		     const struct scan *beside, struct scan **ret)
{
	cleanup(scan_close_p) struct scan *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	(void)pthread_mutex_init(&s->own_lock, NULL); /* cannot fail on Linux */
	s->lock = beside ? beside->lock : &s->own_lock;
	s->db = db;
	s->predicate = predicate;
	s->wanted = *columns;
	if (predicate) {
		err = set_tests(s);
		if (err)
			return err;
		s->dictionaries_first = zone_dictionaries_help(predicate);
		s->of_hosts = of_hosts(predicate);
	}
	(void)pthread_mutex_lock(s->lock);
	err = open_within(s, range);
	(void)pthread_mutex_unlock(s->lock);
	if (err)
		return err;
	s->totals.blocks = s->catalog.n_all;
	s->totals.blocks_skipped = s->catalog.n_all - s->catalog.n;
	s->totals.damaged_zones = s->catalog.n_damaged;
	*ret = take_ptr(s);
	return 0;
}

int scan_open(sqlite3 *db, const struct predicate *predicate, const struct flow_columns *columns,
	      struct scan **ret)
{
	return open_scan(db, NULL, predicate, columns, NULL, ret);
}

int scan_open_range(sqlite3 *db, const struct catalog_range *range,
		    const struct predicate *predicate, const struct flow_columns *columns,
		    struct scan **ret)
{
	return open_scan(db, range, predicate, columns, NULL, ret);
}

int scan_open_beside(const struct scan_rows *rows, const struct predicate *predicate,
		     const struct flow_columns *columns, struct scan **ret)
{
	const struct scan *s = rows->owner->scan;

	return open_scan(s->db, NULL, predicate, columns, s, ret);
}

void scan_close(struct scan *s)
{
	if (!s)
		return;
	(void)pthread_mutex_lock(s->lock); /* a scan beside may go on */
	catalog_close(&s->catalog);
	(void)sqlite3_finalize(s->get_fresh); /* all repeat an old error at most */
	(void)sqlite3_finalize(s->get_head);
	(void)sqlite3_finalize(s->get_column);
	(void)pthread_mutex_unlock(s->lock);
	(void)pthread_mutex_destroy(&s->own_lock);
	free(s->untimed);
	free(s);
}

struct scan_totals scan_totals(struct scan *s)
{
	struct scan_totals t;

	(void)pthread_mutex_lock(s->lock);
	t = s->totals;
	(void)pthread_mutex_unlock(s->lock);
	return t;
}

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
			err = read_blob(s, s->get_column, segment_column_id(item->id, parts, p), m,
					&f.len[p]);
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

/* A codec for as many rows as the block has: for more it would be fresh memory for nothing. */
static int reserve_codec(struct scan_memory *m, size_t n_rows)
{
	if (m->codec && n_rows <= column_codec_max_rows(m->codec))
		return 0;
	column_codec_free(m->codec);
	m->codec = NULL;
	return column_codec_new(n_rows, &m->codec);
}

/* Opens the head or the whole fresh block. Returns 1, 0 for a damaged one, or an error. */
static int open_item(struct scan *s, const struct catalog_item *item, struct scan_memory *m,
		     struct flow_parts *ret)
{
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
		err = reserve_codec(m, item->n_rows);
	return err ? err : 1;
}

static void note_skipped(struct scan *s)
{
	(void)pthread_mutex_lock(s->lock);
	s->totals.blocks_skipped++;
	(void)pthread_mutex_unlock(s->lock);
}

/* Whether the dictionaries leave it possible that a row matches. 1, 0, or an error. */
static int try_dictionaries(struct scan *s, const struct catalog_item *item, struct scan_memory *m)
{
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
		note_skipped(s);
	return err;
}

/* Those columns of the rows. Returns 1, 0 for a damaged one, or an error. */
static int decode_columns(struct scan *s, struct scan_memory *m, const struct flow_columns *columns,
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

/* Adds those that the block does not have. Returns 1, 0 for a damaged one, or an error. */
static int add_columns(struct scan *s, struct scan_rows *rows, const struct flow_columns *columns)
{
	struct scan_memory *m = rows->owner;
	struct flow_columns missing = {{0}}, none = {{0}};
	struct flow_block b;
	int err;

	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (flow_columns_has(columns, (enum flow_column)c) && !rows->block.column[c].any)
			flow_columns_add(&missing, (enum flow_column)c);
	if (flow_columns_has(columns, FLOW_COLUMN_ID_OF_FEW) && !m->id_of_few)
		flow_columns_add(&missing, FLOW_COLUMN_ID_OF_FEW);
	if (memcmp(&missing, &none, sizeof(none)) == 0)
		return 1;
	err = decode_columns(s, m, &missing, &b);
	if (err <= 0)
		return err;
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (!rows->block.column[c].any)
			rows->block.column[c] = b.column[c];
	if (flow_columns_has(&missing, FLOW_COLUMN_ID_OF_FEW))
		rows->block.id_differences = b.id_differences;
	m->id_of_few |= flow_columns_has(&missing, FLOW_COLUMN_ID_OF_FEW);
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

/* --- rows that match -------------------------------------------------------------------- */

static int grow(void **memory, size_t *max, size_t wanted)
{
	void *bigger;

	if (wanted <= *max)
		return 0;
	bigger = realloc(*memory, wanted);
	if (!bigger)
		return -ENOMEM;
	*memory = bigger;
	*max = wanted;
	return 0;
}

/* match[0 .. n_rows) is then in the scratch. */
static int match_rows(const struct predicate *p, const struct flow_block *b, struct scan_memory *m)
{
	int err = grow((void **)&m->scratch, &m->max_scratch,
		       b->n_rows + predicate_scratch_bytes(p, b));

	if (!err)
		predicate_match(p, b, m->scratch, m->scratch + b->n_rows);
	return err;
}

/*
 * Rows of a segment are in the order of their hosts: leaves those before the
 * first and behind the last row of a wanted host undecoded. Returns 1, 0 if
 * there are none or the segment is damaged, or an error.
 */
static int narrow_rows(struct scan *s, struct scan_memory *m)
{
	struct flow_columns host = {{0}};
	const uint8_t *first, *last;
	struct flow_block b;
	int err;

	flow_columns_add(&host, FLOW_COLUMN_host_id);
	err = decode_columns(s, m, &host, &b);
	if (err <= 0)
		return err;
	err = match_rows(s->of_hosts, &b, m);
	first = err ? NULL : memchr(m->scratch, 1, b.n_rows);
	last = first ? memrchr(m->scratch, 1, b.n_rows) : NULL;
	flow_block_done(&b);
	if (err)
		return err;
	if (!first) {
		note_skipped(s);
		return 0;
	}
	m->rows.first = (size_t)(first - m->scratch);
	m->rows.n = (size_t)(last - first) + 1;
	return 1;
}

/* p NULL: all of them. */
static int select_rows(const struct predicate *p, struct scan_rows *rows)
{
	struct scan_memory *m = rows->owner;
	size_t n = rows->block.n_rows, k = 0;
	int err;

	err = grow((void **)&m->selected, &m->max_selected, (n + 1) * sizeof(*m->selected));
	if (!err && p)
		err = match_rows(p, &rows->block, m);
	if (err)
		return err;
	if (p) {
		for (size_t i = 0; i < n; i++) {
			m->selected[k] = (uint32_t)i;
			k += m->scratch[i];
		}
	} else {
		for (; k < n; k++)
			m->selected[k] = (uint32_t)k;
	}
	rows->selected = m->selected;
	rows->n_selected = k;
	return 0;
}

/* Whether it takes no more than the number of rows. */
static bool is_bare(const struct scan *s)
{
	struct flow_columns none = {{0}};

	return !s->predicate && memcmp(&s->wanted, &none, sizeof(none)) == 0;
}

/* The rows of an item that match. Returns 1, 0 if there are none or it is damaged, or an error. */
static int read_item(struct scan *s, const struct catalog_item *item, struct scan_rows *rows)
{
	const struct test *test = item->within ? &s->within : &s->whole;
	struct scan_memory *m = rows->owner;
	int err = 1;

	m->item = *item;
	m->rows = (struct column_rows){0, item->n_rows};
	m->opened = !is_bare(s);
	m->id_of_few = false;
	if (m->opened)
		err = open_item(s, item, m, &m->parts);
	if (err > 0 && s->dictionaries_first)
		err = try_dictionaries(s, item, m);
	if (err > 0 && s->of_hosts && item->several_hosts)
		err = narrow_rows(s, m);
	if (err <= 0)
		return err;
	rows->block = (struct flow_block){.n_rows = m->rows.n};
	err = add_columns(s, rows, &test->columns);
	if (err <= 0)
		return err;
	err = select_rows(test->predicate, rows);
	if (err || rows->n_selected == 0)
		return err;
	return add_columns(s, rows, &s->wanted);
}

/* --- threads come in here ------------------------------------------------------------------ */

static int fail(struct scan *s, int err)
{
	(void)pthread_mutex_lock(s->lock);
	s->err = err;
	(void)pthread_mutex_unlock(s->lock);
	return err;
}

static void drop_block(struct scan_rows *rows)
{
	while (rows->owner->n_more > 0)
		flow_block_done(&rows->owner->more[--rows->owner->n_more]);
}

static int rows_new(struct scan_rows **ret)
{
	struct scan_rows *rows = calloc(1, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	rows->owner = calloc(1, sizeof(*rows->owner));
	if (!rows->owner) {
		scan_rows_free(rows);
		return -ENOMEM;
	}
	*ret = rows;
	return 0;
}

void scan_rows_free(struct scan_rows *rows)
{
	if (!rows)
		return;
	if (rows->owner) {
		drop_block(rows);
		column_codec_free(rows->owner->codec);
		free(rows->owner->blob);
		free(rows->owner->selected);
		free(rows->owner->scratch);
		free(rows->owner);
	}
	free(rows);
}

int scan_fetch(struct scan *s, struct scan_rows *rows, const struct flow_columns *columns)
{
	struct scan_memory *m = rows->owner;
	struct flow_columns wanted = m->item.n_rows < FEW_ROWS ? flow_columns_all() : *columns;
	int err = 1;

	if (!m->opened)
		err = open_item(s, &m->item, m, &m->parts);
	m->opened = true;
	if (err > 0)
		err = add_columns(s, rows, &wanted);
	return err < 0 ? fail(s, err) : err;
}

int64_t scan_rows_key(const struct scan_rows *rows)
{
	const struct scan_memory *m = rows->owner;

	return (m->item.id << (SCAN_ROW_BITS + 1) | (int64_t)m->item.fresh << SCAN_ROW_BITS) +
	       (int64_t)m->rows.first;
}

static bool take_item(struct scan *s, struct catalog_item *ret, int *ret_err)
{
	bool more;

	(void)pthread_mutex_lock(s->lock);
	more = !s->err && s->next < s->catalog.n;
	if (more)
		*ret = s->catalog.items[s->next++];
	*ret_err = s->err;
	(void)pthread_mutex_unlock(s->lock);
	return more;
}

int scan_next(struct scan *s, struct scan_rows **rows)
{
	struct catalog_item item;
	int err = 0;

	if (!*rows) {
		err = rows_new(rows);
		if (err)
			return fail(s, err);
	}
	(*rows)->owner->scan = s;
	while (take_item(s, &item, &err)) {
		drop_block(*rows);
		err = read_item(s, &item, *rows);
		if (err < 0)
			return fail(s, err);
		if (err > 0)
			return 1;
	}
	return err;
}
