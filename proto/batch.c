/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* batch.c - BATCH of message.h: rows to columns and back. */
#include "proto/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/dictionary.h"
#include "proto/flow_columns.h"
#include "proto/frame.h"
#include "weir.pb-c.h"

#define ADDR_BYTES 16
#define NS_PER_US  1000

#define TEXT(name, max, has) TEXT_##name,
enum { FLOW_TEXTS(TEXT) N_TEXTS }; /* as a row may have */
#undef TEXT
#define TEXT_MAX_BYTES 256 /* the longest, with its NUL */

/*
 * Every column that has a number for each row, in the order of the allocation:
 * 64-bit ones first. Addresses, histograms and what a row has only with a
 * tunnel are apart.
 */
#define ARRAY_COLUMNS(X)                                                                           \
	X(start_us, 0, true)                                                                       \
	X(end_us, 0, true)                                                                         \
	FLOW_COLUMNS(X)                                                                            \
	FLOW_TEXTS(X)

/* As many bytes a row as all that is not in ARRAY_COLUMNS may need. */
#define REST_ROW_BYTES (4 * ADDR_BYTES + 2 * RTT_BUCKETS * sizeof(uint32_t))

/* --- packing -------------------------------------------------------------- */

/* What packing borrows from and must release. */
struct pack {
	Weir__Batch m;
	char *counter_name[BATCH_MAX_COUNTERS];
	uint64_t counter_value[BATCH_MAX_COUNTERS];
	struct dictionary texts;
	uint8_t *arrays; /* all columns */
};

static int alloc_columns(struct pack *p, size_t n)
{
	size_t row_bytes = REST_ROW_BYTES;
	uint8_t *at;

#define ADD_SIZE(name, max, has) row_bytes += sizeof(*p->m.name);
	ARRAY_COLUMNS(ADD_SIZE)
#undef ADD_SIZE
	p->arrays = calloc(n, row_bytes);
	if (!p->arrays || dictionary_init(&p->texts, n * N_TEXTS))
		return -ENOMEM;
	at = p->arrays;
#define PLACE(name, max, has)                                                                      \
	p->m.n_##name = n;                                                                         \
	p->m.name = (void *)at;                                                                    \
	at += n * sizeof(*p->m.name);
	ARRAY_COLUMNS(PLACE)
#undef PLACE
	p->m.data_rtt_hist = (uint32_t *)at;
	p->m.rev_data_rtt_hist = p->m.data_rtt_hist + n * RTT_BUCKETS;
	at = (uint8_t *)(p->m.rev_data_rtt_hist + n * RTT_BUCKETS);
	p->m.src_addr = (ProtobufCBinaryData){n * ADDR_BYTES, at};
	p->m.dst_addr = (ProtobufCBinaryData){n * ADDR_BYTES, at + n * ADDR_BYTES};
	p->m.outer_src_addr = (ProtobufCBinaryData){0, at + 2 * n * ADDR_BYTES};
	p->m.outer_dst_addr = (ProtobufCBinaryData){0, at + 3 * n * ADDR_BYTES};
	return 0;
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

static void put_hist(uint32_t *column, size_t *n, uint32_t samples, const uint16_t *hist)
{
	for (size_t i = 0; samples && i < RTT_BUCKETS; i++)
		column[(*n)++] = hist[i];
}

static void put_addr(ProtobufCBinaryData *column, const uint8_t addr[ADDR_BYTES])
{
	memcpy(column->data + column->len, addr, ADDR_BYTES);
	column->len += ADDR_BYTES;
}

/* What only some rows have: appended to its column. */
static void put_rest(Weir__Batch *m, const struct flow_record *r)
{
	put_hist(m->data_rtt_hist, &m->n_data_rtt_hist, r->data_rtt_samples, r->data_rtt_hist);
	put_hist(m->rev_data_rtt_hist, &m->n_rev_data_rtt_hist, r->rev_data_rtt_samples,
		 r->rev_data_rtt_hist);
	if (r->tunnel) {
		put_addr(&m->outer_src_addr, r->outer_src_addr);
		put_addr(&m->outer_dst_addr, r->outer_dst_addr);
	}
}

static void put_row(struct pack *p, size_t i, const struct flow_record *r)
{
	Weir__Batch *m = &p->m;

	m->start_us[i] = (int64_t)(r->start_ns - m->base_ns) / NS_PER_US;
	m->end_us[i] = (int64_t)(r->end_ns - m->base_ns) / NS_PER_US;
	memcpy(m->src_addr.data + i * ADDR_BYTES, r->src_addr, ADDR_BYTES);
	memcpy(m->dst_addr.data + i * ADDR_BYTES, r->dst_addr, ADDR_BYTES);
#define PUT(name, max, has) m->name[i] = r->name;
	FLOW_COLUMNS(PUT)
#undef PUT
#define PUT_TEXT(name, max, has) m->name[i] = dictionary_number(&p->texts, r->name);
	FLOW_TEXTS(PUT_TEXT)
#undef PUT_TEXT
	put_rest(m, r);
}

static bool all_zero(const void *column, size_t bytes)
{
	const uint8_t *p = column;

	return p[0] == 0 && memcmp(p, p + 1, bytes - 1) == 0;
}

static void leave_out_zeros(Weir__Batch *m)
{
#define LEAVE_OUT(name, max, has)                                                                  \
	if (all_zero(m->name, m->n_##name * sizeof(*m->name)))                                     \
		m->n_##name = 0;
	FLOW_COLUMNS(LEAVE_OUT)
	FLOW_TEXTS(LEAVE_OUT)
#undef LEAVE_OUT
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
		put_row(p, i, &b->rows[i]);
	leave_out_zeros(&p->m);
	p->m.text = p->texts.texts;
	p->m.n_text = p->texts.n;
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
	p.m.reason = (Weir__LossReason)b->reason;
	p.m.lost_from_ns = b->lost_from_ns;
	p.m.lost_until_ns = b->lost_until_ns;
	p.m.run = b->run;
	p.m.counters_ns = b->counters_ns;
	put_counters(&p, b);
	err = put_rows(&p, b);
	if (!err)
		err = codec_seal(&p.m.base, FRAME_BATCH, ret);
	dictionary_done(&p.texts);
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

/* How far the columns are read that only some rows have. */
struct rest {
	size_t hist, rev_hist, tunnels;
};

static const char *get_hist(const uint32_t *column, size_t *at, uint32_t samples, uint16_t *ret)
{
	for (size_t i = 0; samples && i < RTT_BUCKETS; i++) {
		if (column[*at] > UINT16_MAX)
			return "data_rtt_hist out of range";
		ret[i] = (uint16_t)column[(*at)++];
	}
	return NULL;
}

/* The columns are long enough: see check_rest(). */
static const char *get_rest(const Weir__Batch *m, struct rest *at, struct flow_record *r)
{
	const char *why;

	why = get_hist(m->data_rtt_hist, &at->hist, r->data_rtt_samples, r->data_rtt_hist);
	if (!why)
		why = get_hist(m->rev_data_rtt_hist, &at->rev_hist, r->rev_data_rtt_samples,
			       r->rev_data_rtt_hist);
	if (why || !r->tunnel)
		return why;
	memcpy(r->outer_src_addr, m->outer_src_addr.data + at->tunnels * ADDR_BYTES, ADDR_BYTES);
	memcpy(r->outer_dst_addr, m->outer_dst_addr.data + at->tunnels * ADDR_BYTES, ADDR_BYTES);
	at->tunnels++;
	return NULL;
}

/* Text number n of the dictionary, if there is such a one and it fits. ret is empty. */
static bool get_text(const Weir__Batch *m, uint32_t n, char *ret, size_t size)
{
	size_t len;

	if (n == 0)
		return true;
	if (n > m->n_text)
		return false;
	len = strlen(m->text[n - 1]);
	if (len >= size)
		return false;
	memcpy(ret, m->text[n - 1], len + 1);
	return true;
}

static const char *get_row(const Weir__Batch *m, size_t i, struct rest *at, struct flow_record *r)
{
	if (!time_from(m->base_ns, m->start_us[i], &r->start_ns) ||
	    !time_from(m->base_ns, m->end_us[i], &r->end_ns))
		return "time out of range";
	if (r->end_ns < r->start_ns)
		return "a flow ends before it starts";
	memcpy(r->src_addr, m->src_addr.data + i * ADDR_BYTES, ADDR_BYTES);
	memcpy(r->dst_addr, m->dst_addr.data + i * ADDR_BYTES, ADDR_BYTES);
#define GET(name, max, has)                                                                        \
	if (m->n_##name) {                                                                         \
		if (above(m->name[i], max))                                                        \
			return #name " out of range";                                              \
		r->name = (__typeof__(r->name))m->name[i];                                         \
	}
	FLOW_COLUMNS(GET)
#undef GET
#define GET_TEXT(name, max, has)                                                                   \
	if (m->n_##name && !get_text(m, m->name[i], r->name, max))                                 \
		return #name " is not in the dictionary, or too long";
	FLOW_TEXTS(GET_TEXT)
#undef GET_TEXT
	return r->flow_id ? get_rest(m, at, r) : "flow_id is 0";
}

static const char *check_texts(const Weir__Batch *m)
{
	char text[TEXT_MAX_BYTES];

	if (m->n_text > (size_t)m->n_rows * N_TEXTS)
		return "more texts than rows can have";
	for (size_t i = 0; i < m->n_text; i++)
		if (!codec_text(m->text[i], text, sizeof(text)))
			return "bad text";
	return NULL;
}

/* In how many rows a column that may be left out is not 0. */
static size_t count_set(const uint32_t *column, size_t n)
{
	size_t set = 0;

	for (size_t i = 0; i < n; i++)
		set += column[i] != 0;
	return set;
}

static const char *check_rest(const Weir__Batch *m)
{
	size_t tunnels = count_set(m->tunnel, m->n_tunnel);

	if (m->n_data_rtt_hist !=
		    RTT_BUCKETS * count_set(m->data_rtt_samples, m->n_data_rtt_samples) ||
	    m->n_rev_data_rtt_hist !=
		    RTT_BUCKETS * count_set(m->rev_data_rtt_samples, m->n_rev_data_rtt_samples))
		return "data_rtt_hist is not 16 values for each row with samples";
	if (m->outer_src_addr.len != tunnels * ADDR_BYTES ||
	    m->outer_dst_addr.len != tunnels * ADDR_BYTES)
		return "outer addresses are not 16 bytes for each row with a tunnel";
	return NULL;
}

static const char *check_columns(const Weir__Batch *m)
{
	size_t n = m->n_rows;
	const char *why;

	if (n > BATCH_MAX_ROWS)
		return "too many rows";
	if (m->n_start_us != n || m->n_end_us != n)
		return "start_us or end_us has not n_rows values";
#define CHECK(name, max, has)                                                                      \
	if (m->n_##name != n && m->n_##name != 0)                                                  \
		return "column " #name " has not n_rows values";
	FLOW_COLUMNS(CHECK)
	FLOW_TEXTS(CHECK)
#undef CHECK
	if (m->src_addr.len != n * ADDR_BYTES || m->dst_addr.len != n * ADDR_BYTES)
		return "addresses are not 16 bytes a row";
	why = check_rest(m);
	return why ? why : check_texts(m);
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

/* NULL, or why the batch is refused. */
static const char *get_batch(const Weir__Batch *m, struct batch *b)
{
	const char *why = get_header(m, b);
	struct rest at = {0};

	if (!why)
		why = get_loss(m, b);
	if (!why)
		why = get_counters(m, b);
	for (size_t i = 0; i < b->n_rows && !why; i++)
		why = get_row(m, i, &at, &b->rows[i]);
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
