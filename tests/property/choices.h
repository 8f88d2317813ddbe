/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * choices.h - a random thing is the row of choices that it was made from, so that
 * one which fails is made smaller without knowing what it is: leave choices out,
 * make them less, and see whether what comes of that still fails.
 *
 * 0 is always the simplest choice, and what follows the end of a row.
 */
#ifndef WEIR_TESTS_PROPERTY_CHOICES_H
#define WEIR_TESTS_PROPERTY_CHOICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHOICES_MAX 2048 /* all beyond are 0 */

struct choices {
	uint64_t seed;
	bool given; /* made[0 .. n) says what is chosen; else seed, and it is noted there */
	size_t at, n;
	uint32_t made[CHOICES_MAX];
};

/* Random ones, the same for the same seed. */
void choices_begin(struct choices *c, uint64_t seed);
/* The ones that c has had, from the first. */
void choices_again(struct choices *c);

/* 0 to n - 1. */
uint32_t choose(struct choices *c, uint32_t n);
/* True once in n times. */
bool choose_rarely(struct choices *c, uint32_t n);

/*
 * Makes c as small as it gets while it fails. fails() makes the thing anew, from
 * choices_again(); it returns how large that is, or 0 when it does not fail.
 */
void choices_shrink(struct choices *c, size_t (*fails)(struct choices *c, void *arg), void *arg);

#endif /* WEIR_TESTS_PROPERTY_CHOICES_H */
