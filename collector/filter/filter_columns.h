/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * filter_columns.h - the words of the filter language that name a column of
 * flows: every number and text of a record under its own name, and short names.
 * Words ignore case.
 */
#ifndef WEIR_COLLECTOR_FILTER_FILTER_COLUMNS_H
#define WEIR_COLLECTOR_FILTER_FILTER_COLUMNS_H

#include <stdbool.h>

#include "collector/filter/filter_lexer.h"

struct filter_number_column {
	const char *name, *column; /* as written; in flows */
	enum filter_unit unit;
};

struct filter_text_column {
	const char *name;
	const char *values; /* what it can be, with '|' between; NULL: anything */
};

/* Whether word names a column of that kind. *ret is written if it does. */
bool filter_number_column(const char *word, struct filter_number_column *ret);
bool filter_text_column(const char *word, struct filter_text_column *ret);

#endif /* WEIR_COLLECTOR_FILTER_FILTER_COLUMNS_H */
