// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/replay/record_output.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "common/addr.h"
#include "common/clock.h"
#include "common/community_id.h"
#include "proto/flow_columns.h"
#include "proto/flow_words.h"

/* Columns that are not in proto/flow_columns.h, in the order of put_others(). */
#define OTHER_COLUMNS(X)                                                                           \
	X(start_ms)                                                                                \
	X(end_ms)                                                                                  \
	X(duration_us)                                                                             \
	X(src_addr)                                                                                \
	X(dst_addr)                                                                                \
	X(proto_name)                                                                              \
	X(ip_version)                                                                              \
	X(outer_src_addr)                                                                          \
	X(outer_dst_addr)                                                                          \
	X(community_id)

#define OTHER_NAME(name)     #name,
#define NAME(name, max, has) #name,
static const char *const names[] = {OTHER_COLUMNS(OTHER_NAME) FLOW_NUMBERS(NAME) FLOW_COUNTERS(NAME)
					    FLOW_CODES(NAME) FLOW_DNS_CODES(NAME) FLOW_TEXTS(NAME)};
#define N_COLUMNS (sizeof(names) / sizeof(*names))

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);

	return len >= n && strcmp(text + len - n, end) == 0;
}

/* Names end in their unit. */
static enum output_unit unit_of(const char *name)
{
	if (ends_with(name, "_us"))
		return UNIT_US;
	if (ends_with(name, "_ms"))
		return UNIT_TIME_MS;
	if (ends_with(name, "bytes"))
		return UNIT_BYTES;
	if (ends_with(name, "packets") || ends_with(name, "_pkts"))
		return UNIT_COUNT;
	return UNIT_NONE;
}

int record_output_begin(FILE *out, enum output_format format, struct output **ret)
{
	struct output_column columns[N_COLUMNS];

	for (size_t i = 0; i < N_COLUMNS; i++)
		columns[i] = (struct output_column){names[i], unit_of(names[i])};
	return output_begin(out, format, false, columns, N_COLUMNS, ret);
}

static void put_addr(struct output *o, bool has, const uint8_t addr[16])
{
	char text[ADDR_TEXT_MAX];

	output_str(o, has ? addr_format(addr, text) : NULL);
}

static void put_proto_name(struct output *o, const struct flow_record *r)
{
	const char *name = flow_is_catch_all(r) ? "catch-all" : proto_name(r->proto);
	char number[4];

	(void)snprintf(number, sizeof(number), "%u", r->proto);
	output_str(o, name ? name : number);
}

static void put_community_id(struct output *o, const struct flow_record *r)
{
	bool icmp = flow_is_icmp(r);
	char text[COMMUNITY_ID_MAX];

	if (flow_is_catch_all(r))
		output_null(o);
	else
		output_str(o, community_id(r->src_addr, r->dst_addr, r->proto,
					   icmp ? r->icmp_type : r->src_port,
					   icmp ? r->icmp_code : r->dst_port, text));
}

static void put_others(struct output *o, const struct flow_record *r)
{
	output_int(o, (int64_t)(r->start_ns / NS_PER_MS));
	output_int(o, (int64_t)(r->end_ns / NS_PER_MS));
	output_int(o, (int64_t)(r->end_ns - r->start_ns) / (int64_t)NS_PER_US);
	put_addr(o, true, r->src_addr);
	put_addr(o, true, r->dst_addr);
	put_proto_name(o, r);
	output_int(o, addr_is_v4(r->src_addr) ? 4 : 6);
	put_addr(o, r->tunnel, r->outer_src_addr);
	put_addr(o, r->tunnel, r->outer_dst_addr);
	put_community_id(o, r);
}

static void put_number(struct output *o, bool has, uint64_t value)
{
	if (has)
		output_int(o, (int64_t)value);
	else
		output_null(o);
}

static void put_texts(struct output *o, const struct flow_record *r)
{
	char word[FLOW_WORD_MAX];

#define CODE(name, max, has)                                                                       \
	output_str(o, (has) ? flow_word(FLOW_COLUMN_##name, r->name, word) : NULL);
#define TEXT(name, max, has) output_str(o, r->name[0] ? r->name : NULL);
	FLOW_DNS_CODES(CODE)
	FLOW_TEXTS(TEXT)
#undef CODE
#undef TEXT
}

void record_output_row(struct output *o, const struct flow_record *r)
{
	char word[FLOW_WORD_MAX];

#define NUMBER(name, max, has) put_number(o, has, r->name);
#define WORD(name, max, has)   output_str(o, flow_word(FLOW_COLUMN_##name, r->name, word));
	put_others(o, r);
	FLOW_NUMBERS(NUMBER)
	FLOW_COUNTERS(NUMBER)
	FLOW_CODES(WORD)
	put_texts(o, r);
#undef NUMBER
#undef WORD
}
