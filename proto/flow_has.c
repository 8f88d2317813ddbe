/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_has.c - which values of a block are NULL in SQL.
 *
 * The conditions of flow_columns.h are C over a record. They are tested on a
 * record in which only those fields are set that the text of the condition
 * names; test_flow_block.c compares all of them with whole records.
 */
#include <stddef.h>
#include <string.h>

#include "proto/flow_block.h"

#define TEXT_OF(name, max, has) [FLOW_COLUMN_##name] = #has,
static const char *const conditions[FLOW_N_COLUMNS] = {
	[FLOW_COLUMN_outer_src_addr] = "r->tunnel",
	[FLOW_COLUMN_outer_dst_addr] = "r->tunnel",
	[FLOW_COLUMN_data_rtt_hist] = "r->data_rtt_samples",
	[FLOW_COLUMN_rev_data_rtt_hist] = "r->rev_data_rtt_samples",
	FLOW_COLUMNS(TEXT_OF) FLOW_TEXTS(TEXT_OF)};

/* The functions of flow_columns.h, and what they look at. */
static const struct {
	const char *call;
	enum flow_column reads;
} calls[] = {
	{"flow_is_tcp(", FLOW_COLUMN_proto},
	{"flow_is_icmp(", FLOW_COLUMN_proto},
	{"flow_has_dns(", FLOW_COLUMN_dns_qname},
	{"flow_is_catch_all(", FLOW_COLUMN_end_reason},
};
#define N_CALLS (sizeof(calls) / sizeof(calls[0]))

#define MAX_READS 8 /* of one condition */

struct reads {
	size_t n;
	enum flow_column columns[MAX_READS];
};

static bool always(enum flow_column c)
{
	return !conditions[c] || strcmp(conditions[c], "true") == 0;
}

bool flow_column_may_be_null(enum flow_column c)
{
	return !always(c);
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static void add(struct reads *r, enum flow_column c)
{
	if (r->n < MAX_READS)
		r->columns[r->n++] = c;
}

static struct reads reads_of(enum flow_column c)
{
	struct reads r = {0};
	const char *at = conditions[c];

	if (always(c))
		return r;
	for (size_t i = 0; i < N_CALLS; i++)
		if (strstr(conditions[c], calls[i].call))
			add(&r, calls[i].reads);
	while ((at = strstr(at, "r->"))) {
		char name[64] = {0};
		int column;

		at += 3;
		for (size_t n = 0; n < sizeof(name) - 1 && is_letter(at[n]); n++)
			name[n] = at[n];
		column = flow_column_find(name);
		if (column >= 0)
			add(&r, (enum flow_column)column);
	}
	return r;
}

void flow_columns_add_needed(struct flow_columns *s, enum flow_column c)
{
	struct reads r = reads_of(c);

	flow_columns_add(s, c);
	for (size_t i = 0; i < r.n; i++)
		flow_columns_add(s, r.columns[i]);
}

static void set_field(struct flow_record *r, const struct flow_block *b, enum flow_column c,
		      size_t i)
{
	switch (c) {
#define SET_U64(name, max, has)                                                                    \
	case FLOW_COLUMN_##name:                                                                   \
		r->name = FLOW_COL_U64(b, name)[i];                                                \
		break;
		FLOW_COUNTERS(SET_U64)
#define SET_U32(name, max, has)                                                                    \
	case FLOW_COLUMN_##name:                                                                   \
		r->name = (__typeof__(r->name))FLOW_COL_U32(b, name)[i];                           \
		break;
		FLOW_NUMBERS(SET_U32)
		FLOW_CODES(SET_U32)
		FLOW_DNS_CODES(SET_U32)
#define SET_TEXT(name, max, has)                                                                   \
	case FLOW_COLUMN_##name:                                                                   \
		r->name[0] = FLOW_COL_U32(b, name)[i] ? '?' : '\0'; /* only "" has number 0 */     \
		break;
		FLOW_TEXTS(SET_TEXT)
	default:
		break;
	}
}

#define TEST(name, max, has)                                                                       \
	static bool test_##name(const struct flow_record *r)                                       \
	{                                                                                          \
		(void)r;                                                                           \
		return (has);                                                                      \
	}
FLOW_COLUMNS(TEST)
FLOW_TEXTS(TEST)
TEST(outer_addr, 0, r->tunnel)
TEST(hist, 0, r->data_rtt_samples)
TEST(rev_hist, 0, r->rev_data_rtt_samples)

#define TEST_OF(name, max, has) [FLOW_COLUMN_##name] = test_##name,
static bool (*const tests[FLOW_N_COLUMNS])(const struct flow_record *) = {
	[FLOW_COLUMN_outer_src_addr] = test_outer_addr,
	[FLOW_COLUMN_outer_dst_addr] = test_outer_addr,
	[FLOW_COLUMN_data_rtt_hist] = test_hist,
	[FLOW_COLUMN_rev_data_rtt_hist] = test_rev_hist,
	FLOW_COLUMNS(TEST_OF) FLOW_TEXTS(TEST_OF)};

bool flow_block_has(const struct flow_block *b, enum flow_column c, size_t i)
{
	struct reads reads;
	struct flow_record r = {0};

	if (always(c))
		return true;
	reads = reads_of(c);
	for (size_t k = 0; k < reads.n; k++)
		set_field(&r, b, reads.columns[k], i);
	return tests[c](&r);
}

/* --- whole columns: loops that the compiler makes vectors of, where conditions are simple --- */

static void and_not_zero(const struct flow_block *b, enum flow_column c, uint8_t *mask)
{
	if (flow_column_info[c].kind == FLOW_U64)
		for (size_t i = 0; i < b->n_rows; i++)
			mask[i] &= b->column[c].u64[i] != 0;
	else
		for (size_t i = 0; i < b->n_rows; i++)
			mask[i] &= b->column[c].u32[i] != 0;
}

static void and_tcp(const struct flow_block *b, uint8_t *mask)
{
	for (size_t i = 0; i < b->n_rows; i++)
		mask[i] &= FLOW_COL_U32(b, proto)[i] == IPPROTO_TCP;
}

/* The column of "r->name" alone, or of "r->name[0]": texts have number 0 if empty; else -1. */
static int column_of_term(const char *term, size_t len)
{
	char name[64] = {0};
	size_t n = 0;

	if (strncmp(term, "r->", 3) != 0)
		return -1;
	while (n < sizeof(name) - 1 && is_letter(term[3 + n])) {
		name[n] = term[3 + n];
		n++;
	}
	return len == 3 + n || (len == 6 + n && strncmp(term + 3 + n, "[0]", 3) == 0)
		       ? flow_column_find(name)
		       : -1;
}

/* Terms with && between, each a column or flow_is_tcp(r); false: it is not so simple. */
static bool simple_mask(const struct flow_block *b, const char *condition, uint8_t *mask)
{
	static const char tcp[] = "flow_is_tcp(r)", dns[] = "flow_has_dns(r)";

	memset(mask, 1, b->n_rows);
	for (const char *at = condition, *end; at; at = end ? end + strlen(" && ") : NULL) {
		size_t len;
		int column;

		end = strstr(at, " && ");
		len = end ? (size_t)(end - at) : strlen(at);
		column = column_of_term(at, len);
		if (len == strlen(tcp) && strncmp(at, tcp, len) == 0)
			and_tcp(b, mask);
		else if (len == strlen(dns) && strncmp(at, dns, len) == 0)
			and_not_zero(b, FLOW_COLUMN_dns_qname, mask);
		else if (column >= 0)
			and_not_zero(b, (enum flow_column)column, mask);
		else
			return false;
	}
	return true;
}

/* Whether row i is as the row before in those columns. */
static bool as_before(const struct flow_block *b, const struct reads *reads, size_t i)
{
	for (size_t k = 0; k < reads->n; k++) {
		enum flow_column c = reads->columns[k];

		if (flow_column_info[c].kind == FLOW_U64
			    ? b->column[c].u64[i] != b->column[c].u64[i - 1]
			    : b->column[c].u32[i] != b->column[c].u32[i - 1])
			return false;
	}
	return true;
}

bool flow_block_has_mask(const struct flow_block *b, enum flow_column c, uint8_t *mask)
{
	struct reads reads;
	struct flow_record r = {0};

	if (always(c))
		return false;
	if (simple_mask(b, conditions[c], mask))
		return true;
	reads = reads_of(c);
	for (size_t i = 0; i < b->n_rows; i++) {
		if (i && as_before(b, &reads, i)) {
			mask[i] = mask[i - 1];
			continue;
		}
		for (size_t k = 0; k < reads.n; k++)
			set_field(&r, b, reads.columns[k], i);
		mask[i] = tests[c](&r);
	}
	return true;
}
