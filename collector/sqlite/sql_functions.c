// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/sqlite/sql_functions.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "collector/sqlite/db_error.h"
#include "collector/sqlite/distinct_sketch.h"
#include "common/addr.h"
#include "common/array_size.h"

static bool any_null(int n, sqlite3_value **values)
{
	for (int i = 0; i < n; i++) {
		if (sqlite3_value_type(values[i]) == SQLITE_NULL)
			return true;
	}
	return false;
}

/* The parsed second argument, kept by SQLite while it stays the same. */
static const struct addr_prefix *prefix_of(sqlite3_context *ctx, sqlite3_value *value)
{
	struct addr_prefix *prefix = sqlite3_get_auxdata(ctx, 1);
	const char *text;

	if (prefix)
		return prefix;
	text = (const char *)sqlite3_value_text(value);
	prefix = sqlite3_malloc(sizeof(*prefix));
	if (!text || !prefix) {
		sqlite3_free(prefix);
		sqlite3_result_error_nomem(ctx);
		return NULL;
	}
	if (addr_parse_prefix(text, prefix)) {
		sqlite3_free(prefix);
		sqlite3_result_error(ctx, "in_prefix: not a prefix such as 10.0.0.0/8", -1);
		return NULL;
	}
	sqlite3_set_auxdata(ctx, 1, prefix, sqlite3_free);
	return sqlite3_get_auxdata(ctx, 1); /* NULL if out of memory: it was freed */
}

void sql_in_prefix(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	const struct addr_prefix *prefix;
	const char *text;
	uint8_t addr[16];
	bool within;

	if (any_null(n, values))
		return;
	prefix = prefix_of(ctx, values[1]);
	if (!prefix)
		return;
	text = (const char *)sqlite3_value_text(values[0]); /* NULL: out of memory */
	within = text && addr_parse(text, addr) == 0 && addr_in_prefix(addr, prefix);
	sqlite3_result_int(ctx, within);
}

static void proto_name_of(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	sqlite3_int64 proto = sqlite3_value_int64(values[0]);
	const char *name = proto >= 0 && proto <= UINT8_MAX ? proto_name((uint8_t)proto) : NULL;

	if (any_null(n, values))
		return;
	if (name)
		sqlite3_result_text(ctx, name, -1, SQLITE_STATIC);
	else
		sqlite3_result_text(ctx, (const char *)sqlite3_value_text(values[0]), -1,
				    SQLITE_TRANSIENT);
}

static void tcp_flags(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	static const char letters[] = "FSRPAUECN";
	sqlite3_int64 flags = sqlite3_value_int64(values[0]);
	char text[sizeof(letters)];
	int len = 0;

	if (any_null(n, values))
		return;
	for (int i = 0; letters[i]; i++) {
		if (flags >> i & 1)
			text[len++] = letters[i];
	}
	sqlite3_result_text(ctx, text, len, SQLITE_TRANSIENT);
}

static void endpoint(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	sqlite3_int64 port = sqlite3_value_int64(values[1]);
	uint8_t addr[16];
	const char *addr_text;
	bool brackets;
	char *text;

	if (any_null(n, values))
		return;
	if (port == 0) {
		sqlite3_result_value(ctx, values[0]);
		return;
	}
	addr_text = (const char *)sqlite3_value_text(values[0]);
	brackets = addr_text && addr_parse(addr_text, addr) == 0 && !addr_is_v4(addr);
	text = sqlite3_mprintf(brackets ? "[%s]:%lld" : "%s:%lld", addr_text, port);
	if (text)
		sqlite3_result_text(ctx, text, -1, sqlite3_free);
	else
		sqlite3_result_error_nomem(ctx);
}

static void addr_blob(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	const char *text = (const char *)sqlite3_value_text(values[0]);
	uint8_t addr[16];

	if (any_null(n, values))
		return;
	if (text && addr_parse(text, addr) == 0)
		sqlite3_result_blob(ctx, addr, sizeof(addr), SQLITE_TRANSIENT);
	else
		sqlite3_result_error(ctx, "addr_blob: not an address", -1);
}

static void addr_text(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	const uint8_t *addr = sqlite3_value_blob(values[0]);
	char text[ADDR_TEXT_MAX];

	if (any_null(n, values))
		return;
	if (addr && sqlite3_value_bytes(values[0]) == 16)
		sqlite3_result_text(ctx, addr_format(addr, text), -1, SQLITE_TRANSIENT);
	else
		sqlite3_result_error(ctx, "addr_text: not the 16 bytes of an address", -1);
}

static void time_bucket(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	sqlite3_int64 ms = sqlite3_value_int64(values[0]);
	sqlite3_int64 seconds = sqlite3_value_int64(values[1]);
	sqlite3_int64 rest;

	if (any_null(n, values))
		return;
	if (seconds <= 0 || seconds > INT64_MAX / 1000) {
		sqlite3_result_error(ctx, "time_bucket: the second argument is seconds above 0",
				     -1);
		return;
	}
	rest = ms % (seconds * 1000);
	if (rest < 0) /* down, not towards 0 */
		rest += seconds * 1000;
	sqlite3_result_int64(ctx, ms < INT64_MIN + rest ? INT64_MIN : ms - rest);
}

static void utc(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	sqlite3_int64 ms = sqlite3_value_int64(values[0]);
	time_t seconds = ms / 1000 - (ms % 1000 < 0);
	char text[64];
	struct tm tm;

	if (any_null(n, values))
		return;
	(void)gmtime_r(&seconds, &tm); /* its range is wider than 64-bit ms */
	(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	sqlite3_result_text(ctx, text, -1, SQLITE_TRANSIENT);
}

/* --- quantile(x, q) ---------------------------------------------------------- */

struct sample {
	double *values;
	size_t n, max;
	double q;
	bool fractions; /* a value was not an integer */
	bool failed;	/* and said so */
};

static bool sample_grow(struct sample *s)
{
	size_t max = s->max ? s->max * 2 : 64;
	double *values = sqlite3_realloc64(s->values, max * sizeof(*values));

	if (!values)
		return false;
	s->values = values;
	s->max = max;
	return true;
}

static void quantile_step(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	struct sample *s;

	if (any_null(n, values))
		return;
	s = sqlite3_aggregate_context(ctx, sizeof(*s));
	if (!s || (s->n == s->max && !sample_grow(s))) {
		sqlite3_result_error_nomem(ctx);
		if (s)
			s->failed = true;
		return;
	}
	s->q = sqlite3_value_double(values[1]);
	if (!(s->q >= 0 && s->q <= 1)) {
		sqlite3_result_error(ctx, "quantile: the second argument is from 0 to 1", -1);
		s->failed = true;
		return;
	}
	s->fractions |= sqlite3_value_numeric_type(values[0]) != SQLITE_INTEGER;
	s->values[s->n++] = sqlite3_value_double(values[0]);
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void quantile_final(sqlite3_context *ctx)
{
	struct sample *s = sqlite3_aggregate_context(ctx, 0);
	size_t rank;

	if (!s)
		return;
	if (s->n && !s->failed) {
		qsort(s->values, s->n, sizeof(*s->values), compare_doubles);
		rank = (size_t)ceil(s->q * (double)s->n);
		rank = rank ? rank - 1 : 0;
		if (s->fractions)
			sqlite3_result_double(ctx, s->values[rank]);
		else
			sqlite3_result_int64(ctx, (sqlite3_int64)s->values[rank]);
	}
	sqlite3_free(s->values);
}

/* --- approx_distinct(x) and sketches ------------------------------------------ */

enum distinct_kind { DISTINCT_NUMBER, DISTINCT_REAL, DISTINCT_TEXT, DISTINCT_BLOB };

/* Numbers that are equal are one value: 1 and 1.0. */
static uint64_t hash_of(sqlite3_value *value)
{
	int64_t number = sqlite3_value_int64(value);
	double real;

	switch (sqlite3_value_type(value)) {
	case SQLITE_INTEGER:
		return distinct_hash(DISTINCT_NUMBER, &number, sizeof(number));
	case SQLITE_FLOAT:
		real = sqlite3_value_double(value);
		if (real == (double)number && fabs(real) < 9e15)
			return distinct_hash(DISTINCT_NUMBER, &number, sizeof(number));
		return distinct_hash(DISTINCT_REAL, &real, sizeof(real));
	case SQLITE_TEXT:
		return distinct_hash(DISTINCT_TEXT, sqlite3_value_text(value),
				     (size_t)sqlite3_value_bytes(value));
	default:
		return distinct_hash(DISTINCT_BLOB, sqlite3_value_blob(value),
				     (size_t)sqlite3_value_bytes(value));
	}
}

static void result_error(sqlite3_context *ctx, int err)
{
	if (err == -ENOMEM)
		sqlite3_result_error_nomem(ctx);
	else if (err)
		sqlite3_result_error(ctx, "that is no sketch of distinct_sketch()", -1);
}

static void distinct_step(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	struct distinct_sketch *s = sqlite3_aggregate_context(ctx, sizeof(*s));

	if (!s)
		sqlite3_result_error_nomem(ctx);
	else if (!any_null(n, values))
		result_error(ctx, distinct_sketch_add(s, hash_of(values[0])));
}

static int merge_value(struct distinct_sketch *s, sqlite3_value *value)
{
	const void *packed = sqlite3_value_blob(value); /* NULL: empty, too */

	if (sqlite3_value_type(value) != SQLITE_BLOB || sqlite3_value_bytes(value) == 0)
		return -EBADMSG;
	return packed ? distinct_sketch_merge(s, packed, (size_t)sqlite3_value_bytes(value))
		      : -ENOMEM;
}

static void merge_step(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	struct distinct_sketch *s = sqlite3_aggregate_context(ctx, sizeof(*s));

	if (!s)
		sqlite3_result_error_nomem(ctx);
	else if (!any_null(n, values))
		result_error(ctx, merge_value(s, values[0]));
}

static void distinct_final(sqlite3_context *ctx)
{
	struct distinct_sketch none = {0}, *s = sqlite3_aggregate_context(ctx, 0);

	s = s ? s : &none;
	sqlite3_result_int64(ctx, (sqlite3_int64)distinct_sketch_count(s));
	distinct_sketch_done(s);
}

static void sketch_final(sqlite3_context *ctx)
{
	struct distinct_sketch none = {0}, *s = sqlite3_aggregate_context(ctx, 0);
	uint8_t *packed;
	size_t len;

	s = s ? s : &none;
	if (distinct_sketch_pack(s, &packed, &len) == 0)
		sqlite3_result_blob64(ctx, packed, len, sqlite3_free);
	else
		sqlite3_result_error_nomem(ctx);
	distinct_sketch_done(s);
}

static void distinct_count(sqlite3_context *ctx, int n, sqlite3_value **values)
{
	struct distinct_sketch s = {0};
	int err;

	if (any_null(n, values))
		return;
	err = merge_value(&s, values[0]);
	if (err)
		result_error(ctx, err);
	else
		sqlite3_result_int64(ctx, (sqlite3_int64)distinct_sketch_count(&s));
	distinct_sketch_done(&s);
}

int sql_functions_register(sqlite3 *db)
{
	static const struct {
		const char *name;
		int n_args;
		void (*scalar)(sqlite3_context *, int, sqlite3_value **);
		void (*step)(sqlite3_context *, int, sqlite3_value **);
		void (*final)(sqlite3_context *);
	} functions[] = {
		{"in_prefix", 2, sql_in_prefix, NULL, NULL},
		{"proto_name", 1, proto_name_of, NULL, NULL},
		{"tcp_flags", 1, tcp_flags, NULL, NULL},
		{"endpoint", 2, endpoint, NULL, NULL},
		{"time_bucket", 2, time_bucket, NULL, NULL},
		{"utc", 1, utc, NULL, NULL},
		{"addr_blob", 1, addr_blob, NULL, NULL},
		{"addr_text", 1, addr_text, NULL, NULL},
		{"quantile", 2, NULL, quantile_step, quantile_final},
		{"approx_distinct", 1, NULL, distinct_step, distinct_final},
		{"distinct_sketch", 1, NULL, distinct_step, sketch_final},
		{"distinct_merge", 1, NULL, merge_step, sketch_final},
		{"distinct_count", 1, distinct_count, NULL, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		int rc = sqlite3_create_function_v2(
			db, functions[i].name, functions[i].n_args,
			SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL,
			functions[i].scalar, functions[i].step, functions[i].final, NULL);

		if (rc != SQLITE_OK)
			return db_errno(rc);
	}
	return 0;
}
