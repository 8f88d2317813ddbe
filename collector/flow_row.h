/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_row.h - a flow record as a row of the table flow: NULL where a value
 * was not measured or does not apply.
 */
#ifndef WEIR_COLLECTOR_FLOW_ROW_H
#define WEIR_COLLECTOR_FLOW_ROW_H

#include <stdint.h>

#include <sqlite3.h>

#include "proto/flow_record.h"

extern const char flow_row_insert_sql[];

/* Runs st, which is flow_row_insert_sql. Returns 0 or an error of db_errno(). */
int flow_row_insert(sqlite3_stmt *st, int64_t host_id, const struct flow_record *r);

#endif /* WEIR_COLLECTOR_FLOW_ROW_H */
