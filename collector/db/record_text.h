/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * record_text.h - a flow record from texts, as CSV and JSON have its columns.
 *
 *	record_text_begin(&t);
 *	for each column:  why = record_text_set(&t, column, text);
 *	why = record_text_end(&t);
 *
 * Numbers are decimal and within the range of proto/flow_columns.h; codes are
 * words, histograms "0,0,3,...". NULL or nothing: not measured. A record needs
 * src_addr, dst_addr, and two of start_ms, end_ms and duration_us; flow_id
 * follows from the rest where it is missing.
 *
 * Functions return NULL, or a constant text that says what is wrong. Threads,
 * memory: none of its own.
 */
#ifndef WEIR_COLLECTOR_DB_RECORD_TEXT_H
#define WEIR_COLLECTOR_DB_RECORD_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/flow_block.h"

struct record_text {
	struct flow_record record;
	uint64_t host_id; /* as the text has it; 0: it has none */
	uint64_t start_ms, end_ms, duration_us;
	bool has[FLOW_N_COLUMNS];
};

void record_text_begin(struct record_text *t);
const char *record_text_set(struct record_text *t, enum flow_column c, const char *text);
/* The record is whole then. */
const char *record_text_end(struct record_text *t);

#endif /* WEIR_COLLECTOR_DB_RECORD_TEXT_H */
