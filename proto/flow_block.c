/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_block.c - the columns, and blocks in memory. Encoded ones are in flow_parts.c. */
#include "proto/flow_block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "proto/dictionary.h"
#include "proto/flow_memory.h"

#define NS_PER_MS 1000000
#define NS_PER_US 1000
#define US_PER_MS 1000

#define PAGE_BYTES     4096
#define HUGE_MIN_BYTES (4u << 20)

#define INFO(id, k, m)	      [FLOW_COLUMN_##id] = {.name = #id, .kind = (k), .max = (m)}
#define INFO_U64(id, m, has)  INFO(id, FLOW_U64, m),
#define INFO_U32(id, m, has)  INFO(id, FLOW_U32, m),
#define INFO_TEXT(id, m, has) INFO(id, FLOW_TEXT, m),

const struct flow_column_info flow_column_info[FLOW_N_COLUMNS] = {
	INFO(host_id, FLOW_U32, UINT32_MAX),
	INFO(start_ms, FLOW_U64, FLOW_TIME_MAX_MS),
	INFO(end_ms, FLOW_U64, FLOW_TIME_MAX_MS),
	INFO(duration_us, FLOW_U64, FLOW_TIME_MAX_MS *US_PER_MS),
	INFO(src_addr, FLOW_ADDR, UINT32_MAX),
	INFO(dst_addr, FLOW_ADDR, UINT32_MAX),
	INFO(outer_src_addr, FLOW_ADDR, UINT32_MAX),
	INFO(outer_dst_addr, FLOW_ADDR, UINT32_MAX),
	INFO(data_rtt_hist, FLOW_HIST, UINT16_MAX),
	INFO(rev_data_rtt_hist, FLOW_HIST, UINT16_MAX),
	FLOW_COUNTERS(INFO_U64) FLOW_NUMBERS(INFO_U32) FLOW_CODES(INFO_U32) FLOW_DNS_CODES(INFO_U32)
		FLOW_TEXTS(INFO_TEXT)};

int flow_column_find(const char *name)
{
	for (int c = 0; c < FLOW_N_COLUMNS; c++)
		if (strcmp(flow_column_info[c].name, name) == 0)
			return c;
	return -1;
}

struct flow_columns flow_columns_all(void)
{
	struct flow_columns s = {{0}};

	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		flow_columns_add(&s, (enum flow_column)c);
	return s;
}

/* --- memory ------------------------------------------------------------------ */

size_t flow_width(enum flow_kind kind)
{
	switch (kind) {
	case FLOW_U64:
		return sizeof(uint64_t);
	case FLOW_HIST:
		return RTT_BUCKETS * sizeof(uint16_t);
	default:
		return sizeof(uint32_t);
	}
}

static size_t aligned(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

/* Each page is written once: its fault costs more than what is put there. */
static void prefer_huge_pages(uint8_t *memory, size_t size)
{
	uintptr_t first = ((uintptr_t)memory + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;

	if (size >= HUGE_MIN_BYTES) /* if it fails: as any memory */
		(void)madvise((void *)first, size - PAGE_BYTES, MADV_HUGEPAGE);
}

int flow_memory_alloc(struct flow_block *b, const struct flow_columns *columns, size_t text_bytes,
		      char **ret_text)
{
	size_t size = aligned(b->n_addrs * sizeof(*b->addrs)) +
		      aligned(b->n_texts * sizeof(*b->texts)) + text_bytes;
	uint8_t *at;

	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++)
		if (flow_columns_has(columns, (enum flow_column)c))
			size += aligned(b->n_rows * flow_width(flow_column_info[c].kind));
	if (flow_columns_has(columns, FLOW_COLUMN_ID_DIFFERENCES))
		size += aligned(b->n_rows * sizeof(*b->id_differences));
	at = malloc(size ? size : 1);
	if (!at)
		return -ENOMEM;
	prefer_huge_pages(at, size);
	b->memory = at;
	for (unsigned c = 0; c < FLOW_N_COLUMNS; c++) {
		b->column[c].any = NULL;
		if (!flow_columns_has(columns, (enum flow_column)c))
			continue;
		b->column[c].any = at;
		at += aligned(b->n_rows * flow_width(flow_column_info[c].kind));
	}
	b->id_differences = NULL;
	if (flow_columns_has(columns, FLOW_COLUMN_ID_DIFFERENCES)) {
		b->id_differences = (void *)at;
		at += aligned(b->n_rows * sizeof(*b->id_differences));
	}
	b->addrs = (void *)at;
	at += aligned(b->n_addrs * sizeof(*b->addrs));
	b->texts = (void *)at;
	at += aligned(b->n_texts * sizeof(*b->texts));
	*ret_text = (char *)at;
	return 0;
}

void flow_block_done(struct flow_block *b)
{
	free(b->memory);
	b->memory = NULL;
}

/* --- addresses by number ------------------------------------------------------ */

/* Keyed, because those whose traffic is measured choose the addresses. */
int addr_table_init(struct addr_table *t, size_t max)
{
	size_t size = 16;

	while (size < 2 * max)
		size *= 2;
	*t = (struct addr_table){.mask = size - 1};
	if (getrandom(&t->seed, sizeof(t->seed), 0) != sizeof(t->seed))
		return -EIO;
	t->addrs = malloc((max + 1) * sizeof(*t->addrs));
	t->numbers = calloc(size, sizeof(*t->numbers));
	if (!t->addrs || !t->numbers)
		return -ENOMEM;
	memset(t->addrs[0], 0, sizeof(t->addrs[0]));
	t->n = 1;
	return 0;
}

void addr_table_done(struct addr_table *t)
{
	free(t->addrs);
	free(t->numbers);
}

uint32_t addr_table_number(struct addr_table *t, const uint8_t addr[16])
{
	uint64_t half[2], h;
	size_t at;

	memcpy(half, addr, sizeof(half));
	if (!half[0] && !half[1])
		return 0;
	h = (half[0] ^ t->seed) * UINT64_C(0x9e3779b97f4a7c15);
	h = ((h ^ h >> 29) + half[1]) * UINT64_C(0xd6e8feb86659fd93);
	h = (h ^ h >> 32 ^ t->seed) * UINT64_C(0xff51afd7ed558ccd);
	for (at = (h ^ h >> 32) & t->mask; t->numbers[at]; at = (at + 1) & t->mask)
		if (memcmp(t->addrs[t->numbers[at]], addr, 16) == 0)
			return t->numbers[at];
	t->numbers[at] = (uint32_t)t->n;
	memcpy(t->addrs[t->n], addr, 16);
	return (uint32_t)t->n++;
}

/* --- from rows and back --------------------------------------------------------- */

#define N_ADDRS		     4 /* as a row may have */
#define TEXT(name, max, has) TEXT_##name,
enum { FLOW_TEXTS(TEXT) N_TEXTS }; /* as a row may have */
#undef TEXT

/* end_ms and duration_us as flow_block.h says. A flow that ends before it starts lasts 0. */
static void put_times(struct flow_block *b, size_t i, const struct flow_record *r)
{
	uint64_t start_ms = r->start_ns / NS_PER_MS;
	uint64_t us = r->end_ns > r->start_ns ? (r->end_ns - r->start_ns) / NS_PER_US : 0;

	if (us >= FLOW_DURATION_EXACT_US)
		us -= us % US_PER_MS;
	FLOW_COL_U64(b, start_ms)[i] = start_ms;
	FLOW_COL_U64(b, duration_us)[i] = us;
	FLOW_COL_U64(b, end_ms)[i] = start_ms + us / US_PER_MS;
}

static void put_row(struct flow_block *b, size_t i, const struct flow_record *r,
		    struct addr_table *addrs, struct dictionary *texts)
{
	put_times(b, i, r);
	FLOW_COL_U32(b, src_addr)[i] = addr_table_number(addrs, r->src_addr);
	FLOW_COL_U32(b, dst_addr)[i] = addr_table_number(addrs, r->dst_addr);
	FLOW_COL_U32(b, outer_src_addr)[i] = addr_table_number(addrs, r->outer_src_addr);
	FLOW_COL_U32(b, outer_dst_addr)[i] = addr_table_number(addrs, r->outer_dst_addr);
	memcpy(b->column[FLOW_COLUMN_data_rtt_hist].hist[i], r->data_rtt_hist,
	       sizeof(r->data_rtt_hist));
	memcpy(b->column[FLOW_COLUMN_rev_data_rtt_hist].hist[i], r->rev_data_rtt_hist,
	       sizeof(r->rev_data_rtt_hist));
#define PUT_U64(name, max, has) FLOW_COL_U64(b, name)[i] = r->name;
	FLOW_COUNTERS(PUT_U64)
#define PUT_U32(name, max, has) FLOW_COL_U32(b, name)[i] = r->name;
	FLOW_NUMBERS(PUT_U32)
	FLOW_CODES(PUT_U32)
	FLOW_DNS_CODES(PUT_U32)
#define PUT_TEXT(name, max, has) FLOW_COL_U32(b, name)[i] = dictionary_number(texts, r->name);
	FLOW_TEXTS(PUT_TEXT)
}

static void take_dictionaries(struct flow_block *b, const struct addr_table *addrs,
			      const struct dictionary *texts, char *text_at)
{
	b->n_addrs = addrs->n;
	memcpy(b->addrs, addrs->addrs, addrs->n * sizeof(*b->addrs));
	b->texts[0] = "";
	for (size_t i = 0; i < texts->n; i++) {
		size_t len = strlen(texts->texts[i]) + 1;

		memcpy(text_at, texts->texts[i], len);
		b->texts[i + 1] = text_at;
		text_at += len;
	}
	b->n_texts = texts->n + 1;
}

/* Room for every text, were they all different. */
static size_t text_bytes(const struct flow_record *rows, size_t n)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++) {
#define ADD_TEXT(name, max, has) bytes += rows[i].name[0] ? strlen(rows[i].name) + 1 : 0;
		FLOW_TEXTS(ADD_TEXT)
	}
	return bytes;
}

int flow_block_from_rows(const struct flow_record *rows, size_t n, struct flow_block *ret)
{
	struct flow_block b = {.n_rows = n, .n_addrs = N_ADDRS * n + 1, .n_texts = N_TEXTS * n + 1};
	struct flow_columns all = flow_columns_all();
	struct dictionary texts = {0};
	struct addr_table addrs;
	char *text_at;
	int err;

	err = addr_table_init(&addrs, N_ADDRS * n);
	if (!err)
		err = dictionary_init(&texts, N_TEXTS * n + 1);
	if (!err)
		err = flow_memory_alloc(&b, &all, text_bytes(rows, n), &text_at);
	if (!err) {
		memset(b.column[FLOW_COLUMN_host_id].u32, 0, n * sizeof(uint32_t));
		for (size_t i = 0; i < n; i++)
			put_row(&b, i, &rows[i], &addrs, &texts);
		take_dictionaries(&b, &addrs, &texts, text_at);
		*ret = b;
	}
	addr_table_done(&addrs);
	dictionary_done(&texts);
	return err;
}

static void get_addr(const struct flow_block *b, uint32_t number, uint8_t ret[16])
{
	memcpy(ret, b->addrs[number], 16);
}

static void get_text(const struct flow_block *b, uint32_t number, char *ret, size_t size)
{
	memcpy(ret, b->texts[number], strnlen(b->texts[number], size - 1)); /* ret is empty */
}

void flow_block_row(const struct flow_block *b, size_t i, struct flow_record *ret)
{
	struct flow_record *r = ret;

	memset(r, 0, sizeof(*r));
	r->start_ns = FLOW_COL_U64(b, start_ms)[i] * NS_PER_MS;
	r->end_ns = r->start_ns + FLOW_COL_U64(b, duration_us)[i] * NS_PER_US;
	get_addr(b, FLOW_COL_U32(b, src_addr)[i], r->src_addr);
	get_addr(b, FLOW_COL_U32(b, dst_addr)[i], r->dst_addr);
	get_addr(b, FLOW_COL_U32(b, outer_src_addr)[i], r->outer_src_addr);
	get_addr(b, FLOW_COL_U32(b, outer_dst_addr)[i], r->outer_dst_addr);
	memcpy(r->data_rtt_hist, b->column[FLOW_COLUMN_data_rtt_hist].hist[i],
	       sizeof(r->data_rtt_hist));
	memcpy(r->rev_data_rtt_hist, b->column[FLOW_COLUMN_rev_data_rtt_hist].hist[i],
	       sizeof(r->rev_data_rtt_hist));
#define GET_U64(name, max, has) r->name = FLOW_COL_U64(b, name)[i];
	FLOW_COUNTERS(GET_U64)
#define GET_U32(name, max, has) r->name = (__typeof__(r->name))FLOW_COL_U32(b, name)[i];
	FLOW_NUMBERS(GET_U32)
	FLOW_CODES(GET_U32)
	FLOW_DNS_CODES(GET_U32)
#define GET_TEXT(name, max, has) get_text(b, FLOW_COL_U32(b, name)[i], r->name, max);
	FLOW_TEXTS(GET_TEXT)
}
