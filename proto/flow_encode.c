/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_encode.c - the parts of a block, from its columns. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/flow_addrs.h"
#include "proto/flow_related.h"

static void subtract_u32(uint32_t *ret, const uint32_t *a, const uint32_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ret[i] = a[i] - b[i];
}

static void far_u32(uint32_t *ret, const uint32_t *a, const uint32_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ret[i] = flow_far_from(b[i], a[i]);
}

static void subtract_u64(uint64_t *ret, const uint64_t *a, const uint64_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ret[i] = a[i] - b[i];
}

/* us below a second, then ms from there on, in one rising number. */
static void shorten_durations(uint64_t *ret, const uint64_t *us, size_t n)
{
	const uint64_t exact = FLOW_DURATION_EXACT_US;

	for (size_t i = 0; i < n; i++)
		ret[i] = us[i] < exact ? us[i] : exact + (us[i] - exact) / 1000;
}

/* --- encoding ------------------------------------------------------------------------ */

struct encoder {
	struct flow_encoder out;
	const struct flow_block *b;
	void *work; /* a column, while its differences are made */
};

/* A part of len bytes at e->at is done. One that says 0 for all rows is left out. */
static void take_part(struct flow_encoder *e, unsigned part, size_t len)
{
	static const uint8_t zeros[] = {0, 0}; /* CONST, base 0 */

	if (len == sizeof(zeros) && memcmp(e->at, zeros, sizeof(zeros)) == 0)
		return;
	e->parts->part[part] =
		(struct flow_part){.data = e->at, .len = (uint32_t)len, .present = true};
	e->at += len;
}

static bool is_twinned(const struct flow_encoder *e, unsigned part)
{
	return e->twins && part < FLOW_N_COLUMNS && flow_is_twinned((enum flow_column)part);
}

void flow_put_u32(struct flow_encoder *e, unsigned part, const uint32_t *values)
{
	size_t n = e->parts->n_rows;

	if (is_twinned(e, part))
		n = twins_encode_u32(e->codec, e->twins, values, e->effort, e->at);
	else
		n = column_encode_u32(e->codec, values, n, e->effort, e->at);
	take_part(e, part, n);
}

void flow_put_constant(struct flow_encoder *e, unsigned part, uint64_t value)
{
	take_part(e, part, column_encode_constant(value, e->at));
}

void flow_put_u64(struct flow_encoder *e, unsigned part, const uint64_t *values)
{
	size_t n = e->parts->n_rows;

	if (is_twinned(e, part))
		n = twins_encode_u64(e->codec, e->twins, values, e->effort, e->at);
	else
		n = column_encode_u64(e->codec, values, n, e->effort, e->at);
	take_part(e, part, n);
}

bool flow_put_twins(struct flow_encoder *e, const struct twins *twins)
{
	size_t len = twins_write(e->codec, twins, e->effort, e->at);

	if (!len)
		return false;
	take_part(e, FLOW_PART_TWINS, len);
	e->twins = twins;
	return true;
}

/* The difference to what the column is related to. */
static void put_related(struct encoder *e, const struct flow_relation *r)
{
	const union flow_array *columns = e->b->column;
	size_t n = e->b->n_rows;

	if (flow_column_info[r->column].kind == FLOW_U64) {
		subtract_u64(e->work, columns[r->column].u64, columns[r->minus].u64, n);
		flow_put_u64(&e->out, r->column, e->work);
		return;
	}
	if (r->near)
		far_u32(e->work, columns[r->column].u32, columns[r->minus].u32, n);
	else
		subtract_u32(e->work, columns[r->column].u32, columns[r->minus].u32, n);
	if (r->minus_too != FLOW_NONE)
		subtract_u32(e->work, e->work, columns[r->minus_too].u32, n);
	flow_put_u32(&e->out, r->column, e->work);
}

static int put_ids(struct encoder *e)
{
	const uint64_t *ids = FLOW_COL_U64(e->b, flow_id);
	uint64_t *work = e->work;
	int err = flow_derive_ids(e->b, work);

	if (err)
		return err;
	for (size_t i = 0; i < e->b->n_rows; i++)
		work[i] = (ids[i] - work[i] + FLOW_ID_OFFSET) & FLOW_ID_MAX;
	flow_put_u64(&e->out, FLOW_COLUMN_flow_id, work);
	return 0;
}

static bool is_v4(const uint8_t addr[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(addr, mapped, sizeof(mapped)) == 0;
}

/*
 * Addresses but number 0: how many, a bit for each that is IPv4, then 4 or 16
 * bytes each, all as bytes of column.h. Or in their order: flow_addrs.h.
 */
int flow_put_addrs(struct flow_encoder *e, uint8_t (*addrs)[16], size_t n_addrs)
{
	size_t n = n_addrs - 1, bits = (n + 7) / 8, len = 0;
	uint8_t *raw, *at;

	if (n == 0)
		return 0;
	if (e->effort == COLUMN_SMALL && n <= e->parts->n_rows)
		len = flow_addrs_encode(e->codec, addrs + 1, n, e->effort, e->at);
	if (len) {
		take_part(e, FLOW_PART_ADDRS, len);
		return 0;
	}
	raw = calloc(1, 10 + bits + 16 * n);
	if (!raw)
		return -ENOMEM;
	at = varint_put(raw, n);
	for (size_t i = 0; i < n; i++)
		at[i / 8] |= (uint8_t)(is_v4(addrs[i + 1]) << i % 8);
	at += bits;
	for (size_t i = 0; i < n; i++) {
		size_t from = is_v4(addrs[i + 1]) ? 12 : 0;

		memcpy(at, addrs[i + 1] + from, 16 - from);
		at += 16 - from;
	}
	take_part(e, FLOW_PART_ADDRS,
		  column_encode_bytes(e->codec, raw, (size_t)(at - raw), e->effort, e->at));
	free(raw);
	return 0;
}

/* Texts but number 0, one after another with their NULs. */
int flow_put_texts(struct flow_encoder *e, const char *const *texts, size_t n)
{
	size_t bytes = flow_text_bytes(texts, n);
	char *raw, *at;

	if (n < 2)
		return 0;
	raw = malloc(bytes);
	if (!raw)
		return -ENOMEM;
	at = raw;
	for (size_t i = 1; i < n; i++)
		at = stpcpy(at, texts[i]) + 1;
	take_part(e, FLOW_PART_TEXTS,
		  column_encode_bytes(e->codec, (uint8_t *)raw, bytes, e->effort, e->at));
	free(raw);
	return 0;
}

/* Values of histograms may be more than rows: columns of up to n_rows, each with its length. */
void flow_put_hist_values(struct flow_encoder *e, unsigned part, const uint32_t *values, size_t n)
{
	uint8_t *start = e->at, *at = varint_put(start, n);
	size_t step;

	for (size_t from = 0; from < n; from += step) {
		size_t len;

		step = n - from < e->parts->n_rows ? n - from : e->parts->n_rows;
		len = column_encode_u32(e->codec, values + from, step, e->effort, at + 4);
		at[0] = (uint8_t)(len | 0x80);
		at[1] = (uint8_t)(len >> 7 | 0x80);
		at[2] = (uint8_t)(len >> 14 | 0x80);
		at[3] = (uint8_t)(len >> 21);
		at += 4 + len;
	}
	take_part(e, part, (size_t)(at - start));
}

static int put_hists(struct encoder *e, enum flow_column which, unsigned values_part)
{
	struct flow_hists h = flow_hists_of(e->b, which);
	uint32_t *values;
	size_t n;

	n = flow_hist_modes(&h, e->work);
	flow_put_u32(&e->out, which, e->work);
	if (n == 0)
		return 0;
	values = malloc(n * sizeof(*values));
	if (!values)
		return -ENOMEM;
	flow_hist_values(&h, e->work, values);
	flow_put_hist_values(&e->out, values_part, values, n);
	free(values);
	return 0;
}

static int put_column(struct encoder *e, enum flow_column c)
{
	const struct flow_relation *r = flow_relation_of(c);

	if (c == FLOW_COLUMN_start_ms)
		return 0;
	if (c == FLOW_COLUMN_flow_id)
		return put_ids(e);
	if (c == FLOW_COLUMN_data_rtt_hist)
		return put_hists(e, c, FLOW_PART_HIST_VALUES);
	if (c == FLOW_COLUMN_rev_data_rtt_hist)
		return put_hists(e, c, FLOW_PART_REV_HIST_VALUES);
	if (r) {
		put_related(e, r);
	} else if (c == FLOW_COLUMN_duration_us) {
		shorten_durations(e->work, FLOW_COL_U64(e->b, duration_us), e->b->n_rows);
		flow_put_u64(&e->out, c, e->work);
	} else if (flow_column_info[c].kind == FLOW_U64) {
		flow_put_u64(&e->out, c, e->b->column[c].u64);
	} else {
		flow_put_u32(&e->out, c, e->b->column[c].u32);
	}
	return 0;
}

size_t flow_text_bytes(const char *const *texts, size_t n)
{
	size_t bytes = 0;

	for (size_t i = 1; i < n; i++)
		bytes += strlen(texts[i]) + 1;
	return bytes;
}

/* What is not written takes no memory. */
size_t flow_encoder_bound(size_t n_rows, size_t dictionary_bytes)
{
	size_t columns = FLOW_N_COLUMNS + 3 + 2 * RTT_BUCKETS; /* 3: and which are twins */

	return columns * twins_column_bound(n_rows) + dictionary_bytes + 512;
}

int flow_encoder_begin(struct flow_encoder *e, struct column_codec *codec,
		       enum column_effort effort, size_t dictionary_bytes, struct flow_parts *parts)
{
	parts->memory = malloc(flow_encoder_bound(parts->n_rows, dictionary_bytes));
	*e = (struct flow_encoder){codec, effort, parts, parts->memory, NULL};
	return parts->memory ? 0 : -ENOMEM;
}

int flow_block_encode(struct column_codec *c, const struct flow_block *b, enum column_effort effort,
		      struct flow_parts *ret)
{
	const char *const *texts = (const char *const *)b->texts;
	size_t dictionaries = b->n_addrs * 17 + flow_text_bytes(texts, b->n_texts);
	struct flow_parts parts = {.n_rows = b->n_rows};
	struct encoder e = {.b = b};
	int err;

	err = flow_encoder_begin(&e.out, c, effort, dictionaries, &parts);
	e.work = malloc(b->n_rows * sizeof(uint64_t) + 1);
	if (!e.work)
		err = -ENOMEM;
	for (unsigned i = 0; !err && i < FLOW_N_COLUMNS && b->n_rows; i++)
		err = put_column(&e, (enum flow_column)i);
	if (!err)
		err = flow_put_addrs(&e.out, b->addrs, b->n_addrs);
	if (!err)
		err = flow_put_texts(&e.out, texts, b->n_texts);
	free(e.work);
	if (err)
		flow_parts_done(&parts);
	else
		*ret = parts;
	return err;
}

void flow_parts_done(struct flow_parts *p)
{
	free(p->memory);
	p->memory = NULL;
}
