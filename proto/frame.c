/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "proto/frame.h"

#include <string.h>

/* Offsets of the header's fields. */
enum { AT_MAGIC = 0, AT_MAJOR = 2, AT_TYPE = 3, AT_BODY_LEN = 4, AT_CRC = 8, AT_FLAGS = 12 };

static uint32_t get_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

enum frame_error frame_open(const uint8_t *data, size_t len, struct frame *ret)
{
	const uint8_t *body = data + FRAME_HEADER_BYTES;
	size_t body_len;

	if (len < FRAME_HEADER_BYTES)
		return FRAME_SHORT;
	body_len = len - FRAME_HEADER_BYTES;
	if ((data[AT_MAGIC] | data[AT_MAGIC + 1] << 8) != FRAME_MAGIC)
		return FRAME_BAD_MAGIC;
	if (data[AT_MAJOR] != PROTO_VERSION_MAJOR)
		return FRAME_BAD_MAJOR;
	if (data[AT_TYPE] < FRAME_HELLO || data[AT_TYPE] > FRAME_TYPE_MAX)
		return FRAME_BAD_TYPE;
	if (len > FRAME_MAX_BYTES || get_le32(data + AT_BODY_LEN) != body_len)
		return FRAME_BAD_LENGTH;
	if (get_le32(data + AT_FLAGS) != 0)
		return FRAME_BAD_FLAGS;
	if (get_le32(data + AT_CRC) != crc32c(body, body_len))
		return FRAME_BAD_CRC;
	*ret = (struct frame){.type = data[AT_TYPE], .body = body, .body_len = body_len};
	return FRAME_OK;
}

const char *frame_error_text(enum frame_error err)
{
	static const char *const texts[] = {
		[FRAME_OK] = "ok",
		[FRAME_SHORT] = "shorter than a header",
		[FRAME_BAD_MAGIC] = "not weir's protocol",
		[FRAME_BAD_MAJOR] = "another major version of the protocol",
		[FRAME_BAD_TYPE] = "unknown message type",
		[FRAME_BAD_LENGTH] = "length does not match the header",
		[FRAME_BAD_CRC] = "checksum does not match",
		[FRAME_BAD_FLAGS] = "unknown flags",
	};

	return texts[err];
}

const char *frame_type_name(enum frame_type type)
{
	static const char *const names[] = {
		[FRAME_HELLO] = "HELLO",
		[FRAME_WELCOME] = "WELCOME",
		[FRAME_BATCH] = "BATCH",
		[FRAME_ACK] = "ACK",
		[FRAME_NACK] = "NACK",
		[FRAME_PING] = "PING",
		[FRAME_PONG] = "PONG",
		[FRAME_COMMAND] = "COMMAND",
		[FRAME_COMMAND_RESULT] = "COMMAND_RESULT",
		[FRAME_ENROLL] = "ENROLL",
		[FRAME_ENROLL_RESULT] = "ENROLL_RESULT",
	};

	return names[type];
}

void frame_seal(uint8_t *buf, enum frame_type type, size_t body_len)
{
	buf[AT_MAGIC] = FRAME_MAGIC & 0xff;
	buf[AT_MAGIC + 1] = FRAME_MAGIC >> 8;
	buf[AT_MAJOR] = PROTO_VERSION_MAJOR;
	buf[AT_TYPE] = (uint8_t)type;
	put_le32(buf + AT_BODY_LEN, (uint32_t)body_len);
	put_le32(buf + AT_CRC, crc32c(buf + FRAME_HEADER_BYTES, body_len));
	put_le32(buf + AT_FLAGS, 0);
}
