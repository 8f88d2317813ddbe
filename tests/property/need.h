/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* need.h - what a test program cannot do without. */
#ifndef WEIR_TESTS_PROPERTY_NEED_H
#define WEIR_TESTS_PROPERTY_NEED_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define need(condition, what) need_at(condition, what, __FILE__, __LINE__)

static inline void need_at(bool condition, const char *what, const char *file, int line)
{
	if (condition)
		return;
	fprintf(stderr, "%s:%d: this failed: %s\n", file, line, what);
	exit(1);
}

#endif /* WEIR_TESTS_PROPERTY_NEED_H */
