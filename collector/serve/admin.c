// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/admin.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/access/admission.h"
#include "collector/access/host_key.h"
#include "collector/serve/orders.h"
#include "collector/sqlite/one_shot.h"
#include "common/array_size.h"
#include "common/cleanup.h"
#include "common/exit_code.h"

#define FINGERPRINT_MIN 4 /* characters that name a host by its fingerprint */

static int say(struct admin_reply *r, int exit_code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int say(struct admin_reply *r, int exit_code, const char *fmt, ...)
{
	va_list ap;

	r->exit_code = exit_code;
	va_start(ap, fmt);
	(void)vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	return 0;
}

static int init_key(sqlite3 *db, const char *const *words, int64_t now_ms, struct admin_reply *ret)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(db, "INSERT INTO collector (id, public_key) VALUES (1, ?)"
				   " ON CONFLICT DO UPDATE SET public_key = excluded.public_key");
	uint8_t key[KEY_BYTES];

	(void)now_ms;
	if (key_parse(words[0], key) != 0)
		return say(ret, EXIT_USAGE, "\"%s\" is no key", words[0]);
	binder_blob(&o.b, key, sizeof(key));
	return one_shot_run(&o);
}

static int set_listen(sqlite3 *db, const char *const *words, int64_t now_ms,
		      struct admin_reply *ret)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(db, "UPDATE collector SET listen = ?, enroll_listen = ?");

	(void)now_ms;
	(void)ret;
	binder_text(&o.b, words[0]);
	binder_text(&o.b, words[1]);
	return one_shot_run(&o);
}

static int set_retention(sqlite3 *db, const char *const *words, int64_t now_ms,
			 struct admin_reply *ret)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(db, "INSERT OR REPLACE INTO retention (id, age_ms, max_bytes,"
				   " since_ms) VALUES (1, ?, ?, ?)");

	(void)ret;
	binder_int(&o.b, strtoll(words[0], NULL, 10));
	binder_int(&o.b, strtoll(words[1], NULL, 10));
	binder_int(&o.b, now_ms);
	return one_shot_run(&o);
}

static int create_token(sqlite3 *db, const char *const *words, int64_t now_ms,
			struct admin_reply *ret)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "INSERT INTO token (secret_hash, manual, max_uses, created_ms, expires_ms)"
		    " VALUES (?1, ?2, ?3, ?4, ?4 + ?5)");
	uint8_t secret[JOIN_SECRET_BYTES], hash[ADMISSION_HASH_BYTES];
	char subject[40];
	int err;

	randombytes_buf(secret, sizeof(secret));
	admission_hash(secret, hash);
	binder_blob(&o.b, hash, sizeof(hash));
	binder_int(&o.b, strcmp(words[2], "0") != 0);
	binder_int(&o.b, strtoll(words[1], NULL, 10));
	binder_int(&o.b, now_ms);
	binder_int(&o.b, strtoll(words[0], NULL, 10));
	err = one_shot_run(&o);
	if (err)
		return err;
	(void)sodium_bin2hex(ret->text, sizeof(ret->text), secret, sizeof(secret));
	(void)snprintf(subject, sizeof(subject), "token %" PRId64,
		       (int64_t)sqlite3_last_insert_rowid(db));
	return host_key_note(db, now_ms, "token created", subject, "");
}

static int revoke_token(sqlite3 *db, const char *const *words, int64_t now_ms,
			struct admin_reply *ret)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "UPDATE token SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms IS NULL");
	char *end, subject[40];
	int64_t id = strtoll(words[0], &end, 10);
	int err;

	binder_int(&o.b, id);
	binder_int(&o.b, now_ms);
	err = one_shot_run(&o);
	if (err)
		return err;
	if (*end || sqlite3_changes64(db) == 0)
		return say(ret, EXIT_USAGE, "there is no token %s that is valid", words[0]);
	(void)snprintf(subject, sizeof(subject), "token %" PRId64, id);
	(void)say(ret, EXIT_OK, "token %" PRId64 " is revoked", id);
	return host_key_note(db, now_ms, "token revoked", subject, "");
}

/* Whom a word names, among the keys of these states. */
#define MATCH                                                                                      \
	" FROM host_key k LEFT JOIN host h ON h.probe_id = k.probe_id WHERE instr(?2, k.state) > " \
	"0"                                                                                        \
	" AND (coalesce(h.name, k.name) = ?1"                                                      \
	"      OR (length(?1) >= ?3 AND substr(k.fingerprint, 1, length(?1)) = ?1))"

/* *ret_id: the only probe that word names; 1 or 0 (and it is said). */
static int find_host(sqlite3 *db, const char *word, const char *states, struct admin_reply *reply,
		     uint8_t ret_id[KEY_ID_BYTES])
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "SELECT k.probe_id, group_concat(k.fingerprint, ', ') OVER ()" MATCH);
	int found;

	binder_text(&o.b, word);
	binder_text(&o.b, states);
	binder_int(&o.b, FINGERPRINT_MIN);
	found = one_shot_row(&o);
	if (found < 0)
		return found;
	if (found == 0)
		return say(reply, EXIT_USAGE,
			   "no host is called \"%s\", or has a key that begins so, and is %s", word,
			   states);
	memcpy(ret_id, sqlite3_column_blob(o.st, 0), KEY_ID_BYTES);
	while ((found = one_shot_row(&o)) > 0)
		if (memcmp(ret_id, sqlite3_column_blob(o.st, 0), KEY_ID_BYTES) != 0)
			return say(reply, EXIT_USAGE, "\"%s\" is several hosts, name the key: %s",
				   word, (const char *)sqlite3_column_text(o.st, 1));
	return found < 0 ? found : 1;
}

struct change {
	const char *from, *to, *done; /* from: states, by comma */
};

/* Brings the keys of one host from one state into another. */
static int change_host(sqlite3 *db, const char *word, const struct change *c, int64_t now_ms,
		       struct admin_reply *ret)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "UPDATE host_key SET state = ?3, decided_ms = ?4 WHERE probe_id = ?1"
		    " AND instr(?2, state) > 0 RETURNING fingerprint, name");
	char fingerprint[KEY_FINGERPRINT_BYTES] = "";
	uint8_t id[KEY_ID_BYTES];
	int found = find_host(db, word, c->from, ret, id);

	if (found <= 0)
		return found;
	binder_blob(&o.b, id, sizeof(id));
	binder_text(&o.b, c->from);
	binder_text(&o.b, c->to);
	binder_int(&o.b, now_ms);
	while ((found = one_shot_row(&o)) > 0) {
		(void)snprintf(fingerprint, sizeof(fingerprint), "%s",
			       (const char *)sqlite3_column_text(o.st, 0));
		(void)say(ret, EXIT_OK, "%s (%s) is %s", (const char *)sqlite3_column_text(o.st, 1),
			  fingerprint, c->done);
	}
	return found < 0 ? found : host_key_note(db, now_ms, c->to, fingerprint, word);
}

static int approve(sqlite3 *db, const char *const *words, int64_t now_ms, struct admin_reply *ret)
{
	static const struct change c = {"pending", "admitted", "admitted"};

	return change_host(db, words[0], &c, now_ms, ret);
}

static int reject(sqlite3 *db, const char *const *words, int64_t now_ms, struct admin_reply *ret)
{
	static const struct change c = {"pending", "rejected", "rejected"};

	return change_host(db, words[0], &c, now_ms, ret);
}

static int revoke_host(sqlite3 *db, const char *const *words, int64_t now_ms,
		       struct admin_reply *ret)
{
	static const struct change c = {"admitted, pending", "revoked", "revoked"};

	return change_host(db, words[0], &c, now_ms, ret);
}

static int admit(sqlite3 *db, const char *const *words, int64_t now_ms, struct admin_reply *ret)
{
	static const struct change c = {"revoked, rejected, pending", "admitted", "admitted"};

	return change_host(db, words[0], &c, now_ms, ret);
}

static int add(sqlite3 *db, const char *const *words, int64_t now_ms, struct admin_reply *ret)
{
	uint8_t key[KEY_BYTES], id[KEY_ID_BYTES];
	char fingerprint[KEY_FINGERPRINT_BYTES];
	struct host_key known;
	int err;

	if (!words[0][0] || strlen(words[0]) > HOST_NAME_MAX_BYTES)
		return say(ret, EXIT_USAGE, "that is no name for a host");
	if (key_parse(words[1], key) != 0)
		return say(ret, EXIT_USAGE, "\"%s\" is no key; 'weir-probe key show' prints it",
			   words[1]);
	key_id(key, id);
	key_fingerprint(key, fingerprint);
	err = host_key_find(db, key, &known);
	if (err == 0)
		err = host_key_put(db,
				   &(struct new_key){.public_key = key,
						     .probe_id = id,
						     .state = "admitted",
						     .name = words[0],
						     .address = ""},
				   now_ms);
	else if (err > 0)
		err = host_key_set_state(db, key, "admitted", now_ms);
	if (err)
		return err;
	(void)say(ret, EXIT_OK, "%s (%s) is admitted", words[0], fingerprint);
	return host_key_note(db, now_ms, "admitted", fingerprint, words[0]);
}

int admin_command(sqlite3 *db, size_t n, const char *const *words, int64_t now_ms,
		  struct admin_reply *ret)
{
	static const struct {
		const char *name;
		size_t n_args;
		int (*run)(sqlite3 *db, const char *const *words, int64_t now_ms,
			   struct admin_reply *ret);
	} commands[] = {
		{"init-key", 1, init_key},
		{"listen", 2, set_listen},
		{"retention", 2, set_retention},
		{"token-create", 3, create_token},
		{"token-revoke", 1, revoke_token},
		{"approve", 1, approve},
		{"reject", 1, reject},
		{"add", 2, add},
		{"revoke", 1, revoke_host},
		{"admit", 1, admit},
		{"order", 6, orders_create},
	};

	*ret = (struct admin_reply){.exit_code = EXIT_OK};
	for (size_t i = 0; n > 0 && i < ARRAY_SIZE(commands); i++)
		if (strcmp(words[0], commands[i].name) == 0 && n == commands[i].n_args + 1)
			return commands[i].run(db, words + 1, now_ms, ret);
	return say(ret, EXIT_USAGE, "this collector does not know what that asks for");
}
