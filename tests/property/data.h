/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * data.h - the same flows in weir's store and as plain rows, in all the states that
 * a store can be in: only fresh batches, several segments, a small last one, all
 * of these; and with what is rare: extreme values, nothing measured, catch-all
 * records, one address family, many hosts, one record, none.
 */
#ifndef WEIR_TESTS_PROPERTY_DATA_H
#define WEIR_TESTS_PROPERTY_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

struct row_table;

struct data {
	const char *name;
	char path[64];
	bool for_reports;
	sqlite3 *store; /* reads; with weir's SQL functions */
	struct row_table *plain;
};

/* Kinds of data, from 0; how many of n questions are for one of them. */
size_t data_kinds(void);
uint64_t data_share(size_t kind, uint64_t n);

/* Makes that kind. Ends the program when something fails. */
struct data *data_new(size_t kind, uint64_t seed);
/* And its file. NULL is a no-op. */
void data_free(struct data *d);

#endif /* WEIR_TESTS_PROPERTY_DATA_H */
