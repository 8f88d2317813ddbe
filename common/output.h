/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * output.h - every answer of weir on stdout: table, json, ndjson, csv.
 *
 * The caller describes the columns once, then gives rows cell by cell. Keys in
 * JSON and CSV headers are the column names as they are. Bytes below 0x20,
 * 0x7f, C1 controls, bidirectional controls (U+202A-202E, U+2066-2069) and
 * invalid UTF-8 are printed as \xNN in tables and CSV and as \u00NN or the
 * like in JSON, so that no name from the network reaches the terminal raw.
 * CSV cells that a spreadsheet would run as a formula (starting with = + - @
 * TAB CR and not a number) get a leading apostrophe.
 *
 * Tables are held in memory until output_end(); the other formats stream.
 */
#ifndef WEIR_COMMON_OUTPUT_H
#define WEIR_COMMON_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_NDJSON, OUTPUT_CSV };
#define OUTPUT_FORMAT_CHOICES "table|json|ndjson|csv"

enum output_unit {
	UNIT_NONE,    /* as it is */
	UNIT_COUNT,   /* tables: 1.2 M */
	UNIT_BYTES,   /* tables: 3.4 MiB */
	UNIT_US,      /* microseconds; tables: 1.3 ms */
	UNIT_TIME_MS, /* ms since the epoch; tables: 2026-11-24 10:42:10 (UTC) */
	UNIT_PERCENT, /* tables: 1.24% */
};

struct output_column {
	const char *name; /* borrowed until output_end() */
	enum output_unit unit;
};

struct output;

/* Starts an answer of n columns on out (borrowed). Returns -ENOMEM. */
int output_begin(FILE *out, enum output_format format, bool raw_numbers,
		 const struct output_column *columns, size_t n, struct output **ret);

/* The next cell of the row; the n-th ends the row. Texts are copied. */
void output_null(struct output *o);
void output_int(struct output *o, int64_t value);
void output_double(struct output *o, double value);
void output_text(struct output *o, const char *text, size_t len);
void output_str(struct output *o, const char *text); /* NULL is output_null() */

/*
 * Ends the answer and releases o. Returns -ENOMEM if a table row could not be
 * kept, -EIO if writing failed (-EPIPE when the reader has gone), else 0.
 */
int output_end(struct output *o);

/* Releases o without ending the answer. NULL is a no-op. */
void output_free(struct output *o);

/* Writes a number to out as tables show it. */
void output_number(FILE *out, enum output_unit unit, int64_t value);

/* Writes text to out, escaped as in tables. */
void output_escaped(FILE *out, const char *text, size_t len);

#endif /* WEIR_COMMON_OUTPUT_H */
