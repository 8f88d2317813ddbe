// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/bench-store/peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/flow_block.h"
#include "proto/flow_words.h"

struct peer_of_clickhouse {
	struct peer base;
};

/* Codes with few words are an enumeration; DNS types and codes stay numbers. */
static bool is_enum(unsigned c)
{
	return flow_words_of(c) && c != FLOW_COLUMN_dns_qtype && c != FLOW_COLUMN_dns_rcode;
}

static void print_enum(unsigned c)
{
	char word[FLOW_WORD_MAX];

	fputs("Enum8(", stdout);
	for (uint32_t code = 0; code <= flow_column_info[c].max; code++) {
		const char *text = flow_word(c, code, word);

		printf("%s'%s' = %u", code ? ", " : "", text ? text : "", code);
	}
	putchar(')');
}

/* Bytes of a number that is at most max; what ClickHouse calls the type. */
static unsigned width_of(unsigned c)
{
	uint64_t max = flow_column_info[c].max;

	if (flow_column_info[c].kind == FLOW_U64)
		return 8;
	return max <= UINT8_MAX ? 1 : max <= UINT16_MAX ? 2 : 4;
}

void peer_clickhouse_print_table(void)
{
	fputs("CREATE TABLE flow (", stdout);
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++) {
		printf("%s%s ", c ? ", " : "", flow_column_info[c].name);
		if (is_enum(c))
			print_enum(c);
		else if (flow_column_info[c].kind == FLOW_ADDR)
			fputs("FixedString(16)", stdout);
		else if (flow_column_info[c].kind == FLOW_TEXT ||
			 flow_column_info[c].kind == FLOW_HIST)
			fputs("String", stdout);
		else
			printf("UInt%u", 8 * width_of(c));
	}
	puts(") ENGINE = MergeTree() PARTITION BY tuple() ORDER BY (end_ms)");
}

static int open_clickhouse(const struct peer_settings *settings, struct peer **ret)
{
	struct peer_of_clickhouse *p = calloc(1, sizeof(*p));

	(void)settings;
	if (!p)
		return -ENOMEM;
	p->base.kind = &peer_clickhouse;
	*ret = &p->base;
	return 0;
}

static void close_clickhouse(struct peer *peer)
{
	free(peer);
}

/* stdout says at commit what went wrong. Little-endian machines only, as all that weir runs on. */
static void put_bytes(const void *data, size_t len)
{
	(void)fwrite_unlocked(data, 1, len, stdout);
}

/* All texts are shorter than 2^14. */
static void put_text(const void *text, size_t len)
{
	const uint8_t varint[2] = {(uint8_t)((len & 0x7f) | (len > 0x7f ? 0x80 : 0)),
				   (uint8_t)(len >> 7)};

	put_bytes(varint, len > 0x7f ? 2 : 1);
	put_bytes(text, len);
}

static void put_value(const struct peer_chunk *k, unsigned c, size_t i)
{
	const struct flow_block *b = &k->block;
	const union flow_array a = b->column[c];

	switch (flow_column_info[c].kind) {
	case FLOW_ADDR:
		put_bytes(b->addrs[a.u32[i]], 16);
		break;
	case FLOW_TEXT:
		put_text(b->texts[a.u32[i]], strlen(b->texts[a.u32[i]]));
		break;
	case FLOW_HIST:
		put_text(a.hist[i], peer_chunk_has(k, c, i) ? sizeof(a.hist[i]) : 0);
		break;
	default:
		if (!peer_chunk_has(k, c, i))
			put_bytes(&(uint64_t){0}, width_of(c));
		else if (flow_column_info[c].kind == FLOW_U64)
			put_bytes(&a.u64[i], 8);
		else
			put_bytes(&a.u32[i], width_of(c));
	}
}

static int put_clickhouse(struct peer *peer, const struct peer_chunk *chunk)
{
	(void)peer;
	for (size_t i = 0; i < chunk->n; i++) {
		put_bytes(&chunk->host_ids[i], width_of(FLOW_COLUMN_host_id));
		for (unsigned c = 1; c < FLOW_N_COLUMNS; c++)
			put_value(chunk, c, i);
	}
	return 0;
}

static int commit_clickhouse(struct peer *peer)
{
	(void)peer;
	return fflush(stdout) || ferror(stdout) ? -EIO : 0;
}

const struct peer_kind peer_clickhouse = {
	.name = "clickhouse",
	.open = open_clickhouse,
	.put = put_clickhouse,
	.commit = commit_clickhouse,
	.close = close_clickhouse,
};
