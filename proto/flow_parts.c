/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_parts.c - encoded blocks: what their parts are called, and sealed blobs of them. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "proto/flow_related.h"
#include "proto/frame.h"

static int refuse(const char *why, const char **ret_why)
{
	if (ret_why)
		*ret_why = why;
	return -EBADMSG;
}

/* --- codes --------------------------------------------------------------------- */

static const char *part_name(unsigned part)
{
	switch (part) {
	case FLOW_PART_ADDRS:
		return "addrs";
	case FLOW_PART_TEXTS:
		return "texts";
	case FLOW_PART_HIST_VALUES:
		return "hist_values";
	case FLOW_PART_REV_HIST_VALUES:
		return "rev_hist_values";
	case FLOW_PART_TWINS:
		return "twins";
	default:
		return flow_column_info[part].name;
	}
}

/* FNV-1a, folded. test_flow_block.c sees to it that no two are the same. */
uint16_t flow_part_code(unsigned part)
{
	uint32_t h = 2166136261u;

	for (const char *c = part_name(part); *c; c++)
		h = (h ^ (uint8_t)*c) * 16777619u;
	return (uint16_t)(h ^ h >> 16);
}

static uint16_t codes[FLOW_N_PARTS]; /* written once, by make_codes() */
static pthread_once_t codes_once = PTHREAD_ONCE_INIT;

static void make_codes(void)
{
	for (unsigned p = 0; p < FLOW_N_PARTS; p++)
		codes[p] = flow_part_code(p);
}

/* The part of a code, or -1. guess: the one that comes where it is expected. */
static int part_of(uint16_t code, unsigned guess)
{
	if (guess < FLOW_N_PARTS && codes[guess] == code)
		return (int)guess;
	for (unsigned p = 0; p < FLOW_N_PARTS; p++)
		if (codes[p] == code)
			return (int)p;
	return -1;
}

void flow_parts_needed(const struct flow_columns *columns, bool ret[FLOW_N_PARTS])
{
	struct flow_columns s = flow_closure(columns);

	for (unsigned p = 0; p < FLOW_N_COLUMNS; p++)
		ret[p] = flow_columns_has(&s, (enum flow_column)p);
	ret[FLOW_COLUMN_flow_id] |= flow_columns_has(&s, FLOW_COLUMN_ID_DIFFERENCES);
	ret[FLOW_PART_ADDRS] = flow_any_of_kind(&s, FLOW_ADDR);
	ret[FLOW_PART_TEXTS] = flow_any_of_kind(&s, FLOW_TEXT);
	ret[FLOW_PART_HIST_VALUES] = ret[FLOW_COLUMN_data_rtt_hist];
	ret[FLOW_PART_REV_HIST_VALUES] = ret[FLOW_COLUMN_rev_data_rtt_hist];
	ret[FLOW_PART_TWINS] = flow_any_twinned(&s);
}

/* --- sealed blocks -----------------------------------------------------------------------------
 */

static bool is_placed(const struct flow_parts *p)
{
	for (unsigned i = 0; i < FLOW_N_PARTS; i++)
		if (p->part[i].elsewhere && p->part[i].place)
			return true;
	return false;
}

int flow_parts_seal(const struct flow_parts *p, uint8_t **ret, size_t *ret_len)
{
	size_t n = 0, bytes = 1 + 10 + 10 + sizeof(uint32_t);
	bool placed = is_placed(p);
	uint8_t *blob, *at;
	uint32_t crc;

	(void)pthread_once(&codes_once, make_codes); /* cannot fail */
	for (unsigned i = 0; i < FLOW_N_PARTS; i++) {
		n += p->part[i].present;
		bytes += p->part[i].present ? sizeof(uint16_t) + 10 + 10 : 0;
		bytes += p->part[i].elsewhere ? 0 : p->part[i].len;
	}
	blob = malloc(bytes);
	if (!blob)
		return -ENOMEM;
	blob[0] = placed ? FLOW_BLOCK_PLACED : FLOW_BLOCK_VERSION;
	at = varint_put(varint_put(blob + 1, p->n_rows), n);
	for (unsigned i = 0; i < FLOW_N_PARTS; i++) {
		if (!p->part[i].present)
			continue;
		memcpy(at, &codes[i], sizeof(codes[i]));
		at = varint_put(at + sizeof(codes[i]),
				(uint64_t)p->part[i].len * 2 + p->part[i].elsewhere);
		if (placed && p->part[i].elsewhere)
			at = varint_put(at, p->part[i].place);
	}
	for (unsigned i = 0; i < FLOW_N_PARTS; i++) {
		if (!p->part[i].present || p->part[i].elsewhere)
			continue;
		memcpy(at, p->part[i].data, p->part[i].len);
		at += p->part[i].len;
	}
	crc = crc32c(blob, (size_t)(at - blob));
	memcpy(at, &crc, sizeof(crc));
	*ret = blob;
	*ret_len = (size_t)(at - blob) + sizeof(crc);
	return 0;
}

/* A line of a directory. */
struct entry {
	uint16_t code, place;
	bool elsewhere;
	uint32_t len;
};

static bool get_entry(const uint8_t **at, const uint8_t *end, bool placed, struct entry *ret)
{
	uint64_t len, place = 0;

	if (end - *at < 2)
		return false;
	memcpy(&ret->code, *at, sizeof(ret->code));
	*at += sizeof(ret->code);
	if (!varint_get(at, end, &len) || len / 2 > UINT32_MAX)
		return false;
	if (placed && len & 1 && (!varint_get(at, end, &place) || place > UINT16_MAX))
		return false;
	ret->elsewhere = len & 1;
	ret->len = (uint32_t)(len / 2);
	ret->place = (uint16_t)place;
	return true;
}

static int open_directory(const uint8_t *at, const uint8_t *end, size_t n_parts, bool placed,
			  struct flow_parts *p, const char **ret_why)
{
	const uint8_t *payload = at;
	unsigned guess = 0;
	struct entry e;

	/* Where the payload begins is known only behind the directory: it is read twice. */
	for (size_t i = 0; i < n_parts; i++)
		if (!get_entry(&payload, end, placed, &e))
			return refuse("a directory is cut off", ret_why);
	for (size_t i = 0; i < n_parts; i++) {
		int part;

		(void)get_entry(&at, end, placed, &e); /* read above */
		if (!e.elsewhere && e.len > (size_t)(end - payload))
			return refuse("a part is cut off", ret_why);
		part = part_of(e.code, guess);
		if (part >= 0) {
			if (p->part[part].present)
				return refuse("a part comes twice", ret_why);
			p->part[part] = (struct flow_part){.data = e.elsewhere ? NULL : payload,
							   .len = e.len,
							   .present = true,
							   .elsewhere = e.elsewhere,
							   .place = e.place};
			guess = (unsigned)part + 1;
		}
		payload += e.elsewhere ? 0 : e.len;
	}
	return payload == end ? 0 : refuse("bytes behind the last part", ret_why);
}

int flow_parts_open(const uint8_t *data, size_t len, struct flow_parts *ret, const char **ret_why)
{
	struct flow_parts p = {0};
	const uint8_t *at, *end;
	uint64_t n_rows, n_parts;
	uint32_t crc;
	int err;

	(void)pthread_once(&codes_once, make_codes); /* cannot fail */
	if (len < 1 + 2 + sizeof(crc))
		return refuse("a block is cut off", ret_why);
	at = data + 1;
	end = data + len - sizeof(crc);
	memcpy(&crc, end, sizeof(crc));
	if (crc32c(data, len - sizeof(crc)) != crc)
		return refuse("the checksum of a block is wrong", ret_why);
	if (data[0] != FLOW_BLOCK_VERSION && data[0] != FLOW_BLOCK_PLACED)
		return refuse("a block of another version", ret_why);
	if (!varint_get(&at, end, &n_rows) || n_rows > FLOW_BLOCK_MAX_ROWS)
		return refuse("too many rows", ret_why);
	if (!varint_get(&at, end, &n_parts) || n_parts > UINT16_MAX)
		return refuse("too many parts", ret_why);
	p.n_rows = (size_t)n_rows;
	err = open_directory(at, end, (size_t)n_parts, data[0] == FLOW_BLOCK_PLACED, &p, ret_why);
	if (!err)
		*ret = p;
	return err;
}

static void add_minute(struct flow_summary *s, uint64_t end_ms, uint64_t packets)
{
	uint64_t at_ms = end_ms - end_ms % FLOW_MINUTE_MS;
	size_t i = 0;

	if (s->n_minutes > FLOW_SUMMARY_MINUTES)
		return;
	while (i < s->n_minutes && s->minutes[i].at_ms != at_ms)
		i++;
	if (i == FLOW_SUMMARY_MINUTES) {
		s->n_minutes++;
		return;
	}
	if (i == s->n_minutes)
		s->minutes[s->n_minutes++] = (struct flow_minute){.at_ms = at_ms};
	s->minutes[i].records++;
	s->minutes[i].packets += packets;
}

static struct flow_summary summary_of(const struct flow_block *b)
{
	struct flow_summary s = {.n_rows = b->n_rows};

	if (b->n_rows == 0)
		return s;
	s.min_start_ms = s.min_end_ms = UINT64_MAX;
	for (size_t i = 0; i < b->n_rows; i++) {
		uint64_t start = FLOW_COL_U64(b, start_ms)[i], end = FLOW_COL_U64(b, end_ms)[i];

		s.min_start_ms = start < s.min_start_ms ? start : s.min_start_ms;
		s.min_end_ms = end < s.min_end_ms ? end : s.min_end_ms;
		s.max_end_ms = end > s.max_end_ms ? end : s.max_end_ms;
		add_minute(&s, end, FLOW_COL_U64(b, packets)[i] + FLOW_COL_U64(b, rev_packets)[i]);
	}
	return s;
}

int flow_block_check(struct column_codec *c, const uint8_t *data, size_t len,
		     struct flow_summary *ret, const char **ret_why)
{
	struct flow_parts parts;
	struct flow_block b;
	int err;

	err = flow_parts_open(data, len, &parts, ret_why);
	if (err)
		return err;
	if (parts.part[FLOW_COLUMN_host_id].present)
		return refuse("a block that names its host", ret_why);
	if (parts.part[FLOW_PART_TWINS].present)
		return refuse("a block of several hosts", ret_why);
	for (unsigned i = 0; i < FLOW_N_PARTS; i++)
		if (parts.part[i].elsewhere)
			return refuse("a part that did not come along", ret_why);
	err = flow_parts_check(c, &parts, &b, ret_why);
	if (err)
		return err;
	*ret = summary_of(&b);
	flow_block_done(&b);
	return 0;
}
