// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/torture/sim_batch.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "proto/frame.h"

/* Numbers of fields in weir.proto. */
enum field {
	FIELD_PROBE_ID = 1,
	FIELD_EPOCH = 2,
	FIELD_FIRST_SEQ = 3,
	FIELD_SEQ = 4,
	FIELD_BASE_NS = 16,
	FIELD_FLOW_ID = 33,
	FIELD_STAMPED_MAX = FIELD_FLOW_ID,
};

#define SEQ_BYTES      5	    /* of a varint of 35 bits */
#define SEQ_SAMPLE     (1ull << 28) /* needs as many */
#define SAMPLE_REAL_NS (1700000000ull * NS_PER_SEC)

struct sim_batch {
	struct packed frame;
	unsigned n_rows;
	uint8_t *at[FIELD_STAMPED_MAX + 1]; /* where the value begins */
	uint64_t base_ns;
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
	r->flow_id = 1;
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
	err = batch_pack(&b, &t->frame);
	free(b.rows);
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
		    !t->at[FIELD_SEQ] || !t->at[FIELD_BASE_NS] || !t->at[FIELD_FLOW_ID])
			err = -EPROTO;
		else
			memcpy(&t->base_ns, t->at[FIELD_BASE_NS], sizeof(t->base_ns));
	}
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
	uint64_t base_ns = t->base_ns - SAMPLE_REAL_NS + stamp->real_ns;
	uint64_t id = (uint64_t)(stamp->number + 1) << 42 | (stamp->seq & 0xffffffff) << 10;

	memcpy(t->at[FIELD_PROBE_ID], stamp->probe_id, PROBE_ID_BYTES);
	memcpy(t->at[FIELD_EPOCH], &stamp->epoch, sizeof(stamp->epoch));
	put_seq(t->at[FIELD_FIRST_SEQ], stamp->seq);
	put_seq(t->at[FIELD_SEQ], stamp->seq);
	memcpy(t->at[FIELD_BASE_NS], &base_ns, sizeof(base_ns));
	for (unsigned i = 0; i < t->n_rows; i++, id++)
		memcpy(t->at[FIELD_FLOW_ID] + i * sizeof(id), &id, sizeof(id));
	frame_seal(t->frame.data, FRAME_BATCH, t->frame.len - FRAME_HEADER_BYTES);
	return t->frame;
}
