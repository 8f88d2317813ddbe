/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flows_columns.h - the columns of the virtual table flows, in their order: those
 * of a record under their own names, codes as words, and some that are worked
 * out. For flows_table.c and flows_plan.c.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_FLOWS_COLUMNS_H
#define WEIR_COLLECTOR_FLOWSTORE_FLOWS_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/flow_block.h"

enum flows_kind {
	FLOWS_NUMBER,
	FLOWS_ADDR,
	FLOWS_TEXT,
	FLOWS_WORD, /* a code */
	FLOWS_HIST,
	FLOWS_HOST,	  /* the host's name */
	FLOWS_PROTO_NAME, /* these four are worked out */
	FLOWS_IP_VERSION,
	FLOWS_COMMUNITY_ID,
};

struct flows_column {
	const char *name;
	enum flows_kind kind;
	enum flow_column column; /* of the record; what is worked out: one that it is made from */
};

#define FLOWS_MAX_COLUMNS (FLOW_N_COLUMNS + 8)

/* All columns; *ret_n: how many. Filled once, then only read. */
const struct flows_column *flows_columns(size_t *ret_n);

/* Adds what a value of the column is made from, and what tells whether there is one. */
void flows_column_needs(const struct flows_column *column, struct flow_columns *needed);

/* CREATE TABLE for sqlite3_declare_vtab(), for sqlite3_free(); NULL: out of memory. */
char *flows_schema(void);

#endif /* WEIR_COLLECTOR_FLOWSTORE_FLOWS_COLUMNS_H */
