/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* fuzz_key_file.c - the two private files of a probe, and the text of a key. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/key.h"
#include "probe/uplink/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_key(const char *text)
{
	char again[KEY_TEXT_BYTES];
	uint8_t key[KEY_BYTES];

	if (key_parse(text, key) != 0)
		return;
	key_format(key, again);
	assert(strcmp(text, again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct keyring ring;
	char *text = malloc(len + 1);
	const char *why = NULL;
	struct key_pair pair;
	int err;

	assert(text);
	memcpy(text, data, len);
	text[len] = '\0';
	check_key(text);
	err = key_file_parse(text, &pair, &why);
	assert(err == 0 || why);
	err = keyring_parse(text, &ring, &why);
	assert(err == 0 || why);
	assert(ring.n <= KEYRING_MAX);
	for (size_t i = 0; i < ring.n; i++)
		assert(memchr(ring.collectors[i].url, '\0', KEYRING_URL_BYTES));
	free(text);
	return 0;
}
