/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * host_key.h - rows of the table host_key, and the log of who came and went.
 *
 * On the connection that writes, within a transaction of the caller. Errors:
 * those of db.h.
 */
#ifndef WEIR_COLLECTOR_ACCESS_HOST_KEY_H
#define WEIR_COLLECTOR_ACCESS_HOST_KEY_H

#include <stdint.h>

#include <sqlite3.h>

#include "common/key.h"

struct host_key {
	char state[16];
	uint8_t probe_id[KEY_ID_BYTES];
};

struct new_key {
	const uint8_t *public_key, *probe_id, *replaces; /* replaces: may be NULL */
	const char *state, *name, *address;
	int64_t token_id; /* 0: none */
};

/* Returns 1, or 0 if the key is not known. */
int host_key_find(sqlite3 *db, const uint8_t key[KEY_BYTES], struct host_key *ret);

int host_key_put(sqlite3 *db, const struct new_key *k, int64_t now_ms);

int host_key_set_state(sqlite3 *db, const uint8_t key[KEY_BYTES], const char *state,
		       int64_t now_ms);

/* Table admission_log. subject: a fingerprint, or "token N". */
int host_key_note(sqlite3 *db, int64_t now_ms, const char *what, const char *subject,
		  const char *detail);

#endif /* WEIR_COLLECTOR_ACCESS_HOST_KEY_H */
