/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "common/output.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <locale.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "common/cleanup.h"
#include "common/utf8.h"

struct column {
	const char *name;
	enum output_unit unit;
	bool has_text, has_number; /* tables: which side to align to */
};

struct output {
	FILE *out; /* borrowed */
	enum output_format format;
	bool raw_numbers;
	int err;	 /* first failure; nothing is written after it */
	size_t n, next;	 /* columns, and which one comes */
	uint64_t n_rows; /* rows begun */
	/* Tables only: rows, the row being filled, and the cell being written. */
	struct libscols_table *table;
	struct libscols_line *line;
	FILE *cell;
	char *cell_text;
	size_t cell_size;
	struct column columns[];
};

/* --- text ----------------------------------------------------------------- */

/* Writes text with what may not reach a terminal as \xNN. */
void output_escaped(FILE *out, const char *text, size_t len)
{
	while (len > 0) {
		uint32_t code;
		size_t n = utf8_next(text, len, &code);
		bool as_is = n > 0 && utf8_printable(code);

		n = n ? n : 1;
		if (as_is)
			(void)fwrite(text, 1, n, out);
		for (size_t i = 0; i < n && !as_is; i++)
			(void)fprintf(out, "\\x%02x", (unsigned char)text[i]);
		text += n;
		len -= n;
	}
}

static void write_json_text(FILE *out, const char *text, size_t len)
{
	(void)fputc('"', out);
	while (len > 0) {
		uint32_t code;
		size_t n = utf8_next(text, len, &code);

		if (n == 0 || !utf8_printable(code))
			(void)fprintf(out, "\\u%04" PRIx32, code);
		else if (code == '"' || code == '\\')
			(void)fprintf(out, "\\%c", (int)code);
		else
			(void)fwrite(text, 1, n, out);
		n = n ? n : 1;
		text += n;
		len -= n;
	}
	(void)fputc('"', out);
}

static bool is_number(const char *text, size_t len)
{
	char copy[64], *end;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	(void)strtod(copy, &end);
	return end != copy && *end == '\0';
}

/* RFC 4180, and harmless in a spreadsheet. */
static void write_csv_text(FILE *out, const char *text, size_t len)
{
	bool sign = len > 0 && text[0] != '\0' && strchr("=+-@\t\r", text[0]);
	bool formula = sign && !is_number(text, len);
	bool quote = memchr(text, ',', len) || memchr(text, '"', len);

	if (quote)
		(void)fputc('"', out);
	if (formula)
		(void)fputc('\'', out);
	while (len > 0) {
		const char *mark = memchr(text, '"', len);
		size_t n = mark ? (size_t)(mark - text) + 1 : len;

		output_escaped(out, text, n);
		if (mark)
			(void)fputc('"', out);
		text += n;
		len -= n;
	}
	if (quote)
		(void)fputc('"', out);
}

/* --- numbers -------------------------------------------------------------- */

/* value with the first unit that leaves it below step, e.g. "3.4 MiB". */
static void write_scaled(FILE *out, double value, double step, const char *const *units)
{
	const char *const *unit = units;
	bool whole;

	/* 0.05: what would print as "1000.0 k" goes up to "1.0 M" */
	while (unit[1] && fabs(value) >= step - 0.05) {
		value /= step;
		unit++;
	}
	whole = unit == units && value == (double)(int64_t)value;
	(void)fprintf(out, "%.*f%s", whole ? 0 : 1, value, *unit);
}

static void write_time(FILE *out, int64_t ms)
{
	time_t at = (time_t)(ms >= 0 ? ms / 1000 : -((999 - ms) / 1000));
	char text[64];
	struct tm tm;

	if (gmtime_r(&at, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm) > 0)
		(void)fputs(text, out);
	else
		(void)fprintf(out, "%" PRId64, ms);
}

/* Shortest text that reads back as the same double. */
static void write_exact(FILE *out, double value)
{
	char text[32];

	(void)snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) != value)
		(void)snprintf(text, sizeof(text), "%.17g", value);
	(void)fputs(text, out);
}

/* A number for people. integer: value is one, and exact. */
static void write_human(FILE *out, enum output_unit unit, double value, bool integer)
{
	static const char *const counts[] = {"", " k", " M", " G", " T", " P", " E", NULL};
	static const char *const bytes[] = {" B",   " KiB", " MiB", " GiB",
					    " TiB", " PiB", " EiB", NULL};
	static const char *const times[] = {" us", " ms", " s", NULL};

	switch (unit) {
	case UNIT_COUNT:
		write_scaled(out, value, 1000, counts);
		break;
	case UNIT_BYTES:
		write_scaled(out, value, 1024, bytes);
		break;
	case UNIT_US:
		write_scaled(out, value, 1000, times);
		break;
	case UNIT_PERCENT:
		(void)fprintf(out, "%.2f%%", value);
		break;
	case UNIT_TIME_MS:
		write_time(out, (int64_t)value);
		break;
	case UNIT_NONE:
		(void)fprintf(out, integer ? "%.0f" : "%.6g", value);
		break;
	}
}

void output_number(FILE *out, enum output_unit unit, int64_t value)
{
	write_human(out, unit, (double)value, true);
}

/* --- cells ---------------------------------------------------------------- */

static void note_write_error(struct output *o)
{
	if (ferror(o->out) && !o->err)
		o->err = errno == EPIPE ? -EPIPE : -EIO;
}

/* What stands before a row, and before a cell, in the streaming formats. */
static void write_separator(struct output *o)
{
	bool first = o->next == 0;

	if (o->format == OUTPUT_CSV) {
		if (!first)
			(void)fputc(',', o->out);
		return;
	}
	if (first && o->format == OUTPUT_JSON)
		(void)fputs(o->n_rows == 1 ? "\n" : ",\n", o->out);
	(void)fputc(first ? '{' : ',', o->out);
	write_json_text(o->out, o->columns[o->next].name, strlen(o->columns[o->next].name));
	(void)fputc(':', o->out);
}

/* Where the value of the next cell goes; NULL after a failure. */
static FILE *cell_begin(struct output *o)
{
	if (o->err)
		return NULL;
	if (o->next == 0) {
		o->n_rows++;
		if (o->format == OUTPUT_TABLE)
			o->line = scols_table_new_line(o->table, NULL);
	}
	if (o->format != OUTPUT_TABLE) {
		write_separator(o);
		return o->out;
	}
	if (!o->line) {
		o->err = -ENOMEM;
		return NULL;
	}
	rewind(o->cell);
	return o->cell;
}

/* Makes cell_text what has been written to cell. */
static int cell_text_end(struct output *o)
{
	return fputc('\0', o->cell) == EOF || fflush(o->cell) != 0 ? -ENOMEM : 0;
}

static void cell_end(struct output *o)
{
	bool last = o->next + 1 == o->n;

	if (o->format == OUTPUT_TABLE) {
		(void)fputc('\0', o->cell);
		if (fflush(o->cell) != 0 ||
		    scols_line_set_data(o->line, o->next, o->cell_text) != 0)
			o->err = -ENOMEM;
	} else if (last) {
		(void)fputs(o->format == OUTPUT_CSV    ? "\r\n"
			    : o->format == OUTPUT_JSON ? "}"
						       : "}\n",
			    o->out);
		note_write_error(o);
	}
	o->next = last ? 0 : o->next + 1;
}

void output_null(struct output *o)
{
	static const char *const nulls[] = {
		[OUTPUT_TABLE] = "-",
		[OUTPUT_JSON] = "null",
		[OUTPUT_NDJSON] = "null",
		[OUTPUT_CSV] = "",
	};
	FILE *cell = cell_begin(o);

	if (!cell)
		return;
	(void)fputs(nulls[o->format], cell);
	cell_end(o);
}

/* Whether the next cell is a number for people; notes its alignment. */
static bool human_number(struct output *o)
{
	o->columns[o->next].has_number = true;
	return o->format == OUTPUT_TABLE && !o->raw_numbers;
}

void output_int(struct output *o, int64_t value)
{
	FILE *cell = cell_begin(o);

	if (!cell)
		return;
	/* A double holds no more than 53 bits: only where it is rounded anyway. */
	if (human_number(o) && o->columns[o->next].unit != UNIT_NONE)
		write_human(cell, o->columns[o->next].unit, (double)value, true);
	else
		(void)fprintf(cell, "%" PRId64, value);
	cell_end(o);
}

void output_double(struct output *o, double value)
{
	FILE *cell;

	if (!isfinite(value)) {
		output_null(o);
		return;
	}
	cell = cell_begin(o);
	if (!cell)
		return;
	if (human_number(o))
		write_human(cell, o->columns[o->next].unit, value, false);
	else
		write_exact(cell, value);
	cell_end(o);
}

void output_text(struct output *o, const char *text, size_t len)
{
	static void (*const writers[])(FILE *, const char *, size_t) = {
		[OUTPUT_TABLE] = output_escaped,
		[OUTPUT_JSON] = write_json_text,
		[OUTPUT_NDJSON] = write_json_text,
		[OUTPUT_CSV] = write_csv_text,
	};
	FILE *cell = cell_begin(o);

	if (!cell)
		return;
	o->columns[o->next].has_text = true;
	writers[o->format](cell, text, len);
	cell_end(o);
}

void output_str(struct output *o, const char *text)
{
	if (text)
		output_text(o, text, strlen(text));
	else
		output_null(o);
}

/* --- whole answers -------------------------------------------------------- */

/* The head of a table's column. */
static void write_upper(FILE *out, const char *name)
{
	for (size_t n, len = strlen(name); len > 0; name += n, len -= n) {
		uint32_t code;
		char upper;

		n = utf8_next(name, len, &code);
		n = n ? n : 1;
		upper = (char)toupper((unsigned char)name[0]);
		output_escaped(out, n == 1 ? &upper : name, n);
	}
}

static void write_csv_header(const struct output *o)
{
	for (size_t i = 0; i < o->n; i++) {
		if (i > 0)
			(void)fputc(',', o->out);
		write_csv_text(o->out, o->columns[i].name, strlen(o->columns[i].name));
	}
	(void)fputs("\r\n", o->out);
}

/* What libsmartcols does not print: a table without rows. */
static void write_table_header(const struct output *o)
{
	for (size_t i = 0; i < o->n; i++) {
		if (i > 0)
			(void)fputs("  ", o->out);
		write_upper(o->out, o->columns[i].name);
	}
	(void)fputc('\n', o->out);
}

static int table_new(struct output *o)
{
	o->table = scols_new_table();
	o->cell = open_memstream(&o->cell_text, &o->cell_size);
	if (!o->table || !o->cell)
		return -ENOMEM;
	for (size_t i = 0; i < o->n; i++) {
		rewind(o->cell);
		write_upper(o->cell, o->columns[i].name);
		if (cell_text_end(o) < 0 || !scols_table_new_column(o->table, o->cell_text, 0, 0))
			return -ENOMEM;
	}
	/* The answer is the same in a pipe, in a file and on any terminal. */
	if (scols_table_set_termforce(o->table, SCOLS_TERMFORCE_NEVER) != 0 ||
	    scols_table_set_column_separator(o->table, "  ") != 0)
		return -ENOMEM;
	(void)scols_table_enable_noencoding(o->table, 1); /* cells are escaped already */
	(void)scols_table_set_stream(o->table, o->out);	  /* fail on NULL only */
	return 0;
}

DEFINE_CLEANUP(struct output *, output_free)

int output_begin(FILE *out, enum output_format format, bool raw_numbers,
		 const struct output_column *columns, size_t n, struct output **ret)
{
	cleanup(output_free_p) struct output *o = calloc(1, sizeof(*o) + n * sizeof(o->columns[0]));

	if (!o)
		return -ENOMEM;
	o->out = out;
	o->format = format;
	o->raw_numbers = raw_numbers;
	o->n = n;
	for (size_t i = 0; i < n; i++) {
		o->columns[i].name = columns[i].name;
		o->columns[i].unit = columns[i].unit;
	}
	if (format == OUTPUT_TABLE && table_new(o) < 0)
		return -ENOMEM;
	if (format == OUTPUT_JSON)
		(void)fputc('[', out);
	else if (format == OUTPUT_CSV)
		write_csv_header(o);
	*ret = take_ptr(o);
	return 0;
}

static void print_table(struct output *o)
{
	/* libsmartcols measures the width of UTF-8 by the locale. */
	locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL), before = NULL;

	for (size_t i = 0; i < o->n; i++) {
		const struct column *c = &o->columns[i];

		if (c->has_number && !c->has_text && c->unit != UNIT_TIME_MS)
			(void)scols_column_set_flags(scols_table_get_column(o->table, i),
						     SCOLS_FL_RIGHT);
	}
	if (utf8)
		before = uselocale(utf8);
	if (scols_print_table(o->table) != 0)
		o->err = -ENOMEM;
	if (utf8) {
		(void)uselocale(before);
		freelocale(utf8);
	}
}

int output_end(struct output *o)
{
	int err;

	if (o->format == OUTPUT_JSON && !o->err)
		(void)fputs(o->n_rows ? "\n]\n" : "]\n", o->out);
	else if (o->format == OUTPUT_TABLE && !o->err && o->n_rows)
		print_table(o);
	else if (o->format == OUTPUT_TABLE && !o->err)
		write_table_header(o);
	if (fflush(o->out) != 0 && !o->err)
		o->err = errno == EPIPE ? -EPIPE : -EIO;
	note_write_error(o);
	err = o->err;
	output_free(o);
	return err;
}

void output_free(struct output *o)
{
	if (!o)
		return;
	scols_unref_table(o->table);
	if (o->cell)
		(void)fclose(o->cell); /* memory only */
	free(o->cell_text);
	free(o);
}
