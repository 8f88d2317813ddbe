/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* conditions.h - random conditions on the columns of flows, as pieces of SQL. */
#ifndef WEIR_TESTS_PROPERTY_CONDITIONS_H
#define WEIR_TESTS_PROPERTY_CONDITIONS_H

#include <sqlite3.h>

#include "collector/flowstore/flows_columns.h"

struct choices;
struct row_table;

struct writing {
	struct choices *c;
	sqlite3_str *sql;
	struct row_table *values;
	const char *of; /* before the name of a column: "" or "f." */
};

/* A column of flows, of any kind; of one that sums can be made of. */
const struct flows_column *random_column(struct writing *w);
const struct flows_column *random_number_column(struct writing *w);

/* Writes a value that a row has in that column, or one near it. */
void write_value(struct writing *w, const struct flows_column *column);

/* Writes a tree of conditions. depth: of the tree, at most. */
void write_condition(struct writing *w, unsigned depth);

#endif /* WEIR_TESTS_PROPERTY_CONDITIONS_H */
