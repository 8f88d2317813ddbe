/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * admission.h - who is let in: tokens and keys in the database
 * (sql/0006_admission.sql), and what hosts ask for; administrators: admin.h.
 *
 * All of it changes the database, so it runs on the one connection that
 * writes, within a transaction of the caller: that of `serve`, or of a command
 * when nothing is served (control.h).
 *
 * Errors: those of db.h.
 */
#ifndef WEIR_COLLECTOR_ACCESS_ADMISSION_H
#define WEIR_COLLECTOR_ACCESS_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "common/addr.h"
#include "common/key.h"
#include "proto/enroll.h"

struct allow_list;

#define ADMISSION_MAX_PENDING 1000
#define ADMISSION_HASH_BYTES  32

/* A request over the enrolment port. */
struct enrollment {
	uint8_t key[KEY_BYTES]; /* of the connection */
	char address[ADDR_TEXT_MAX];
	struct enroll ask;
	struct enroll_result result;
	bool news; /* it changed something: a host that waits asks again and again */
};

/* What the database has of the secret of a token. */
void admission_hash(const uint8_t *secret, uint8_t ret[ADMISSION_HASH_BYTES]);

/* Decides, and fills e->result. */
int admission_enroll(sqlite3 *db, struct enrollment *e, int64_t now_ms);

/* The key has been used: one that it replaces is retired. *ret_changed: whether. */
int admission_used(sqlite3 *db, const uint8_t key[KEY_BYTES], int64_t now_ms, bool *ret_changed);

/* Whether any key is admitted. */
int admission_any(sqlite3 *db);

/* Copies the admitted keys to l. */
int admission_publish(sqlite3 *db, struct allow_list *l);

#endif /* WEIR_COLLECTOR_ACCESS_ADMISSION_H */
