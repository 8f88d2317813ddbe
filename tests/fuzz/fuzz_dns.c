// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fuzz_dns.c - bytes as one message, then as a TCP stream cut where the bytes say. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "probe/names/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void on_message(const uint8_t *msg, size_t len, void *arg)
{
	struct dns_message m;

	(void)arg;
	if (dns_parse(msg, len, &m) != 0)
		return;
	assert(m.rcode <= 15);
	for (const char *p = m.qname; *p; p++)
		assert(*p > ' ' && *p <= '~' && !(*p >= 'A' && *p <= 'Z'));
	assert(strlen(m.qname) < sizeof(m.qname));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct dns_stream s = {0};
	uint8_t *copy = malloc(len + 1); /* a block of its own: ASan sees reads past its end */
	uint32_t seq = 0;

	assert(copy);
	memcpy(copy, data, len);
	on_message(copy, len, NULL);
	for (size_t at = 0; at < len;) {
		size_t n = 1 + data[at] % 64, gap = data[at] >> 6;

		if (n > len - at)
			n = len - at;
		dns_stream_feed(&s, seq, copy + at, n, n + gap, on_message, NULL);
		seq += (uint32_t)(n + gap) - data[at] % 3; /* some overlap */
		at += n;
	}
	free(copy);
	return 0;
}
