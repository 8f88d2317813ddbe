// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/db/table_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"

struct line {
	char *text;
	size_t size;
};

struct table_file {
	FILE *in;
	bool json;
	uint64_t line, bytes;
	struct line text, header; /* header: of CSV, the first one */
	size_t n_names;		  /* CSV */
	const char *names[TABLE_CELLS_MAX], *values[TABLE_CELLS_MAX];
};

DEFINE_CLEANUP(struct table_file *, table_file_close)

static int refuse(const char *why, const char **ret_why)
{
	*ret_why = why;
	return -EBADMSG;
}

/* Room for one more byte and the NUL. */
static int reserve(struct line *l, size_t len)
{
	size_t size = l->size ? 2 * l->size : 256;
	char *text;

	if (l->text && len + 2 <= l->size)
		return 0;
	text = realloc(l->text, size);
	if (!text)
		return -ENOMEM;
	*l = (struct line){text, size};
	return 0;
}

/* The next line without its end. Returns 1, 0 at the end of the file, or an error. */
static int read_line(struct table_file *f, struct line *l, const char **ret_why)
{
	int c = getc_unlocked(f->in);
	size_t len = 0;

	if (c == EOF)
		return ferror(f->in) ? -EIO : 0;
	f->line++;
	if (reserve(l, 0))
		return -ENOMEM;
	for (; c != EOF && c != '\n'; c = getc_unlocked(f->in)) {
		if (len == TABLE_LINE_MAX)
			return refuse("the line is too long", ret_why);
		if (c == '\0')
			return refuse("there is a NUL in the line", ret_why);
		if (reserve(l, len))
			return -ENOMEM;
		l->text[len++] = (char)c;
	}
	if (ferror(f->in))
		return -EIO;
	f->bytes += len + (c == '\n');
	while (len > 0 && l->text[len - 1] == '\r')
		len--;
	l->text[len] = '\0';
	return 1;
}

/* --- CSV ---------------------------------------------------------------------------- */

/* Cuts off the cell at *at, whose text stays where it is; *at: the next one, NULL: none. */
static const char *cut_cell(char **at, bool *ret_bad)
{
	char *from = *at, *to, *cell;

	if (*from != '"') {
		cell = from;
		from += strcspn(from, ",");
		*at = *from ? from + 1 : NULL;
		*from = '\0';
		return cell;
	}
	cell = to = ++from;
	while (*from && (*from != '"' || from[1] == '"')) {
		from += *from == '"'; /* two stand for one */
		*to++ = *from++;
	}
	*ret_bad |= *from != '"' || (from[1] && from[1] != ',');
	*at = *from && from[1] ? from + 2 : NULL;
	*to = '\0';
	return cell;
}

static int cut_line(char *line, const char *cells[TABLE_CELLS_MAX], size_t *ret_n,
		    const char **ret_why)
{
	char *at = line;
	bool bad = false;
	size_t n = 0;

	while (at) {
		if (n == TABLE_CELLS_MAX)
			return refuse("there are too many cells", ret_why);
		cells[n++] = cut_cell(&at, &bad);
	}
	*ret_n = n;
	return bad ? refuse("a quoted cell does not end where it should", ret_why) : 0;
}

/* Nothing for "", and without what db export puts before a formula. */
static const char *cell_value(const char *cell)
{
	if (!*cell)
		return NULL;
	return cell[0] == '\'' && cell[1] && strchr("=+-@", cell[1]) ? cell + 1 : cell;
}

static int next_csv(struct table_file *f, struct table_row *ret, const char **ret_why)
{
	size_t n;
	int err = read_line(f, &f->text, ret_why);

	if (err <= 0)
		return err;
	err = cut_line(f->text.text, f->values, &n, ret_why);
	if (err)
		return err;
	if (n != f->n_names)
		return refuse("it has not as many cells as the first line", ret_why);
	for (size_t i = 0; i < n; i++)
		f->values[i] = cell_value(f->values[i]);
	*ret = (struct table_row){n, f->names, f->values};
	return 1;
}

/* --- NDJSON -------------------------------------------------------------------------- */

static void skip_blanks(char **at)
{
	*at += strspn(*at, " \t");
}

static bool get_hex4(const char *at, uint32_t *ret)
{
	char digits[5] = "";

	for (int i = 0; i < 4; i++) {
		if (!isxdigit((unsigned char)at[i]))
			return false;
		digits[i] = at[i];
	}
	*ret = (uint32_t)strtoul(digits, NULL, 16);
	return true;
}

static char *put_utf8(char *to, uint32_t code)
{
	if (code < 0x80) {
		*to++ = (char)code;
		return to;
	}
	if (code < 0x800) {
		*to++ = (char)(0xc0 | code >> 6);
	} else {
		if (code < 0x10000) {
			*to++ = (char)(0xe0 | code >> 12);
		} else {
			*to++ = (char)(0xf0 | code >> 18);
			*to++ = (char)(0x80 | (code >> 12 & 0x3f));
		}
		*to++ = (char)(0x80 | (code >> 6 & 0x3f));
	}
	*to++ = (char)(0x80 | (code & 0x3f));
	return to;
}

/* \uXXXX, of which two may be one character. It is longer than what comes of it. */
static bool unescape_code(char **at, char **to)
{
	uint32_t code, low;

	if (!get_hex4(*at, &code))
		return false;
	*at += 4;
	if (code >= 0xd800 && code < 0xdc00) {
		if ((*at)[0] != '\\' || (*at)[1] != 'u' || !get_hex4(*at + 2, &low) ||
		    low < 0xdc00 || low >= 0xe000)
			return false;
		*at += 6;
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	if (code == 0 || (code >= 0xdc00 && code < 0xe000))
		return false;
	*to = put_utf8(*to, code);
	return true;
}

/* The text that begins behind the quote at *at, in place. NULL: it is none. */
static char *get_json_text(char **at)
{
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	char *text = ++*at, *to = text;

	while (**at && **at != '"') {
		const char *escape;
		char c = *(*at)++;

		if (c != '\\') {
			*to++ = c;
			continue;
		}
		c = *(*at)++;
		escape = c ? strchr(from, c) : NULL;
		if (escape)
			*to++ = into[escape - from];
		else if (c != 'u' || !unescape_code(at, &to))
			return NULL;
	}
	if (**at != '"')
		return NULL;
	++*at;
	*to = '\0';
	return text;
}

/* What stands for itself: a number, true, false or null. *ret_end: its end, not yet cut off. */
static char *get_json_word(char **at)
{
	char *word = *at;

	*at += strcspn(*at, ",} \t");
	return *at == word || strpbrk(word, "{[\"") == word ? NULL : word;
}

static bool get_pair(char **at, const char **ret_name, const char **ret_value, char *ret_next)
{
	char *end, *value;

	skip_blanks(at);
	*ret_name = **at == '"' ? get_json_text(at) : NULL;
	skip_blanks(at);
	if (!*ret_name || **at != ':')
		return false;
	++*at;
	skip_blanks(at);
	value = **at == '"' ? get_json_text(at) : get_json_word(at);
	end = *at;
	if (!value)
		return false;
	skip_blanks(at);
	*ret_next = *(*at);
	if (*ret_next)
		++*at;
	if (*end != '"')
		*end = '\0'; /* of a word; the text has its own end */
	*ret_value = strcmp(value, "null") == 0 && value + 4 == end ? NULL : value;
	return *ret_next == ',' || *ret_next == '}';
}

static int next_json(struct table_file *f, struct table_row *ret, const char **ret_why)
{
	int err = read_line(f, &f->text, ret_why);
	char *at, next = ',';
	size_t n = 0;

	if (err <= 0)
		return err;
	at = f->text.text;
	skip_blanks(&at);
	if (*at++ != '{')
		return refuse("it is no JSON object", ret_why);
	while (next == ',') {
		if (n == TABLE_CELLS_MAX)
			return refuse("there are too many cells", ret_why);
		if (!get_pair(&at, &f->names[n], &f->values[n], &next))
			return refuse("it is no flat JSON object", ret_why);
		n++;
	}
	skip_blanks(&at);
	if (*at)
		return refuse("there is more behind the JSON object", ret_why);
	*ret = (struct table_row){n, f->names, f->values};
	return 1;
}

/* --- files ----------------------------------------------------------------------------- */

int table_file_open(const char *path, struct table_file **ret)
{
	cleanup(table_file_close_p) struct table_file *f = calloc(1, sizeof(*f));
	int first;

	if (!f)
		return -ENOMEM;
	f->in = fopen(path, "re");
	if (!f->in)
		return -errno;
	first = fgetc(f->in);
	f->json = first == '{';
	if (first != EOF && ungetc(first, f->in) == EOF)
		return -EIO;
	*ret = take_ptr(f);
	return 0;
}

void table_file_close(struct table_file *f)
{
	if (!f)
		return;
	if (f->in)
		(void)fclose(f->in); /* only read */
	free(f->text.text);
	free(f->header.text);
	free(f);
}

int table_file_next(struct table_file *f, struct table_row *ret, const char **ret_why)
{
	int err;

	if (f->json)
		return next_json(f, ret, ret_why);
	if (!f->header.text) {
		err = read_line(f, &f->header, ret_why);
		if (err > 0)
			err = cut_line(f->header.text, f->names, &f->n_names, ret_why);
		if (err)
			return err;
	}
	return next_csv(f, ret, ret_why);
}

uint64_t table_file_line(const struct table_file *f)
{
	return f->line;
}

uint64_t table_file_bytes(const struct table_file *f)
{
	return f->bytes;
}
