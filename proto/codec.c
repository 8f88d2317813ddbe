/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "proto/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"

/* What malloc() adds to an allocation, so that many tiny ones count too. */
#define MALLOC_OVERHEAD 16

static bool take_budget(struct codec *c, size_t size)
{
	if (c->left < MALLOC_OVERHEAD || size > c->left - MALLOC_OVERHEAD) {
		c->over_budget = true;
		return false;
	}
	c->left -= size + MALLOC_OVERHEAD;
	return true;
}

static void *allocate(void *data, size_t size)
{
	struct codec *c = data;
	void *p = take_budget(c, size) ? malloc(size) : NULL;

	c->out_of_memory |= !p && !c->over_budget;
	return p;
}

static void release(void *data, void *p)
{
	(void)data;
	free(p);
}

void codec_init(struct codec *c)
{
	*c = (struct codec){
		.allocator = {.alloc = allocate, .free = release, .allocator_data = c},
		.left = MESSAGE_MAX_ALLOC,
	};
}

void *codec_alloc(struct codec *c, size_t size)
{
	void *p = allocate(c, size);

	if (p)
		memset(p, 0, size);
	return p;
}

int codec_refuse(const char *why, const char **ret_why)
{
	if (ret_why)
		*ret_why = why;
	return -EBADMSG;
}

int codec_decode(struct codec *c, const ProtobufCMessageDescriptor *type, const uint8_t *body,
		 size_t len, ProtobufCMessage **ret, const char **ret_why)
{
	ProtobufCMessage *m = protobuf_c_message_unpack(type, &c->allocator, len, body);

	if (m) {
		*ret = m;
		return 0;
	}
	if (c->out_of_memory)
		return -ENOMEM;
	return codec_refuse(c->over_budget ? "needs too much memory" : "not a protobuf message",
			    ret_why);
}

void codec_free_message(struct codec *c, ProtobufCMessage *m)
{
	protobuf_c_message_free_unpacked(m, &c->allocator);
}

int codec_seal(const ProtobufCMessage *m, int frame_type, struct packed *ret)
{
	size_t body_len = protobuf_c_message_get_packed_size(m);
	uint8_t *data;

	if (body_len > FRAME_MAX_BYTES - FRAME_HEADER_BYTES)
		return -E2BIG;
	data = malloc(FRAME_HEADER_BYTES + body_len);
	if (!data)
		return -ENOMEM;
	protobuf_c_message_pack(m, data + FRAME_HEADER_BYTES);
	frame_seal(data, (enum frame_type)frame_type, body_len);
	*ret = (struct packed){.data = data, .len = FRAME_HEADER_BYTES + body_len};
	return 0;
}

/* Length of the valid UTF-8 character at p (RFC 3629), 0 if there is none. */
static size_t utf8_length(const uint8_t *p)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (p[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80) /* the NUL too: never past the end */
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90)) /* overlong */
		return 0;
	if ((p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f)) /* surrogate, high */
		return 0;
	return n;
}

bool codec_text(const char *text, char *ret, size_t size)
{
	size_t len = strlen(text);

	if (len >= size)
		return false;
	for (size_t at = 0, n; at < len; at += n) {
		n = utf8_length((const uint8_t *)text + at);
		if (n == 0)
			return false;
	}
	memcpy(ret, text, len + 1);
	return true;
}

bool codec_bytes(const ProtobufCBinaryData *data, uint8_t *ret, size_t n)
{
	if (data->len != n)
		return false;
	memcpy(ret, data->data, n);
	return true;
}
