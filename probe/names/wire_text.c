// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/names/wire_text.h"

#include <string.h>

struct wire_text wire_text_start(char *buf, size_t size)
{
	buf[0] = '\0';
	return (struct wire_text){.at = buf, .room = size - 1};
}

/* All of it or nothing, and nothing more once something was left out. */
static void put(struct wire_text *t, const char *text, size_t len)
{
	if (t->cut || len > t->room) {
		t->cut = true;
		return;
	}
	memcpy(t->at, text, len);
	t->at += len;
	t->room -= len;
	*t->at = '\0';
}

static void put_byte(struct wire_text *t, uint8_t c, const char *special)
{
	char escaped[] = {'\\', (char)('0' + c / 100), (char)('0' + c / 10 % 10),
			  (char)('0' + c % 10)};
	char plain[] = {'\\', (char)c};

	if (c <= ' ' || c > '~')
		put(t, escaped, sizeof(escaped));
	else if (c == '\\' || strchr(special, c))
		put(t, plain, 2);
	else if (c >= 'A' && c <= 'Z')
		wire_text_char(t, (char)(c - 'A' + 'a'));
	else
		wire_text_char(t, (char)c);
}

void wire_text_bytes(struct wire_text *t, const uint8_t *bytes, size_t len, const char *special)
{
	for (size_t i = 0; i < len; i++)
		put_byte(t, bytes[i], special);
}

void wire_text_name(struct wire_text *t, const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)name[i];

		if (c >= 'A' && c <= 'Z')
			wire_text_char(t, (char)c);
		else if (c == ' ')
			wire_text_char(t, ' ');
		else
			put_byte(t, c, "");
	}
}

void wire_text_char(struct wire_text *t, char c)
{
	put(t, &c, 1);
}
