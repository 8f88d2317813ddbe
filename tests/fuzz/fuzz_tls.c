// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fuzz_tls.c - bytes as a ClientHello, as a message and as records. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "probe/names/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_text(const char *text, size_t size)
{
	assert(strnlen(text, size) < size);
	for (; *text; text++)
		assert(*text > ' ' && *text <= '~' && !(*text >= 'A' && *text <= 'Z'));
}

static int check(int err, const struct tls_hello *h)
{
	assert(err == 0 || err == -EAGAIN || err == -EBADMSG);
	check_text(h->sni, sizeof(h->sni));
	check_text(h->alpn, sizeof(h->alpn));
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len + 1); /* a block of its own: ASan sees reads past its end */
	struct tls_hello h;

	assert(copy);
	memcpy(copy, data, len);
	/* What is whole stays so without its last byte, or waits for it; it is never refused. */
	if (check(tls_parse_hello(copy, len, &h), &h) == 0 && len > 0)
		assert(check(tls_parse_hello(copy, len - 1, &h), &h) != -EBADMSG);
	if (check(tls_parse_records(copy, len, &h), &h) == 0 && len > 0)
		assert(check(tls_parse_records(copy, len - 1, &h), &h) != -EBADMSG);
	free(copy);
	return 0;
}
