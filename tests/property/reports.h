/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* reports.h - random reports (collector/report/report.h), as JSON and as SQL over plain rows. */
#ifndef WEIR_TESTS_PROPERTY_REPORTS_H
#define WEIR_TESTS_PROPERTY_REPORTS_H

#include "tests/property/answers.h"

struct choices;
struct data;

/* Both answers for answer_done(), the question (its arguments) for sqlite3_free(). */
void ask_report(struct data *d, struct choices *c, char **ret_question, struct answer *ret_got,
		struct answer *ret_wanted);

#endif /* WEIR_TESTS_PROPERTY_REPORTS_H */
