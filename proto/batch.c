/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* batch.c - BATCH of message.h: rows to columns and back. */
#include "proto/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/frame.h"
#include "weir.pb-c.h"

#define ADDR_BYTES  16
#define VLAN_MAX    4095
#define FLOW_ID_MAX ((UINT64_C(1) << 53) - 1)
#define NS_PER_US   1000

/*
 * The columns that have the same name in the schema and in struct flow_record:
 * X(name, largest value). 64-bit ones first, so that all of them can share one
 * allocation. Times, addresses and the interface are apart, see below.
 */
#define PLAIN_COLUMNS(X)                                                                           \
	X(flow_id, FLOW_ID_MAX)                                                                    \
	X(packets, COUNT_MAX)                                                                      \
	X(bytes, COUNT_MAX)                                                                        \
	X(rev_packets, COUNT_MAX)                                                                  \
	X(rev_bytes, COUNT_MAX)                                                                    \
	X(total_packets, COUNT_MAX)                                                                \
	X(total_bytes, COUNT_MAX)                                                                  \
	X(rev_total_packets, COUNT_MAX)                                                            \
	X(rev_total_bytes, COUNT_MAX)                                                              \
	X(retrans_pkts, COUNT_MAX)                                                                 \
	X(retrans_bytes, COUNT_MAX)                                                                \
	X(rev_retrans_pkts, COUNT_MAX)                                                             \
	X(rev_retrans_bytes, COUNT_MAX)                                                            \
	X(src_port, UINT16_MAX)                                                                    \
	X(dst_port, UINT16_MAX)                                                                    \
	X(proto, UINT8_MAX)                                                                        \
	X(icmp_type, UINT8_MAX)                                                                    \
	X(icmp_code, UINT8_MAX)                                                                    \
	X(icmp_id, UINT16_MAX)                                                                     \
	X(vlan, VLAN_MAX)                                                                          \
	X(direction, FLOW_DIRECTION_MAX - 1)                                                       \
	X(role, FLOW_ROLE_MAX - 1)                                                                 \
	X(end_reason, FLOW_END_MAX - 1)                                                            \
	X(tcp_flags, UINT16_MAX)                                                                   \
	X(rev_tcp_flags, UINT16_MAX)                                                               \
	X(rtt_us, UINT32_MAX)                                                                      \
	X(rtt_client_us, UINT32_MAX)                                                               \
	X(rtt_server_us, UINT32_MAX)

/* Every column of the schema that is an array, in the order of the allocation. */
#define ARRAY_COLUMNS(X)                                                                           \
	X(start_us, 0)                                                                             \
	X(end_us, 0)                                                                               \
	PLAIN_COLUMNS(X)                                                                           \
	X(iface, 0)

/* --- packing -------------------------------------------------------------- */

/* What packing borrows from and must release. */
struct pack {
	Weir__Batch m;
	char *counter_name[BATCH_MAX_COUNTERS];
	uint64_t counter_value[BATCH_MAX_COUNTERS];
	char **iface_name; /* up to one a row */
	uint8_t *arrays;   /* all columns and both addresses */
};

static int alloc_columns(struct pack *p, size_t n)
{
	size_t row_bytes = 2 * ADDR_BYTES;
	uint8_t *at;

#define ADD_SIZE(name, max) row_bytes += sizeof(*p->m.name);
	ARRAY_COLUMNS(ADD_SIZE)
#undef ADD_SIZE
	p->iface_name = calloc(n, sizeof(*p->iface_name));
	p->arrays = calloc(n, row_bytes);
	if (!p->iface_name || !p->arrays)
		return -ENOMEM;
	at = p->arrays;
#define PLACE(name, max)                                                                           \
	p->m.n_##name = n;                                                                         \
	p->m.name = (void *)at;                                                                    \
	at += n * sizeof(*p->m.name);
	ARRAY_COLUMNS(PLACE)
#undef PLACE
	p->m.src_addr = (ProtobufCBinaryData){n * ADDR_BYTES, at};
	p->m.dst_addr = (ProtobufCBinaryData){n * ADDR_BYTES, at + n * ADDR_BYTES};
	p->m.iface_name = p->iface_name;
	return 0;
}

/* Index of name in the dictionary, which it joins if need be. */
static uint32_t iface_index(Weir__Batch *m, const char *name)
{
	uint32_t i;

	for (i = 0; i < m->n_iface_name; i++)
		/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): set below */
		if (strcmp(m->iface_name[i], name) == 0)
			return i;
	m->iface_name[m->n_iface_name++] = (char *)name;
	return i;
}

/* The earliest start, on a whole microsecond: differences to it cut no time apart. */
static uint64_t earliest_start(const struct flow_record *rows, size_t n)
{
	uint64_t base = UINT64_MAX;

	for (size_t i = 0; i < n; i++)
		if (rows[i].start_ns < base)
			base = rows[i].start_ns;
	return n ? base - base % NS_PER_US : 0;
}

static void put_row(Weir__Batch *m, size_t i, const struct flow_record *r)
{
	m->start_us[i] = (int64_t)(r->start_ns - m->base_ns) / NS_PER_US;
	m->end_us[i] = (int64_t)(r->end_ns - m->base_ns) / NS_PER_US;
	memcpy(m->src_addr.data + i * ADDR_BYTES, r->src_addr, ADDR_BYTES);
	memcpy(m->dst_addr.data + i * ADDR_BYTES, r->dst_addr, ADDR_BYTES);
	m->iface[i] = iface_index(m, r->iface);
#define PUT(name, max) m->name[i] = r->name;
	PLAIN_COLUMNS(PUT)
#undef PUT
}

static int put_rows(struct pack *p, const struct batch *b)
{
	int err;

	p->m.n_rows = (uint32_t)b->n_rows;
	if (b->n_rows == 0)
		return 0;
	err = alloc_columns(p, b->n_rows);
	if (err)
		return err;
	p->m.base_ns = earliest_start(b->rows, b->n_rows);
	for (size_t i = 0; i < b->n_rows; i++)
		put_row(&p->m, i, &b->rows[i]);
	return 0;
}

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

int batch_pack(const struct batch *b, struct packed *ret)
{
	struct pack p = {.m = WEIR__BATCH__INIT};
	int err;

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
	put_counters(&p, b);
	err = put_rows(&p, b);
	if (!err)
		err = codec_seal(&p.m.base, FRAME_BATCH, ret);
	free(p.iface_name);
	free(p.arrays);
	return err;
}

/* --- unpacking ------------------------------------------------------------ */

/* ret = base + us, false when that is before 1970 or past INT64_MAX ns. */
static bool time_from(uint64_t base_ns, int64_t us, uint64_t *ret)
{
	int64_t ns;

	if (base_ns > COUNT_MAX || __builtin_mul_overflow(us, NS_PER_US, &ns) ||
	    __builtin_add_overflow((int64_t)base_ns, ns, &ns) || ns < 0)
		return false;
	*ret = (uint64_t)ns;
	return true;
}

static bool above(uint64_t value, uint64_t max)
{
	return value > max;
}

static const char *get_row(const Weir__Batch *m, size_t i, struct flow_record *r)
{
	const char *iface;

	if (!time_from(m->base_ns, m->start_us[i], &r->start_ns) ||
	    !time_from(m->base_ns, m->end_us[i], &r->end_ns))
		return "time out of range";
	if (r->end_ns < r->start_ns)
		return "a flow ends before it starts";
	memcpy(r->src_addr, m->src_addr.data + i * ADDR_BYTES, ADDR_BYTES);
	memcpy(r->dst_addr, m->dst_addr.data + i * ADDR_BYTES, ADDR_BYTES);
	if (m->iface[i] >= m->n_iface_name)
		return "iface is not in the dictionary";
	iface = m->iface_name[m->iface[i]];
	memcpy(r->iface, iface, strlen(iface) + 1); /* fits: see check_ifaces() */
	if (m->flow_id[i] == 0)
		return "flow_id is 0";
#define GET(name, max)                                                                             \
	if (above(m->name[i], max))                                                                \
		return #name " out of range";                                                      \
	r->name = (__typeof__(r->name))m->name[i];
	PLAIN_COLUMNS(GET)
#undef GET
	return NULL;
}

static const char *check_ifaces(const Weir__Batch *m)
{
	char name[IFACE_NAME_MAX];

	if (m->n_iface_name > m->n_rows)
		return "more interfaces than rows";
	for (size_t i = 0; i < m->n_iface_name; i++)
		if (!codec_text(m->iface_name[i], name, sizeof(name)))
			return "bad iface_name";
	return NULL;
}

static const char *check_columns(const Weir__Batch *m)
{
	size_t n = m->n_rows;

	if (n > BATCH_MAX_ROWS)
		return "too many rows";
#define CHECK(name, max)                                                                           \
	if (m->n_##name != n)                                                                      \
		return "column " #name " has not n_rows values";
	ARRAY_COLUMNS(CHECK)
#undef CHECK
	if (m->src_addr.len != n * ADDR_BYTES || m->dst_addr.len != n * ADDR_BYTES)
		return "addresses are not 16 bytes a row";
	return check_ifaces(m);
}

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
		if (m->counter_value[i] > COUNT_MAX)
			return "counter_value out of range";
		memcpy(b->counters[i].name, name, len + 1);
		b->counters[i].value = m->counter_value[i];
	}
	return NULL;
}

static const char *get_header(const Weir__Batch *m, struct batch *b)
{
	b->epoch = m->epoch;
	b->first_seq = m->first_seq;
	b->seq = m->seq;
	b->dropped_rows = m->dropped_rows;
	b->dropped_packets = m->dropped_packets;
	b->dropped_bytes = m->dropped_bytes;
	if (!codec_bytes(&m->probe_id, b->probe_id, PROBE_ID_BYTES))
		return "probe_id is not 16 bytes";
	if (m->seq > COUNT_MAX || m->first_seq == 0 || m->first_seq > m->seq)
		return "first_seq and seq are no range";
	if (m->dropped_rows > COUNT_MAX || m->dropped_packets > COUNT_MAX ||
	    m->dropped_bytes > COUNT_MAX)
		return "dropped count out of range";
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

/* NULL, or why the batch is refused. */
static const char *get_batch(const Weir__Batch *m, struct batch *b)
{
	const char *why = get_header(m, b);

	if (!why)
		why = get_counters(m, b);
	for (size_t i = 0; i < b->n_rows && !why; i++)
		why = get_row(m, i, &b->rows[i]);
	return why;
}

static int convert(struct codec *codec, const Weir__Batch *m, struct batch **ret,
		   const char **ret_why)
{
	const char *why = check_columns(m);
	struct batch *b;

	if (why)
		return codec_refuse(why, ret_why);
	b = codec_alloc(codec, sizeof(*b) + m->n_rows * sizeof(*b->rows));
	if (!b)
		return codec->out_of_memory ? -ENOMEM
					    : codec_refuse("needs too much memory", ret_why);
	b->n_rows = m->n_rows;
	b->rows = (struct flow_record *)(b + 1);
	why = get_batch(m, b);
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

void batch_free(struct batch *b)
{
	free(b); /* the rows are in the same allocation */
}
