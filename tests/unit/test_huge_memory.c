// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* huge_memory.h: what is there stays, what is new is zero, on both sides of the limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/flowstore/huge_memory.h"

#define NUMBERS(bytes) ((bytes) / sizeof(uint64_t))

static void grows_from_nothing_past_huge_pages(void **state)
{
	static const size_t sizes[] = {
		4096,
		65536,
		HUGE_MEMORY_MIN - 8,
		HUGE_MEMORY_MIN,
		HUGE_MEMORY_MIN + 8, /* the same pages */
		HUGE_MEMORY_MIN * 4,
		HUGE_MEMORY_MIN * 8 + 8,
	};
	uint64_t *p = NULL;
	size_t had = 0;

	(void)state;
	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		p = huge_grow(p, had, sizes[k]);
		assert_non_null(p);
		for (size_t i = 0; i < NUMBERS(sizes[k]); i++) {
			if (p[i] != (i < NUMBERS(had) ? i + 1 : 0))
				fail_msg("number %zu of %zu bytes, grown from %zu", i, sizes[k],
					 had);
			p[i] = i + 1;
		}
		had = sizes[k];
	}
	huge_free(p, had);
}

static void leaves_what_is_there_where_there_is_no_more(void **state)
{
	uint64_t *p = huge_grow(NULL, 0, HUGE_MEMORY_MIN);

	(void)state;
	assert_non_null(p);
	p[0] = 7;
	assert_null(huge_grow(p, HUGE_MEMORY_MIN, (size_t)1 << 62));
	assert_int_equal(p[0], 7);
	huge_free(p, HUGE_MEMORY_MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grows_from_nothing_past_huge_pages),
		cmocka_unit_test(leaves_what_is_there_where_there_is_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
