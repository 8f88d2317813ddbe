/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fill_options.h - which fleet: what the programs of this folder share, so that
 * the same options mean the same records in each of their stores.
 */
#ifndef WEIR_TESTS_BENCH_STORE_FILL_OPTIONS_H
#define WEIR_TESTS_BENCH_STORE_FILL_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>

#include "tests/bench-store/fill.h"

#define FILL_COMMIT_ROWS 65536 /* of one transaction: a collector merges what makes a segment */

struct fill_options {
	struct fill_settings fleet;
	uint64_t flows; /* records; the last second is whole, so that it may be a few more */
};

#define FILL_OPTIONS_DEFAULT                                                                       \
	{                                                                                          \
		.fleet = {.seed = 1,                                                               \
			  .hosts = 50,                                                             \
			  .flows_per_s = 2000,                                                     \
			  .start_ms = 1767225600000ull},                                           \
		.flows = 1000000                                                                   \
	}

#define FILL_OPTIONS_HELP                                                                          \
	"  --flows N       records; k and M are taken (1M)\n"                                      \
	"  --hosts N       of the fleet, at most 250 (50)\n"                                       \
	"  --rate N        conversations a second (2000)\n"                                        \
	"  --seed N        another fleet (1)\n"

/* For getopt_long(). */
#define FILL_LONG_OPTIONS                                                                          \
	{"flows", required_argument, NULL, 'f'}, {"hosts", required_argument, NULL, 'h'},          \
		{"rate", required_argument, NULL, 'r'},                                            \
	{                                                                                          \
		"seed", required_argument, NULL, 's'                                               \
	}

/* False: not one of ours, or not a number that is possible. */
bool fill_options_take(struct fill_options *o, int option, const char *arg);

/* "10", "10k", "10M"; 0 if it is none. */
uint64_t fill_number(const char *text);

#endif /* WEIR_TESTS_BENCH_STORE_FILL_OPTIONS_H */
