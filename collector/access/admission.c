// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/access/admission.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/access/allow_list.h"
#include "collector/access/host_key.h"
#include "collector/sqlite/one_shot.h"
#include "common/array_size.h"
#include "common/cleanup.h"

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
		cleanup(one_shot_end) struct one_shot o = one_shot_begin(db, steps[i]);

		binder_blob(&o.b, key, KEY_BYTES);
		binder_int(&o.b, now_ms);
		err = one_shot_run(&o);
		if (!err && sqlite3_changes64(db) > 0)
			*ret_changed = true;
	}
	return err;
}

int admission_any(sqlite3 *db)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(db, "SELECT 1 FROM host_key WHERE state = 'admitted' LIMIT 1");

	return one_shot_row(&o);
}

int admission_publish(sqlite3 *db, struct allow_list *l)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(db, "SELECT public_key, probe_id, count(*) OVER () FROM host_key"
				   " WHERE state = 'admitted'");
	cleanup(free_p) struct allowed *entries = NULL;
	size_t n = 0;
	int found;

	while ((found = one_shot_row(&o)) > 0) {
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

void admission_hash(const uint8_t *secret, uint8_t ret[ADMISSION_HASH_BYTES])
{
	/* Fails for lengths that it does not know only. */
	(void)crypto_generichash(ret, ADMISSION_HASH_BYTES, secret, JOIN_SECRET_BYTES, NULL, 0);
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
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "UPDATE token SET uses = uses + (revoked_ms IS NULL AND expires_ms > ?2"
		    " AND uses < max_uses) WHERE secret_hash = ?1"
		    " RETURNING id, manual, revoked_ms IS NOT NULL, expires_ms <= ?2,"
		    " uses, max_uses");
	uint8_t hash[ADMISSION_HASH_BYTES];
	int found;

	admission_hash(secret, hash);
	binder_blob(&o.b, hash, sizeof(hash));
	binder_int(&o.b, now_ms);
	found = one_shot_row(&o);
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
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "SELECT 1 FROM token WHERE secret_hash = ? AND uses >= max_uses");
	uint8_t hash[ADMISSION_HASH_BYTES];

	admission_hash(secret, hash);
	binder_blob(&o.b, hash, sizeof(hash));
	return one_shot_row(&o);
}

static int name_is_taken(sqlite3 *db, const char *name, const uint8_t *probe_id)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "SELECT 1 FROM host_key k LEFT JOIN host h ON h.probe_id = k.probe_id"
		    " WHERE k.state = 'admitted' AND k.probe_id <> ?1"
		    "   AND coalesce(h.name, k.name) = ?2");

	binder_blob(&o.b, probe_id, KEY_ID_BYTES);
	binder_text(&o.b, name);
	return one_shot_row(&o);
}

static int too_many_wait(sqlite3 *db)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "SELECT 1 FROM host_key WHERE state = 'pending' LIMIT 1 OFFSET ?");

	binder_int(&o.b, ADMISSION_MAX_PENDING - 1);
	return one_shot_row(&o);
}

/*
 * Who the owner of a new key is: whom the key makes it or, after a rotation,
 * who it is at other collectors, unless that is somebody here already.
 */
static int choose_id(sqlite3 *db, const struct enrollment *e, uint8_t ret[KEY_ID_BYTES])
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(db, "SELECT 1 FROM host_key WHERE probe_id = ?1 AND public_key <> ?2"
				   " UNION ALL SELECT 1 FROM host WHERE probe_id = ?1");
	int found = 0;

	key_id(e->key, ret);
	if (!e->ask.has_id || memcmp(e->ask.probe_id, ret, KEY_ID_BYTES) == 0)
		return 0;
	binder_blob(&o.b, e->ask.probe_id, KEY_ID_BYTES);
	binder_blob(&o.b, e->key, KEY_BYTES);
	found = one_shot_row(&o);
	if (found == 0)
		memcpy(ret, e->ask.probe_id, KEY_ID_BYTES);
	return found < 0 ? found : 0;
}

/* A key that nobody has seen yet, or that waits, with a token. */
static int enroll_new(sqlite3 *db, struct enrollment *e, bool waits, int64_t now_ms)
{
	uint8_t probe_id[KEY_ID_BYTES];
	struct token token = {0};
	const char *why = NULL;
	int found, err;

	err = choose_id(db, e, probe_id);
	if (err)
		return err;
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
		return found ? 0 : host_key_set_state(db, e->key, "admitted", now_ms);
	if (found) {
		err = too_many_wait(db);
		if (err == 1)
			decide(e, ENROLL_RETRY, NULL, "too many hosts are waiting for approval");
		if (err)
			return err < 0 ? err : 0;
	}
	return host_key_put(db,
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
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(db, "DELETE FROM host_key WHERE replaces = ?");
	struct host_key known;
	int err;

	binder_blob(&o.b, e->key, KEY_BYTES); /* one that was never used */
	err = one_shot_run(&o);
	if (err)
		return err;
	err = host_key_find(db, e->ask.new_key, &known);
	if (err < 0)
		return err;
	if (err > 0) {
		decide(e, ENROLL_REFUSED, NULL, "the new key is known already");
		return 0;
	}
	decide(e, ENROLL_ADMITTED, old->probe_id, "the new key is admitted");
	return host_key_put(db,
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
	int found = host_key_find(db, e->key, &known);

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
	char fingerprint[KEY_FINGERPRINT_BYTES], detail[1024];
	int64_t before = sqlite3_total_changes64(db);
	int err = decide_enrollment(db, e, now_ms);

	/* Asking again and again must not fill the disk: only what changed something. */
	if (err || sqlite3_total_changes64(db) == before || e->result.status == ENROLL_REFUSED)
		return err;
	e->news = true;
	key_fingerprint(e->ask.rotate ? e->ask.new_key : e->key, fingerprint);
	(void)snprintf(detail, sizeof(detail), "%s from %s%s: %s", e->ask.host_name, e->address,
		       e->ask.rotate ? ", vouched for by its old key" : "", e->result.text);
	return host_key_note(db, now_ms, what[e->result.status], fingerprint, detail);
}
