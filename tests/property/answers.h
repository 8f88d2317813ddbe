/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* answers.h - what a statement gives, to be compared with what another database gives. */
#ifndef WEIR_TESTS_PROPERTY_ANSWERS_H
#define WEIR_TESTS_PROPERTY_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

#include <sqlite3.h>

struct answer {
	char *error; /* NULL: none, and then the rows hold */
	char **rows; /* each as one line */
	size_t n;
};

/* Runs SQL, or a statement and finalizes it. Release with answer_done(). */
void answer_of_sql(sqlite3 *db, const char *sql, struct answer *ret);
void answer_of(sqlite3_stmt *st, struct answer *ret);
/* Of a statement with one column: rows as answers have them. */
void answer_of_lines(sqlite3_stmt *st, struct answer *ret);
void answer_done(struct answer *a);

/* Reals that are whole numbers become these, as JSON has them. */
void answer_round_reals(struct answer *a);

/* Rows that come in any order, in one. */
void answer_sort(struct answer *a);

/* The first row that is not the same, or SIZE_MAX. Reals may differ in their last digits. */
size_t answers_differ(const struct answer *a, const struct answer *b);

/* The row, or what stands in its place. */
const char *answer_row(const struct answer *a, size_t row);

#endif /* WEIR_TESTS_PROPERTY_ANSWERS_H */
