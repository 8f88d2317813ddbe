// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/property/answers.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/property/need.h"

#define TOLERANCE 1e-9 /* sums of reals depend on the order of the rows */

/* --- rows ---------------------------------------------------------------------------- */

/* A type is part of a value: 1, 1.0 and '1' are three. */
static void add_value(sqlite3_str *row, sqlite3_stmt *st, int column)
{
	switch (sqlite3_column_type(st, column)) {
	case SQLITE_NULL:
		sqlite3_str_appendall(row, "NULL");
		break;
	case SQLITE_INTEGER:
		sqlite3_str_appendf(row, "%lld", sqlite3_column_int64(st, column));
		break;
	case SQLITE_FLOAT:
		sqlite3_str_appendf(row, "~%.16g", sqlite3_column_double(st, column));
		break;
	default:
		sqlite3_str_appendf(row, "%Q", (const char *)sqlite3_column_text(st, column));
		break;
	}
}

static void add_row(struct answer *a, sqlite3_stmt *st, size_t *max, bool line)
{
	sqlite3_str *row = sqlite3_str_new(NULL);

	if (line)
		sqlite3_str_appendall(row, (const char *)sqlite3_column_text(st, 0));
	for (int i = 0; !line && i < sqlite3_column_count(st); i++) {
		sqlite3_str_appendall(row, i ? "\t" : "");
		add_value(row, st, i);
	}
	if (a->n == *max) {
		*max = *max ? *max * 2 : 16;
		a->rows = realloc(a->rows, *max * sizeof(*a->rows));
		need(a->rows != NULL, "memory");
	}
	a->rows[a->n] = sqlite3_str_finish(row);
	need(a->rows[a->n++] != NULL, "memory");
}

static void set_error(struct answer *a, sqlite3 *db)
{
	a->error = strdup(sqlite3_errmsg(db));
	need(a->error != NULL, "memory");
}

static void read_rows(sqlite3_stmt *st, bool lines, struct answer *ret)
{
	size_t max = 0;
	int rc;

	*ret = (struct answer){0};
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		add_row(ret, st, &max, lines);
	if (rc != SQLITE_DONE)
		set_error(ret, sqlite3_db_handle(st));
	(void)sqlite3_finalize(st); /* repeats the code of the step */
}

void answer_of(sqlite3_stmt *st, struct answer *ret)
{
	read_rows(st, false, ret);
}

void answer_of_lines(sqlite3_stmt *st, struct answer *ret)
{
	read_rows(st, true, ret);
}

void answer_of_sql(sqlite3 *db, const char *sql, struct answer *ret)
{
	sqlite3_stmt *st = NULL;

	*ret = (struct answer){0};
	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK)
		answer_of(st, ret);
	else
		set_error(ret, db);
}

void answer_done(struct answer *a)
{
	for (size_t i = 0; i < a->n; i++)
		sqlite3_free(a->rows[i]);
	free(a->rows);
	free(a->error);
	*a = (struct answer){0};
}

/* Takes the mark off "~5", at any place but not off "~0.5" or "~1e30". */
static void round_reals(char *row)
{
	char *at = row, *to = row;

	while (*at) {
		size_t len = strcspn(at, "\t"), rest = at[len] == '\t';

		if (*at == '~' && strspn(at + 1, "-0123456789") == len - 1) {
			at++;
			len--;
		}
		memmove(to, at, len + rest);
		to += len + rest;
		at += len + rest;
	}
	*to = '\0';
}

void answer_round_reals(struct answer *a)
{
	for (size_t i = 0; i < a->n; i++)
		round_reals(a->rows[i]);
}

/* --- comparing ------------------------------------------------------------------------ */

static int compare_rows(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void answer_sort(struct answer *a)
{
	if (a->n)
		qsort(a->rows, a->n, sizeof(*a->rows), compare_rows);
}

/* Values up to the next tab. */
static bool same_value(const char *a, size_t a_len, const char *b, size_t b_len)
{
	double x, y;

	if (a_len == b_len && memcmp(a, b, a_len) == 0)
		return true;
	if (*a != '~' || *b != '~')
		return false;
	x = strtod(a + 1, NULL);
	y = strtod(b + 1, NULL);
	return fabs(x - y) <= TOLERANCE * fmax(fabs(x), fabs(y));
}

static bool same_row(const char *a, const char *b)
{
	while (true) {
		size_t a_len = strcspn(a, "\t"), b_len = strcspn(b, "\t");

		if (!same_value(a, a_len, b, b_len) || a[a_len] != b[b_len])
			return false;
		if (!a[a_len])
			return true;
		a += a_len + 1;
		b += b_len + 1;
	}
}

size_t answers_differ(const struct answer *a, const struct answer *b)
{
	if (a->error || b->error)
		return a->error && b->error && strcmp(a->error, b->error) == 0 ? SIZE_MAX : 0;
	for (size_t i = 0; i < a->n && i < b->n; i++)
		if (!same_row(a->rows[i], b->rows[i]))
			return i;
	return a->n == b->n ? SIZE_MAX : a->n < b->n ? a->n : b->n;
}

const char *answer_row(const struct answer *a, size_t row)
{
	return a->error ? a->error : row < a->n ? a->rows[row] : "(no such row)";
}
