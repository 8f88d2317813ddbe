// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/retention.h"

#include <stdbool.h>

#include "collector/flowstore/flow_writer.h"
#include "collector/rollup/rollup_writer.h"
#include "collector/sqlite/one_shot.h"
#include "common/cleanup.h"

struct deletion {
	const struct retention *limits;
	sqlite3 *db;
	struct flow_writer *flows;
	struct rollup_writer *rollups;
	size_t max_rows, rows;
};

static int read_bytes(sqlite3 *db, const char *sql, uint64_t *ret)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(db, sql);
	int found = one_shot_row(&o);

	if (found < 0)
		return found;
	*ret = (uint64_t)sqlite3_column_int64(o.st, 0);
	return 0;
}

static int is_too_large(struct deletion *d, bool *ret)
{
	uint64_t used = 0;
	int err = read_bytes(d->db, RETENTION_USED_SQL, &used);

	*ret = used > d->limits->max_bytes;
	return err;
}

static int are_flows_most(struct deletion *d, bool *ret)
{
	uint64_t bytes = 0;
	int err = read_bytes(d->db,
			     "SELECT (SELECT ifnull(sum(n_bytes), 0) FROM flow_segment)"
			     " + (SELECT ifnull(sum(length(data)), 0) FROM flow_fresh)",
			     &bytes);

	*ret = bytes > d->limits->max_bytes / 2;
	return err;
}

static int drop_oldest(struct deletion *d, bool flow, size_t *ret_rows)
{
	return flow ? flow_writer_drop_oldest(d->flows, INT64_MAX, ret_rows)
		    : rollup_writer_drop_oldest(d->rollups, ret_rows);
}

/* What to delete is settled once, as adding up all segments is not for each of them. */
static int shrink(struct deletion *d)
{
	bool too_large = false, flow = true;
	size_t rows = 1;
	int err = is_too_large(d, &too_large);

	if (!err && too_large)
		err = are_flows_most(d, &flow);
	while (!err && too_large && rows && d->rows < d->max_rows) {
		err = drop_oldest(d, flow, &rows);
		if (!err && !rows)
			err = drop_oldest(d, !flow, &rows);
		d->rows += rows;
		if (!err)
			err = is_too_large(d, &too_large);
	}
	return err;
}

int retention_apply(const struct retention *limits, sqlite3 *db, struct flow_writer *flows,
		    struct rollup_writer *rollups, size_t max_rows, size_t *ret_rows)
{
	struct deletion d = {limits, db, flows, rollups, max_rows, 0};
	size_t aged_rollups = 0;
	int err = flow_writer_expire(flows, limits->flows_before_ms, max_rows, &d.rows);

	if (!err && d.rows < max_rows)
		err = rollup_writer_expire(rollups, limits->minutes_before_ms,
					   limits->hours_before_ms, max_rows - d.rows,
					   &aged_rollups);
	d.rows += aged_rollups;
	if (!err && limits->max_bytes && d.rows < max_rows)
		err = shrink(&d);
	*ret_rows = d.rows;
	return err;
}
