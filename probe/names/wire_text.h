/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * wire_text.h - text made of bytes from outside, fit for anybody to read:
 * printable ASCII only, letters in lower case, every other byte as \DDD
 * (decimal), as zone files write it (RFC 1035 5.1).
 *
 *	struct wire_text t = wire_text_start(buf, sizeof(buf));
 *	wire_text_bytes(&t, name, len, ".");
 *
 * The text always ends with NUL. What does not fit is left out and said so.
 */
#ifndef WEIR_PROBE_NAMES_WIRE_TEXT_H
#define WEIR_PROBE_NAMES_WIRE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_text {
	char *at;
	size_t room; /* without the NUL */
	bool cut;
};

/* size is at least 1. */
struct wire_text wire_text_start(char *buf, size_t size);

/* Puts bytes; those that are in special get a backslash before them. */
void wire_text_bytes(struct wire_text *t, const uint8_t *bytes, size_t len, const char *special);

/* Puts a name of this host: as it is, but for bytes that are not printable ASCII. */
void wire_text_name(struct wire_text *t, const char *name, size_t len);

/* Puts one character as it is. */
void wire_text_char(struct wire_text *t, char c);

#endif /* WEIR_PROBE_NAMES_WIRE_TEXT_H */
