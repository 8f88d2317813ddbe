// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/cli/answer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/store/db.h"
#include "common/cleanup.h"

#define HEX_MAX_BYTES 1024 /* longer blobs are cut, and marked so */

DEFINE_CLEANUP(struct output *, output_free)

static void print_blob(struct output *o, const uint8_t *blob, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char hex[2 * HEX_MAX_BYTES + 3];
	size_t shown = len < HEX_MAX_BYTES ? len : HEX_MAX_BYTES;
	size_t n = 0;

	for (size_t i = 0; i < shown; i++) {
		hex[n++] = digits[blob[i] >> 4];
		hex[n++] = digits[blob[i] & 15];
	}
	for (int i = 0; i < 3 && shown < len; i++)
		hex[n++] = '.';
	output_text(o, hex, n);
}

static void print_cell(struct output *o, sqlite3_stmt *st, int i)
{
	switch (sqlite3_column_type(st, i)) {
	case SQLITE_INTEGER:
		output_int(o, sqlite3_column_int64(st, i));
		break;
	case SQLITE_FLOAT:
		output_double(o, sqlite3_column_double(st, i));
		break;
	case SQLITE_TEXT:
		output_text(o, (const char *)sqlite3_column_text(st, i),
			    (size_t)sqlite3_column_bytes(st, i));
		break;
	case SQLITE_BLOB:
		print_blob(o, sqlite3_column_blob(st, i), (size_t)sqlite3_column_bytes(st, i));
		break;
	default:
		output_null(o);
	}
}

/* The columns of st; free() the result. NULL: out of memory. */
static struct output_column *describe(sqlite3_stmt *st, const enum output_unit *units, int n)
{
	struct output_column *columns = calloc((size_t)n, sizeof(*columns));

	for (int i = 0; columns && i < n; i++) {
		columns[i].name = sqlite3_column_name(st, i);
		columns[i].unit = units ? units[i] : UNIT_NONE;
		if (!columns[i].name) {
			free(columns);
			return NULL;
		}
	}
	return columns;
}

int answer_print(sqlite3_stmt *st, const enum output_unit *units, const struct answer_style *style,
		 uint64_t max_rows, bool *ret_more)
{
	int rc, err, n = sqlite3_column_count(st);
	cleanup(free_p) struct output_column *columns = describe(st, units, n);
	cleanup(output_free_p) struct output *o = NULL;
	uint64_t rows = 0;

	if (!columns)
		return -ENOMEM;
	err = output_begin(stdout, style->format, style->raw_numbers, columns, (size_t)n, &o);
	if (err)
		return err;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW && !ferror(stdout)) {
		if (max_rows && rows == max_rows)
			break;
		for (int i = 0; i < n; i++)
			print_cell(o, st, i);
		rows++;
	}
	err = db_errno(rc);
	if (err)
		return err;
	if (ret_more)
		*ret_more = rc == SQLITE_ROW;
	return output_end(take_ptr(o));
}

int answer_print_record(sqlite3_stmt *st, const struct answer_style *style)
{
	static const struct output_column columns[] = {{"field", UNIT_NONE}, {"value", UNIT_NONE}};
	cleanup(output_free_p) struct output *o = NULL;
	int rc, err = output_begin(stdout, style->format, style->raw_numbers, columns, 2, &o);

	if (err)
		return err;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(st); i++) {
			output_str(o, sqlite3_column_name(st, i));
			print_cell(o, st, i);
		}
	}
	err = db_errno(rc);
	return err ? err : output_end(take_ptr(o));
}
