/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * queries.h - random questions about flows, with values that occur in them, so
 * that most find something and few find all.
 */
#ifndef WEIR_TESTS_PROPERTY_QUERIES_H
#define WEIR_TESTS_PROPERTY_QUERIES_H

#include <stdbool.h>

struct choices;
struct row_table;

/*
 * A SELECT over flows and host; for sqlite3_free(). *ret_ordered: its rows come in
 * an order that it asks for, else in any.
 */
char *random_query(struct choices *c, struct row_table *values, bool *ret_ordered);

/* A filter (collector/filter/filter.h); for sqlite3_free(). */
char *random_filter(struct choices *c, struct row_table *values);

#endif /* WEIR_TESTS_PROPERTY_QUERIES_H */
