// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/record_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/addr.h"
#include "common/clock.h"
#include "proto/flow_id.h"
#include "proto/flow_words.h"

void record_text_begin(struct record_text *t)
{
	memset(t, 0, sizeof(*t));
	t->record.dns_rcode = DNS_RCODE_NONE;
}

static bool parse_number(const char *text, uint64_t *ret)
{
	uint64_t value = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return false;
	}
	*ret = value;
	return true;
}

static const char *set_addr(struct flow_record *r, enum flow_column c, const char *text)
{
	uint8_t *ret = c == FLOW_COLUMN_src_addr	 ? r->src_addr
		       : c == FLOW_COLUMN_dst_addr	 ? r->dst_addr
		       : c == FLOW_COLUMN_outer_src_addr ? r->outer_src_addr
							 : r->outer_dst_addr;

	return addr_parse(text, ret) ? "is no address" : NULL;
}

static const char *set_hist(struct flow_record *r, enum flow_column c, const char *text)
{
	uint16_t *hist = c == FLOW_COLUMN_data_rtt_hist ? r->data_rtt_hist : r->rev_data_rtt_hist;
	const char *at = text;

	for (size_t b = 0; b < RTT_BUCKETS; b++) {
		char *end;
		unsigned long count = strtoul(at, &end, 10);

		if (end == at || *at < '0' || *at > '9' || count > UINT16_MAX ||
		    *end != (b + 1 < RTT_BUCKETS ? ',' : '\0'))
			return "is no histogram of 16 counts";
		hist[b] = (uint16_t)count;
		at = end + 1;
	}
	return NULL;
}

static const char *set_text(struct flow_record *r, enum flow_column c, const char *text)
{
	if (strlen(text) >= flow_column_info[c].max)
		return "is too long";
	switch (c) {
#define SET_TEXT(name, max, has)                                                                   \
	case FLOW_COLUMN_##name:                                                                   \
		(void)snprintf(r->name, max, "%s", text);                                          \
		break;
		FLOW_TEXTS(SET_TEXT)
	default:
		break;
	}
	return NULL;
}

static const char *set_number(struct record_text *t, enum flow_column c, uint64_t value)
{
	switch (c) {
	case FLOW_COLUMN_host_id:
		t->host_id = value;
		break;
	case FLOW_COLUMN_start_ms:
		t->start_ms = value;
		break;
	case FLOW_COLUMN_end_ms:
		t->end_ms = value;
		break;
	case FLOW_COLUMN_duration_us:
		t->duration_us = value;
		break;
#define SET(name, max, has)                                                                        \
	case FLOW_COLUMN_##name:                                                                   \
		t->record.name = (__typeof__(t->record.name))value;                                \
		break;
		FLOW_COLUMNS(SET)
	default:
		break;
	}
	return value > flow_column_info[c].max ? "is too large" : NULL;
}

const char *record_text_set(struct record_text *t, enum flow_column c, const char *text)
{
	uint64_t value;
	uint32_t code;

	if (!text || !*text)
		return NULL;
	t->has[c] = true;
	if (flow_words_of(c))
		return flow_word_code(c, text, &code) ? set_number(t, c, code)
						      : "is none of the words for it";
	switch (flow_column_info[c].kind) {
	case FLOW_ADDR:
		return set_addr(&t->record, c, text);
	case FLOW_HIST:
		return set_hist(&t->record, c, text);
	case FLOW_TEXT:
		return set_text(&t->record, c, text);
	default:
		return parse_number(text, &value) ? set_number(t, c, value)
						  : "is no number from 0 on";
	}
}

/* Any two of the three tell the third. */
static const char *set_times(struct record_text *t)
{
	bool start = t->has[FLOW_COLUMN_start_ms], end = t->has[FLOW_COLUMN_end_ms];
	bool duration = t->has[FLOW_COLUMN_duration_us];

	if (start + end + duration < 2)
		return "two of start_ms, end_ms and duration_us are needed";
	if (!start) {
		if (t->duration_us / 1000 > t->end_ms)
			return "it would begin before 1970";
		t->start_ms = t->end_ms - t->duration_us / 1000;
	} else if (!duration) {
		if (t->start_ms > t->end_ms)
			return "start_ms is after end_ms";
		t->duration_us = (t->end_ms - t->start_ms) * 1000;
	} else if (end && t->start_ms + t->duration_us / 1000 != t->end_ms) {
		return "start_ms and duration_us do not make end_ms";
	}
	if (t->start_ms + t->duration_us / 1000 > FLOW_TIME_MAX_MS)
		return "it would end after the year 2248";
	t->record.start_ns = t->start_ms * NS_PER_MS;
	t->record.end_ns = t->record.start_ns + t->duration_us * NS_PER_US;
	return NULL;
}

const char *record_text_end(struct record_text *t)
{
	struct flow_record *r = &t->record;
	const char *why = set_times(t);

	if (why)
		return why;
	if (!t->has[FLOW_COLUMN_src_addr] || !t->has[FLOW_COLUMN_dst_addr])
		return "src_addr and dst_addr are needed";
	if (!r->flow_id)
		r->flow_id = flow_id_of(flow_id_end(flow_id_addr(r->src_addr), r->src_port),
					flow_id_end(flow_id_addr(r->dst_addr), r->dst_port),
					r->proto, r->icmp_id, r->vlan, r->tunnel_id, t->start_ms);
	return NULL;
}
