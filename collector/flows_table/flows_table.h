/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flows_table.h - the virtual table flows: every flow record of the database as
 * a row, whether it is in a segment or has just come in.
 *
 * It is there without CREATE, read-only, and safe to be named in views. Columns
 * are decoded when the first row of a block asks for them; conditions that
 * flows_plan.h can use leave out whole segments. A statement reads within its
 * transaction, so that it sees each record exactly once.
 *
 * The same module is build/weir_flows.so for the sqlite3 shell: .load.
 */
#ifndef WEIR_COLLECTOR_FLOWS_TABLE_FLOWS_TABLE_H
#define WEIR_COLLECTOR_FLOWS_TABLE_FLOWS_TABLE_H

#include <sqlite3.h>

/* Adds it to a connection. Returns an SQLite code. */
int flows_table_register(sqlite3 *db);

#endif /* WEIR_COLLECTOR_FLOWS_TABLE_FLOWS_TABLE_H */
