// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * fuzz_join.c - any bytes as a join string, or as what a join string says, with
 * its checksum made right. What is taken is the same when it is written again.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/join.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(const char *text)
{
	char again[JOIN_TEXT_MAX];
	struct join first = {0}, second = {0};
	const char *why = NULL;
	int err = join_parse(text, &first, &why);

	assert(err == 0 || (err == -EINVAL && why));
	if (err)
		return;
	assert(join_format(&first, again) == 0);
	assert(join_parse(again, &second, &why) == 0);
	assert(memcmp(first.server_key, second.server_key, JOIN_KEY_BYTES) == 0);
	assert(memcmp(first.secret, second.secret, JOIN_SECRET_BYTES) == 0);
	assert(first.port == second.port && first.enroll_port == second.enroll_port);
	assert(strcmp(first.host, second.host) == 0);
}

/* "weir1_" and base64url without padding, as the manual in proto/join.h says. */
static void parse_body(const uint8_t *data, size_t size)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32_t crc = crc32c(data, size), bits = 0;
	size_t total = size + 4;
	char *text = malloc(total * 2 + 16);
	char *at = text;
	int n = 0;

	if (!text)
		abort();
	memcpy(at, "weir1_", 6);
	at += 6;
	for (size_t i = 0; i < total; i++) {
		uint8_t byte = i < size ? data[i] : (uint8_t)(crc >> 8 * (i - size));

		bits = bits << 8 | byte;
		for (n += 8; n >= 6; n -= 6)
			*at++ = digits[bits >> (n - 6) & 63];
	}
	if (n > 0)
		*at++ = digits[bits << (6 - n) & 63];
	*at = '\0';
	parse(text);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);

	if (!text)
		abort();
	parse(text);
	free(text);
	parse_body(data, size);
	return 0;
}
