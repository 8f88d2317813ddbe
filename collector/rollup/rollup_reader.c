// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/rollup/rollup_reader.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "collector/once/host_minutes.h"
#include "collector/once/once.h"
#include "collector/rollup/rollup_block.h"
#include "collector/sqlite/db_error.h"
#include "common/cleanup.h"

#define MAX_POOR_MINUTES 10 /* times of an hour; with more, all of it is read from records */

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

/* Times that are read from records: a predicate each. */
struct times {
	struct predicate *ranges;
	size_t n, max;
};

struct reader {
	sqlite3 *db;
	struct aggregate *a;
	const struct aggregate_input *in;
	struct predicate conditions; /* all */
	bool tells_ports;	     /* a row of any port does not do */
	enum once_rule rule;
	const struct host_minutes *presence;
	int64_t segment_id, minute_since_ms, hour_since_ms, flows_since_ms, rolled_until_ms;
	int64_t since_ms, until_ms;
	struct rollup_block block; /* one hour or minute */
	struct times times;
	struct rollup_use use;
};

/* --- can they answer? ------------------------------------------------------------- */

static bool keys_fit(const struct aggregate_spec *spec)
{
	for (size_t k = 0; k < spec->n_keys; k++)
		if (spec->keys[k].column == FLOW_COLUMN_src_addr &&
		    spec->keys[k].kind != FLOWS_IP_VERSION)
			return false;
	return true;
}

static bool columns_fit(const struct aggregate *a)
{
	struct flow_columns wanted = aggregate_columns(a), there = rollup_block_columns();

	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (flow_columns_has(&wanted, (enum flow_column)c) &&
		    !flow_columns_has(&there, (enum flow_column)c))
			return false;
	return true;
}

static bool conditions_fit(const struct predicate *conditions)
{
	static const enum flow_column columns[] = {
		FLOW_COLUMN_host_id,   FLOW_COLUMN_dst_port, FLOW_COLUMN_proto,
		FLOW_COLUMN_direction, FLOW_COLUMN_role,
	};
	struct flow_columns there = {{0}};

	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		flow_columns_add(&there, columns[i]);
	return !predicate_reads_other(conditions, &there);
}

/* Whether high ports matter, which a row may have put together. */
static bool tells_ports(const struct aggregate *a, const struct predicate *conditions)
{
	struct flow_columns read = aggregate_columns(a);
	uint64_t low = 0, high = UINT16_MAX;

	predicate_columns(conditions, &read);
	predicate_bounds(conditions, FLOW_COLUMN_dst_port, &low, &high);
	return flow_columns_has(&read, FLOW_COLUMN_dst_port) && high >= ROLLUP_SERVICE_MAX;
}

/* Returns 1, or 0 if there are no rollups for this window. */
static int read_state(struct reader *r)
{
	static const char sql[] =
		"SELECT segment_id, minute_since_ms, hour_since_ms, flows_since_ms,"
		" max(ifnull((SELECT max(start_ms) FROM rollup_minute), -1),"
		"     ifnull((SELECT max(start_ms) FROM rollup_hour), -1)) AS last_ms,"
		" EXISTS (SELECT 1 FROM rollup_gap WHERE max_end_ms >= ?1 AND min_end_ms < ?2)"
		" FROM rollup_state";
	cleanup(sqlite3_finalize_p) sqlite3_stmt *st = NULL;
	int64_t last_ms;

	if (sqlite3_prepare_v2(r->db, sql, -1, &st, NULL) != SQLITE_OK)
		return db_last_errno(r->db);
	(void)sqlite3_bind_int64(st, 1, r->since_ms); /* parameters that are there */
	(void)sqlite3_bind_int64(st, 2, r->until_ms);
	if (sqlite3_step(st) != SQLITE_ROW)
		return db_last_errno(r->db);
	r->segment_id = sqlite3_column_int64(st, 0);
	r->minute_since_ms = sqlite3_column_int64(st, 1);
	r->hour_since_ms = sqlite3_column_int64(st, 2);
	r->flows_since_ms = sqlite3_column_int64(st, 3);
	last_ms = sqlite3_column_int64(st, 4);
	r->rolled_until_ms = (last_ms / ROLLUP_HOUR_MS + 1) * ROLLUP_HOUR_MS;
	return last_ms >= 0 && !sqlite3_column_int(st, 5);
}

/* --- times that are read from records ----------------------------------------------- */

static int add_time(struct times *t, int64_t from_ms, int64_t to_ms)
{
	if (from_ms >= to_ms)
		return 0;
	if (t->n && t->ranges[t->n - 1].high + 1 == (uint64_t)from_ms) {
		t->ranges[t->n - 1].high = (uint64_t)to_ms - 1;
		return 0;
	}
	if (t->n == t->max) {
		size_t max = t->max ? 2 * t->max : 16;
		struct predicate *ranges = realloc(t->ranges, max * sizeof(*ranges));

		if (!ranges)
			return -ENOMEM;
		t->ranges = ranges;
		t->max = max;
	}
	t->ranges[t->n++] = (struct predicate){.kind = PREDICATE_RANGE,
					       .column = FLOW_COLUMN_end_ms,
					       .low = (uint64_t)from_ms,
					       .high = (uint64_t)to_ms - 1};
	return 0;
}

/* --- a row --------------------------------------------------------------------------- */

enum verdict { COUNTS, SET_ASIDE, UNSURE };

/* The rows of one hour or minute are in the block. */
struct bucket {
	int64_t start_ms, ms;
	bool poor;	    /* a row does not tell all */
	uint32_t *selected; /* rows that count */
	size_t n_selected;
	uint64_t set_aside; /* records */
};

static void bucket_done(struct bucket *b)
{
	free(b->selected);
}

/* Whether the records of a row count. */
static enum verdict judge(const struct reader *r, const struct bucket *b, size_t row)
{
	const uint32_t host_id = FLOW_COL_U32(&r->block.block, host_id)[row];
	int64_t claim = r->block.rows[row].claim, from_ms;

	if (r->rule == ONCE_ALL || claim == ROLLUP_CLAIM_NONE)
		return COUNTS;
	if (claim == ROLLUP_CLAIM_ASIDE)
		return SET_ASIDE;
	if (claim == ROLLUP_CLAIM_UNOWNED)
		return UNSURE;
	from_ms = b->start_ms - host_minutes_skew(r->presence, host_id);
	switch (host_minutes_extent(r->presence, (uint32_t)(claim / 2), from_ms, from_ms + b->ms,
				    ONCE_SLACK_MS)) {
	case HOST_MINUTES_ALWAYS:
		return SET_ASIDE;
	case HOST_MINUTES_NEVER:
		return claim % 2 ? UNSURE : COUNTS;
	default:
		return UNSURE;
	}
}

static void judge_row(const struct reader *r, struct bucket *b, size_t row)
{
	const struct rollup_block_row *x = &r->block.rows[row];
	enum verdict verdict = judge(r, b, row);

	if (verdict == UNSURE) { /* what is most likely, should nothing tell */
		b->poor = true;
		verdict = x->claim == ROLLUP_CLAIM_UNOWNED ? COUNTS : SET_ASIDE;
	}
	if (verdict == COUNTS)
		b->selected[b->n_selected++] = (uint32_t)row;
	else
		b->set_aside += x->records;
}

/* Those that the conditions admit. */
static int judge_rows(struct reader *r, struct bucket *b)
{
	const struct flow_block *block = rollup_block_view(&r->block);
	size_t n = r->block.n;
	cleanup(free_p) uint8_t *match =
		malloc(n + predicate_scratch_bytes(&r->conditions, block) + 1);

	b->selected = malloc((n + 1) * sizeof(*b->selected));
	if (!match || !b->selected)
		return -ENOMEM;
	predicate_match(&r->conditions, block, match, match + n);
	for (size_t i = 0; i < n; i++) {
		if (r->tells_ports && r->block.rows[i].any_port) /* whatever port matches */
			b->poor = true;
		if (match[i])
			judge_row(r, b, i);
	}
	return 0;
}

/* --- hours and minutes ----------------------------------------------------------------- */

/* Reads the rows of one table between two times, bucket by bucket. */
struct cursor {
	sqlite3_stmt *st;
	bool more;
	struct rollup_row row; /* the next one, if there is more */
};

static int next_row(struct reader *r, struct cursor *c)
{
	int rc = sqlite3_step(c->st);

	c->more = rc == SQLITE_ROW;
	if (c->more)
		rollup_block_read(c->st, &c->row);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_last_errno(r->db);
}

static int open_cursor(struct reader *r, const char *table, int64_t from_ms, int64_t to_ms,
		       struct cursor *ret)
{
	char sql[ROLLUP_BLOCK_SQL_MAX];

	rollup_block_sql(table, sql);
	if (sqlite3_prepare_v2(r->db, sql, -1, &ret->st, NULL) != SQLITE_OK)
		return db_last_errno(r->db);
	(void)sqlite3_bind_int64(ret->st, 1, from_ms); /* parameters that are there */
	(void)sqlite3_bind_int64(ret->st, 2, to_ms);
	return next_row(r, ret);
}

static void close_cursor(struct cursor *c)
{
	(void)sqlite3_finalize(c->st); /* repeats an old error at most */
}

/* The bucket that the cursor is at, of ms. */
static int read_bucket(struct reader *r, struct cursor *c, int64_t ms, struct bucket *ret)
{
	int err = 0;

	*ret = (struct bucket){.start_ms = c->row.key.start_ms, .ms = ms};
	r->block.n = 0;
	while (!err && c->more && c->row.key.start_ms == ret->start_ms) {
		err = rollup_block_add(&r->block, &c->row);
		if (!err)
			err = next_row(r, c);
	}
	return err ? err : judge_rows(r, ret);
}

/* Its records are deleted, or some of them: the rollup is all there is. */
static bool is_all_there_is(const struct reader *r, const struct bucket *b)
{
	return b->start_ms < r->flows_since_ms;
}

static int use_bucket(struct reader *r, const struct bucket *b, uint64_t *count)
{
	(*count)++;
	r->use.unsure += b->poor;
	r->use.set_aside += b->set_aside;
	return aggregate_add_sums(r->a, r->in, rollup_block_view(&r->block), b->selected,
				  b->n_selected);
}

/* The minute that the cursor is at: added, or from records. */
static int read_minute(struct reader *r, struct cursor *c, size_t *poor)
{
	cleanup(bucket_done) struct bucket b = {0};
	int err = read_bucket(r, c, ROLLUP_MINUTE_MS, &b);
	bool from_records = b.poor && !is_all_there_is(r, &b);

	if (poor) { /* only to count them */
		*poor += from_records;
		return err;
	}
	if (err)
		return err;
	return from_records ? add_time(&r->times, b.start_ms, b.start_ms + ROLLUP_MINUTE_MS)
			    : use_bucket(r, &b, &r->use.minutes);
}

/* The minutes of a time, as far as they are kept and tell all; the others from records. */
static int read_minutes(struct reader *r, int64_t from_ms, int64_t to_ms)
{
	cleanup(close_cursor) struct cursor c = {0};
	int64_t kept_ms = from_ms > r->minute_since_ms ? from_ms : r->minute_since_ms;
	int err;

	if (kept_ms > to_ms)
		kept_ms = to_ms;
	err = add_time(&r->times, from_ms, kept_ms);
	if (!err && kept_ms < to_ms)
		err = open_cursor(r, "rollup_minute", kept_ms, to_ms, &c);
	while (!err && c.more)
		err = read_minute(r, &c, NULL);
	return err;
}

/* How many minutes of an hour do not tell all. */
static int count_poor(struct reader *r, int64_t start_ms, size_t *ret)
{
	cleanup(close_cursor) struct cursor c = {0};
	int err = open_cursor(r, "rollup_minute", start_ms, start_ms + ROLLUP_HOUR_MS, &c);

	*ret = 0;
	while (!err && c.more)
		err = read_minute(r, &c, ret);
	return err;
}

/* An hour that does not tell all, by its minutes; if many do not, from records. */
static int refine_hour(struct reader *r, int64_t start_ms)
{
	size_t poor = 0;
	int err = count_poor(r, start_ms, &poor);

	if (err)
		return err;
	return poor > MAX_POOR_MINUTES ? add_time(&r->times, start_ms, start_ms + ROLLUP_HOUR_MS)
				       : read_minutes(r, start_ms, start_ms + ROLLUP_HOUR_MS);
}

static int read_hour(struct reader *r, struct cursor *c)
{
	cleanup(bucket_done) struct bucket b = {0};
	int err = read_bucket(r, c, ROLLUP_HOUR_MS, &b);

	if (err)
		return err;
	if (b.poor && (b.start_ms >= r->minute_since_ms || !is_all_there_is(r, &b)))
		return refine_hour(r, b.start_ms);
	return use_bucket(r, &b, &r->use.hours);
}

static int read_hours(struct reader *r, int64_t from_ms, int64_t to_ms)
{
	cleanup(close_cursor) struct cursor c = {0};
	int err = open_cursor(r, "rollup_hour", from_ms, to_ms, &c);

	while (!err && c.more)
		err = read_hour(r, &c);
	return err;
}

static int64_t round_up(int64_t ms, int64_t unit)
{
	return (ms + unit - 1) / unit * unit;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Whole hours, the minutes before and after, and what is left at the edges. */
static int read_rollups(struct reader *r)
{
	int64_t minute = round_up(r->since_ms, ROLLUP_MINUTE_MS);
	int64_t minute_end = r->until_ms / ROLLUP_MINUTE_MS * ROLLUP_MINUTE_MS;
	int64_t hour = round_up(larger(minute, r->hour_since_ms), ROLLUP_HOUR_MS);
	int64_t hour_end = minute_end / ROLLUP_HOUR_MS * ROLLUP_HOUR_MS;
	int err;

	if (hour >= hour_end)
		hour = hour_end = minute_end;
	err = add_time(&r->times, r->since_ms, minute);
	if (!err)
		err = read_minutes(r, minute, hour);
	if (!err)
		err = read_hours(r, hour, hour_end);
	if (!err)
		err = read_minutes(r, hour_end, minute_end);
	if (!err)
		err = add_time(&r->times, minute_end, r->until_ms);
	return err;
}

/* --- records ----------------------------------------------------------------------------- */

/* Of the times that are theirs alone, and then what no rollup has yet of the others. */
static int read_records(struct reader *r)
{
	const struct predicate any = {
		.kind = PREDICATE_ANY, .children = r->times.ranges, .n_children = r->times.n};
	const struct predicate none = {.kind = PREDICATE_NOT, .children = &any, .n_children = 1};
	const struct predicate within[] = {*r->in->predicate, any};
	const struct predicate outside[] = {*r->in->predicate, none};
	const struct predicate edges = {.kind = PREDICATE_ALL, .children = within, .n_children = 2};
	const struct predicate rest = {
		.kind = PREDICATE_ALL, .children = outside, .n_children = r->times.n ? 2 : 1};
	const struct catalog_range later = {r->segment_id, INT64_MAX, true};
	struct aggregate_input in = *r->in;
	int err = 0;

	if (r->times.n) {
		in.predicate = &edges;
		err = aggregate_read(r->a, &in);
	}
	in.predicate = &rest;
	in.range = &later;
	return err ? err : aggregate_read(r->a, &in);
}

static bool can_answer(const struct reader *r, const struct aggregate_spec *spec)
{
	return aggregate_takes_sums(r->a) && keys_fit(spec) && columns_fit(r->a) &&
	       conditions_fit(&r->conditions) && r->rule != ONCE_RECORDS;
}

static void reader_done(struct reader *r)
{
	rollup_block_done(&r->block);
	free(r->times.ranges);
}

int rollup_read(sqlite3 *db, struct aggregate *a, const struct aggregate_spec *spec,
		const struct aggregate_input *in, const struct rollup_question *q,
		struct rollup_use *ret)
{
	cleanup(reader_done) struct reader r = {
		.db = db,
		.a = a,
		.in = in,
		.conditions = {.kind = PREDICATE_ALL,
			       .children = q->conditions,
			       .n_children = q->n_conditions},
		.rule = in->once ? once_rule(in->once) : ONCE_ALL,
		.presence = in->once ? once_presence(in->once) : NULL,
		.since_ms = larger(q->since_ms, 0),
		.until_ms = q->until_ms == INT64_MIN ? INT64_MAX : q->until_ms,
	};
	int err;

	if (!can_answer(&r, spec))
		return 0;
	r.tells_ports = tells_ports(a, &r.conditions);
	err = read_state(&r);
	if (err <= 0)
		return err;
	if (r.until_ms > r.rolled_until_ms) /* what ended later is in no rollup */
		r.until_ms = r.rolled_until_ms;
	if (r.since_ms > r.until_ms - 2 * ROLLUP_MINUTE_MS) /* it may have no whole minute */
		return 0;
	err = read_rollups(&r);
	if (!err)
		err = read_records(&r);
	if (err)
		return err;
	aggregate_set_aside(a, r.use.set_aside);
	*ret = r.use;
	return 1;
}
