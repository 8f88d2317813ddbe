// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/orders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/serve/admin.h"
#include "collector/sqlite/binder.h"
#include "collector/store/db.h"
#include "common/array_size.h"
#include "common/clock.h"
#include "common/exit_code.h"

static const char *const kinds[] = {
	[COMMAND_NONE] = "",
	[COMMAND_ECHO] = "echo",
	[COMMAND_BLOCK] = "block",
	[COMMAND_UNBLOCK] = "unblock",
};

static uint32_t kind_of(const char *name)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i], name) == 0)
			return i;
	return COMMAND_NONE;
}

/* A statement that is used once in a while. */
struct once {
	sqlite3_stmt *st;
	struct binder b;
	int err;
};

static struct once begin(sqlite3 *db, const char *sql)
{
	struct once o = {0};

	if (sqlite3_prepare_v2(db, sql, -1, &o.st, NULL) != SQLITE_OK)
		o.err = db_last_errno(db);
	o.b = binder_start(o.st);
	return o;
}

static int run(struct once *o)
{
	int err = o->err ? o->err : binder_run(&o->b);

	(void)sqlite3_finalize(o->st); /* the same error again */
	return err;
}

static int refuse(struct admin_reply *ret, const char *what, const char *why)
{
	ret->exit_code = EXIT_USAGE;
	(void)snprintf(ret->text, sizeof(ret->text), "\"%s\" %s", what, why);
	return 0;
}

/* The only host of that name; 0 if there is none or another one. */
static int find_host(sqlite3 *db, const char *name, int64_t *ret_id)
{
	struct once o = begin(db, "SELECT min(id), count(*) FROM host WHERE name = ?");
	int found = o.err;

	*ret_id = 0;
	if (!found) {
		binder_text(&o.b, name);
		found = binder_row(&o.b);
		if (found > 0 && sqlite3_column_int(o.st, 1) == 1)
			*ret_id = sqlite3_column_int64(o.st, 0);
		binder_end(&o.b);
	}
	(void)sqlite3_finalize(o.st); /* the same error again */
	return found < 0 ? found : 0;
}

int orders_create(sqlite3 *db, const char *const *words, int64_t now_ms, struct admin_reply *ret)
{
	static const char sql[] =
		"INSERT INTO probe_order (host_id, kind, prefix, ttl_s, reason, actor, created_ms,"
		" not_after_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
	const char *host = words[0], *kind = words[1];
	const struct host_command *limits = NULL; /* of the texts: nothing is read of it */
	int64_t host_id, ttl_s = strtoll(words[3], NULL, 10);
	struct once o;
	int err = find_host(db, host, &host_id);

	if (err)
		return err;
	if (!host_id)
		return refuse(ret, host, "is no host, or several");
	if (kind_of(kind) == COMMAND_NONE)
		return refuse(ret, kind, "is no order: " ORDERS_KINDS);
	if (strlen(words[2]) >= sizeof(limits->prefix) ||
	    strlen(words[4]) >= sizeof(limits->reason) || strlen(words[5]) >= sizeof(limits->actor))
		return refuse(ret, words[4], "is too long, or another text of it");
	o = begin(db, sql);
	binder_int(&o.b, host_id);
	binder_text(&o.b, kind);
	binder_text(&o.b, words[2]);
	binder_int(&o.b, ttl_s);
	binder_text(&o.b, words[4]);
	binder_text(&o.b, words[5]);
	binder_int(&o.b, now_ms);
	binder_int(&o.b, now_ms + ttl_s * 1000);
	err = run(&o);
	if (!err)
		(void)snprintf(ret->text, sizeof(ret->text), "%lld",
			       (long long)sqlite3_last_insert_rowid(db));
	return err;
}

static void copy_text(sqlite3_stmt *st, int column, char *ret, size_t size)
{
	(void)snprintf(ret, size, "%s", (const char *)sqlite3_column_text(st, column));
}

static void read_order(sqlite3_stmt *st, struct order *ret)
{
	const void *probe_id = sqlite3_column_blob(st, 0);

	*ret = (struct order){
		.command = {
			.command_id = (uint64_t)sqlite3_column_int64(st, 1),
			.kind = kind_of((const char *)sqlite3_column_text(st, 2)),
			.ttl_s = (uint32_t)sqlite3_column_int64(st, 4),
			.not_after_ns = (uint64_t)sqlite3_column_int64(st, 7) * NS_PER_MS,
		}};
	if (probe_id)
		memcpy(ret->probe_id, probe_id, sizeof(ret->probe_id)); /* 16 bytes by the schema */
	copy_text(st, 3, ret->command.prefix, sizeof(ret->command.prefix));
	copy_text(st, 5, ret->command.reason, sizeof(ret->command.reason));
	copy_text(st, 6, ret->command.actor, sizeof(ret->command.actor));
}

static int mark_sent(sqlite3 *db, uint64_t id, int64_t now_ms)
{
	struct once o = begin(db, "UPDATE probe_order SET sent_ms = ?2 WHERE id = ?1");

	binder_int(&o.b, (int64_t)id);
	binder_int(&o.b, now_ms);
	return run(&o);
}

int orders_due(sqlite3 *db, int64_t now_ms, struct order *ret, size_t *ret_n)
{
	/* In their order: a probe does not go back. not_after is told by the host's clock. */
	static const char sql[] =
		"SELECT h.probe_id, o.id, o.kind, o.prefix, o.ttl_s, o.reason, o.actor,"
		" o.not_after_ms + h.clock_skew_ms FROM probe_order o JOIN host h ON h.id = "
		"o.host_id"
		" WHERE o.status IS NULL AND o.not_after_ms > ?1"
		" AND ifnull(o.sent_ms, 0) <= ?1 - ?2 AND h.last_seen_ms > ?1 - 60000"
		" ORDER BY o.id LIMIT ?3";
	struct once o = begin(db, sql);
	int found = o.err;
	size_t n = 0;

	if (!found) {
		binder_int(&o.b, now_ms);
		binder_int(&o.b, ORDERS_AGAIN_MS);
		binder_int(&o.b, ORDERS_MAX);
		while (n < ORDERS_MAX && (found = binder_row(&o.b)) > 0)
			read_order(o.st, &ret[n++]);
		binder_end(&o.b);
	}
	(void)sqlite3_finalize(o.st); /* the same error again */
	for (size_t i = 0; found >= 0 && i < n; i++)
		found = mark_sent(db, ret[i].command.command_id, now_ms);
	*ret_n = found < 0 ? 0 : n;
	return found < 0 ? found : 0;
}

int orders_finish(sqlite3 *db, const struct order_result *r, int64_t now_ms)
{
	struct once o = begin(db, "UPDATE probe_order SET status = ?3, result = ?4, result_ms = ?5"
				  " WHERE id = ?1 AND status IS NULL AND host_id ="
				  " (SELECT id FROM host WHERE probe_id = ?2)");

	binder_int(&o.b, (int64_t)r->result.command_id);
	binder_blob(&o.b, r->probe_id, sizeof(r->probe_id));
	binder_int(&o.b, r->result.status);
	binder_text(&o.b, r->result.text);
	binder_int(&o.b, now_ms);
	return run(&o);
}
