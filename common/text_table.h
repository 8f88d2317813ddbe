/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * text_table.h - cells in columns, two blanks apart: kept until the last one has come, as only
 * then the widths are known. Wide characters take the two places that a terminal gives
 * them, whatever the locale of the program is.
 *
 * Threads: one at a time. Errors: -ENOMEM.
 */
#ifndef WEIR_COMMON_TEXT_TABLE_H
#define WEIR_COMMON_TEXT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct text_table;

/* At least one column. NULL: out of memory. */
struct text_table *text_table_new(size_t n_columns);
/* NULL is a no-op. */
void text_table_free(struct text_table *t);

/* The next cell, row by row: UTF-8 that a terminal may see, which is copied. */
int text_table_add(struct text_table *t, const char *cell);

/* Those of a column are moved to its right side. */
void text_table_align_right(struct text_table *t, size_t column);

/* All rows that are whole. Whether out took them shows when it is flushed. */
void text_table_print(struct text_table *t, FILE *out);

#endif /* WEIR_COMMON_TEXT_TABLE_H */
