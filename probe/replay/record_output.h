/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * record_output.h - flow records as rows of an answer (common/output.h).
 *
 * Columns are named and mean what they do in the collector's view flows: null
 * where a value was not measured or does not apply. Numbers come from
 * proto/flow_columns.h, so one that is added there is printed here.
 *
 * Threads: one output belongs to one thread.
 */
#ifndef WEIR_PROBE_REPLAY_RECORD_OUTPUT_H
#define WEIR_PROBE_REPLAY_RECORD_OUTPUT_H

#include <stdio.h>

#include "common/output.h"
#include "proto/flow_record.h"

/* As output_begin(); end it with output_end(). */
int record_output_begin(FILE *out, enum output_format format, struct output **ret);

/* One row. */
void record_output_row(struct output *o, const struct flow_record *r);

#endif /* WEIR_PROBE_REPLAY_RECORD_OUTPUT_H */
