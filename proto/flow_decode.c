/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_decode.c - the columns of a block, from its parts, checked. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/flow_decoder.h"
#include "proto/flow_memory.h"
#include "proto/flow_related.h"
#include "proto/vectors.h"

VECTORS static void add_u32(uint32_t *ret, const uint32_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ret[i] += b[i];
}

VECTORS static void near_u32(uint32_t *ret, const uint32_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ret[i] = flow_near_to(b[i], ret[i]);
}

VECTORS static void add_u64(uint64_t *ret, const uint64_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ret[i] += b[i];
}

/*
 * Whether no value is above max. The or of all is at least the largest of them: it
 * tells most of the time, and is a vector's work.
 */
VECTORS static bool within_u32(const uint32_t *a, size_t n, uint32_t max)
{
	uint32_t any = 0, largest = 0;

	for (size_t i = 0; i < n; i++)
		any |= a[i];
	for (size_t i = 0; any > max && i < n; i++)
		largest = a[i] > largest ? a[i] : largest;
	return largest <= max;
}

VECTORS static bool within_u64(const uint64_t *a, size_t n, uint64_t max)
{
	uint64_t any = 0, largest = 0;

	for (size_t i = 0; i < n; i++)
		any |= a[i];
	for (size_t i = 0; any > max && i < n; i++)
		largest = a[i] > largest ? a[i] : largest;
	return largest <= max;
}

VECTORS static void lengthen_durations(uint64_t *us, size_t n)
{
	const uint64_t exact = FLOW_DURATION_EXACT_US;

	for (size_t i = 0; i < n; i++)
		us[i] = us[i] < exact ? us[i] : exact + (us[i] - exact) * 1000;
}

/* --- how large a number can be ------------------------------------------------------- */

static uint64_t most_of_sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* From those of the parts: what they are related to is added. */
static void add_most(uint64_t most[FLOW_N_COLUMNS])
{
	for (size_t k = 0; k < flow_n_relations; k++) {
		const struct flow_relation *r = &flow_relations[k];

		most[r->column] = most_of_sum(most[r->column], most[r->minus]);
		if (r->minus_too != FLOW_NONE)
			most[r->column] = most_of_sum(most[r->column], most[r->minus_too]);
	}
}

/* Whether the bits of a column do not tell that all its values are right. */
static bool must_be_decoded(enum flow_column c, uint64_t most)
{
	const struct flow_column_info *info = &flow_column_info[c];

	switch (info->kind) {
	case FLOW_HIST:
		return false; /* check_hists() */
	case FLOW_ADDR:
	case FLOW_TEXT:
		return most > 0;
	case FLOW_U32:
		return info->max < UINT32_MAX && most > info->max; /* else any sum is one */
	case FLOW_U64:
		return c != FLOW_COLUMN_flow_id && most > info->max;
	}
	return true;
}

/* --- decoding ------------------------------------------------------------------------- */

/* Of 64 bits, or of 32. */
static bool get_numbers(struct column_codec *c, const struct flow_parts *p,
			const struct twins *twins, unsigned part, struct column_rows rows,
			bool wide, void *ret)
{
	const struct flow_part *q = &p->part[part];
	size_t n = p->n_rows;

	if (!q->present) {
		memset(ret, 0, rows.n * (wide ? sizeof(uint64_t) : sizeof(uint32_t)));
		return true;
	}
	if (!q->data)
		return false;
	if (twins_needed(q->data, q->len))
		return twins->n_twins &&
		       (wide ? twins_decode_rows_u64(c, twins, q->data, q->len, rows, ret)
			     : twins_decode_rows_u32(c, twins, q->data, q->len, rows, ret));
	return wide ? column_decode_rows_u64(c, q->data, q->len, n, rows, ret)
		    : column_decode_rows_u32(c, q->data, q->len, n, rows, ret);
}

bool flow_get_u32(struct column_codec *c, const struct flow_parts *p, const struct twins *twins,
		  unsigned part, struct column_rows rows, uint32_t *ret)
{
	return get_numbers(c, p, twins, part, rows, false, ret);
}

bool flow_get_u64(struct column_codec *c, const struct flow_parts *p, const struct twins *twins,
		  unsigned part, struct column_rows rows, uint64_t *ret)
{
	return get_numbers(c, p, twins, part, rows, true, ret);
}

static bool get_u32(struct flow_decoder *d, unsigned part, uint32_t *ret)
{
	return flow_get_u32(d->codec, d->parts, &d->twins, part, d->rows, ret) ||
	       flow_decoder_bad(d, "a column is not n_rows numbers");
}

static bool get_u64(struct flow_decoder *d, unsigned part, uint64_t *ret)
{
	return flow_get_u64(d->codec, d->parts, &d->twins, part, d->rows, ret) ||
	       flow_decoder_bad(d, "a column is not n_rows numbers");
}

int flow_get_twins(struct column_codec *c, const struct flow_parts *p, struct twins *ret)
{
	const struct flow_part *q = &p->part[FLOW_PART_TWINS];

	*ret = (struct twins){0};
	if (!q->present)
		return 0;
	return q->data ? twins_read(c, q->data, q->len, p->n_rows, ret) : -EBADMSG;
}

static uint64_t most_of_part(const struct flow_decoder *d, const struct flow_part *p, size_t width)
{
	if (twins_needed(p->data, p->len))
		return twins_most(p->data, p->len, &d->twins, width);
	return column_most(p->data, p->len, width);
}

/* Before what a column is related to is added: later relations count on earlier ones. */
static bool get_raw_columns(struct flow_decoder *d)
{
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++) {
		const struct flow_part *p = &d->parts->part[c];
		union flow_array a = d->b->column[c];
		bool wide = flow_column_info[c].kind == FLOW_U64;

		if (!a.any || a.u64 == flow_zeros || c == FLOW_COLUMN_start_ms ||
		    flow_column_info[c].kind == FLOW_HIST)
			continue;
		if (wide ? !get_u64(d, c, a.u64) : !get_u32(d, c, a.u32))
			return false;
		if (p->present)
			d->most[c] = most_of_part(d, p, wide ? sizeof(*a.u64) : sizeof(*a.u32));
	}
	add_most(d->most);
	return true;
}

void flow_relate(struct flow_block *b)
{
	for (size_t k = 0; k < flow_n_relations; k++) {
		const struct flow_relation *r = &flow_relations[k];

		if (!b->column[r->column].any)
			continue;
		if (flow_column_info[r->column].kind == FLOW_U64) {
			add_u64(b->column[r->column].u64, b->column[r->minus].u64, b->n_rows);
			continue;
		}
		if (r->near)
			near_u32(b->column[r->column].u32, b->column[r->minus].u32, b->n_rows);
		else
			add_u32(b->column[r->column].u32, b->column[r->minus].u32, b->n_rows);
		if (r->minus_too != FLOW_NONE)
			add_u32(b->column[r->column].u32, b->column[r->minus_too].u32, b->n_rows);
	}
}

/*
 * start = end - duration, of durations that are not lengthened yet. Vectors do not
 * divide, but n / 1000 is n * 274877907 >> 38 below 2^20, and so for those that are
 * below FLOW_DURATION_EXACT_US. Returns the or of all.
 */
VECTORS static uint64_t get_starts(const uint64_t *end_ms, const uint64_t *kept, uint64_t *ret,
				   size_t n)
{
	const uint64_t exact = FLOW_DURATION_EXACT_US;
	uint64_t any = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t ms = (kept[i] & 0xfffff) * UINT64_C(274877907) >> 38;

		ret[i] = end_ms[i] - (kept[i] < exact ? ms : kept[i] - exact + exact / 1000);
		any |= ret[i];
	}
	return any;
}

uint64_t flow_make_starts(struct flow_block *b)
{
	uint64_t *start = FLOW_COL_U64(b, start_ms);

	return start ? get_starts(FLOW_COL_U64(b, end_ms), FLOW_COL_U64(b, duration_us), start,
				  b->n_rows)
		     : 0;
}

/* Called when end_ms and duration_us are known to be in range. */
static bool get_start_ms(struct flow_decoder *d)
{
	return flow_make_starts(d->b) < FLOW_TIME_MAX_MS ||
	       within_u64(FLOW_COL_U64(d->b, start_ms), d->b->n_rows, FLOW_TIME_MAX_MS) ||
	       flow_decoder_bad(d, "a flow starts before 1970");
}

static bool get_id_differences(struct flow_decoder *d)
{
	return !d->b->id_differences || get_u64(d, FLOW_COLUMN_flow_id, d->b->id_differences);
}

static int get_ids(struct flow_decoder *d)
{
	uint64_t *ids = FLOW_COL_U64(d->b, flow_id), *derived;
	size_t n = d->b->n_rows;
	int err;

	if (!ids)
		return 0;
	derived = malloc(n * sizeof(*derived));
	err = derived ? flow_derive_ids(d->b, derived) : -ENOMEM;
	for (size_t i = 0; !err && i < n; i++)
		ids[i] = flow_id_from(derived[i], ids[i]);
	free(derived);
	return err;
}

/* --- ... its histograms ------------------------------------------------------------------ */

bool flow_get_hist_values(struct column_codec *c, const struct flow_part *p, size_t n_rows,
			  uint32_t *ret, size_t n)
{
	const uint8_t *at = p->data, *end = p->data + p->len;
	uint64_t there, len;
	size_t step;

	if (!varint_get(&at, end, &there) || there != n)
		return false;
	for (size_t from = 0; from < n; from += step) {
		step = n - from < n_rows ? n - from : n_rows;
		if (!varint_get(&at, end, &len) || len > (size_t)(end - at) ||
		    !column_decode_u32(c, at, (size_t)len, step, ret + from))
			return false;
		at += len;
	}
	return at == end;
}

/* The modes of rows and their values; both for free(). */
static int read_hist(struct flow_decoder *d, enum flow_column which, unsigned values_part,
		     uint32_t **ret_modes, uint32_t **ret_values)
{
	const struct flow_part *p = &d->parts->part[values_part];
	uint32_t *modes = malloc(d->b->n_rows * sizeof(*modes)), *values = NULL;
	size_t n = 0;
	int err = modes ? 0 : -ENOMEM;

	if (!err && (!get_u32(d, which, modes) || !flow_hist_count(modes, d->b->n_rows, &n) ||
		     (n == 0) == (p->data != NULL)))
		err = -EBADMSG;
	if (!err) {
		values = malloc((n + 1) * sizeof(*values));
		err = values ? 0 : -ENOMEM;
	}
	if (!err && n && !flow_get_hist_values(d->codec, p, d->b->n_rows, values, n))
		err = -EBADMSG;
	if (!err) {
		*ret_modes = modes;
		*ret_values = values;
		return 0;
	}
	free(modes);
	free(values);
	return err == -EBADMSG ? (flow_decoder_bad(d, "a histogram that is none"), err) : err;
}

static int get_hists(struct flow_decoder *d, enum flow_column which, unsigned values_part)
{
	struct flow_hists h = flow_hists_of(d->b, which);
	uint32_t *modes, *values;
	int err;

	if (!h.hist)
		return 0;
	err = read_hist(d, which, values_part, &modes, &values);
	if (err)
		return err;
	flow_hist_join(&h, modes, values);
	free(modes);
	free(values);
	return 0;
}

/* --- ... all of it -------------------------------------------------------------------------- */

static bool check_numbers(struct flow_decoder *d, enum flow_column c)
{
	const struct flow_block *b = d->b;
	const uint32_t *numbers = b->column[c].u32;
	size_t n = flow_column_info[c].kind == FLOW_ADDR ? b->n_addrs : b->n_texts;

	if (!within_u32(numbers, b->n_rows, (uint32_t)n - 1))
		return flow_decoder_bad(d, "a number that is not in the dictionary");
	if (flow_column_info[c].kind == FLOW_TEXT && d->parts->part[c].present &&
	    !flow_texts_fit(b, numbers, flow_column_info[c].max))
		return flow_decoder_bad(d, "a text is too long for its column");
	return true;
}

static bool check_range(struct flow_decoder *d, enum flow_column c)
{
	const struct flow_column_info *info = &flow_column_info[c];
	union flow_array a = d->b->column[c];

	if (!a.any || !must_be_decoded(c, d->most[c]))
		return true;
	switch (info->kind) {
	case FLOW_ADDR:
	case FLOW_TEXT:
		return check_numbers(d, c);
	case FLOW_U64:
		return within_u64(a.u64, d->b->n_rows, info->max) ||
		       flow_decoder_bad(d, "a value out of its column's range");
	case FLOW_U32:
		return within_u32(a.u32, d->b->n_rows, (uint32_t)info->max) ||
		       flow_decoder_bad(d, "a value out of its column's range");
	case FLOW_HIST:
		return true; /* checked as it is put together */
	}
	return false;
}

static int get_twins(struct flow_decoder *d)
{
	int err = flow_get_twins(d->codec, d->parts, &d->twins);

	if (!err && d->twins.n_twins && d->rows.picked)
		err = twins_pick(&d->twins, &d->rows);
	return err == -EBADMSG ? (flow_decoder_bad(d, "twins that are none"), err) : err;
}

static int get_columns(struct flow_decoder *d)
{
	int err;

	if (!get_raw_columns(d) || !get_id_differences(d))
		return -EBADMSG;
	flow_relate(d->b);
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (!check_range(d, (enum flow_column)c))
			return -EBADMSG;
	if (!get_start_ms(d))
		return -EBADMSG;
	if (d->most[FLOW_COLUMN_duration_us] >= FLOW_DURATION_EXACT_US)
		lengthen_durations(FLOW_COL_U64(d->b, duration_us), d->b->n_rows);
	err = get_hists(d, FLOW_COLUMN_data_rtt_hist, FLOW_PART_HIST_VALUES);
	if (!err)
		err = get_hists(d, FLOW_COLUMN_rev_data_rtt_hist, FLOW_PART_REV_HIST_VALUES);
	return err ? err : get_ids(d);
}

/* Those numbers to the front. */
static void keep_numbers(void *numbers, size_t width, const uint32_t *rows, size_t n)
{
	char *at = numbers;

	for (size_t i = 0; i < n; i++, at += width)
		memmove(at, (char *)numbers + rows[i] * width, width);
}

void flow_block_keep(struct flow_block *b, const uint32_t *rows, size_t n)
{
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (b->column[c].any && b->column[c].u64 != flow_zeros)
			keep_numbers(b->column[c].any, flow_width(flow_column_info[c].kind), rows,
				     n);
	if (b->id_differences)
		keep_numbers(b->id_differences, sizeof(*b->id_differences), rows, n);
	b->n_rows = n;
}

static void cut_rows(struct flow_block *b, struct column_rows rows)
{
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (b->column[c].any && b->column[c].u64 != flow_zeros)
			b->column[c].any = (char *)b->column[c].any +
					   rows.first * flow_width(flow_column_info[c].kind);
	if (b->id_differences)
		b->id_differences += rows.first;
	b->n_rows = rows.n;
}

int flow_parts_decode_rows(struct column_codec *c, const struct flow_parts *p,
			   const struct flow_columns *columns, struct column_rows rows,
			   struct flow_block *ret, const char **ret_why)
{
	struct flow_columns wanted = flow_closure(columns);
	/* Where the values of a histogram are follows from all those before it. */
	bool all = flow_any_of_kind(&wanted, FLOW_HIST);
	struct flow_block b = {.n_rows = all ? p->n_rows : rows.n};
	struct flow_decoder d = {
		.codec = c, .parts = p, .rows = rows, .b = &b, .why = "not a block of flows"};
	int err;

	if (all)
		d.rows = (struct column_rows){.n = p->n_rows};
	if (p->n_rows > column_codec_max_rows(c))
		err = (flow_decoder_bad(&d, "too many rows"), -EBADMSG);
	else
		err = flow_decode_dictionaries(&d, &wanted, flow_any_of_kind(&wanted, FLOW_ADDR),
					       flow_any_of_kind(&wanted, FLOW_TEXT));
	if (!err && b.n_rows && flow_any_twinned(&wanted))
		err = get_twins(&d);
	if (!err && b.n_rows)
		err = get_columns(&d);
	twins_done(&d.twins);
	if (!err) {
		if (all && rows.picked)
			flow_block_keep(&b, rows.picked, rows.n);
		else if (all)
			cut_rows(&b, rows);
		*ret = b;
		return 0;
	}
	flow_block_done(&b);
	if (column_codec_out_of_memory(c))
		return -ENOMEM;
	if (err == -EBADMSG && ret_why)
		*ret_why = d.why;
	return err;
}

int flow_parts_decode(struct column_codec *c, const struct flow_parts *p,
		      const struct flow_columns *columns, struct flow_block *ret,
		      const char **ret_why)
{
	return flow_parts_decode_rows(c, p, columns, (struct column_rows){0, p->n_rows}, ret,
				      ret_why);
}

/* --- checking without decoding ------------------------------------------------------------------
 */

/* How large the numbers of each column can be, as its part says. */
static bool check_parts(struct flow_decoder *d, uint64_t most[FLOW_N_COLUMNS])
{
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++) {
		const struct flow_part *p = &d->parts->part[c];
		size_t width =
			flow_column_info[c].kind == FLOW_U64 ? sizeof(uint64_t) : sizeof(uint32_t);

		most[c] = 0;
		if (p->present &&
		    !column_check(d->codec, p->data, p->len, d->parts->n_rows, width, &most[c]))
			return flow_decoder_bad(d, "a column is not n_rows numbers");
	}
	add_most(most);
	return true;
}

static int check_hists(struct flow_decoder *d)
{
	static const struct {
		enum flow_column which;
		unsigned values;
	} hists[] = {{FLOW_COLUMN_data_rtt_hist, FLOW_PART_HIST_VALUES},
		     {FLOW_COLUMN_rev_data_rtt_hist, FLOW_PART_REV_HIST_VALUES}};
	uint32_t *modes, *values;

	for (size_t i = 0; i < 2 && d->b->n_rows; i++) {
		int err = read_hist(d, hists[i].which, hists[i].values, &modes, &values);

		if (err)
			return err;
		free(modes);
		free(values);
	}
	return 0;
}

int flow_parts_check(struct column_codec *c, const struct flow_parts *p, struct flow_block *ret,
		     const char **ret_why)
{
	struct flow_block b = {.n_rows = p->n_rows};
	struct flow_decoder d = {.codec = c,
				 .parts = p,
				 .rows = {0, p->n_rows},
				 .b = &b,
				 .why = "not a block of flows"};
	struct flow_columns doubtful = {{0}};
	uint64_t most[FLOW_N_COLUMNS] = {0};
	int err = 0;

	if (p->n_rows > column_codec_max_rows(c))
		err = (flow_decoder_bad(&d, "too many rows"), -EBADMSG);
	else if (p->n_rows && !check_parts(&d, most))
		err = -EBADMSG;
	if (!err)
		err = check_hists(&d);
	if (err && column_codec_out_of_memory(c))
		return -ENOMEM;
	if (err) {
		if (err == -EBADMSG && ret_why)
			*ret_why = d.why;
		return err;
	}
	flow_columns_add(&doubtful, FLOW_COLUMN_start_ms); /* for the summary, like the next two */
	flow_columns_add(&doubtful, FLOW_COLUMN_packets);
	flow_columns_add(&doubtful, FLOW_COLUMN_rev_packets);
	for (unsigned i = 0; i < FLOW_N_COLUMNS; i++)
		if (must_be_decoded((enum flow_column)i, most[i]))
			flow_columns_add(&doubtful, (enum flow_column)i);
	/* Dictionaries that no column counts on are read, too: the blob is kept whole. */
	if (p->part[FLOW_PART_ADDRS].present)
		flow_columns_add(&doubtful, FLOW_COLUMN_src_addr);
	if (p->part[FLOW_PART_TEXTS].present)
		flow_columns_add(&doubtful, FLOW_COLUMN_iface);
	return flow_parts_decode(c, p, &doubtful, ret, ret_why);
}
