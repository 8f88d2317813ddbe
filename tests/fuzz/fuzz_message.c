/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* fuzz_message.c - the first byte picks the message, the rest is its body. */
#include "tests/fuzz/fuzz_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len > 0)
		fuzz_body((enum frame_type)(FRAME_HELLO + data[0] % FRAME_TYPE_MAX), data + 1,
			  len - 1);
	return 0;
}
