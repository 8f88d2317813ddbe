// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fuzz_flow_block.c - sealed blocks of flows. The checksum is made right first. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/flow_block.h"
#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct flow_columns all = flow_columns_all();
	struct column_codec *codec = NULL;
	struct flow_summary summary;
	struct flow_parts parts;
	struct flow_block b;
	uint8_t *blob;
	uint32_t crc;
	bool checked;

	if (size < 4 || column_codec_new(4096, &codec) != 0)
		return 0;
	blob = malloc(size);
	if (!blob)
		abort();
	memcpy(blob, data, size);
	crc = crc32c(blob, size - 4);
	memcpy(blob + size - 4, &crc, 4);
	checked = flow_block_check(codec, blob, size, &summary, NULL) == 0;
	/* What was taken is decoded whenever somebody asks; what was not may be a segment. */
	if (flow_parts_open(blob, size, &parts, NULL) == 0 &&
	    flow_parts_decode(codec, &parts, &all, &b, NULL) == 0)
		flow_block_done(&b);
	else if (checked)
		abort();
	free(blob);
	column_codec_free(codec);
	return 0;
}
