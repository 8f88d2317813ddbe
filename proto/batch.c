/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* batch.c - BATCH of message.h: its head, and its rows as one sealed block. */
#include "proto/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/flow_block.h"
#include "proto/flow_columns.h"
#include "proto/frame.h"
#include "weir.pb-c.h"

/* --- packing -------------------------------------------------------------- */

/* What packing borrows from and must release. */
struct pack {
	Weir__Batch m;
	char *counter_name[BATCH_MAX_COUNTERS];
	uint64_t counter_value[BATCH_MAX_COUNTERS];
};

static void put_counters(struct pack *p, const struct batch *b)
{
	for (size_t i = 0; i < b->n_counters; i++) {
		p->counter_name[i] = (char *)b->counters[i].name;
		p->counter_value[i] = b->counters[i].value;
	}
	p->m.n_counter_name = p->m.n_counter_value = b->n_counters;
	p->m.counter_name = p->counter_name;
	p->m.counter_value = p->counter_value;
}

int batch_seal_rows(const struct flow_record *rows, size_t n, uint8_t **ret, size_t *ret_len)
{
	struct column_codec *codec = NULL;
	struct flow_parts parts;
	struct flow_block block;
	int err;

	err = column_codec_new(n, &codec);
	if (err)
		return err;
	err = flow_block_from_rows(rows, n, &block);
	if (!err) {
		err = flow_block_encode(codec, &block, COLUMN_FAST, &parts);
		flow_block_done(&block);
	}
	if (!err) {
		err = flow_parts_seal(&parts, ret, ret_len);
		flow_parts_done(&parts);
	}
	column_codec_free(codec);
	return err;
}

int batch_pack(const struct batch *b, struct packed *ret)
{
	struct pack p = {.m = WEIR__BATCH__INIT};
	uint8_t *block = NULL;
	int err = 0;

	if (b->n_rows > BATCH_MAX_ROWS || b->n_counters > BATCH_MAX_COUNTERS)
		return -E2BIG;
	p.m.probe_id = (ProtobufCBinaryData){PROBE_ID_BYTES, (uint8_t *)b->probe_id};
	p.m.epoch = b->epoch;
	p.m.first_seq = b->first_seq;
	p.m.seq = b->seq;
	p.m.kind = b->kind == BATCH_FLOWS ? WEIR__BATCH_KIND__FLOWS : WEIR__BATCH_KIND__TOMBSTONE;
	p.m.dropped_rows = b->dropped_rows;
	p.m.dropped_packets = b->dropped_packets;
	p.m.dropped_bytes = b->dropped_bytes;
	p.m.reason = (Weir__LossReason)b->reason;
	p.m.lost_from_ns = b->lost_from_ns;
	p.m.lost_until_ns = b->lost_until_ns;
	p.m.run = b->run;
	p.m.counters_ns = b->counters_ns;
	put_counters(&p, b);
	p.m.n_rows = (uint32_t)b->n_rows;
	if (b->n_rows)
		err = batch_seal_rows(b->rows, b->n_rows, &block, &p.m.block.len);
	p.m.block.data = block;
	if (!err)
		err = codec_seal(&p.m.base, FRAME_BATCH, ret);
	free(block);
	return err;
}

/* --- unpacking ------------------------------------------------------------ */

static const char *get_counters(const Weir__Batch *m, struct batch *b)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";

	if (m->n_counter_name != m->n_counter_value)
		return "counter columns of different lengths";
	if (m->n_counter_name > BATCH_MAX_COUNTERS)
		return "too many counters";
	b->n_counters = m->n_counter_name;
	for (size_t i = 0; i < b->n_counters; i++) {
		const char *name = m->counter_name[i];
		size_t len = strspn(name, letters);

		if (len == 0 || name[len] != '\0' || len >= COUNTER_NAME_MAX)
			return "bad counter_name";
		if (m->counter_value[i] > FLOW_TOTAL_MAX)
			return "counter_value out of range";
		memcpy(b->counters[i].name, name, len + 1);
		b->counters[i].value = m->counter_value[i];
	}
	return NULL;
}

/* What a tombstone tells. */
static const char *get_loss(const Weir__Batch *m, struct batch *b)
{
	b->dropped_rows = m->dropped_rows;
	b->dropped_packets = m->dropped_packets;
	b->dropped_bytes = m->dropped_bytes;
	b->reason = (enum loss_reason)m->reason;
	b->lost_from_ns = m->lost_from_ns;
	b->lost_until_ns = m->lost_until_ns;
	if (m->dropped_rows > FLOW_TOTAL_MAX || m->dropped_packets > FLOW_TOTAL_MAX ||
	    m->dropped_bytes > FLOW_TOTAL_MAX)
		return "dropped count out of range";
	if ((unsigned)m->reason > LOSS_DAMAGED)
		return "unknown reason of a loss";
	if (m->lost_until_ns > COUNT_MAX || m->lost_from_ns > m->lost_until_ns)
		return "time of a loss out of range";
	return NULL;
}

static const char *get_header(const Weir__Batch *m, struct batch *b)
{
	b->epoch = m->epoch;
	b->first_seq = m->first_seq;
	b->seq = m->seq;
	b->run = m->run ? m->run : m->epoch;
	b->counters_ns = m->counters_ns;
	if (!codec_bytes(&m->probe_id, b->probe_id, PROBE_ID_BYTES))
		return "probe_id is not 16 bytes";
	if (m->seq > COUNT_MAX || m->first_seq == 0 || m->first_seq > m->seq)
		return "first_seq and seq are no range";
	if (m->counters_ns > COUNT_MAX)
		return "counters_ns out of range";
	switch (m->kind) {
	case WEIR__BATCH_KIND__FLOWS:
		b->kind = BATCH_FLOWS;
		return m->first_seq == m->seq ? NULL : "flows that stand for several batches";
	case WEIR__BATCH_KIND__TOMBSTONE:
		b->kind = BATCH_TOMBSTONE;
		return m->n_rows == 0 ? NULL : "a tombstone with rows";
	default:
		return "unknown kind";
	}
}

/* Checks the block, which comes to nothing else than its bytes and what it tells of itself. */
static int check_block(const Weir__Batch *m, struct flow_summary *ret, const char **ret_why)
{
	struct column_codec *codec;
	int err;

	*ret = (struct flow_summary){0};
	if (m->n_rows == 0)
		return m->block.len ? codec_refuse("a block without rows", ret_why) : 0;
	if (m->n_rows > BATCH_MAX_ROWS)
		return codec_refuse("too many rows", ret_why);
	err = column_codec_new(m->n_rows, &codec);
	if (err)
		return err;
	err = flow_block_check(codec, m->block.data, m->block.len, ret, ret_why);
	column_codec_free(codec);
	if (!err && ret->n_rows != m->n_rows)
		return codec_refuse("a block that has not n_rows rows", ret_why);
	return err;
}

static int convert(struct codec *codec, const Weir__Batch *m, struct batch **ret,
		   const char **ret_why)
{
	struct flow_summary summary;
	const char *why;
	struct batch *b;
	int err;

	err = check_block(m, &summary, ret_why);
	if (err)
		return err;
	b = codec_alloc(codec, sizeof(*b) + m->block.len);
	if (!b)
		return codec->out_of_memory ? -ENOMEM
					    : codec_refuse("needs too much memory", ret_why);
	b->n_rows = m->n_rows;
	b->summary = summary;
	b->block = (uint8_t *)(b + 1);
	b->block_len = m->block.len;
	if (m->block.len)
		memcpy(b->block, m->block.data, m->block.len);
	why = get_header(m, b);
	if (!why)
		why = get_loss(m, b);
	if (!why)
		why = get_counters(m, b);
	if (why) {
		batch_free(b);
		return codec_refuse(why, ret_why);
	}
	*ret = b;
	return 0;
}

int batch_unpack(const uint8_t *body, size_t len, struct batch **ret, const char **ret_why)
{
	struct codec codec;
	ProtobufCMessage *m;
	int err;

	codec_init(&codec);
	err = codec_decode(&codec, &weir__batch__descriptor, body, len, &m, ret_why);
	if (err)
		return err;
	err = convert(&codec, (const Weir__Batch *)m, ret, ret_why);
	codec_free_message(&codec, m);
	return err;
}

int batch_rows(const struct batch *b, struct flow_record **ret)
{
	struct flow_columns all = flow_columns_all();
	struct column_codec *codec = NULL;
	struct flow_parts parts;
	struct flow_block block;
	struct flow_record *rows;
	int err;

	rows = calloc(b->n_rows + 1, sizeof(*rows));
	err = rows ? column_codec_new(b->n_rows, &codec) : -ENOMEM;
	if (!err && b->n_rows)
		err = flow_parts_open(b->block, b->block_len, &parts, NULL);
	if (!err && b->n_rows)
		err = flow_parts_decode(codec, &parts, &all, &block, NULL);
	if (!err && b->n_rows) {
		for (size_t i = 0; i < b->n_rows; i++)
			flow_block_row(&block, i, &rows[i]);
		flow_block_done(&block);
	}
	column_codec_free(codec);
	if (err)
		free(rows);
	else
		*ret = rows;
	return err;
}

void batch_free(struct batch *b)
{
	free(b); /* the block is in the same allocation */
}
