/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * allow_list.h - the keys that may speak, and who they are: the copy in memory
 * of the admitted keys in the table host_key.
 *
 * The writer replaces it after each commit that changed the table; the guard
 * (gate.h) asks it at every handshake, the receiver at every message.
 *
 * Threads: any; a lock inside.
 */
#ifndef WEIR_COLLECTOR_ACCESS_ALLOW_LIST_H
#define WEIR_COLLECTOR_ACCESS_ALLOW_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/key.h"

struct allow_list;

struct allowed {
	uint8_t public_key[KEY_BYTES]; /* first: entries are sorted by it */
	uint8_t probe_id[KEY_ID_BYTES];
};

/* One that is not filled yet. Returns -ENOMEM. */
int allow_list_new(struct allow_list **ret);
/* NULL is a no-op. */
void allow_list_free(struct allow_list *l);

/* Takes entries (malloc()ed), n of them, in any order. */
void allow_list_replace(struct allow_list *l, struct allowed *entries, size_t n);

/* Whether it has been filled, if with nothing. */
bool allow_list_filled(struct allow_list *l);

/* Whether the key may speak; ret_probe_id may be NULL. */
bool allow_list_find(struct allow_list *l, const uint8_t public_key[KEY_BYTES],
		     uint8_t *ret_probe_id);

#endif /* WEIR_COLLECTOR_ACCESS_ALLOW_LIST_H */
