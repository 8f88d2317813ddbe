/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * frame.h - the header before every message between probe and collector.
 *
 *	offset size  field (little-endian)
 *	     0    2  magic      0x5745
 *	     2    1  major      protocol version; another major is refused
 *	     3    1  type       enum frame_type
 *	     4    4  body_len   bytes after the header, exactly the rest
 *	     8    4  crc        CRC-32C (RFC 3720 B.4) of the body
 *	    12    4  flags      0; unknown flags are refused
 *
 * One frame is one ZeroMQ message part.
 */
#ifndef WEIR_PROTO_FRAME_H
#define WEIR_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_MAGIC	   0x5745u
#define FRAME_HEADER_BYTES 16
#define FRAME_MAX_BYTES	   (1u << 20) /* header and body; ZMQ_MAXMSGSIZE is set to it */

#define PROTO_VERSION_MAJOR 1
#define PROTO_VERSION_MINOR 2

enum frame_type {
	FRAME_HELLO = 1,
	FRAME_WELCOME,
	FRAME_BATCH,
	FRAME_ACK,
	FRAME_NACK,
	FRAME_PING,
	FRAME_PONG,
	FRAME_COMMAND,
	FRAME_COMMAND_RESULT,
	FRAME_ENROLL,
	FRAME_ENROLL_RESULT,

	FRAME_TYPE_MAX = FRAME_ENROLL_RESULT,
};

/* Why a frame was refused; frame_error_text() names it for logs and reports. */
enum frame_error {
	FRAME_OK,
	FRAME_SHORT,	 /* less than a header */
	FRAME_BAD_MAGIC, /* not our protocol */
	FRAME_BAD_MAJOR, /* another major version */
	FRAME_BAD_TYPE,
	FRAME_BAD_LENGTH, /* body_len is not what came */
	FRAME_BAD_CRC,
	FRAME_BAD_FLAGS,
};

struct frame {
	enum frame_type type;
	const uint8_t *body; /* borrowed from the buffer given to frame_open() */
	size_t body_len;
};

/* Checks a received message. *ret is written on FRAME_OK only. */
enum frame_error frame_open(const uint8_t *data, size_t len, struct frame *ret);

const char *frame_error_text(enum frame_error err);
const char *frame_type_name(enum frame_type type);

/*
 * Writes the header in front of a body that the caller has already put at
 * buf + FRAME_HEADER_BYTES.
 */
void frame_seal(uint8_t *buf, enum frame_type type, size_t body_len);

uint32_t crc32c(const uint8_t *data, size_t len);

#endif /* WEIR_PROTO_FRAME_H */
