/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * upgrade.h - moves the rows that a database of before has in flow_row
 * (sql/0008_columns.sql) into segments, and then drops the table.
 *
 * Each step is a transaction, so that what is interrupted goes on at the next
 * start. Threads: the one that writes. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_UPGRADE_H
#define WEIR_COLLECTOR_FLOWSTORE_UPGRADE_H

#include <sqlite3.h>

/* Does nothing when there is no such table. */
int upgrade_rows(sqlite3 *db);

#endif /* WEIR_COLLECTOR_FLOWSTORE_UPGRADE_H */
