/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * admin.h - what an administrator may change: tokens, and who is let in.
 *
 * Runs on the one connection that writes, within a transaction of the caller:
 * that of `serve`, or of a command when nothing is served (control.h).
 *
 * A request of an administrator is a list of words:
 *
 *	init-key KEY			this collector's public key
 *	listen URL ENROLL_URL		as bound
 *	token-create TTL_MS USES MANUAL	answer: the secret, 32 hexadecimal digits
 *	token-revoke ID
 *	approve|reject HOST		HOST: a name, or the beginning of a fingerprint
 *	add NAME KEY			admits a key without a request of its own
 *	revoke|admit HOST
 *	order HOST KIND PREFIX TTL_S REASON ACTOR	answer: the number (orders.h)
 *	retention AGE_MS MAX_BYTES	as serve was told
 *	expire BEFORE_MS MAX_BYTES	retention, now (store.c): at most ADMIN_EXPIRE_ROWS and what
 *					the last segment has more; answer: how many; 0: it is done
 *
 * Errors: those of db.h.
 */
#ifndef WEIR_COLLECTOR_SERVE_ADMIN_H
#define WEIR_COLLECTOR_SERVE_ADMIN_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#define ADMIN_MAX_WORDS	  8
#define ADMIN_TEXT_MAX	  1024
#define ADMIN_EXPIRE_ROWS 500000 /* of one request: batches are waiting */

struct admin_reply {
	int exit_code; /* enum exit_code */
	char text[ADMIN_TEXT_MAX];
};

/* Does what the n words ask for; what is wrong with them is told in *ret. */
int admin_command(sqlite3 *db, size_t n, const char *const *words, int64_t now_ms,
		  struct admin_reply *ret);

#endif /* WEIR_COLLECTOR_SERVE_ADMIN_H */
