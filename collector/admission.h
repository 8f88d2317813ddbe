/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * admission.h - who is let in: tokens and keys in the database
 * (sql/0006_admission.sql), and what hosts and administrators ask for.
 *
 * All of it changes the database, so it runs on the one connection that
 * writes, within a transaction of the caller: that of `serve`, or of a command
 * when nothing is served (control.h).
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
 *
 * Errors: those of db.h.
 */
#ifndef WEIR_COLLECTOR_ADMISSION_H
#define WEIR_COLLECTOR_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "common/addr.h"
#include "common/key.h"
#include "proto/enroll.h"

struct allow_list;

#define ADMISSION_MAX_PENDING 1000
#define ADMIN_MAX_WORDS	      8
#define ADMIN_TEXT_MAX	      1024

/* A request over the enrolment port. */
struct enrollment {
	uint8_t key[KEY_BYTES]; /* of the connection */
	char address[ADDR_TEXT_MAX];
	struct enroll ask;
	struct enroll_result result;
};

struct admin_reply {
	int exit_code; /* enum exit_code */
	char text[ADMIN_TEXT_MAX];
};

/* Decides, and fills e->result. */
int admission_enroll(sqlite3 *db, struct enrollment *e, int64_t now_ms);

/* Does what the n words ask for; what is wrong with them is told in *ret. */
int admission_command(sqlite3 *db, size_t n, const char *const *words, int64_t now_ms,
		      struct admin_reply *ret);

/* The key has been used: one that it replaces is retired. *ret_changed: whether. */
int admission_used(sqlite3 *db, const uint8_t key[KEY_BYTES], int64_t now_ms, bool *ret_changed);

/* Whether any key is admitted. */
int admission_any(sqlite3 *db);

/* Copies the admitted keys to l. */
int admission_publish(sqlite3 *db, struct allow_list *l);

#endif /* WEIR_COLLECTOR_ADMISSION_H */
