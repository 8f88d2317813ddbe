// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "common/text_table.h"

#include <errno.h>
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "common/utf8.h"

#define FIRST_BYTES 4096
#define BETWEEN	    2 /* blanks between columns */

struct text_table {
	char *cells; /* each with its NUL */
	size_t len, max;
	size_t n_columns, n_cells;
	struct {
		size_t width; /* of its widest cell, when it is printed */
		bool right;
	} columns[];
};

struct text_table *text_table_new(size_t n_columns)
{
	struct text_table *t = calloc(1, sizeof(*t) + n_columns * sizeof(t->columns[0]));

	if (t)
		t->n_columns = n_columns;
	return t;
}

void text_table_free(struct text_table *t)
{
	if (!t)
		return;
	free(t->cells);
	free(t);
}

int text_table_add(struct text_table *t, const char *cell)
{
	size_t len = strlen(cell) + 1, max = t->max ? t->max : FIRST_BYTES;

	while (max - t->len < len)
		max *= 2;
	if (max != t->max) {
		char *cells = realloc(t->cells, max);

		if (!cells)
			return -ENOMEM;
		t->cells = cells;
		t->max = max;
	}
	memcpy(t->cells + t->len, cell, len);
	t->len += len;
	t->n_cells++;
	return 0;
}

void text_table_align_right(struct text_table *t, size_t column)
{
	t->columns[column].right = true;
}

/* In places of a terminal. */
static size_t width_of(const char *text, size_t len)
{
	size_t width = 0;

	while (len > 0) {
		uint32_t code;
		size_t n = utf8_next(text, len, &code);
		int places = n > 1 ? wcwidth((wchar_t)code) : 1;

		width += places < 0 ? 1 : (size_t)places;
		n = n ? n : 1;
		text += n;
		len -= n;
	}
	return width;
}

static void put_blanks(size_t n, FILE *out)
{
	while (n-- > 0)
		(void)fputc(' ', out);
}

static void print_cell(const struct text_table *t, size_t column, const char *cell, FILE *out)
{
	bool right = t->columns[column].right, last = column + 1 == t->n_columns;
	size_t len = strlen(cell), blanks = t->columns[column].width - width_of(cell, len);

	put_blanks(right ? blanks : 0, out);
	(void)fwrite(cell, 1, len, out);
	if (last)
		(void)fputc('\n', out);
	else
		put_blanks((right ? 0 : blanks) + BETWEEN, out);
}

static void print_rows(struct text_table *t, FILE *out)
{
	size_t n = t->n_cells - t->n_cells % t->n_columns;
	const char *cell = t->cells;

	for (size_t i = 0; i < n; i++, cell += strlen(cell) + 1) {
		size_t width = width_of(cell, strlen(cell));
		size_t *widest = &t->columns[i % t->n_columns].width;

		if (width > *widest)
			*widest = width;
	}
	cell = t->cells;
	for (size_t i = 0; i < n; i++, cell += strlen(cell) + 1)
		print_cell(t, i % t->n_columns, cell, out);
}

void text_table_print(struct text_table *t, FILE *out)
{
	/* wcwidth() goes by the locale. */
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL), before = NULL;

	if (utf8)
		before = uselocale(utf8);
	print_rows(t, out);
	if (utf8) {
		(void)uselocale(before);
		freelocale(utf8);
	}
}
