// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/addr_order.h"
#include "collector/flowstore/hash.h"
#include "collector/flowstore/radix.h"
#include "collector/flowstore/twin_finder.h"
#include "common/cleanup.h"
#include "proto/dictionary.h"
#include "proto/flow_hist.h"
#include "proto/flow_memory.h"
#include "proto/flow_related.h"

struct input {
	const struct merge_input *from;
	size_t first_row;
	struct flow_block keys; /* the columns that order and twins are made from */
	struct twins twins;
	uint32_t *addrs, *texts; /* new number of each of its own */
};

struct merge_memory {
	void *bytes;
	size_t size;
	uint8_t (*addrs)[16]; /* of the last result */
};

struct merge {
	struct column_codec *codec;
	struct merge_memory *memory;
	size_t n, n_rows;
	struct input *inputs;
	struct flow_columns columns; /* that stay */
	struct addr_table addrs;
	struct dictionary texts;
	uint32_t *order; /* row i of the result is row order[i] of the inputs in their turn */
	union {
		uint32_t *u32;
		uint64_t *u64;
		void *any;
	} in, out;	    /* a column, in turn and in order */
	struct twins twins; /* of the result */
	struct flow_parts parts;
	struct flow_block block;
	struct flow_encoder encoder;
	size_t bad;
	const char *why;
};

static const enum flow_column key_columns[] = {
	FLOW_COLUMN_host_id,	FLOW_COLUMN_dst_port, FLOW_COLUMN_role,
	FLOW_COLUMN_end_reason, FLOW_COLUMN_dst_addr, FLOW_COLUMN_src_addr,
	FLOW_COLUMN_src_port,	FLOW_COLUMN_proto,    FLOW_COLUMN_iface, /* for the texts */
};
#define N_KEYS (sizeof(key_columns) / sizeof(key_columns[0]))

static int damaged(struct merge *m, size_t input, const char *why)
{
	m->bad = input;
	m->why = why;
	return -EBADMSG;
}

/* --- what they have in common -------------------------------------------------- */

static int open_input(struct merge *m, size_t i, const struct merge_input *from)
{
	struct input *in = &m->inputs[i];
	struct flow_columns keys = {{0}};
	const char *why = NULL;
	int err;

	for (size_t k = 0; k < N_KEYS; k++)
		flow_columns_add(&keys, key_columns[k]);
	in->from = from;
	in->first_row = m->n_rows;
	m->n_rows += from->parts.n_rows;
	err = flow_parts_decode(m->codec, &from->parts, &keys, &in->keys, &why);
	if (!err)
		err = flow_get_twins(m->codec, &from->parts, &in->twins);
	return err == -EBADMSG ? damaged(m, i, why) : err;
}

/* Nothing is added to m->addrs after this. */
static int sort_addrs(struct merge *m)
{
	cleanup(free_p) uint32_t *rank = malloc(m->addrs.n * sizeof(*rank));
	int err = rank ? addr_order_sort(m->addrs.addrs, m->addrs.n, rank) : -ENOMEM;

	for (size_t i = 0; !err && i < m->n; i++)
		for (size_t k = 0; k < m->inputs[i].keys.n_addrs; k++)
			m->inputs[i].addrs[k] = rank[m->inputs[i].addrs[k]];
	return err;
}

static int number_addrs(struct merge *m)
{
	size_t max = 0;
	int err;

	for (size_t i = 0; i < m->n; i++)
		max += m->inputs[i].keys.n_addrs;
	err = addr_table_init(&m->addrs, max);
	for (size_t i = 0; !err && i < m->n; i++) {
		struct input *in = &m->inputs[i];

		in->addrs = malloc(in->keys.n_addrs * sizeof(*in->addrs));
		if (!in->addrs)
			return -ENOMEM;
		for (size_t k = 0; k < in->keys.n_addrs; k++)
			in->addrs[k] = addr_table_number(&m->addrs, in->keys.addrs[k]);
	}
	return err ? err : sort_addrs(m);
}

static int number_texts(struct merge *m)
{
	size_t max = 1;

	for (size_t i = 0; i < m->n; i++)
		max += m->inputs[i].keys.n_texts;
	if (dictionary_init(&m->texts, max))
		return -ENOMEM;
	for (size_t i = 0; i < m->n; i++) {
		struct input *in = &m->inputs[i];

		in->texts = malloc(in->keys.n_texts * sizeof(*in->texts));
		if (!in->texts)
			return -ENOMEM;
		for (size_t k = 0; k < in->keys.n_texts; k++)
			in->texts[k] = dictionary_number(&m->texts, in->keys.texts[k]);
	}
	return 0;
}

/* --- the order ------------------------------------------------------------------ */

static uint32_t host_of(const struct input *in, size_t i)
{
	return in->from->host_id ? in->from->host_id : FLOW_COL_U32(&in->keys, host_id)[i];
}

/*
 * From the top: host 12 bits, role 2, service 16, dst 14, src 17, end 3. The rows of a
 * pair of hosts are so in the same order at both, and twins come in long runs; a
 * question about one host needs a range of the rows: scan.h.
 */
static uint64_t key_of(const struct input *in, size_t i)
{
	const struct flow_block *b = &in->keys;
	uint64_t host = host_of(in, i);
	uint64_t dst = in->addrs[FLOW_COL_U32(b, dst_addr)[i]] & 0x3fff;
	uint64_t src = in->addrs[FLOW_COL_U32(b, src_addr)[i]] & 0x1ffff;
	uint64_t port = FLOW_COL_U32(b, dst_port)[i];
	uint64_t role = FLOW_COL_U32(b, role)[i], end = FLOW_COL_U32(b, end_reason)[i];

	return host << 52 | role << 50 | port << 34 | dst << 20 | src << 3 | end;
}

static int put_in_order(struct merge *m)
{
	cleanup(free_p) uint64_t *keys = malloc(m->n_rows * sizeof(*keys));

	if (!keys)
		return -ENOMEM;
	for (size_t k = 0; k < m->n; k++)
		for (size_t i = 0; i < m->inputs[k].from->parts.n_rows; i++)
			keys[m->inputs[k].first_row + i] = key_of(&m->inputs[k], i);
	return radix_order(keys, m->n_rows, m->order);
}

/* --- twins ---------------------------------------------------------------------- */

static uint64_t conversation_of(const struct input *in, uint64_t seed, size_t i)
{
	const struct flow_block *b = &in->keys;
	uint64_t src = in->addrs[FLOW_COL_U32(b, src_addr)[i]];
	uint64_t dst = in->addrs[FLOW_COL_U32(b, dst_addr)[i]];
	uint64_t ports =
		(uint64_t)FLOW_COL_U32(b, src_port)[i] << 16 | FLOW_COL_U32(b, dst_port)[i];

	return hash_pair(seed, src << 32 | dst, ports << 8 | FLOW_COL_U32(b, proto)[i]);
}

/* In memory that is there: columns and parts come later. */
static int find_twins(struct merge *m)
{
	uint64_t *keys = m->in.u64, seed = hash_seed();
	int err;

	for (size_t k = 0; k < m->n; k++)
		for (size_t i = 0; i < m->inputs[k].from->parts.n_rows; i++)
			keys[m->inputs[k].first_row + i] = twin_key(
				conversation_of(&m->inputs[k], seed, i), host_of(&m->inputs[k], i));
	err = twin_finder_find(keys, m->order, m->n_rows, m->encoder.at, &m->twins);
	if (!err && m->twins.n_twins && !flow_put_twins(&m->encoder, &m->twins))
		err = -ENOMEM;
	return err;
}

/* --- columns ---------------------------------------------------------------------- */

static bool is_present(const struct merge *m, unsigned part)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->inputs[i].from->parts.part[part].present ||
		    (part == FLOW_COLUMN_host_id && m->inputs[i].from->host_id))
			return true;
	return false;
}

static bool renumber(uint32_t *numbers, size_t n, const uint32_t *map, size_t n_map)
{
	uint32_t most = 0;

	for (size_t i = 0; i < n; i++)
		most = numbers[i] > most ? numbers[i] : most;
	if (most >= n_map)
		return false;
	for (size_t i = 0; most && i < n; i++)
		numbers[i] = map[numbers[i]];
	return true;
}

static bool decode_u32(struct merge *m, const struct input *in, enum flow_column c, uint32_t *ret)
{
	size_t n = in->from->parts.n_rows;
	struct column_rows all = {0, n};

	if (c == FLOW_COLUMN_host_id && in->from->host_id) {
		for (size_t i = 0; i < n; i++)
			ret[i] = in->from->host_id;
		return true;
	}
	if (!flow_get_u32(m->codec, &in->from->parts, &in->twins, c, all, ret))
		return false;
	switch (flow_column_info[c].kind) {
	case FLOW_ADDR:
		return renumber(ret, n, in->addrs, in->keys.n_addrs);
	case FLOW_TEXT:
		return renumber(ret, n, in->texts, in->keys.n_texts);
	default:
		return true;
	}
}

static int decode_failed(struct merge *m, size_t input)
{
	return column_codec_out_of_memory(m->codec)
		       ? -ENOMEM
		       : damaged(m, input, "a column is not n_rows numbers");
}

/* The value of the column in all rows of an input, if it is but one; as numbered anew. */
static bool constant_of(const struct input *in, enum flow_column c, uint64_t *ret)
{
	const struct flow_part *p = &in->from->parts.part[c];
	enum flow_kind kind = flow_column_info[c].kind;
	const uint32_t *map = kind == FLOW_ADDR ? in->addrs : kind == FLOW_TEXT ? in->texts : NULL;
	size_t n_map = kind == FLOW_ADDR ? in->keys.n_addrs : in->keys.n_texts;

	if (c == FLOW_COLUMN_host_id && in->from->host_id) {
		*ret = in->from->host_id;
		return true;
	}
	*ret = 0;
	if (p->present && (!p->data || !column_is_constant(p->data, p->len, ret)))
		return false;
	if (map && *ret >= n_map)
		return false; /* it is told when it is decoded */
	*ret = map ? map[*ret] : *ret;
	return kind == FLOW_U64 || *ret <= UINT32_MAX;
}

static void fill_column(const struct merge *m, enum flow_column c, uint64_t value)
{
	union flow_array a = m->block.column[c];
	bool wide = flow_column_info[c].kind == FLOW_U64;

	for (size_t i = 0; a.any && wide && i < m->n_rows; i++)
		a.u64[i] = value;
	for (size_t i = 0; a.any && !wide && i < m->n_rows; i++)
		a.u32[i] = (uint32_t)value;
}

/* Whether the column has one value in all rows of all inputs: then that is all there is to do. */
static bool merge_constant(struct merge *m, enum flow_column c)
{
	uint64_t first, value;

	if (!constant_of(&m->inputs[0], c, &first))
		return false;
	for (size_t i = 1; i < m->n; i++)
		if (!constant_of(&m->inputs[i], c, &value) || value != first)
			return false;
	flow_put_constant(&m->encoder, c, first);
	fill_column(m, c, first);
	return true;
}

/* Where the column goes in order: it stays, or gives way to the next. */
static void *place_of(const struct merge *m, enum flow_column c)
{
	return m->block.column[c].any ? m->block.column[c].any : m->out.any;
}

static int merge_u32(struct merge *m, enum flow_column c)
{
	uint32_t *out = place_of(m, c);

	for (size_t i = 0; i < m->n; i++)
		if (!decode_u32(m, &m->inputs[i], c, m->in.u32 + m->inputs[i].first_row))
			return decode_failed(m, i);
	for (size_t i = 0; i < m->n_rows; i++)
		out[i] = m->in.u32[m->order[i]];
	flow_put_u32(&m->encoder, c, out);
	return 0;
}

static int merge_u64(struct merge *m, enum flow_column c)
{
	uint64_t *out = place_of(m, c);

	for (size_t i = 0; i < m->n; i++) {
		const struct input *in = &m->inputs[i];
		struct column_rows all = {0, in->from->parts.n_rows};

		if (!flow_get_u64(m->codec, &in->from->parts, &in->twins, c, all,
				  m->in.u64 + in->first_row))
			return decode_failed(m, i);
	}
	for (size_t i = 0; i < m->n_rows; i++)
		out[i] = m->in.u64[m->order[i]];
	flow_put_u64(&m->encoder, c, out);
	return 0;
}

/* --- histograms --------------------------------------------------------------------- */

/* Reads the values of all inputs in turn; the modes are in m->in. */
static int read_values(struct merge *m, unsigned part, uint32_t *values)
{
	size_t n;

	for (size_t i = 0; i < m->n; i++) {
		const struct flow_parts *p = &m->inputs[i].from->parts;

		if (!flow_hist_count(m->in.u32 + m->inputs[i].first_row, p->n_rows, &n))
			return damaged(m, i, "a histogram that is none");
		if (n && (!p->part[part].data ||
			  !flow_get_hist_values(m->codec, &p->part[part], p->n_rows, values, n)))
			return decode_failed(m, i);
		values += n;
	}
	return 0;
}

static int merge_hist(struct merge *m, enum flow_column c, unsigned values_part)
{
	cleanup(free_p) uint32_t *values = NULL, *first = NULL, *out = NULL;
	size_t n = 0, at = 0;
	int err;

	if (!is_present(m, c))
		return 0;
	err = merge_u32(m, c);
	if (err)
		return err;
	if (!flow_hist_count(m->in.u32, m->n_rows, &n))
		return damaged(m, 0, "a histogram that is none");
	values = malloc((n + 1) * sizeof(*values));
	out = malloc((n + 1) * sizeof(*out));
	first = malloc((m->n_rows + 1) * sizeof(*first));
	if (!values || !out || !first)
		return -ENOMEM;
	err = read_values(m, values_part, values);
	if (err)
		return err;
	for (size_t i = 0; i < m->n_rows; i++) {
		first[i] = (uint32_t)at;
		at += m->in.u32[i];
	}
	at = 0;
	for (size_t i = 0; i < m->n_rows; i++) {
		uint32_t row = m->order[i];

		for (uint32_t k = 0; k < m->in.u32[row]; k++)
			out[at++] = values[first[row] + k];
	}
	if (n)
		flow_put_hist_values(&m->encoder, values_part, out, n);
	return 0;
}

/* --- all ------------------------------------------------------------------------------- */

/* What is related to others is no zeros in the end. */
static void keep_zeros(struct merge *m, enum flow_column c)
{
	if (flow_relation_of(c) || c == FLOW_COLUMN_duration_us)
		fill_column(m, c, 0);
	else if (m->block.column[c].any)
		m->block.column[c].u64 = flow_zeros;
}

static int merge_column(struct merge *m, enum flow_column c)
{
	if (c == FLOW_COLUMN_data_rtt_hist)
		return merge_hist(m, c, FLOW_PART_HIST_VALUES);
	if (c == FLOW_COLUMN_rev_data_rtt_hist)
		return merge_hist(m, c, FLOW_PART_REV_HIST_VALUES);
	if (c == FLOW_COLUMN_start_ms)
		return 0;
	if (!is_present(m, c)) {
		keep_zeros(m, c);
		return 0;
	}
	if (merge_constant(m, c))
		return 0;
	return flow_column_info[c].kind == FLOW_U64 ? merge_u64(m, c) : merge_u32(m, c);
}

/* The texts of the dictionary with "" before them. */
static int put_texts(struct merge *m)
{
	cleanup(free_p) const char **texts = malloc((m->texts.n + 1) * sizeof(*texts));

	if (!texts)
		return -ENOMEM;
	texts[0] = "";
	for (size_t i = 0; i < m->texts.n; i++)
		texts[i + 1] = m->texts.texts[i];
	return flow_put_texts(&m->encoder, texts, m->texts.n + 1);
}

static size_t dictionary_bytes(const struct merge *m)
{
	size_t bytes = m->addrs.n * 17;

	for (size_t i = 0; i < m->texts.n; i++)
		bytes += strlen(m->texts.texts[i]) + 1;
	return bytes;
}

static int reserve(struct merge_memory *memory, size_t size)
{
	if (size <= memory->size)
		return 0;
	free(memory->bytes);
	memory->size = 0;
	memory->bytes = malloc(size);
	if (!memory->bytes)
		return -ENOMEM;
	memory->size = size;
	return 0;
}

/* The order, two columns, those that stay, and all parts, in memory that may be there already. */
static int place(struct merge *m)
{
	size_t column = (m->n_rows + 1) * sizeof(uint64_t), n_kept = 0;
	uint8_t *at;

	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		n_kept += flow_columns_has(&m->columns, (enum flow_column)c);
	if (reserve(m->memory, (3 + n_kept) * column +
				       flow_encoder_bound(m->n_rows, dictionary_bytes(m))) != 0)
		return -ENOMEM;
	at = m->memory->bytes;
	m->in.any = at;
	m->out.any = at += column;
	m->order = (uint32_t *)(at += column);
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (flow_columns_has(&m->columns, (enum flow_column)c))
			m->block.column[c].any = at += column;
	m->parts.n_rows = m->block.n_rows = m->n_rows;
	m->encoder = (struct flow_encoder){m->codec, COLUMN_SMALL, &m->parts, at + column, NULL};
	return 0;
}

/* Their addresses have their order by now, and go with them. */
static void finish_block(struct merge *m)
{
	flow_relate(&m->block);
	(void)flow_make_starts(&m->block); /* each has been checked as it came in */
	free(m->memory->addrs);
	m->memory->addrs = m->block.addrs = m->addrs.addrs;
	m->block.n_addrs = m->addrs.n;
	m->addrs.addrs = NULL;
}

static int merge_all(struct merge *m)
{
	int err;

	err = number_addrs(m);
	if (!err)
		err = number_texts(m);
	if (!err)
		err = place(m);
	if (!err)
		err = put_in_order(m);
	if (!err)
		err = find_twins(m);
	for (unsigned c = 0; !err && c < FLOW_N_COLUMNS; c++)
		err = merge_column(m, (enum flow_column)c);
	if (!err)
		err = flow_put_addrs(&m->encoder, m->addrs.addrs, m->addrs.n);
	if (!err)
		err = put_texts(m);
	if (!err)
		finish_block(m);
	return err;
}

static void merge_done(struct merge *m)
{
	for (size_t i = 0; m->inputs && i < m->n; i++) {
		flow_block_done(&m->inputs[i].keys);
		twins_done(&m->inputs[i].twins);
		free(m->inputs[i].addrs);
		free(m->inputs[i].texts);
	}
	free(m->inputs);
	twins_done(&m->twins);
	addr_table_done(&m->addrs);
	dictionary_done(&m->texts);
}

void merge_memory_free(struct merge_memory *m)
{
	if (!m)
		return;
	free(m->addrs);
	free(m->bytes);
	free(m);
}

int merge_blocks(struct column_codec *codec, struct merge_memory **memory,
		 const struct merge_input *inputs, size_t n, const struct flow_columns *columns,
		 struct merged *ret, size_t *ret_bad, const char **ret_why)
{
	struct merge m = {.codec = codec, .n = n, .columns = flow_closure(columns)};
	int err = 0;

	if (!*memory)
		*memory = calloc(1, sizeof(**memory));
	m.memory = *memory;
	m.inputs = calloc(n, sizeof(*m.inputs));
	if (!m.memory || !m.inputs) {
		free(m.inputs);
		return -ENOMEM;
	}
	for (size_t i = 0; !err && i < n; i++)
		err = open_input(&m, i, &inputs[i]);
	if (!err && m.n_rows > column_codec_max_rows(codec))
		err = -EINVAL;
	if (!err)
		err = merge_all(&m);
	merge_done(&m);
	if (!err) {
		ret->parts = m.parts;
		ret->block = m.block;
		return 0;
	}
	if (err == -EBADMSG) {
		*ret_bad = m.bad;
		*ret_why = m.why;
	}
	return err;
}
