// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/torture/sim_batch.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "proto/flow_block.h"
#include "proto/frame.h"

/* Numbers of fields in weir.proto. */
enum field {
	FIELD_PROBE_ID = 1,
	FIELD_EPOCH = 2,
	FIELD_FIRST_SEQ = 3,
	FIELD_SEQ = 4,
	FIELD_BLOCK = 91,
	FIELD_STAMPED_MAX = FIELD_BLOCK,
};

#define SEQ_BYTES      5	    /* of a varint of 35 bits */
#define SEQ_SAMPLE     (1ull << 28) /* needs as many */
#define SAMPLE_REAL_NS (1700000000ull * NS_PER_SEC)
#define SAMPLE_ID      (1ull << 42) /* of the first row */
#define BASE_BYTES     10	    /* of the base of a column, as a varint of 64 bits */
#define CRC_BYTES      4

struct sim_batch {
	struct packed frame;
	unsigned n_rows;
	uint8_t *at[FIELD_STAMPED_MAX + 1]; /* where the value begins */
	size_t block_len;
	uint8_t *end_ms, *flow_id; /* bases of these columns */
	uint64_t base_ms, base_id; /* as they were */
};

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void set_ipv4(uint8_t addr[16], uint32_t host)
{
	memset(addr, 0, 10);
	addr[10] = addr[11] = 0xff;
	addr[12] = 10;
	addr[13] = (uint8_t)(host >> 16);
	addr[14] = (uint8_t)(host >> 8);
	addr[15] = (uint8_t)host;
}

/* Two of three are TCP, to a few services of some hundred hosts. */
static void make_row(struct flow_record *r, uint32_t *random)
{
	static const uint16_t ports[] = {443, 80, 5432, 9092, 8080, 6379, 22, 3306};
	uint32_t x = next_random(random), y = next_random(random);
	bool tcp = x % 3 != 0;

	memset(r, 0, sizeof(*r));
	r->end_ns = SAMPLE_REAL_NS - x % 5000 * NS_PER_MS;
	r->start_ns = r->end_ns - y % 3000 * NS_PER_MS;
	set_ipv4(r->src_addr, x % 300);
	set_ipv4(r->dst_addr, 0x10000 + y % 60);
	r->src_port = (uint16_t)(32768 + x % 28000);
	r->dst_port = tcp ? ports[y % (sizeof(ports) / sizeof(*ports))] : 53;
	r->proto = tcp ? IPPROTO_TCP : IPPROTO_UDP;
	(void)snprintf(r->iface, sizeof(r->iface), "eth0");
	r->direction = FLOW_DIRECTION_EGRESS;
	r->role = FLOW_ROLE_CLIENT;
	r->end_reason = tcp ? FLOW_END_DETECTED : FLOW_END_IDLE;
	r->packets = r->total_packets = 1 + x % 40;
	r->bytes = r->total_bytes = r->packets * (60 + y % 1400);
	r->rev_packets = r->rev_total_packets = 1 + y % 60;
	r->rev_bytes = r->rev_total_bytes = r->rev_packets * (60 + x % 1400);
	if (!tcp)
		return;
	r->tcp_flags = r->rev_tcp_flags = 0x1b; /* FIN SYN PSH ACK */
	r->rtt_client_us = 20 + x % 300;
	r->rtt_server_us = 50 + y % 2000;
	r->rtt_us = r->rtt_client_us + r->rtt_server_us;
	r->mss = r->rev_mss = 1460;
	r->responses = 1;
	r->response_avg_us = r->response_max_us = 100 + y % 20000;
	r->verdict = FLOW_VERDICT_CLOSED;
}

/* Any message of protobuf: tag, then as many bytes as its wire type says. */
static uint64_t read_varint(const uint8_t **at)
{
	uint64_t value = 0;
	unsigned shift = 0;

	do
		value |= (uint64_t)(**at & 0x7f) << shift;
	while (shift += 7, *(*at)++ & 0x80);
	return value;
}

/* The message is ours, just packed: not checked. */
static void find_fields(struct sim_batch *t)
{
	const uint8_t *at = t->frame.data + FRAME_HEADER_BYTES;
	const uint8_t *end = t->frame.data + t->frame.len;

	while (at < end) {
		uint64_t tag = read_varint(&at), len = 0;

		switch (tag & 7) {
		case 0:
			if (tag >> 3 <= FIELD_STAMPED_MAX)
				t->at[tag >> 3] = (uint8_t *)at;
			(void)read_varint(&at);
			continue;
		case 1:
			len = 8;
			break;
		case 2:
			len = read_varint(&at);
			break;
		default:
			len = 4;
			break;
		}
		if (tag >> 3 <= FIELD_STAMPED_MAX)
			t->at[tag >> 3] = (uint8_t *)at;
		at += len;
	}
}

static int pack_sample(struct sim_batch *t, uint32_t seed)
{
	struct batch b = {.probe_id = {1}, .epoch = 1, .first_seq = SEQ_SAMPLE, .seq = SEQ_SAMPLE};
	int err;

	b.n_rows = t->n_rows;
	b.rows = calloc(t->n_rows, sizeof(*b.rows));
	if (!b.rows)
		return -ENOMEM;
	for (unsigned i = 0; i < t->n_rows; i++)
		make_row(&b.rows[i], &seed);
	for (unsigned i = 0; i < t->n_rows; i++)
		b.rows[i].flow_id = SAMPLE_ID + i;
	err = batch_pack(&b, &t->frame);
	free(b.rows);
	return err;
}

/* A column whose base takes BASE_BYTES, so that any other fits in its place. */
static uint8_t *widen(const struct flow_part *p, struct flow_part *ret, uint64_t *ret_base)
{
	const uint8_t *at = p->data + 1;
	uint8_t *wide = malloc(p->len + BASE_BYTES);
	size_t rest;

	if (!wide)
		return NULL;
	*ret_base = read_varint(&at);
	rest = p->len - (size_t)(at - p->data);
	wide[0] = p->data[0];
	memcpy(wide + 1 + BASE_BYTES, at, rest);
	*ret = (struct flow_part){
		.data = wide, .len = (uint32_t)(1 + BASE_BYTES + rest), .present = true};
	return wide;
}

static void put_base(uint8_t *at, uint64_t value)
{
	for (int i = 0; i < BASE_BYTES; i++, value >>= 7)
		at[i] = (uint8_t)((value & 0x7f) | (i < BASE_BYTES - 1 ? 0x80 : 0));
}

/* The frame again, with another block: its last field. */
static int replace_block(struct sim_batch *t, const uint8_t *block, size_t len)
{
	size_t head = (size_t)(t->at[FIELD_BLOCK] - t->frame.data);
	uint8_t *frame, *at;

	while (t->frame.data[head - 1] != 0x05 || t->frame.data[head - 2] != 0xda)
		head--; /* back over the length, to behind the tag */
	frame = malloc(head + BASE_BYTES + len);
	if (!frame)
		return -ENOMEM;
	memcpy(frame, t->frame.data, head);
	at = varint_put(frame + head, len);
	memcpy(at, block, len);
	free(t->frame.data);
	t->frame = (struct packed){frame, (size_t)(at - frame) + len};
	t->block_len = len;
	find_fields(t);
	return 0;
}

/* Makes the two columns that differ from stamp to stamp ready for it. */
static int widen_columns(struct sim_batch *t, size_t block_len)
{
	struct flow_parts parts;
	uint8_t *end_ms = NULL, *flow_id = NULL, *block = NULL;
	size_t len = 0;
	int err = flow_parts_open(t->at[FIELD_BLOCK], block_len, &parts, NULL);

	if (err)
		return err;
	end_ms = widen(&parts.part[FLOW_COLUMN_end_ms], &parts.part[FLOW_COLUMN_end_ms],
		       &t->base_ms);
	flow_id = widen(&parts.part[FLOW_COLUMN_flow_id], &parts.part[FLOW_COLUMN_flow_id],
			&t->base_id);
	if (end_ms && flow_id) {
		put_base(end_ms + 1, t->base_ms);
		put_base(flow_id + 1, t->base_id);
		err = flow_parts_seal(&parts, &block, &len);
	} else {
		err = -ENOMEM;
	}
	if (!err)
		err = replace_block(t, block, len);
	free(end_ms);
	free(flow_id);
	free(block);
	if (!err)
		err = flow_parts_open(t->at[FIELD_BLOCK], t->block_len, &parts, NULL);
	if (!err) {
		t->end_ms = (uint8_t *)parts.part[FLOW_COLUMN_end_ms].data + 1;
		t->flow_id = (uint8_t *)parts.part[FLOW_COLUMN_flow_id].data + 1;
	}
	return err;
}

/* Whether a stamp reaches every row: of few rows, a column may be kept in a way that has others. */
static int check_stamp(struct sim_batch *t)
{
	static const uint8_t probe_id[PROBE_ID_BYTES];
	const struct sim_stamp stamp = {probe_id, 1, 77, 3, SAMPLE_REAL_NS + NS_PER_SEC};
	struct flow_columns columns = {{0}};
	struct column_codec *codec = NULL;
	struct flow_block b = {0};
	struct flow_parts parts;
	int err;

	(void)sim_batch_stamp(t, &stamp);
	flow_columns_add(&columns, FLOW_COLUMN_flow_id);
	err = column_codec_new(t->n_rows, &codec);
	if (!err)
		err = flow_parts_open(t->at[FIELD_BLOCK], t->block_len, &parts, NULL);
	if (!err)
		err = flow_parts_decode(codec, &parts, &columns, &b, NULL);
	for (unsigned i = 0; !err && i < t->n_rows; i++)
		if (FLOW_COL_U64(&b, flow_id)[i] != (4ull << 42 | 77 << 12 | i))
			err = -EPROTO;
	flow_block_done(&b);
	column_codec_free(codec);
	return err;
}

int sim_batch_new(unsigned n_rows, uint32_t seed, struct sim_batch **ret)
{
	struct sim_batch *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->n_rows = n_rows;
	err = pack_sample(t, seed ? seed : 1);
	if (!err) {
		find_fields(t);
		if (!t->at[FIELD_PROBE_ID] || !t->at[FIELD_EPOCH] || !t->at[FIELD_FIRST_SEQ] ||
		    !t->at[FIELD_SEQ] || !t->at[FIELD_BLOCK])
			err = -EPROTO;
		else
			err = widen_columns(
				t, (size_t)(t->frame.data + t->frame.len - t->at[FIELD_BLOCK]));
	}
	if (!err)
		err = check_stamp(t);
	if (err) {
		sim_batch_free(t);
		return err;
	}
	*ret = t;
	return 0;
}

void sim_batch_free(struct sim_batch *t)
{
	if (!t)
		return;
	free(t->frame.data);
	free(t);
}

/* Longer than it needs to be, which protobuf allows. */
static void put_seq(uint8_t *at, uint64_t seq)
{
	for (int i = 0; i < SEQ_BYTES; i++)
		at[i] = (uint8_t)((seq >> 7 * i & 0x7f) | (i < SEQ_BYTES - 1 ? 0x80 : 0));
}

/* Little-endian machines only, as all that weir runs on. */
struct packed sim_batch_stamp(struct sim_batch *t, const struct sim_stamp *stamp)
{
	uint64_t later_ms = stamp->real_ns / NS_PER_MS - SAMPLE_REAL_NS / NS_PER_MS;
	uint64_t id = (uint64_t)(stamp->number + 1) << 42 | (stamp->seq & 0x3fffffff) << 12;
	uint8_t *block = t->at[FIELD_BLOCK];
	uint32_t crc;

	memcpy(t->at[FIELD_PROBE_ID], stamp->probe_id, PROBE_ID_BYTES);
	memcpy(t->at[FIELD_EPOCH], &stamp->epoch, sizeof(stamp->epoch));
	put_seq(t->at[FIELD_FIRST_SEQ], stamp->seq);
	put_seq(t->at[FIELD_SEQ], stamp->seq);
	put_base(t->end_ms, t->base_ms + later_ms);
	/* An id is kept as its difference to one that the start of the flow is added to. */
	put_base(t->flow_id, (t->base_id + id - SAMPLE_ID - later_ms) & FLOW_ID_MAX);
	crc = crc32c(block, t->block_len - CRC_BYTES);
	memcpy(block + t->block_len - CRC_BYTES, &crc, CRC_BYTES);
	frame_seal(t->frame.data, FRAME_BATCH, t->frame.len - FRAME_HEADER_BYTES);
	return t->frame;
}
