/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* answer.h - the rows of an SQL statement, printed in the format that the user chose. */
#ifndef WEIR_COLLECTOR_CLI_ANSWER_H
#define WEIR_COLLECTOR_CLI_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

#include "common/output.h"

struct answer_style {
	enum output_format format;
	bool raw_numbers;
};

/*
 * Runs st (reset and bound by the caller) and prints its rows on stdout under
 * its column names; blobs as hex. units has one entry per column, or is NULL
 * for plain values. Stops after max_rows (0: never); *ret_more says whether
 * rows were left then (may be NULL).
 *
 * Returns -EPIPE when the reader of stdout has gone, -EIO or -ENOMEM for other
 * trouble with the output, and the SQLite code through db_errno() for trouble
 * with the statement.
 */
int answer_print(sqlite3_stmt *st, const enum output_unit *units, const struct answer_style *style,
		 uint64_t max_rows, bool *ret_more);

/* The same for one wide row, or a few: a line per field. */
int answer_print_record(sqlite3_stmt *st, const struct answer_style *style);

#endif /* WEIR_COLLECTOR_CLI_ANSWER_H */
