/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_dictionaries.c - the memory of a decoded block, and the addresses and texts in it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/flow_addrs.h"
#include "proto/flow_decoder.h"
#include "proto/flow_memory.h"
#include "proto/flow_related.h"

#define TEXT_MAX_BYTES 256

uint64_t flow_zeros[FLOW_BLOCK_MAX_ROWS];

/* A dictionary of up to max bytes, for free(); *ret_len is 0 if there is none. */
static int get_bytes(struct flow_decoder *d, unsigned part, size_t max, uint8_t **ret,
		     size_t *ret_len)
{
	const struct flow_part *p = &d->parts->part[part];
	uint8_t *bytes;

	*ret = NULL;
	*ret_len = 0;
	if (!p->present)
		return 0;
	if (!p->data || !column_bytes_length(p->data, p->len, max, ret_len))
		return flow_decoder_bad(d, "a dictionary is too long"), -EBADMSG;
	bytes = malloc(*ret_len + 1);
	if (!bytes)
		return -ENOMEM;
	if (!column_decode_bytes(d->codec, p->data, p->len, bytes, *ret_len)) {
		free(bytes);
		return flow_decoder_bad(d, "a dictionary is no dictionary"), -EBADMSG;
	}
	*ret = bytes;
	return 0;
}

/* How many addresses raw holds; 0: it is no dictionary of them. */
static size_t count_addrs(const uint8_t *raw, size_t len, size_t max)
{
	const uint8_t *at = raw, *end = raw + len;
	size_t v4 = 0, bits;
	uint64_t n;

	if (!varint_get(&at, end, &n) || n > max)
		return 0;
	bits = (size_t)(n + 7) / 8;
	if ((size_t)(end - at) < bits)
		return 0;
	for (size_t i = 0; i < n; i++)
		v4 += at[i / 8] >> i % 8 & 1;
	return (size_t)(end - at) == bits + 4 * v4 + 16 * (n - v4) ? (size_t)n : 0;
}

static void fill_addrs(struct flow_block *b, const uint8_t *raw)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	const uint8_t *v4, *at;
	uint64_t n;

	memset(b->addrs[0], 0, 16);
	if (!raw)
		return;
	at = raw;
	(void)varint_get(&at, at + 10, &n); /* count_addrs() has read it */
	v4 = at;
	at += (n + 7) / 8;
	for (size_t i = 0; i < n; i++) {
		bool short_one = v4[i / 8] >> i % 8 & 1;
		size_t from = short_one ? 12 : 0;

		memcpy(b->addrs[i + 1], mapped, from);
		memcpy(b->addrs[i + 1] + from, at, 16 - from);
		at += 16 - from;
	}
}

/* Texts in raw, each with its NUL; SIZE_MAX: one is none. */
static size_t count_texts(const uint8_t *raw, size_t len, size_t max)
{
	char copy[TEXT_MAX_BYTES];
	size_t n = 0, at = 0;

	if (len && raw[len - 1] != '\0')
		return SIZE_MAX;
	for (; at < len; n++) {
		if (n == max || !codec_text((const char *)raw + at, copy, sizeof(copy)))
			return SIZE_MAX;
		at += strlen(copy) + 1;
	}
	return n;
}

static void fill_texts(struct flow_block *b, char *at)
{
	b->texts[0] = "";
	for (size_t i = 1; i < b->n_texts; i++) {
		b->texts[i] = at;
		at += strlen(at) + 1;
	}
}

bool flow_texts_fit(const struct flow_block *b, const uint32_t *numbers, size_t size)
{
	uint8_t too_long[UINT8_MAX + 1] = {0}, any = 0;

	if (b->n_texts <= sizeof(too_long)) {
		for (size_t i = 1; i < b->n_texts; i++)
			any |= too_long[i] = strlen(b->texts[i]) >= size;
		for (size_t k = 0; any && k < b->n_rows; k++)
			if (too_long[numbers[k]])
				return false;
		return true;
	}
	for (size_t k = 0; k < b->n_rows; k++)
		if (strnlen(b->texts[numbers[k]], size) == size)
			return false;
	return true;
}

/* Whether all ids are what they are derived from. */
static bool has_usual_ids(const struct flow_parts *p)
{
	const struct flow_part *ids = &p->part[FLOW_COLUMN_flow_id];
	uint64_t difference;

	return ids->present && ids->data && column_is_constant(ids->data, ids->len, &difference) &&
	       difference == FLOW_ID_OFFSET;
}

/* Whether nothing but flow_zeros is in it, nor is made of it. */
static bool is_of_zeros(const struct flow_parts *p, enum flow_column c)
{
	return !p->part[c].present && c != FLOW_COLUMN_host_id && c != FLOW_COLUMN_start_ms &&
	       c != FLOW_COLUMN_duration_us && c != FLOW_COLUMN_flow_id &&
	       flow_column_info[c].kind != FLOW_HIST && !flow_relation_of(c);
}

/* Memory for the columns that are not all flow_zeros. */
static int alloc_columns(struct flow_decoder *d, const struct flow_columns *wanted, size_t text_len,
			 char **ret_text)
{
	struct flow_columns own = {{0}};
	int err;

	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (flow_columns_has(wanted, (enum flow_column)c) &&
		    !is_of_zeros(d->parts, (enum flow_column)c))
			flow_columns_add(&own, (enum flow_column)c);
	if (flow_columns_has(wanted, FLOW_COLUMN_ID_DIFFERENCES) && !has_usual_ids(d->parts))
		flow_columns_add(&own, FLOW_COLUMN_ID_DIFFERENCES);
	err = flow_memory_alloc(d->b, &own, text_len, ret_text);
	for (unsigned c = 0; !err && c < FLOW_N_COLUMNS; c++)
		if (flow_columns_has(wanted, (enum flow_column)c) && !d->b->column[c].any)
			d->b->column[c].u64 = flow_zeros;
	return err;
}

/* How many addresses there are; *ret_raw, for free(), if they are not sorted. */
static int open_addrs(struct flow_decoder *d, uint8_t **ret_raw)
{
	const struct flow_part *p = &d->parts->part[FLOW_PART_ADDRS];
	size_t max = d->parts->n_rows * FLOW_ROW_ADDRS, len, n = 0;
	int err;

	if (p->present && p->data && flow_addrs_is_sorted(p->data, p->len)) {
		if (!flow_addrs_count(d->codec, p->data, p->len, max, &n))
			return flow_decoder_bad(d, "a dictionary is too long"), -EBADMSG;
		d->b->n_addrs = 1 + n;
		return 0;
	}
	err = get_bytes(d, FLOW_PART_ADDRS, 10 + max * 17, ret_raw, &len);
	if (!err && *ret_raw) {
		n = count_addrs(*ret_raw, len, max);
		err = n ? 0 : (flow_decoder_bad(d, "a dictionary is no dictionary"), -EBADMSG);
	}
	d->b->n_addrs = 1 + n;
	return err;
}

/* To where d->b has room for them. */
static int get_addrs(struct flow_decoder *d, const uint8_t *raw)
{
	const struct flow_part *p = &d->parts->part[FLOW_PART_ADDRS];

	if (raw || d->b->n_addrs == 1) {
		fill_addrs(d->b, raw);
		return 0;
	}
	memset(d->b->addrs[0], 0, 16);
	if (flow_addrs_decode(d->codec, p->data, p->len, d->b->addrs + 1))
		return 0;
	return flow_decoder_bad(d, "a dictionary is no dictionary"), -EBADMSG;
}

int flow_decode_dictionaries(struct flow_decoder *d, const struct flow_columns *wanted,
			     bool with_addrs, bool with_texts)
{
	size_t n = d->parts->n_rows, text_len = 0;
	uint8_t *addrs = NULL, *texts = NULL;
	char *text_at;
	int err = 0;

	d->b->n_addrs = 1;
	if (with_addrs)
		err = open_addrs(d, &addrs);
	if (!err && with_texts)
		err = get_bytes(d, FLOW_PART_TEXTS, n * FLOW_ROW_TEXTS * TEXT_MAX_BYTES, &texts,
				&text_len);
	if (!err) {
		d->b->n_texts = 1 + count_texts(texts, text_len, n * FLOW_ROW_TEXTS);
		if (d->b->n_texts == 0)
			err = (flow_decoder_bad(d, "a dictionary is no dictionary"), -EBADMSG);
	}
	if (!err)
		err = alloc_columns(d, wanted, text_len, &text_at);
	if (!err)
		err = get_addrs(d, addrs);
	if (!err) {
		if (text_len)
			memcpy(text_at, texts, text_len);
		fill_texts(d->b, text_at);
	}
	free(addrs);
	free(texts);
	return err;
}

int flow_parts_dictionaries(struct column_codec *c, const struct flow_parts *p, bool addrs,
			    bool texts, struct flow_block *ret, const char **ret_why)
{
	struct flow_block b = {.n_rows = p->n_rows};
	struct flow_decoder d = {.codec = c, .parts = p, .b = &b, .why = "not a block of flows"};
	struct flow_columns none = {{0}};
	int err = flow_decode_dictionaries(&d, &none, addrs, texts);

	if (!err) {
		*ret = b;
		return 0;
	}
	if (column_codec_out_of_memory(c))
		return -ENOMEM;
	if (err == -EBADMSG && ret_why)
		*ret_why = d.why;
	return err;
}
