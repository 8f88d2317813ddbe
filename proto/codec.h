/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * codec.h - what message.c and batch.c share: bounded decoding, sealing and
 * the checks of single values. Not for other modules.
 */
#ifndef WEIR_PROTO_CODEC_H
#define WEIR_PROTO_CODEC_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"

/* Signed in SQLite, so nothing larger may enter. */
#define COUNT_MAX ((uint64_t)INT64_MAX)

/* Memory that one unpack call may take; counts allocations, never frees. */
struct codec {
	ProtobufCAllocator allocator;
	size_t left;
	bool out_of_memory; /* malloc() failed */
	bool over_budget;
};

void codec_init(struct codec *c);

/* Zeroed memory within the budget, for free(); NULL when there is none. */
void *codec_alloc(struct codec *c, size_t size);

/*
 * Decodes body. Release with codec_free_message(). -ENOMEM, or -EBADMSG with
 * the reason in *ret_why.
 */
int codec_decode(struct codec *c, const ProtobufCMessageDescriptor *type, const uint8_t *body,
		 size_t len, ProtobufCMessage **ret, const char **ret_why);
void codec_free_message(struct codec *c, ProtobufCMessage *m);

/* -EBADMSG, with the reason in *ret_why unless that is NULL. */
int codec_refuse(const char *why, const char **ret_why);

/* Packs a message into a sealed frame. -ENOMEM, -E2BIG. */
int codec_seal(const ProtobufCMessage *m, int frame_type, struct packed *ret);

/* Copies valid UTF-8 text that fits ret[0..size) with its NUL; else false. */
bool codec_text(const char *text, char *ret, size_t size);

/* Copies a bytes field of exactly n bytes; else false. */
bool codec_bytes(const ProtobufCBinaryData *data, uint8_t *ret, size_t n);

#endif /* WEIR_PROTO_CODEC_H */
