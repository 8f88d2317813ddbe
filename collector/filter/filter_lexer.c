// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/filter/filter_lexer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/array_size.h"

#define SPACES " \t\r\n"

/* Longer spellings first. */
static const struct {
	const char *text;
	enum filter_token_kind kind;
	enum filter_compare op;
} symbols[] = {
	{"&&", FILTER_TOKEN_AND, 0},	    {"||", FILTER_TOKEN_OR, 0},
	{"!=", FILTER_TOKEN_OP, FILTER_NE}, {">=", FILTER_TOKEN_OP, FILTER_GE},
	{"<=", FILTER_TOKEN_OP, FILTER_LE}, {"==", FILTER_TOKEN_OP, FILTER_EQ},
	{">", FILTER_TOKEN_OP, FILTER_GT},  {"<", FILTER_TOKEN_OP, FILTER_LT},
	{"=", FILTER_TOKEN_OP, FILTER_EQ},  {"!", FILTER_TOKEN_NOT, 0},
	{"(", FILTER_TOKEN_OPEN, 0},	    {")", FILTER_TOKEN_CLOSE, 0},
	{"[", FILTER_TOKEN_LIST_OPEN, 0},   {"]", FILTER_TOKEN_LIST_CLOSE, 0},
	{",", FILTER_TOKEN_COMMA, 0},
};

static const char *take_word(const char *start, size_t len, struct filter_token *t)
{
	if (len >= FILTER_WORD_MAX)
		return "this word is too long";
	t->kind = FILTER_TOKEN_WORD;
	memcpy(t->word, start, len);
	t->word[len] = '\0';
	return NULL;
}

static const char *take_quoted(const char *text, struct filter_token *t)
{
	const char *start = text + t->at + 1;
	const char *end = strchr(start, '"');

	if (!end)
		return "this quotation has no end";
	t->end = (size_t)(end + 1 - text);
	t->quoted = true;
	return take_word(start, (size_t)(end - start), t);
}

const char *filter_lex(const char *text, size_t at, struct filter_token *ret)
{
	static const char word_end[] = SPACES "()[],!=<>&|\"";
	size_t len;

	at += strspn(text + at, SPACES);
	*ret = (struct filter_token){.kind = FILTER_TOKEN_END, .at = at, .end = at};
	if (!text[at])
		return NULL;
	if (text[at] == '"')
		return take_quoted(text, ret);
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		len = strlen(symbols[i].text);
		if (strncmp(text + at, symbols[i].text, len) == 0) {
			ret->kind = symbols[i].kind;
			ret->end = at + len;
			ret->op = symbols[i].op;
			return NULL;
		}
	}
	len = strcspn(text + at, word_end);
	if (len == 0)
		return "write && or ||, or the words and, or";
	ret->end = at + len;
	if (len == 3 && strncasecmp(text + at, "and", len) == 0)
		ret->kind = FILTER_TOKEN_AND;
	else if (len == 2 && strncasecmp(text + at, "or", len) == 0)
		ret->kind = FILTER_TOKEN_OR;
	else if (len == 3 && strncasecmp(text + at, "not", len) == 0)
		ret->kind = FILTER_TOKEN_NOT;
	else
		return take_word(text + at, len, ret);
	return NULL;
}

struct suffix {
	const char *text;
	double factor;
};

static const struct suffix count_suffixes[] = {
	{"", 1}, {"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"t", 1e12}, {NULL, 0},
};

static const struct suffix time_suffixes[] = {
	{"", 1}, {"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 60e6}, {"h", 3600e6}, {NULL, 0},
};

const char *filter_number(const char *word, enum filter_unit unit, int64_t *ret)
{
	const struct suffix *s = unit == FILTER_UNIT_COUNT ? count_suffixes : time_suffixes;
	size_t digits = strspn(word, "0123456789.");
	char *end;
	double value;

	if (digits == 0)
		return "a number is expected here";
	while (s->text && strcasecmp(s->text, word + digits) != 0)
		s++;
	if (!s->text)
		return unit == FILTER_UNIT_COUNT ? "a number may end in k, M, G or T"
						 : "a time may end in us, ms, s, m or h";
	/* Whole numbers stay exact: 2^53 is not the end of the counters. */
	if (s->factor == 1 && !memchr(word, '.', digits) && digits <= 18) {
		*ret = strtoll(word, NULL, 10);
	} else {
		value = strtod(word, &end) * s->factor;
		if (end != word + digits)
			return "a number has one decimal point";
		if (value >= 9e18)
			return "this number is too big";
		*ret = (int64_t)(value + 0.5);
	}
	if (unit == FILTER_UNIT_TIME && s->text[0] == '\0' && *ret != 0)
		return "a time needs a unit: us, ms, s, m or h";
	return NULL;
}
