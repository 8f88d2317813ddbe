/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_decoder.h - what flow_decode.c and flow_dictionaries.c share. Not for others. */
#ifndef WEIR_PROTO_FLOW_DECODER_H
#define WEIR_PROTO_FLOW_DECODER_H

#include "proto/flow_block.h"
#include "proto/twins.h"

/* A block that is being decoded. */
struct flow_decoder {
	struct column_codec *codec;
	const struct flow_parts *parts;
	struct column_rows rows; /* of the parts; all that is in b */
	struct flow_block *b;
	uint64_t most[FLOW_N_COLUMNS]; /* that its numbers can be, by their bits alone */
	struct twins twins;	       /* if a column counts on them */
	const char *why;
};

static inline bool flow_decoder_bad(struct flow_decoder *d, const char *why)
{
	d->why = why;
	return false;
}

/*
 * Memory of d->b for the columns that are not all zeros, and the dictionaries in it.
 * Returns -ENOMEM or -EBADMSG.
 */
int flow_decode_dictionaries(struct flow_decoder *d, const struct flow_columns *wanted,
			     bool with_addrs, bool with_texts);
/* Whether no row has a text that is too long for the column. */
bool flow_texts_fit(const struct flow_block *b, const uint32_t *numbers, size_t size);

#endif /* WEIR_PROTO_FLOW_DECODER_H */
