// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/flow_writer.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "collector/flowstore/segment.h"
#include "collector/sqlite/binder.h"
#include "collector/sqlite/statement.h"
#include "common/cleanup.h"
#include "common/failpoint.h"

enum statement {
	PUT_FRESH,
	PUT_SEGMENT,
	PUT_COLUMN,
	DROP_FRESH,
	DROP_SEGMENT,
	IS_ROLLED_UP,
	DROP_COLUMNS,
	OLDEST,
	RAISE_SINCE,
	N_STATEMENTS,
};

/* The ids of the columns of segment ?1: see SEGMENT_PLACE_BITS. */
static const char *const statement_sql[N_STATEMENTS] = {
	[PUT_FRESH] =
		"INSERT INTO flow_fresh (host_id, n_rows, min_start_ms, min_end_ms, max_end_ms,"
		" data) VALUES (?, ?, ?, ?, ?, ?)",
	[PUT_SEGMENT] =
		"INSERT INTO flow_segment (id, n_rows, min_start_ms, min_end_ms, max_end_ms,"
		" n_bytes, zone, head, zone_crc)"
		" VALUES (nullif(?, 0), ?, ?, ?, ?, ?, ?, ?, ?)",
	[PUT_COLUMN] = "INSERT INTO flow_column (id, data) VALUES (?, ?)",
	[DROP_FRESH] = "DELETE FROM flow_fresh WHERE id = ?",
	[DROP_SEGMENT] = "DELETE FROM flow_segment WHERE id = ?",
	[IS_ROLLED_UP] = "SELECT segment_id >= ? FROM rollup_state",
	[DROP_COLUMNS] = "DELETE FROM flow_column WHERE id BETWEEN ?1 << 16 AND (?1 << 16) + 65535",
	[OLDEST] =
		"SELECT 0, id, n_rows, max_end_ms FROM flow_segment WHERE max_end_ms < ?1"
		" UNION ALL SELECT 1, id, n_rows, max_end_ms FROM flow_fresh WHERE max_end_ms < ?1"
		" ORDER BY max_end_ms, 1, id LIMIT 1",
	[RAISE_SINCE] = "UPDATE rollup_state SET flows_since_ms = ?1 WHERE flows_since_ms < ?1",
};

struct flow_writer {
	sqlite3 *db;
	sqlite3_stmt *st[N_STATEMENTS];
};

DEFINE_CLEANUP(struct flow_writer *, flow_writer_close)

int flow_writer_open(sqlite3 *db, struct flow_writer **ret)
{
	cleanup(flow_writer_close_p) struct flow_writer *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->db = db;
	err = statements_prepare(db, statement_sql, N_STATEMENTS, w->st);
	if (err)
		return err;
	*ret = take_ptr(w);
	return 0;
}

void flow_writer_close(struct flow_writer *w)
{
	if (!w)
		return;
	statements_finalize(w->st, N_STATEMENTS);
	free(w);
}

int flow_writer_fresh(struct flow_writer *w, int64_t host_id, const uint8_t *block, size_t len,
		      const struct flow_summary *summary)
{
	struct binder b = binder_start(w->st[PUT_FRESH]);

	binder_int(&b, host_id);
	binder_count(&b, summary->n_rows);
	binder_count(&b, summary->min_start_ms);
	binder_count(&b, summary->min_end_ms);
	binder_count(&b, summary->max_end_ms);
	binder_blob(&b, block, len);
	return binder_run(&b);
}

/* --- segments -------------------------------------------------------------------- */

/* Deletes the row of that id. -EINVAL if there is none. */
static int drop_row(struct flow_writer *w, enum statement which, int64_t id)
{
	struct binder b = binder_start(w->st[which]);
	int err;

	binder_int(&b, id);
	err = binder_run(&b);
	return err ? err : sqlite3_changes(w->db) == 1 ? 0 : -EINVAL;
}

static int drop_segment(struct flow_writer *w, int64_t id)
{
	struct binder b = binder_start(w->st[DROP_COLUMNS]);
	int err;

	binder_int(&b, id);
	err = binder_run(&b);
	return err ? err : drop_row(w, DROP_SEGMENT, id);
}

static int put_column(struct flow_writer *w, int64_t id, const struct segment_column *c)
{
	struct binder b = binder_start(w->st[PUT_COLUMN]);

	binder_int(&b, id);
	binder_blob(&b, c->data, c->len);
	return binder_run(&b);
}

static int put_segment(struct flow_writer *w, const struct segment *s)
{
	struct binder b = binder_start(w->st[PUT_SEGMENT]);
	int64_t id;
	int err;

	binder_int(&b, s->id);
	binder_count(&b, s->n_rows);
	binder_count(&b, s->zone.min_start_ms);
	binder_count(&b, s->zone.min_end_ms);
	binder_count(&b, s->zone.max_end_ms);
	binder_count(&b, s->n_bytes);
	binder_blob(&b, s->zone_data, s->zone_len);
	binder_blob(&b, s->head, s->head_len);
	binder_int(&b, zone_crc(&s->zone, s->zone_data, s->zone_len, s->n_rows));
	err = binder_run(&b);
	id = sqlite3_last_insert_rowid(w->db);
	FAILPOINT("segment_head_put");
	for (size_t i = 0; !err && i < s->n_columns; i++)
		err = put_column(w, id << SEGMENT_PLACE_BITS | (int64_t)(i + 1), &s->columns[i]);
	return err;
}

/* Its records would be in the rollups twice, as those of the new segment. */
static int check_not_rolled_up(struct flow_writer *w, int64_t id)
{
	struct binder b = binder_start(w->st[IS_ROLLED_UP]);
	int found, err;

	binder_int(&b, id);
	found = binder_row(&b);
	err = found < 0 ? found : found && sqlite3_column_int(b.st, 0) ? -EINVAL : 0;
	binder_end(&b);
	return err;
}

int flow_writer_segment(struct flow_writer *w, const struct segment *s)
{
	int err = 0;

	for (size_t i = 0; !err && i < s->n_fresh; i++)
		err = drop_row(w, DROP_FRESH, s->fresh[i]);
	FAILPOINT("segment_batches_gone");
	for (size_t i = 0; !err && i < s->n_segments; i++) {
		err = check_not_rolled_up(w, s->segments[i]);
		if (!err)
			err = drop_segment(w, s->segments[i]);
	}
	FAILPOINT("segment_small_gone");
	if (!err)
		err = put_segment(w, s);
	FAILPOINT("segment_put");
	return err;
}

/* --- retention --------------------------------------------------------------------- */

static int raise_since(struct flow_writer *w, int64_t since_ms)
{
	struct binder b = binder_start(w->st[RAISE_SINCE]);

	binder_int(&b, since_ms);
	return binder_run(&b);
}

int flow_writer_drop_oldest(struct flow_writer *w, int64_t before_ms, size_t *ret_rows)
{
	struct binder b = binder_start(w->st[OLDEST]);
	bool fresh = false;
	int64_t id = 0, max_end_ms = 0;
	int found, err;

	binder_int(&b, before_ms);
	found = binder_row(&b);
	*ret_rows = 0;
	if (found > 0) {
		fresh = sqlite3_column_int(b.st, 0) == 1;
		id = sqlite3_column_int64(b.st, 1);
		*ret_rows = (size_t)sqlite3_column_int64(b.st, 2);
		max_end_ms = sqlite3_column_int64(b.st, 3);
	}
	binder_end(&b);
	if (found <= 0)
		return found;
	err = fresh ? drop_row(w, DROP_FRESH, id) : drop_segment(w, id);
	return err ? err : raise_since(w, max_end_ms + 1);
}

int flow_writer_expire(struct flow_writer *w, int64_t before_ms, size_t max_rows, size_t *ret_rows)
{
	size_t rows = 1;
	int err = 0;

	*ret_rows = 0;
	while (!err && rows && *ret_rows < max_rows) {
		err = flow_writer_drop_oldest(w, before_ms, &rows);
		*ret_rows += rows;
	}
	return err;
}
