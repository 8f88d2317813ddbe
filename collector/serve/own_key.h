/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * own_key.h - the key of this collector: the file DB-key beside the database,
 * whose public half is also in the database, for join strings.
 *
 * Made once. Hosts know the collector by it, so it is not made anew when the
 * database already has admitted hosts.
 *
 * Functions that return int give an exit status (common/exit_code.h) and have
 * then said on stderr what is wrong.
 */
#ifndef WEIR_COLLECTOR_SERVE_OWN_KEY_H
#define WEIR_COLLECTOR_SERVE_OWN_KEY_H

#include <stdbool.h>

#include "common/key.h"

struct store;

/* The key of the file, or a new one (*ret_new) that is nowhere yet. */
int own_key_get(const char *db_path, struct key_pair *ret, bool *ret_new);

/* Keeps a new one in its file, and the public key in the database. */
int own_key_keep(const char *db_path, const struct key_pair *pair, bool is_new,
		 struct store *store);

#endif /* WEIR_COLLECTOR_SERVE_OWN_KEY_H */
