// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "collector/db/import_source.h"
#include "collector/db/importer.h"
#include "collector/flowstore/scan.h"
#include "collector/sqlite/one_shot.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/progress.h"

DEFINE_CLEANUP(sqlite3 *, db_close)
DEFINE_CLEANUP(struct scan *, scan_close)
DEFINE_CLEANUP(struct scan_rows *, scan_rows_free)

/* A segment or fresh batch of the source. */
struct unit {
	int64_t key; /* scan_rows_key() */
	uint8_t hash[IMPORT_HASH_BYTES];
};

struct host_map {
	int64_t from, to;
};

struct database_import {
	struct importer *to;
	const char *path;
	sqlite3 *db;
	struct unit *units;
	size_t n_units;
	struct host_map *hosts;
	size_t n_hosts;
	uint64_t n_rows;
	int64_t now_ms;
};

static int fail(const struct database_import *d, int err)
{
	log_error("%s: %s; what is not here yet can be imported later", d->path, strerror(-err));
	return db_exit_code(err);
}

/* --- what it is made of ------------------------------------------------------------- */

/* The head has the lengths and the small ones of the columns; fresh ones are whole. */
static const char units_sql[] =
	"SELECT id << 18, n_rows, min_start_ms, max_end_ms, n_bytes, zone, head FROM flow_segment"
	" UNION ALL SELECT (id << 18) + (1 << 17), n_rows, min_start_ms, max_end_ms, host_id, NULL,"
	"  data FROM flow_fresh ORDER BY 1";

static void hash_row(sqlite3_stmt *st, uint8_t ret[IMPORT_HASH_BYTES])
{
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, NULL, 0, IMPORT_HASH_BYTES); /* these cannot fail */
	for (int i = 1; i < sqlite3_column_count(st); i++) {
		int64_t number = sqlite3_column_int64(st, i);
		const void *blob = sqlite3_column_blob(st, i);

		if (sqlite3_column_type(st, i) == SQLITE_INTEGER)
			(void)crypto_generichash_update(&state, (const uint8_t *)&number,
							sizeof(number));
		else if (blob)
			(void)crypto_generichash_update(&state, blob,
							(size_t)sqlite3_column_bytes(st, i));
	}
	(void)crypto_generichash_final(&state, ret, IMPORT_HASH_BYTES);
}

static int add_unit(struct database_import *d, sqlite3_stmt *st)
{
	struct unit *units = d->units;

	if ((d->n_units & (d->n_units - 1)) == 0)
		units = realloc(d->units, (d->n_units ? 2 * d->n_units : 1) * sizeof(*units));
	if (!units)
		return -ENOMEM;
	d->units = units;
	units[d->n_units].key = sqlite3_column_int64(st, 0);
	hash_row(st, units[d->n_units++].hash);
	d->n_rows += (uint64_t)sqlite3_column_int64(st, 1);
	return 0;
}

static int read_units(struct database_import *d, uint8_t ret[IMPORT_HASH_BYTES])
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(d->db, units_sql);
	crypto_generichash_state state;
	int found, err = 0;

	while (!err && (found = one_shot_row(&o)) > 0)
		err = add_unit(d, o.st);
	if (err || found < 0)
		return err ? err : found;
	(void)crypto_generichash_init(&state, NULL, 0, IMPORT_HASH_BYTES);
	for (size_t u = 0; u < d->n_units; u++)
		(void)crypto_generichash_update(&state, d->units[u].hash, IMPORT_HASH_BYTES);
	(void)crypto_generichash_final(&state, ret, IMPORT_HASH_BYTES);
	return 0;
}

static int compare_keys(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = ((const struct unit *)b)->key;

	return (x > y) - (x < y);
}

static const uint8_t *hash_of(const struct database_import *d, int64_t key)
{
	const struct unit *u = NULL;

	if (d->n_units)
		u = bsearch(&key, d->units, d->n_units, sizeof(*d->units), compare_keys);
	return u ? u->hash : NULL;
}

/* Whether any unit is here. */
static int any_unit(const struct database_import *d)
{
	int found = 0;

	for (size_t u = 0; !found && u < d->n_units; u++)
		found = importer_has_unit(d->to, d->units[u].hash);
	return found;
}

/* --- hosts ----------------------------------------------------------------------------- */

/* The host of that probe here, made if need be. */
static int map_host(struct database_import *d, sqlite3_stmt *from, int64_t *ret)
{
	cleanup(one_shot_end) struct one_shot put = one_shot_begin(
		importer_db(d->to),
		"INSERT INTO host (probe_id, name, kernel, build, boot_id, ifaces,"
		" first_seen_ms, last_seen_ms, clock_skew_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
		" ON CONFLICT (probe_id) DO UPDATE SET"
		" first_seen_ms = min(first_seen_ms, excluded.first_seen_ms) RETURNING id");
	int found;

	for (int i = 1; i < sqlite3_column_count(from); i++)
		(void)sqlite3_bind_value(put.st, i, sqlite3_column_value(from, i));
	found = one_shot_row(&put);
	if (found <= 0)
		return found < 0 ? found : -EIO;
	*ret = sqlite3_column_int64(put.st, 0);
	return one_shot_row(&put); /* to its end */
}

static int map_hosts(struct database_import *d)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		d->db, "SELECT id, probe_id, name, kernel, build, boot_id, ifaces, first_seen_ms,"
		       " last_seen_ms, clock_skew_ms FROM host");
	int found, err = 0;

	while (!err && (found = one_shot_row(&o)) > 0) {
		struct host_map *hosts = realloc(d->hosts, (d->n_hosts + 1) * sizeof(*hosts));

		if (!hosts)
			return -ENOMEM;
		d->hosts = hosts;
		hosts[d->n_hosts].from = sqlite3_column_int64(o.st, 0);
		err = map_host(d, o.st, &hosts[d->n_hosts++].to);
	}
	return err ? err : found;
}

static int put_addr(struct database_import *d, sqlite3_stmt *from, int64_t host_id)
{
	cleanup(one_shot_end) struct one_shot put = one_shot_begin(
		importer_db(d->to), "INSERT OR IGNORE INTO host_addr (host_id, addr, since_ms,"
				    " until_ms) VALUES (?, ?, ?, ?)");

	binder_int(&put.b, host_id);
	for (int i = 1; put.st && i < 4; i++)
		(void)sqlite3_bind_value(put.st, i + 1, sqlite3_column_value(from, i));
	return one_shot_run(&put);
}

static int64_t host_here(const struct database_import *d, int64_t id)
{
	for (size_t h = 0; h < d->n_hosts; h++)
		if (d->hosts[h].from == id)
			return d->hosts[h].to;
	return -1;
}

/* Which addresses they have had: whose record of a conversation counts. */
static int copy_addrs(struct database_import *d)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(d->db, "SELECT host_id, addr, since_ms, until_ms FROM host_addr");
	int found, err = 0;

	while (!err && (found = one_shot_row(&o)) > 0)
		err = put_addr(d, o.st, host_here(d, sqlite3_column_int64(o.st, 0)));
	return err ? err : found;
}

#define MINUTE_COLUMNS                                                                             \
	"host_id, minute_ms, batches, records, packets, spool_drop_packets, rejected_packets,"     \
	" damaged_packets, not_parsed_packets, map_full_packets, ring_lost_payloads"

static int put_minute(struct database_import *d, sqlite3_stmt *from, int64_t host_id)
{
	cleanup(one_shot_end) struct one_shot put = one_shot_begin(
		importer_db(d->to), "INSERT OR IGNORE INTO coverage_minute (" MINUTE_COLUMNS
				    ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");

	binder_int(&put.b, host_id);
	for (int i = 1; put.st && i < sqlite3_column_count(from); i++)
		(void)sqlite3_bind_value(put.st, i + 1, sqlite3_column_value(from, i));
	return one_shot_run(&put);
}

/* When they have reported: a record is left to another host only if that one has. */
static int copy_minutes(struct database_import *d)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(d->db, "SELECT " MINUTE_COLUMNS " FROM coverage_minute");
	int found, err = 0;

	while (!err && (found = one_shot_row(&o)) > 0)
		err = put_minute(d, o.st, host_here(d, sqlite3_column_int64(o.st, 0)));
	return err ? err : found;
}

static int bring_hosts(struct database_import *d)
{
	int err = importer_transaction(d->to);

	if (err)
		return err;
	err = map_hosts(d);
	if (!err)
		err = copy_addrs(d);
	if (!err)
		err = copy_minutes(d);
	if (!err)
		err = importer_commit(d->to, false, d->now_ms);
	importer_rollback(d->to); /* if there is still something of it */
	return err;
}

/* --- records ----------------------------------------------------------------------------- */

static int put_rows(struct database_import *d, const struct scan_rows *rows)
{
	const uint32_t *host_ids = FLOW_COL_U32(&rows->block, host_id);
	int err = 0;

	for (size_t k = 0; !err && k < rows->n_selected; k++) {
		struct flow_record r;
		int64_t host = host_here(d, host_ids[rows->selected[k]]);

		flow_block_row(&rows->block, rows->selected[k], &r);
		err = host < 0 ? -EBADMSG : importer_put(d->to, host, &r);
	}
	return err;
}

static int put_unit(struct database_import *d, const struct scan_rows *rows, const uint8_t *hash)
{
	int err = importer_transaction(d->to);

	if (err)
		return err;
	err = importer_unit(d->to, hash);
	if (!err)
		err = put_rows(d, rows);
	if (!err)
		err = importer_commit(d->to, false, d->now_ms);
	importer_rollback(d->to); /* if there is still something of it */
	return err;
}

/* *ret_left_out: records that are damaged. */
static int put_units(struct database_import *d, uint64_t *ret_left_out)
{
	cleanup(scan_rows_free_p) struct scan_rows *rows = NULL;
	cleanup(scan_close_p) struct scan *scan = NULL;
	struct flow_columns all = flow_columns_all();
	struct progress bar = progress_begin("importing, in flow records", false);
	uint64_t done = 0;
	int found = scan_open(d->db, NULL, &all, &scan), err = 0;

	while (!err && found >= 0 && (found = scan_next(scan, &rows)) > 0) {
		const uint8_t *hash = hash_of(d, scan_rows_key(rows));
		int here = hash ? importer_has_unit(d->to, hash) : -EIO;

		err = here < 0 ? here : 0;
		if (!err && here == 0)
			err = put_unit(d, rows, hash);
		done += rows->n_selected;
		progress_show(&bar, done, d->n_rows);
	}
	progress_end(&bar);
	if (scan)
		*ret_left_out = scan_totals(scan).damaged_rows;
	return err ? err : found;
}

static int finish(struct database_import *d)
{
	int err = importer_transaction(d->to);

	if (!err)
		err = importer_commit(d->to, true, d->now_ms);
	return err;
}

static int import(struct database_import *d)
{
	uint8_t hash[IMPORT_HASH_BYTES];
	enum import_state state = IMPORT_NEW;
	uint64_t left_out = 0;
	int err = read_units(d, hash), known = 0;

	if (!err)
		known = any_unit(d);
	if (!err && known >= 0)
		err = importer_begin(d->to, hash, d->path, d->now_ms, &state);
	if (err || known < 0)
		return fail(d, err ? err : known);
	if (state == IMPORT_DONE) {
		log_info("%s: was imported before; nothing to do", d->path);
		return EXIT_OK;
	}
	if (state == IMPORT_NEW && known) {
		log_error("%s: was imported before, and has grown since; export what came later "
			  "(db export --since) and import that",
			  d->path);
		return EXIT_USAGE;
	}
	err = bring_hosts(d);
	if (!err)
		err = put_units(d, &left_out);
	if (!err)
		err = finish(d);
	if (err)
		return fail(d, err);
	log_info("%s: %" PRIu64 " flow records imported", d->path, importer_rows(d->to));
	if (!left_out)
		return EXIT_OK;
	log_error("%s: %" PRIu64 " flow records of it are damaged and were left out", d->path,
		  left_out);
	return EXIT_CHECK;
}

int import_database(struct importer *i, const char *path, int64_t now_ms)
{
	cleanup(db_close_p) sqlite3 *db = NULL;
	struct database_import d = {.to = i, .path = path, .now_ms = now_ms};
	const char *why = "";
	int code, err = db_open_reader(path, &db, &why);

	if (!err && sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		err = db_last_errno(db);
	if (err) {
		log_error("%s: %s", path, *why ? why : strerror(-err));
		return db_exit_code(err);
	}
	d.db = db;
	code = import(&d);
	free(d.units);
	free(d.hosts);
	return code;
}
