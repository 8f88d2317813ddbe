/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* checks.h - questions that two ways of answering must agree on. */
#ifndef WEIR_TESTS_PROPERTY_CHECKS_H
#define WEIR_TESTS_PROPERTY_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

struct choices;
struct data;

struct check_result {
	char *question, *got, *wanted; /* got and wanted: the first row that differs */
	bool differs, error, empty;
};

struct check {
	const char *name;
	unsigned share; /* of all questions, relative to the others */
	/* Asks what c chooses. Release *ret with check_result_done(). */
	void (*run)(struct data *d, struct choices *c, struct check_result *ret);
};

/* One of them that such data are for, by a random number. */
const struct check *check_of(const struct data *d, uint64_t random);

void check_result_done(struct check_result *r);

#endif /* WEIR_TESTS_PROPERTY_CHECKS_H */
