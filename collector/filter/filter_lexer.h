/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * filter_lexer.h - tokens of the filter language (collector/filter/filter.h), and the
 * numbers within them.
 */
#ifndef WEIR_COLLECTOR_FILTER_FILTER_LEXER_H
#define WEIR_COLLECTOR_FILTER_FILTER_LEXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/filter/filter_tree.h"

#define FILTER_WORD_MAX 256 /* text and its NUL */

enum filter_token_kind {
	FILTER_TOKEN_END,
	FILTER_TOKEN_WORD,
	FILTER_TOKEN_OP,
	FILTER_TOKEN_AND,
	FILTER_TOKEN_OR,
	FILTER_TOKEN_NOT,
	FILTER_TOKEN_OPEN,	 /* ( */
	FILTER_TOKEN_CLOSE,	 /* ) */
	FILTER_TOKEN_LIST_OPEN,	 /* [ */
	FILTER_TOKEN_LIST_CLOSE, /* ] */
	FILTER_TOKEN_COMMA,
};

struct filter_token {
	enum filter_token_kind kind;
	size_t at, end;		/* bytes [at, end) of the text */
	enum filter_compare op; /* FILTER_TOKEN_OP */
	bool quoted;
	char word[FILTER_WORD_MAX];
};

/*
 * Reads the token of text at or after byte at. Returns NULL, or what is wrong
 * (constant text) with ret->at set to where.
 */
const char *filter_lex(const char *text, size_t at, struct filter_token *ret);

/* How a number may be written. */
enum filter_unit {
	FILTER_UNIT_COUNT, /* optional k M G T */
	FILTER_UNIT_US,	   /* optional us ms s m h; plain is microseconds */
	FILTER_UNIT_TIME,  /* the unit is required, but for 0 */
};

/* The number in word, rounded to a whole one. Returns NULL, or what is wrong. */
const char *filter_number(const char *word, enum filter_unit unit, int64_t *ret);

#endif /* WEIR_COLLECTOR_FILTER_FILTER_LEXER_H */
