// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/sqlite/statement.h"

#include "collector/sqlite/db_error.h"

int statement_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret)
{
	return sqlite3_prepare_v2(db, sql, -1, ret, NULL) == SQLITE_OK ? 0 : db_last_errno(db);
}

int statement_exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_last_errno(db);
}

int statements_prepare(sqlite3 *db, const char *const *sql, size_t n, sqlite3_stmt **ret)
{
	for (size_t i = 0; i < n; i++)
		if (sqlite3_prepare_v3(db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &ret[i], NULL) !=
		    SQLITE_OK)
			return db_last_errno(db);
	return 0;
}

void statements_finalize(sqlite3_stmt *const *st, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)sqlite3_finalize(st[i]); /* repeats an old error at most */
}
