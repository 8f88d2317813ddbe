// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "probe/datapath/siphash.h"

/* From the reference implementation's vectors.h: key 00 01 .. 0f, input 00 01 .. (n - 1). */
static void gives_the_reference_values(void **state)
{
	static const struct {
		size_t len;
		uint64_t hash;
	} vectors[] = {
		{0, 0x726fdb47dd0e0e31}, {1, 0x74f839c593dc67fd},  {7, 0xab0200f58b01d137},
		{8, 0x93f5f5799a932462}, {15, 0xa129ca6149be45e5},
	};
	const struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
	unsigned char input[16];

	(void)state;
	for (size_t i = 0; i < sizeof(input); i++)
		input[i] = (unsigned char)i;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(*vectors); i++)
		assert_true(siphash(&key, input, vectors[i].len) == vectors[i].hash);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_the_reference_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
