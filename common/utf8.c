/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "common/utf8.h"

static bool in_range(uint32_t v, uint32_t first, uint32_t last)
{
	return v >= first && v <= last;
}

size_t utf8_next(const char *text, size_t len, uint32_t *ret)
{
	/* Smallest code point that needs 2, 3, 4 bytes. */
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8_t *p = (const uint8_t *)text;
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	uint32_t code;

	*ret = p[0];
	if (n <= 1)
		return n;
	if (n > len || p[0] > 0xf4)
		return 0;
	code = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code < least[n] || code > 0x10ffff || in_range(code, 0xd800, 0xdfff))
		return 0;
	*ret = code;
	return n;
}

bool utf8_printable(uint32_t code)
{
	return code >= 0x20 && !in_range(code, 0x7f, 0x9f) && !in_range(code, 0x202a, 0x202e) &&
	       !in_range(code, 0x2066, 0x2069);
}
