// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/admission.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/allow_list.h"
#include "collector/binder.h"
#include "collector/orders.h"
#include "collector/db.h"
#include "common/cleanup.h"
#include "common/exit_code.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define HASH_BYTES	32
#define FINGERPRINT_MIN 4 /* characters that name a host by its fingerprint */

DEFINE_CLEANUP(sqlite3_stmt *, sqlite3_finalize)

/* The values of a statement that is used once; begin() it, bind, run() or row(). */
struct once {
	sqlite3_stmt *st;
	struct binder b;
};

static void once_end(struct once *o)
{
	(void)sqlite3_finalize(o->st); /* repeats an old error at most */
}

static struct once begin(sqlite3 *db, const char *sql)
{
	struct once o = {NULL, {0}};

	if (sqlite3_prepare_v2(db, sql, -1, &o.st, NULL) == SQLITE_OK)
		o.b = binder_start(o.st);
	else
		o.b.err = db_last_errno(db);
	return o;
}

static int run(struct once *o)
{
	return o->st ? binder_run(&o->b) : o->b.err;
}

static int row(struct once *o)
{
	return o->st ? binder_row(&o->b) : o->b.err;
}

static int note(sqlite3 *db, int64_t now_ms, const char *what, const char *subject,
		const char *detail)
{
	cleanup(once_end) struct once o = begin(
		db, "INSERT INTO admission_log (at_ms, what, subject, detail) VALUES (?, ?, ?, ?)");

	binder_int(&o.b, now_ms);
	binder_text(&o.b, what);
	binder_text(&o.b, subject);
	binder_text(&o.b, detail);
	return run(&o);
}

/* --- keys ------------------------------------------------------------------------ */

struct host_key {
	char state[16];
	uint8_t probe_id[KEY_ID_BYTES];
};

/* Returns 1, or 0 if the key is not known. */
static int find_key(sqlite3 *db, const uint8_t key[KEY_BYTES], struct host_key *ret)
{
	cleanup(once_end) struct once o =
		begin(db, "SELECT state, probe_id FROM host_key WHERE public_key = ?");
	int found;

	binder_blob(&o.b, key, KEY_BYTES);
	found = row(&o);
	if (found > 0) {
		(void)snprintf(ret->state, sizeof(ret->state), "%s",
			       (const char *)sqlite3_column_text(o.st, 0));
		memcpy(ret->probe_id, sqlite3_column_blob(o.st, 1), KEY_ID_BYTES);
	}
	return found;
}

struct new_key {
	const uint8_t *public_key, *probe_id, *replaces; /* replaces: may be NULL */
	const char *state, *name, *address;
	int64_t token_id; /* 0: none */
};

static int put_key(sqlite3 *db, const struct new_key *k, int64_t now_ms)
{
	cleanup(once_end) struct once o = begin(
		db, "INSERT INTO host_key (public_key, probe_id, state, replaces, name, address,"
		    " fingerprint, token_id, asked_ms, decided_ms)"
		    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, nullif(?8, 0), ?9,"
		    "         iif(?3 = 'pending', NULL, ?9))");
	char fingerprint[KEY_FINGERPRINT_BYTES];

	key_fingerprint(k->public_key, fingerprint);
	binder_blob(&o.b, k->public_key, KEY_BYTES);
	binder_blob(&o.b, k->probe_id, KEY_ID_BYTES);
	binder_text(&o.b, k->state);
	if (k->replaces)
		binder_blob(&o.b, k->replaces, KEY_BYTES);
	else
		binder_null(&o.b);
	binder_text(&o.b, k->name);
	binder_text(&o.b, k->address);
	binder_text(&o.b, fingerprint);
	binder_int(&o.b, k->token_id);
	binder_int(&o.b, now_ms);
	return run(&o);
}

static int set_state(sqlite3 *db, const uint8_t key[KEY_BYTES], const char *state, int64_t now_ms)
{
	cleanup(once_end) struct once o =
		begin(db, "UPDATE host_key SET state = ?2, decided_ms = ?3 WHERE public_key = ?1");

	binder_blob(&o.b, key, KEY_BYTES);
	binder_text(&o.b, state);
	binder_int(&o.b, now_ms);
	return run(&o);
}

int admission_used(sqlite3 *db, const uint8_t key[KEY_BYTES], int64_t now_ms, bool *ret_changed)
{
	static const char *const steps[] = {
		"UPDATE host_key SET state = 'retired', decided_ms = ?2 WHERE public_key ="
		" (SELECT replaces FROM host_key WHERE public_key = ?1)",
		"UPDATE host_key SET replaces = NULL WHERE ?2 AND public_key = ?1"
		" AND replaces IS NOT NULL",
	};
	int err = 0;

	*ret_changed = false;
	for (size_t i = 0; !err && i < ARRAY_SIZE(steps); i++) {
		cleanup(once_end) struct once o = begin(db, steps[i]);

		binder_blob(&o.b, key, KEY_BYTES);
		binder_int(&o.b, now_ms);
		err = run(&o);
		if (!err && sqlite3_changes64(db) > 0)
			*ret_changed = true;
	}
	return err;
}

int admission_any(sqlite3 *db)
{
	cleanup(once_end) struct once o =
		begin(db, "SELECT 1 FROM host_key WHERE state = 'admitted' LIMIT 1");

	return row(&o);
}

int admission_publish(sqlite3 *db, struct allow_list *l)
{
	cleanup(once_end) struct once o =
		begin(db, "SELECT public_key, probe_id, count(*) OVER () FROM host_key"
			  " WHERE state = 'admitted'");
	cleanup(free_p) struct allowed *entries = NULL;
	size_t n = 0;
	int found;

	while ((found = row(&o)) > 0) {
		if (!entries)
			entries = calloc((size_t)sqlite3_column_int64(o.st, 2), sizeof(*entries));
		if (!entries)
			return -ENOMEM;
		memcpy(entries[n].public_key, sqlite3_column_blob(o.st, 0), KEY_BYTES);
		memcpy(entries[n++].probe_id, sqlite3_column_blob(o.st, 1), KEY_ID_BYTES);
	}
	if (found < 0)
		return found;
	allow_list_replace(l, take_ptr(entries), n);
	return 0;
}

/* --- what a host asks for ---------------------------------------------------------- */

static void decide(struct enrollment *e, enum enroll_status status, const uint8_t *probe_id,
		   const char *text)
{
	e->result.status = status;
	if (probe_id)
		memcpy(e->result.probe_id, probe_id, KEY_ID_BYTES);
	(void)snprintf(e->result.text, sizeof(e->result.text), "%s", text);
}

static void hash_secret(const uint8_t *secret, uint8_t ret[HASH_BYTES])
{
	/* Fails for lengths that it does not know only. */
	(void)crypto_generichash(ret, HASH_BYTES, secret, JOIN_SECRET_BYTES, NULL, 0);
}

struct token {
	int64_t id;
	bool manual;
};

/*
 * The token of a secret, one use of it taken. *ret_why: why there is none
 * (NULL: there is one).
 */
static int use_token(sqlite3 *db, const uint8_t *secret, int64_t now_ms, struct token *ret,
		     const char **ret_why)
{
	cleanup(once_end) struct once o =
		begin(db, "UPDATE token SET uses = uses + (revoked_ms IS NULL AND expires_ms > ?2"
			  " AND uses < max_uses) WHERE secret_hash = ?1"
			  " RETURNING id, manual, revoked_ms IS NOT NULL, expires_ms <= ?2,"
			  " uses, max_uses");
	uint8_t hash[HASH_BYTES];
	int found;

	hash_secret(secret, hash);
	binder_blob(&o.b, hash, sizeof(hash));
	binder_int(&o.b, now_ms);
	found = row(&o);
	*ret_why = NULL;
	if (found < 0)
		return found;
	if (found == 0)
		*ret_why = "the collector does not know this join string";
	else if (sqlite3_column_int(o.st, 2))
		*ret_why = "the join string has been revoked";
	else if (sqlite3_column_int(o.st, 3))
		*ret_why = "the join string has expired";
	else
		*ret = (struct token){sqlite3_column_int64(o.st, 0),
				      sqlite3_column_int(o.st, 1) != 0};
	return 0;
}

/* A token that is used up looks the same before and after: asked first. */
static int used_up(sqlite3 *db, const uint8_t *secret)
{
	cleanup(once_end) struct once o =
		begin(db, "SELECT 1 FROM token WHERE secret_hash = ? AND uses >= max_uses");
	uint8_t hash[HASH_BYTES];

	hash_secret(secret, hash);
	binder_blob(&o.b, hash, sizeof(hash));
	return row(&o);
}

static int name_is_taken(sqlite3 *db, const char *name, const uint8_t *probe_id)
{
	cleanup(once_end) struct once o =
		begin(db, "SELECT 1 FROM host_key k LEFT JOIN host h ON h.probe_id = k.probe_id"
			  " WHERE k.state = 'admitted' AND k.probe_id <> ?1"
			  "   AND coalesce(h.name, k.name) = ?2");

	binder_blob(&o.b, probe_id, KEY_ID_BYTES);
	binder_text(&o.b, name);
	return row(&o);
}

static int too_many_wait(sqlite3 *db)
{
	cleanup(once_end) struct once o =
		begin(db, "SELECT 1 FROM host_key WHERE state = 'pending' LIMIT 1 OFFSET ?");

	binder_int(&o.b, ADMISSION_MAX_PENDING - 1);
	return row(&o);
}

/* A key that nobody has seen yet, or that waits, with a token. */
static int enroll_new(sqlite3 *db, struct enrollment *e, bool waits, int64_t now_ms)
{
	uint8_t probe_id[KEY_ID_BYTES];
	struct token token = {0};
	const char *why = NULL;
	int found, err;

	key_id(e->key, probe_id);
	found = used_up(db, e->ask.secret);
	err = found < 0 ? found : 0;
	if (found == 1)
		why = "the join string has been used as often as it may be";
	else if (!err)
		err = use_token(db, e->ask.secret, now_ms, &token, &why);
	if (err)
		return err;
	if (why) {
		decide(e, waits ? ENROLL_PENDING : ENROLL_REFUSED, waits ? probe_id : NULL,
		       waits ? "somebody has to approve it" : why);
		return 0;
	}
	found = token.manual ? 1 : name_is_taken(db, e->ask.host_name, probe_id);
	if (found < 0)
		return found;
	if (found)
		decide(e, ENROLL_PENDING, probe_id,
		       token.manual ? "somebody has to approve it"
				    : "another host has this name: somebody has to approve it");
	else
		decide(e, ENROLL_ADMITTED, probe_id, "admitted");
	if (waits)
		return found ? 0 : set_state(db, e->key, "admitted", now_ms);
	if (found) {
		err = too_many_wait(db);
		if (err == 1)
			decide(e, ENROLL_RETRY, NULL, "too many hosts are waiting for approval");
		if (err)
			return err < 0 ? err : 0;
	}
	return put_key(db,
		       &(struct new_key){.public_key = e->key,
					 .probe_id = probe_id,
					 .state = found ? "pending" : "admitted",
					 .name = e->ask.host_name,
					 .address = e->address,
					 .token_id = token.id},
		       now_ms);
}

/* The admitted key of the connection vouches for another one. */
static int rotate(sqlite3 *db, struct enrollment *e, const struct host_key *old, int64_t now_ms)
{
	cleanup(once_end) struct once o = begin(db, "DELETE FROM host_key WHERE replaces = ?");
	struct host_key known;
	int err;

	binder_blob(&o.b, e->key, KEY_BYTES); /* one that was never used */
	err = run(&o);
	if (err)
		return err;
	err = find_key(db, e->ask.new_key, &known);
	if (err < 0)
		return err;
	if (err > 0) {
		decide(e, ENROLL_REFUSED, NULL, "the new key is known already");
		return 0;
	}
	decide(e, ENROLL_ADMITTED, old->probe_id, "the new key is admitted");
	return put_key(db,
		       &(struct new_key){.public_key = e->ask.new_key,
					 .probe_id = old->probe_id,
					 .replaces = e->key,
					 .state = "admitted",
					 .name = e->ask.host_name,
					 .address = e->address},
		       now_ms);
}

static int decide_enrollment(sqlite3 *db, struct enrollment *e, int64_t now_ms)
{
	struct host_key known;
	int found = find_key(db, e->key, &known);

	if (found < 0)
		return found;
	if (found == 0 && !e->ask.rotate)
		return enroll_new(db, e, false, now_ms);
	if (found && strcmp(known.state, "admitted") == 0) {
		if (e->ask.rotate)
			return rotate(db, e, &known, now_ms);
		decide(e, ENROLL_ADMITTED, known.probe_id, "admitted already");
	} else if (found && strcmp(known.state, "pending") == 0 && !e->ask.rotate) {
		return enroll_new(db, e, true, now_ms);
	} else {
		decide(e, ENROLL_REFUSED, NULL,
		       found ? "the key of this host has been revoked, rejected or replaced"
			     : "only an admitted key can vouch for another");
	}
	return 0;
}

int admission_enroll(sqlite3 *db, struct enrollment *e, int64_t now_ms)
{
	static const char *const what[] = {
		[ENROLL_REFUSED] = "refused",
		[ENROLL_ADMITTED] = "admitted",
		[ENROLL_PENDING] = "pending",
		[ENROLL_RETRY] = "refused",
	};
	char fingerprint[KEY_FINGERPRINT_BYTES], detail[ADMIN_TEXT_MAX];
	int64_t before = sqlite3_total_changes64(db);
	int err = decide_enrollment(db, e, now_ms);

	/* Asking again and again must not fill the disk: only what changed something. */
	if (err || sqlite3_total_changes64(db) == before || e->result.status == ENROLL_REFUSED)
		return err;
	key_fingerprint(e->ask.rotate ? e->ask.new_key : e->key, fingerprint);
	(void)snprintf(detail, sizeof(detail), "%s from %s%s: %s", e->ask.host_name, e->address,
		       e->ask.rotate ? ", vouched for by its old key" : "", e->result.text);
	return note(db, now_ms, what[e->result.status], fingerprint, detail);
}

/* --- what an administrator asks for -------------------------------------------------- */

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
	cleanup(once_end) struct once o =
		begin(db, "INSERT INTO collector (id, public_key) VALUES (1, ?)"
			  " ON CONFLICT DO UPDATE SET public_key = excluded.public_key");
	uint8_t key[KEY_BYTES];

	(void)now_ms;
	if (key_parse(words[0], key) != 0)
		return say(ret, EXIT_USAGE, "\"%s\" is no key", words[0]);
	binder_blob(&o.b, key, sizeof(key));
	return run(&o);
}

static int set_listen(sqlite3 *db, const char *const *words, int64_t now_ms,
		      struct admin_reply *ret)
{
	cleanup(once_end) struct once o =
		begin(db, "UPDATE collector SET listen = ?, enroll_listen = ?");

	(void)now_ms;
	(void)ret;
	binder_text(&o.b, words[0]);
	binder_text(&o.b, words[1]);
	return run(&o);
}

static int create_token(sqlite3 *db, const char *const *words, int64_t now_ms,
			struct admin_reply *ret)
{
	cleanup(once_end) struct once o = begin(
		db, "INSERT INTO token (secret_hash, manual, max_uses, created_ms, expires_ms)"
		    " VALUES (?1, ?2, ?3, ?4, ?4 + ?5)");
	uint8_t secret[JOIN_SECRET_BYTES], hash[HASH_BYTES];
	char subject[40];
	int err;

	randombytes_buf(secret, sizeof(secret));
	hash_secret(secret, hash);
	binder_blob(&o.b, hash, sizeof(hash));
	binder_int(&o.b, strcmp(words[2], "0") != 0);
	binder_int(&o.b, strtoll(words[1], NULL, 10));
	binder_int(&o.b, now_ms);
	binder_int(&o.b, strtoll(words[0], NULL, 10));
	err = run(&o);
	if (err)
		return err;
	(void)sodium_bin2hex(ret->text, sizeof(ret->text), secret, sizeof(secret));
	(void)snprintf(subject, sizeof(subject), "token %" PRId64,
		       (int64_t)sqlite3_last_insert_rowid(db));
	return note(db, now_ms, "token created", subject, "");
}

static int revoke_token(sqlite3 *db, const char *const *words, int64_t now_ms,
			struct admin_reply *ret)
{
	cleanup(once_end) struct once o =
		begin(db, "UPDATE token SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms IS NULL");
	char *end, subject[40];
	int64_t id = strtoll(words[0], &end, 10);
	int err;

	binder_int(&o.b, id);
	binder_int(&o.b, now_ms);
	err = run(&o);
	if (err)
		return err;
	if (*end || sqlite3_changes64(db) == 0)
		return say(ret, EXIT_USAGE, "there is no token %s that is valid", words[0]);
	(void)snprintf(subject, sizeof(subject), "token %" PRId64, id);
	(void)say(ret, EXIT_OK, "token %" PRId64 " is revoked", id);
	return note(db, now_ms, "token revoked", subject, "");
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
	cleanup(once_end) struct once o =
		begin(db, "SELECT k.probe_id, group_concat(k.fingerprint, ', ') OVER ()" MATCH);
	int found;

	binder_text(&o.b, word);
	binder_text(&o.b, states);
	binder_int(&o.b, FINGERPRINT_MIN);
	found = row(&o);
	if (found < 0)
		return found;
	if (found == 0)
		return say(reply, EXIT_USAGE,
			   "no host is called \"%s\", or has a key that begins so, and is %s", word,
			   states);
	memcpy(ret_id, sqlite3_column_blob(o.st, 0), KEY_ID_BYTES);
	while ((found = row(&o)) > 0)
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
	cleanup(once_end) struct once o =
		begin(db, "UPDATE host_key SET state = ?3, decided_ms = ?4 WHERE probe_id = ?1"
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
	while ((found = row(&o)) > 0) {
		(void)snprintf(fingerprint, sizeof(fingerprint), "%s",
			       (const char *)sqlite3_column_text(o.st, 0));
		(void)say(ret, EXIT_OK, "%s (%s) is %s", (const char *)sqlite3_column_text(o.st, 1),
			  fingerprint, c->done);
	}
	return found < 0 ? found : note(db, now_ms, c->to, fingerprint, word);
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
	err = find_key(db, key, &known);
	if (err == 0)
		err = put_key(db,
			      &(struct new_key){.public_key = key,
						.probe_id = id,
						.state = "admitted",
						.name = words[0],
						.address = ""},
			      now_ms);
	else if (err > 0)
		err = set_state(db, key, "admitted", now_ms);
	if (err)
		return err;
	(void)say(ret, EXIT_OK, "%s (%s) is admitted", words[0], fingerprint);
	return note(db, now_ms, "admitted", fingerprint, words[0]);
}

int admission_command(sqlite3 *db, size_t n, const char *const *words, int64_t now_ms,
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
