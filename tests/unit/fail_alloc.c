/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "tests/unit/fail_alloc.h"

#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *text);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *text);

static int countdown; /* allocations until the one that fails, which makes it 0; atomic */
static bool armed;    /* read and written by the test's thread only */

bool fail_alloc_at(unsigned n)
{
	bool happened = armed && __atomic_load_n(&countdown, __ATOMIC_SEQ_CST) <= 0;

	armed = n > 0;
	__atomic_store_n(&countdown, (int)n, __ATOMIC_SEQ_CST);
	return happened;
}

static bool fails(void)
{
	/* Once below 0 it stays there for the rest of any test. */
	return __atomic_sub_fetch(&countdown, 1, __ATOMIC_SEQ_CST) == 0;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}
