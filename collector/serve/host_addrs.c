// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/host_addrs.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "collector/sqlite/one_shot.h"
#include "common/cleanup.h"
#include "proto/message.h"

/* What the host had before this HELLO: at most HELLO_MAX_ADDRS, or all of them would not be here.
 */
struct known {
	size_t n;
	uint8_t addrs[HELLO_MAX_ADDRS][16]; /* rising */
	bool any;			    /* it has told some before, if none now */
};

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

static bool has(const uint8_t (*addrs)[16], size_t n, const uint8_t addr[16])
{
	return n > 0 && bsearch(addr, addrs, n, sizeof(*addrs), by_bytes);
}

static int read_known(sqlite3 *db, int64_t host_id, struct known *ret)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "SELECT addr, until_ms IS NULL FROM host_addr WHERE host_id = ? ORDER BY addr");
	int found;

	ret->n = 0;
	ret->any = false;
	binder_int(&o.b, host_id);
	while ((found = one_shot_row(&o)) > 0) {
		const void *addr = sqlite3_column_blob(o.st, 0);

		ret->any = true;
		if (sqlite3_column_int(o.st, 1) && addr && ret->n < HELLO_MAX_ADDRS)
			memcpy(ret->addrs[ret->n++], addr, 16);
	}
	return found;
}

/* --- changes ------------------------------------------------------------------- */

static int end_tenure(sqlite3 *db, int64_t host_id, const uint8_t addr[16], int64_t now_ms)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(db, "UPDATE host_addr SET until_ms = max(?3, since_ms)"
				   " WHERE host_id = ?1 AND addr = ?2 AND until_ms IS NULL");

	binder_int(&o.b, host_id);
	binder_blob(&o.b, addr, 16);
	binder_int(&o.b, now_ms);
	return one_shot_run(&o);
}

/* Those of hosts that are not heard of any more. */
static int end_stale(sqlite3 *db, int64_t host_id, const uint8_t addr[16], int64_t now_ms)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "UPDATE host_addr SET until_ms = max(h.last_seen_ms, since_ms)"
		    " FROM host h WHERE h.id = host_addr.host_id AND host_addr.host_id <> ?1"
		    " AND addr = ?2 AND until_ms IS NULL AND h.last_seen_ms < ?3");

	binder_int(&o.b, host_id);
	binder_blob(&o.b, addr, 16);
	binder_int(&o.b, now_ms - HOST_ADDRS_GONE_MS);
	return one_shot_run(&o);
}

/* first: since always, or since the last other host had it. */
static int begin_tenure(sqlite3 *db, int64_t host_id, const uint8_t addr[16], bool first,
			int64_t now_ms)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "INSERT INTO host_addr (host_id, addr, since_ms)"
		    " SELECT ?1, ?2, iif(?3, ifnull(max(until_ms), 0), ?4) FROM host_addr"
		    " WHERE addr = ?2 AND host_id <> ?1 ON CONFLICT DO UPDATE SET until_ms = NULL");

	binder_int(&o.b, host_id);
	binder_blob(&o.b, addr, 16);
	binder_int(&o.b, first);
	binder_int(&o.b, now_ms);
	return one_shot_run(&o);
}

static int forget_oldest(sqlite3 *db, int64_t host_id)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "DELETE FROM host_addr WHERE host_id = ?1 AND until_ms <="
		    " (SELECT until_ms FROM host_addr WHERE host_id = ?1 AND until_ms IS NOT NULL"
		    "   ORDER BY until_ms DESC LIMIT 1 OFFSET ?2)");

	binder_int(&o.b, host_id);
	binder_int(&o.b, HOST_ADDRS_MAX_PAST);
	return one_shot_run(&o);
}

static int add(sqlite3 *db, int64_t host_id, const uint8_t addr[16], bool first, int64_t now_ms)
{
	int err = end_stale(db, host_id, addr, now_ms);

	return err ? err : begin_tenure(db, host_id, addr, first, now_ms);
}

int host_addrs_put(sqlite3 *db, int64_t host_id, const struct hello *h, int64_t now_ms)
{
	uint8_t told[HELLO_MAX_ADDRS][16];
	struct known known;
	bool changed = false;
	int err;

	if (h->version_minor < HELLO_ADDRS_MINOR)
		return 0;
	memcpy(told, h->addrs, h->n_addrs * sizeof(*told));
	qsort(told, h->n_addrs, sizeof(*told), by_bytes);
	err = read_known(db, host_id, &known);
	for (size_t i = 0; !err && i < known.n; i++) {
		if (has(told, h->n_addrs, known.addrs[i]))
			continue;
		changed = true;
		err = end_tenure(db, host_id, known.addrs[i], now_ms);
	}
	for (size_t i = 0; !err && i < h->n_addrs; i++) {
		if (has(known.addrs, known.n, told[i]) ||
		    (i > 0 && memcmp(told[i], told[i - 1], 16) == 0))
			continue;
		err = add(db, host_id, told[i], !known.any, now_ms);
	}
	return err || !changed ? err : forget_oldest(db, host_id);
}

int host_addrs_expire(sqlite3 *db, int64_t before_ms)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(db, "DELETE FROM host_addr WHERE until_ms < ?");

	binder_int(&o.b, before_ms);
	return one_shot_run(&o);
}
