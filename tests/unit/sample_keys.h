/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sample_keys.h - CURVE keys by number, always the same, for tests. */
#ifndef WEIR_TESTS_UNIT_SAMPLE_KEYS_H
#define WEIR_TESTS_UNIT_SAMPLE_KEYS_H

#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "collector/access/allow_list.h"
#include "common/key.h"

#define SAMPLE_SERVER  0   /* the collector's; hosts have the numbers after it */
#define SAMPLE_HOSTS   200 /* of these, the first are on the allow-list */
#define SAMPLE_UNKNOWN 250

static inline struct key_pair sample_key(uint8_t n)
{
	struct key_pair k = {.secret_key = {0}};

	memset(k.secret_key, 0x40 + n, sizeof(k.secret_key));
	assert_int_equal(crypto_scalarmult_base(k.public_key, k.secret_key), 0);
	key_id(k.public_key, k.id);
	return k;
}

/* Host n is the one that sample_jobs.h makes: its probe_id begins with n, the rest is 0. */
static inline struct allow_list *sample_allow_list(void)
{
	struct allowed *entries = calloc(SAMPLE_HOSTS, sizeof(*entries));
	struct allow_list *l = NULL;

	assert_non_null(entries);
	assert_int_equal(allow_list_new(&l), 0);
	for (uint8_t n = 1; n <= SAMPLE_HOSTS; n++) {
		const struct key_pair k = sample_key(n);

		memcpy(entries[n - 1].public_key, k.public_key, KEY_BYTES);
		entries[n - 1].probe_id[0] = n;
	}
	allow_list_replace(l, entries, SAMPLE_HOSTS);
	return l;
}

#endif /* WEIR_TESTS_UNIT_SAMPLE_KEYS_H */
