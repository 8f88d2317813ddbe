// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_filter.c - any bytes as a filter: refused with a place inside the text,
 * or compiled to SQL that SQLite takes, over the schema as it is.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/filter/filter.h"
#include "collector/flows_table/flows_table.h"
#include "collector/sqlite/query.h"
#include "collector/sqlite/sql_functions.h"
#include "migrations.h" /* generated */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static sqlite3 *open_schema(void)
{
	sqlite3 *db = NULL;

	if (sqlite3_open(":memory:", &db) != SQLITE_OK)
		abort();
	for (size_t i = 0; i < sizeof(migrations) / sizeof(migrations[0]); i++) {
		if (sqlite3_exec(db, migrations[i], NULL, NULL, NULL) != SQLITE_OK)
			abort();
	}
	if (sql_functions_register(db) || flows_table_register(db))
		abort();
	return db;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static sqlite3 *db;
	struct filter_error error;
	sqlite3_stmt *st = NULL;
	struct query q;
	char *text = strndup((const char *)data, size);

	if (!db)
		db = open_schema();
	if (!text)
		abort();
	query_init(&q);
	query_add(&q, "SELECT * FROM flows WHERE 1 AND ");
	if (filter_compile(text, &q, &error) != 0)
		assert(error.at <= strlen(text) && error.text[0]);
	else if (query_prepare(&q, db, &st) != 0)
		abort();
	sqlite3_finalize(st);
	query_done(&q);
	free(text);
	return 0;
}
