/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * once_cost.h - what counting each conversation once costs: by who owns the
 * addresses, and by the records alone. Prints ns of CPU a record.
 */
#ifndef WEIR_TESTS_BENCH_STORE_ONCE_COST_H
#define WEIR_TESTS_BENCH_STORE_ONCE_COST_H

#include <sqlite3.h>

/* Returns an error of collector/store/db.h. */
int once_cost_print(sqlite3 *db);

#endif /* WEIR_TESTS_BENCH_STORE_ONCE_COST_H */
