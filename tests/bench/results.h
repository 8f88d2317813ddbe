/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * results.h - the figures of a proof target, for people and for programs.
 *
 * Each figure is printed as a line on stdout and kept; results_close() writes
 * them to DIR/TARGET.json with the seed, the machine and the commit.
 */
#ifndef WEIR_TESTS_BENCH_RESULTS_H
#define WEIR_TESTS_BENCH_RESULTS_H

#include <stdint.h>

struct results;

/* Creates dir if it is missing. NULL with a line on stderr on failure. */
struct results *results_open(const char *dir, const char *target, uint64_t seed);

/* key is stable; text is what people read beside the figure. */
void results_add(struct results *r, const char *key, double value, const char *text);

/* Writes the file and releases r. Returns 0 or -errno. */
int results_close(struct results *r);

#endif /* WEIR_TESTS_BENCH_RESULTS_H */
