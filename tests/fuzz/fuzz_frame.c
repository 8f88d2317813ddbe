/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* fuzz_frame.c - bytes from a socket: the header, then the message it announces. */
#include "tests/fuzz/fuzz_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
size_t LLVMFuzzerMutate(uint8_t *data, size_t len, size_t max_len);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max_len, unsigned seed);

/* Three times in four the header is made right again, or no body would be reached. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t len, size_t max_len, unsigned seed)
{
	len = LLVMFuzzerMutate(data, len, max_len);
	if (seed % 4 && len >= FRAME_HEADER_BYTES)
		frame_seal(data, FRAME_HELLO + data[3] % FRAME_TYPE_MAX, len - FRAME_HEADER_BYTES);
	return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct frame f;
	enum frame_error err = frame_open(data, len, &f);

	if (err == FRAME_OK) {
		assert(f.body + f.body_len == data + len);
		assert(frame_type_name(f.type));
		fuzz_body(f.type, f.body, f.body_len);
	} else {
		assert(frame_error_text(err));
	}
	return 0;
}
