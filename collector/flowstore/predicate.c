// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/predicate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/flowstore/flow_community.h"
#include "proto/vectors.h"

void predicate_columns(const struct predicate *p, struct flow_columns *columns)
{
	switch (p->kind) {
	case PREDICATE_RANGE:
	case PREDICATE_BITS:
	case PREDICATE_PREFIX:
	case PREDICATE_TEXT:
	case PREDICATE_HAS:
		flow_columns_add_needed(columns, p->column);
		break;
	case PREDICATE_COMMUNITY_ID:
		flow_community_columns(columns);
		break;
	default:
		for (size_t i = 0; i < p->n_children; i++)
			predicate_columns(&p->children[i], columns);
		break;
	}
}

bool predicate_reads_other(const struct predicate *p, const struct flow_columns *columns)
{
	struct flow_columns read = {{0}};

	predicate_columns(p, &read);
	for (size_t i = 0; i < sizeof(read.bits) / sizeof(read.bits[0]); i++)
		if (read.bits[i] & ~columns->bits[i])
			return true;
	return false;
}

void predicate_bounds(const struct predicate *p, enum flow_column column, uint64_t *ret_low,
		      uint64_t *ret_high)
{
	bool any = p->kind == PREDICATE_ANY && p->n_children > 0;

	*ret_low = any ? UINT64_MAX : 0;
	*ret_high = any ? 0 : UINT64_MAX;
	if (p->kind == PREDICATE_RANGE && p->column == column) {
		*ret_low = p->low;
		*ret_high = p->high;
	}
	for (size_t i = 0; (any || p->kind == PREDICATE_ALL) && i < p->n_children; i++) {
		uint64_t low, high;

		predicate_bounds(&p->children[i], column, &low, &high);
		if ((low < *ret_low) == any)
			*ret_low = low;
		if ((high > *ret_high) == any)
			*ret_high = high;
	}
}

static size_t count_required(const struct predicate *p)
{
	size_t n = 1;

	for (size_t i = 0; p->kind == PREDICATE_ALL && i < p->n_children; i++)
		n += count_required(&p->children[i]);
	return n;
}

/* Children into the room behind *next. Returns how many conditions were left out. */
static size_t leave_out(struct predicate *p, enum flow_column column, struct predicate **next)
{
	struct predicate *children = *next;
	size_t n = 0;

	if (p->kind == PREDICATE_RANGE && p->column == column) {
		p->kind = PREDICATE_TRUE;
		return 1;
	}
	if (p->kind != PREDICATE_ALL || p->n_children == 0)
		return 0;
	memcpy(children, p->children, p->n_children * sizeof(*children));
	*next += p->n_children;
	p->children = children;
	for (size_t i = 0; i < p->n_children; i++)
		n += leave_out(&children[i], column, next);
	return n;
}

int predicate_without(const struct predicate *p, enum flow_column column, struct predicate **ret)
{
	struct predicate *copy = calloc(count_required(p), sizeof(*copy)), *next;

	if (!copy)
		return -ENOMEM;
	*copy = *p;
	next = copy + 1;
	if (leave_out(copy, column, &next) == 0) {
		free(copy);
		copy = NULL;
	}
	*ret = copy;
	return 0;
}

size_t predicate_depth(const struct predicate *p)
{
	size_t deepest = 0;

	for (size_t i = 0; i < p->n_children; i++) {
		size_t depth = predicate_depth(&p->children[i]);

		deepest = depth > deepest ? depth : deepest;
	}
	return deepest + 1;
}

/* A level of the tree each, what has a value, and what is true of an address. */
size_t predicate_scratch_bytes(const struct predicate *p, const struct flow_block *b)
{
	return (predicate_depth(p) + 1) * b->n_rows + b->n_addrs;
}

/* --- terms: loops without a branch on a value, of which the compiler makes vectors --
 *
 * Their bounds are arguments: a byte that is written may be part of anything in memory.
 */

VECTORS static void range_u64(const uint64_t *values, size_t n, uint64_t low, uint64_t span,
			      uint8_t *match)
{
	for (size_t i = 0; i < n; i++)
		match[i] = values[i] - low <= span;
}

VECTORS static void range_u32(const uint32_t *values, size_t n, uint32_t low, uint32_t span,
			      uint8_t *match)
{
	for (size_t i = 0; i < n; i++)
		match[i] = values[i] - low <= span;
}

static void match_range(const struct predicate *p, const struct flow_block *b, uint8_t *match)
{
	bool wide = flow_column_info[p->column].kind == FLOW_U64;
	uint64_t span = p->high - p->low;

	if (p->low > p->high || (!wide && p->low > UINT32_MAX)) {
		memset(match, 0, b->n_rows);
	} else if (wide) {
		range_u64(b->column[p->column].u64, b->n_rows, p->low, span, match);
	} else {
		uint32_t low = (uint32_t)p->low, most = UINT32_MAX - low;

		range_u32(b->column[p->column].u32, b->n_rows, low,
			  span > most ? most : (uint32_t)span, match);
	}
}

VECTORS static void bits_u64(const uint64_t *values, size_t n, uint64_t mask, uint64_t wanted,
			     uint8_t *match)
{
	for (size_t i = 0; i < n; i++)
		match[i] = (values[i] & mask) == wanted;
}

VECTORS static void bits_u32(const uint32_t *values, size_t n, uint32_t mask, uint32_t wanted,
			     uint8_t *match)
{
	for (size_t i = 0; i < n; i++)
		match[i] = (values[i] & mask) == wanted;
}

static void match_bits(const struct predicate *p, const struct flow_block *b, uint8_t *match)
{
	if (flow_column_info[p->column].kind == FLOW_U64)
		bits_u64(b->column[p->column].u64, b->n_rows, p->low, p->high, match);
	else if (p->high > UINT32_MAX)
		memset(match, 0, b->n_rows);
	else
		bits_u32(b->column[p->column].u32, b->n_rows, (uint32_t)p->low, (uint32_t)p->high,
			 match);
}

VECTORS static void and_bytes(uint8_t *match, const uint8_t *other, size_t n)
{
	for (size_t i = 0; i < n; i++)
		match[i] &= other[i];
}

VECTORS static void or_bytes(uint8_t *match, const uint8_t *other, size_t n)
{
	for (size_t i = 0; i < n; i++)
		match[i] |= other[i];
}

/* Each address of the block is looked at once, however many rows have it. */
static void match_prefix(const struct predicate *p, const struct flow_block *b, uint8_t *match,
			 uint8_t *within)
{
	const uint32_t *numbers = b->column[p->column].u32;

	for (size_t i = 0; i < b->n_addrs; i++)
		within[i] = addr_in_prefix(b->addrs[i], &p->prefix);
	for (size_t i = 0; i < b->n_rows; i++)
		match[i] = within[numbers[i]];
}

static void match_text(const struct predicate *p, const struct flow_block *b, uint8_t *match)
{
	const uint32_t *numbers = b->column[p->column].u32;
	size_t number = 0;

	while (number < b->n_texts && strcmp(b->texts[number], p->text) != 0)
		number++;
	if (number == b->n_texts) {
		memset(match, 0, b->n_rows);
		return;
	}
	range_u32(numbers, b->n_rows, (uint32_t)number, 0, match);
}

/* Leaves those rows out that have another one. It is a hash: only of rows that are still in. */
static void keep_community_id(const struct predicate *p, const struct flow_block *b, uint8_t *match)
{
	char text[COMMUNITY_ID_MAX];

	for (size_t i = 0; i < b->n_rows; i++)
		if (match[i])
			match[i] = flow_community_id(b, i, text) && strcmp(text, p->text) == 0;
}

static void match_term(const struct predicate *p, const struct flow_block *b, uint8_t *match,
		       uint8_t *scratch)
{
	uint8_t *has = scratch, *within = scratch + b->n_rows;

	if (p->kind == PREDICATE_RANGE)
		match_range(p, b, match);
	else if (p->kind == PREDICATE_BITS)
		match_bits(p, b, match);
	else if (p->kind == PREDICATE_PREFIX)
		match_prefix(p, b, match, within);
	else if (p->kind == PREDICATE_TEXT)
		match_text(p, b, match);
	else
		memset(match, 1, b->n_rows);
	if (!flow_block_has_mask(b, p->column, has))
		return;
	and_bytes(match, has, b->n_rows);
}

/* --- the tree ------------------------------------------------------------------------ */

static void match_all(const struct predicate *p, const struct flow_block *b, uint8_t *match,
		      uint8_t *scratch)
{
	memset(match, 1, b->n_rows);
	for (size_t c = 0; c < p->n_children; c++) {
		if (p->children[c].kind == PREDICATE_COMMUNITY_ID)
			continue;
		predicate_match(&p->children[c], b, scratch, scratch + b->n_rows);
		and_bytes(match, scratch, b->n_rows);
		if (!memchr(match, 1, b->n_rows))
			return;
	}
	for (size_t c = 0; c < p->n_children; c++)
		if (p->children[c].kind == PREDICATE_COMMUNITY_ID)
			keep_community_id(&p->children[c], b, match);
}

static void match_any(const struct predicate *p, const struct flow_block *b, uint8_t *match,
		      uint8_t *scratch)
{
	memset(match, 0, b->n_rows);
	for (size_t c = 0; c < p->n_children; c++) {
		predicate_match(&p->children[c], b, scratch, scratch + b->n_rows);
		or_bytes(match, scratch, b->n_rows);
	}
}

void predicate_match(const struct predicate *p, const struct flow_block *b, uint8_t *match,
		     uint8_t *scratch)
{
	switch (p->kind) {
	case PREDICATE_ALL:
		match_all(p, b, match, scratch);
		break;
	case PREDICATE_ANY:
		match_any(p, b, match, scratch);
		break;
	case PREDICATE_NOT:
		predicate_match(p->children, b, match, scratch);
		for (size_t i = 0; i < b->n_rows; i++)
			match[i] ^= 1;
		break;
	case PREDICATE_TRUE:
	case PREDICATE_FALSE:
		memset(match, p->kind == PREDICATE_TRUE, b->n_rows);
		break;
	case PREDICATE_COMMUNITY_ID:
		memset(match, 1, b->n_rows);
		keep_community_id(p, b, match);
		break;
	default:
		match_term(p, b, match, scratch);
		break;
	}
}
