// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/access/host_key.h"

#include <stdio.h>
#include <string.h>

#include "collector/sqlite/one_shot.h"
#include "common/cleanup.h"

int host_key_find(sqlite3 *db, const uint8_t key[KEY_BYTES], struct host_key *ret)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(db, "SELECT state, probe_id FROM host_key WHERE public_key = ?");
	int found;

	binder_blob(&o.b, key, KEY_BYTES);
	found = one_shot_row(&o);
	if (found > 0) {
		(void)snprintf(ret->state, sizeof(ret->state), "%s",
			       (const char *)sqlite3_column_text(o.st, 0));
		memcpy(ret->probe_id, sqlite3_column_blob(o.st, 1), KEY_ID_BYTES);
	}
	return found;
}

int host_key_put(sqlite3 *db, const struct new_key *k, int64_t now_ms)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
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
	return one_shot_run(&o);
}

int host_key_set_state(sqlite3 *db, const uint8_t key[KEY_BYTES], const char *state, int64_t now_ms)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "UPDATE host_key SET state = ?2, decided_ms = ?3 WHERE public_key = ?1");

	binder_blob(&o.b, key, KEY_BYTES);
	binder_text(&o.b, state);
	binder_int(&o.b, now_ms);
	return one_shot_run(&o);
}

int host_key_note(sqlite3 *db, int64_t now_ms, const char *what, const char *subject,
		  const char *detail)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "INSERT INTO admission_log (at_ms, what, subject, detail) VALUES (?, ?, ?, ?)");

	binder_int(&o.b, now_ms);
	binder_text(&o.b, what);
	binder_text(&o.b, subject);
	binder_text(&o.b, detail);
	return one_shot_run(&o);
}
