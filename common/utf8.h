/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* utf8.h - text from outside, one character at a time, before a terminal sees it. */
#ifndef WEIR_COMMON_UTF8_H
#define WEIR_COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Bytes of the character that starts text[0..len), len > 0, and its code point
 * in *ret. 0 when it is not valid UTF-8 (RFC 3629: no overlong form, no
 * surrogate, at most U+10FFFF); *ret is then the first byte.
 */
size_t utf8_next(const char *text, size_t len, uint32_t *ret);

/* False for C0, DEL, C1 and the bidirectional controls U+202A-202E, U+2066-2069. */
bool utf8_printable(uint32_t code);

#endif /* WEIR_COMMON_UTF8_H */
