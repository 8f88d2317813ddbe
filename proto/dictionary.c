/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "proto/dictionary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int dictionary_init(struct dictionary *d, size_t max_texts)
{
	size_t size = 16;

	while (size < 2 * max_texts)
		size *= 2;
	*d = (struct dictionary){
		.texts = calloc(max_texts + 1, sizeof(*d->texts)),
		.numbers = calloc(size, sizeof(*d->numbers)),
		.mask = size - 1,
	};
	return d->texts && d->numbers ? 0 : -ENOMEM;
}

void dictionary_done(struct dictionary *d)
{
	free(d->texts);
	free(d->numbers);
}

/* FNV-1a. Names that collide on purpose cost some milliseconds a batch, no more. */
static uint32_t hash(const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 16777619u;
	return h;
}

uint32_t dictionary_number(struct dictionary *d, const char *text)
{
	size_t at = hash(text) & d->mask;

	if (!*text)
		return 0;
	for (; d->numbers[at]; at = (at + 1) & d->mask)
		if (strcmp(d->texts[d->numbers[at] - 1], text) == 0)
			return d->numbers[at];
	d->texts[d->n++] = (char *)text;
	d->numbers[at] = (uint32_t)d->n;
	return d->numbers[at];
}
