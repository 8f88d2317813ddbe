// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * extension.c - entry point of build/weir_flows.so: the table flows and weir's
 * functions in the sqlite3 shell.
 *
 *	$ sqlite3 -readonly fleet.db '.load build/weir_flows' 'SELECT count(*) FROM flows'
 *
 * It calls the SQLite library of the system, as that shell does in Debian. A
 * program that has another one inside is told so instead of crashing.
 */
#include <errno.h>

#include <sqlite3ext.h>
#undef sqlite3_libversion_number
#undef sqlite3_malloc
#undef sqlite3_mprintf

#include "collector/flows_table/flows_table.h"
#include "collector/sqlite/sql_functions.h"
#include "collector/store/db.h"

/* Its name follows from the file's. */
__attribute__((visibility("default"))) int sqlite3_weirflows_init(sqlite3 *db, char **ret_why,
								  const sqlite3_api_routines *api);

int sqlite3_weirflows_init(sqlite3 *db, char **ret_why, const sqlite3_api_routines *api)
{
	int64_t version;

	if (api->malloc != sqlite3_malloc) {
		*ret_why = api->mprintf("weir_flows needs the program to use libsqlite3.so");
		return SQLITE_ERROR;
	}
	if (db_identify(db, &version) == -EPROTO) { /* what is not weir's may have the functions */
		*ret_why = api->mprintf("the database was written by a newer weir");
		return SQLITE_ERROR;
	}
	if (sql_functions_register(db) != 0)
		return SQLITE_NOMEM;
	return flows_table_register(db);
}
