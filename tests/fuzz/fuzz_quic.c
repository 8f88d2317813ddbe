// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fuzz_quic.c - bytes as a datagram, then as the frames of a decrypted packet. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "probe/names/assembly.h"
#include "probe/names/quic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct assembly assembly;

static void check_pieces(void)
{
	for (size_t i = 0; i < assembly.n; i++) {
		assert(assembly.pieces[i].start < assembly.pieces[i].end);
		assert(assembly.pieces[i].end <= ASSEMBLY_BYTES);
		assert(i == 0 || assembly.pieces[i - 1].end < assembly.pieces[i].start);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len + 1); /* a block of its own: ASan sees reads past its end */
	uint8_t plain[QUIC_PLAIN_MAX];
	struct quic_initial initial;
	size_t n;

	assert(copy);
	memcpy(copy, data, len);
	if (quic_parse(copy, len, &initial) == 0) {
		assert(initial.len <= len && initial.pn_offset < initial.len);
		if (quic_decrypt(&initial, plain, &n) == 0)
			assert(n < initial.len);
	}
	assembly.n = 0;
	(void)quic_collect(copy, len, &assembly);
	check_pieces();
	free(copy);
	return 0;
}
