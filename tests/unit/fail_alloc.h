/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fail_alloc.h - makes one allocation of the code under test fail.
 *
 * The unit tests are linked with --wrap for malloc, calloc, realloc and strdup;
 * what shared libraries allocate by themselves is not touched.
 *
 *	for (unsigned n = 1;; n++) {
 *		fail_alloc_at(n);
 *		err = thing_new(&thing);
 *		if (!fail_alloc_at(0))
 *			break;		// fewer than n allocations: all have failed once
 *		assert_int_equal(err, -ENOMEM);
 *	}
 */
#ifndef WEIR_TESTS_UNIT_FAIL_ALLOC_H
#define WEIR_TESTS_UNIT_FAIL_ALLOC_H

#include <stdbool.h>

/*
 * Makes the n-th allocation from now, counted over all threads, return NULL; 0
 * makes none fail. True if the failure asked for before has happened.
 */
bool fail_alloc_at(unsigned n);

#endif /* WEIR_TESTS_UNIT_FAIL_ALLOC_H */
