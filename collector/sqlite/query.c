// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/sqlite/query.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "collector/sqlite/db_error.h"
#include "common/output.h"

struct query_value {
	char *text; /* NULL: number */
	int64_t number;
};

void query_init(struct query *q)
{
	*q = (struct query){.sql = sqlite3_str_new(NULL)}; /* never NULL; failures stick inside */
}

void query_done(struct query *q)
{
	sqlite3_free(sqlite3_str_finish(q->sql));
	for (size_t i = 0; i < q->n_values; i++)
		free(q->values[i].text);
	free(q->values);
}

void query_add(struct query *q, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sqlite3_str_vappendf(q->sql, fmt, ap);
	va_end(ap);
}

/* Takes text. */
static unsigned bind_value(struct query *q, char *text, int64_t number)
{
	if (q->n_values == q->max_values) {
		size_t max = q->max_values ? q->max_values * 2 : 16;
		struct query_value *values = realloc(q->values, max * sizeof(*values));

		if (!values) {
			q->out_of_memory = true;
			free(text);
			return 0;
		}
		q->values = values;
		q->max_values = max;
	}
	q->values[q->n_values++] = (struct query_value){.text = text, .number = number};
	return (unsigned)q->n_values;
}

unsigned query_bind_int(struct query *q, int64_t value)
{
	return bind_value(q, NULL, value);
}

unsigned query_bind_text(struct query *q, const char *value)
{
	char *text = strdup(value);

	if (!text) {
		q->out_of_memory = true;
		return 0;
	}
	return bind_value(q, text, 0);
}

static int bind_values(const struct query *q, sqlite3_stmt *st)
{
	for (size_t i = 0; i < q->n_values; i++) {
		const struct query_value *v = &q->values[i];
		int n = (int)i + 1;
		int rc = v->text ? sqlite3_bind_text(st, n, v->text, -1, SQLITE_TRANSIENT)
				 : sqlite3_bind_int64(st, n, v->number);

		if (rc != SQLITE_OK)
			return db_errno(rc);
	}
	return 0;
}

int query_prepare(struct query *q, sqlite3 *db, sqlite3_stmt **ret)
{
	sqlite3_stmt *st = NULL;
	int err;

	if (q->out_of_memory || sqlite3_str_errcode(q->sql) != SQLITE_OK)
		return -ENOMEM;
	err = db_errno(sqlite3_prepare_v2(db, sqlite3_str_value(q->sql), sqlite3_str_length(q->sql),
					  &st, NULL));
	if (!err)
		err = bind_values(q, st);
	if (err) {
		(void)sqlite3_finalize(st); /* repeats the error */
		return err;
	}
	*ret = st;
	return 0;
}

void query_explain(struct query *q, FILE *out)
{
	const char *sql = sqlite3_str_value(q->sql);

	fprintf(out, "%s\n", sql ? sql : "");
	for (size_t i = 0; i < q->n_values; i++) {
		const struct query_value *v = &q->values[i];

		fprintf(out, "?%zu = ", i + 1);
		if (v->text) {
			fputc('\'', out);
			output_escaped(out, v->text, strlen(v->text));
			fputs("'\n", out);
		} else {
			fprintf(out, "%" PRId64 "\n", v->number);
		}
	}
}
