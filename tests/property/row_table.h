/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * row_table.h - flows as plain rows of SQLite, made from the records themselves:
 * what the store must answer like. Its database has the tables flows and host,
 * and weir's SQL functions; nothing of the store.
 */
#ifndef WEIR_TESTS_PROPERTY_ROW_TABLE_H
#define WEIR_TESTS_PROPERTY_ROW_TABLE_H

#include <stdint.h>

#include <sqlite3.h>

#include "proto/flow_record.h"

struct row_table;

/* In memory. All functions end the program when something fails. */
struct row_table *row_table_new(void);
void row_table_free(struct row_table *t);

void row_table_add_host(struct row_table *t, uint32_t id, const char *name);
void row_table_add(struct row_table *t, uint32_t host_id, const struct flow_record *r);

size_t row_table_rows(const struct row_table *t);
sqlite3 *row_table_db(const struct row_table *t);

/*
 * The value of a column (its number in flows_columns()) of a row, from 0, as SQL
 * writes it: NULL, 17, 'text'. Good until the next call.
 */
const char *row_table_value(struct row_table *t, size_t column, size_t row);

#endif /* WEIR_TESTS_PROPERTY_ROW_TABLE_H */
