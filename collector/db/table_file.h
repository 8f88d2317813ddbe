/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * table_file.h - the rows of a CSV or NDJSON file, as db export writes them.
 *
 * A file whose first byte is '{' is NDJSON: a flat object on each line, whose
 * values are texts, numbers, true, false or null. Else it is CSV (RFC 4180)
 * with the names in its first line; an empty cell is nothing, a line break within quotes is
 * refused, and the apostrophe that db export puts before what a spreadsheet
 * would take for a formula is taken away.
 *
 * Errors: -ENOMEM, -errno of the file, -EBADMSG with a constant text in
 * *ret_why (the number of the line is table_file_line()). A line has at most
 * TABLE_LINE_MAX bytes, a row TABLE_CELLS_MAX cells. Threads: one.
 */
#ifndef WEIR_COLLECTOR_DB_TABLE_FILE_H
#define WEIR_COLLECTOR_DB_TABLE_FILE_H

#include <stddef.h>
#include <stdint.h>

#define TABLE_LINE_MAX	(1u << 20)
#define TABLE_CELLS_MAX 256

struct table_file;

struct table_row {
	size_t n;
	const char *const *names, *const *values; /* until the next row; value NULL: nothing */
};

int table_file_open(const char *path, struct table_file **ret);
/* NULL is a no-op. */
void table_file_close(struct table_file *f);

/* Returns 1, 0 at the end, or an error. */
int table_file_next(struct table_file *f, struct table_row *ret, const char **ret_why);
uint64_t table_file_line(const struct table_file *f);
/* How much of it is read. */
uint64_t table_file_bytes(const struct table_file *f);

#endif /* WEIR_COLLECTOR_DB_TABLE_FILE_H */
