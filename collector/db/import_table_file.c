// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "collector/db/import_source.h"
#include "collector/db/importer.h"
#include "collector/db/record_text.h"
#include "collector/db/table_file.h"
#include "collector/sqlite/one_shot.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/exit_code.h"
#include "common/log.h"
#include "common/progress.h"
#include "proto/message.h"

#define READ_BYTES 16384

DEFINE_CLEANUP(FILE *, fclose)
DEFINE_CLEANUP(struct table_file *, table_file_close)

/* A host of the file. */
struct known_host {
	char name[HOST_NAME_MAX_BYTES + 1];
	uint64_t file_id;
	int64_t id;
	bool made;
	int64_t first_ms, last_ms;
};

struct file_import {
	struct importer *to;
	const char *path;
	struct table_file *file;
	struct known_host *hosts;
	size_t n_hosts;
	/* What each place of a row was last time: names come in the same order. */
	char name_texts[TABLE_CELLS_MAX][32];
	int columns[TABLE_CELLS_MAX];
};

/* --- saying what is wrong ---------------------------------------------------------- */

static int refuse(const struct file_import *f, const char *what, const char *why)
{
	log_error("%s:%" PRIu64 ": %s%s%s; nothing of the file was imported", f->path,
		  table_file_line(f->file), what, *what ? " " : "", why);
	return EXIT_USAGE;
}

static int fail(const struct file_import *f, int err)
{
	log_error("%s: %s; nothing of it was imported", f->path, strerror(-err));
	return db_exit_code(err);
}

/* --- hosts ---------------------------------------------------------------------------- */

/* 1 and the id of the only host of that name, 0, -ENOTUNIQ or an error of db.h. */
static int find_host(sqlite3 *db, const char *name, int64_t *ret)
{
	cleanup(one_shot_end) struct one_shot o =
		one_shot_begin(db, "SELECT min(id), count(*) FROM host WHERE name = ?");
	int found;

	binder_text(&o.b, name);
	found = one_shot_row(&o);
	if (found < 0)
		return found;
	*ret = sqlite3_column_int64(o.st, 0);
	return sqlite3_column_int(o.st, 1) > 1 ? -ENOTUNIQ : sqlite3_column_int(o.st, 1);
}

/* A host that no probe has told of: its id follows from its name. */
static int make_host(sqlite3 *db, const char *name, int64_t at_ms, int64_t *ret)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		db, "INSERT INTO host (probe_id, name, kernel, build, boot_id, ifaces,"
		    " first_seen_ms, last_seen_ms) VALUES (?, ?, '', 'imported', x'', '', ?3, ?3)"
		    " RETURNING id");
	uint8_t probe_id[PROBE_ID_BYTES];
	int found;

	(void)crypto_generichash(probe_id, sizeof(probe_id), (const uint8_t *)name, strlen(name),
				 NULL, 0); /* cannot fail with these sizes */
	binder_blob(&o.b, probe_id, sizeof(probe_id));
	binder_text(&o.b, name);
	binder_int(&o.b, at_ms);
	found = one_shot_row(&o);
	if (found <= 0)
		return found < 0 ? found : -EIO;
	*ret = sqlite3_column_int64(o.st, 0);
	return one_shot_row(&o); /* to its end */
}

static int add_host(struct file_import *f, const char *name, const struct record_text *t,
		    struct known_host **ret)
{
	struct known_host *hosts = realloc(f->hosts, (f->n_hosts + 1) * sizeof(*hosts)), *h;
	int found, err;

	if (!hosts)
		return fail(f, -ENOMEM);
	f->hosts = hosts;
	h = &hosts[f->n_hosts];
	*h = (struct known_host){.file_id = t->host_id,
				 .first_ms = (int64_t)t->start_ms,
				 .last_ms = (int64_t)t->end_ms};
	if (snprintf(h->name, sizeof(h->name), "%s", name) >= (int)sizeof(h->name))
		return refuse(f, "host", "is too long");
	found = find_host(importer_db(f->to), name, &h->id);
	if (found == -ENOTUNIQ)
		return refuse(f, name, "is several hosts here");
	h->made = found == 0;
	err = found < 0 ? found : 0;
	if (h->made)
		err = make_host(importer_db(f->to), name, h->last_ms, &h->id);
	if (err)
		return fail(f, err);
	f->n_hosts++;
	*ret = h;
	return EXIT_OK;
}

static int host_of(struct file_import *f, const char *name, const struct record_text *t,
		   struct known_host **ret)
{
	if (!name)
		return refuse(f, "host", "is needed");
	for (size_t i = 0; i < f->n_hosts; i++) {
		if (strcmp(f->hosts[i].name, name) != 0)
			continue;
		if (f->hosts[i].file_id != t->host_id)
			return refuse(f, name, "is several hosts in the file");
		*ret = &f->hosts[i];
		return EXIT_OK;
	}
	return add_host(f, name, t, ret);
}

/* When the hosts that were made have been seen. */
static int put_seen(const struct file_import *f)
{
	int err = 0;

	for (size_t i = 0; !err && i < f->n_hosts; i++) {
		cleanup(one_shot_end) struct one_shot o =
			one_shot_begin(importer_db(f->to), "UPDATE host SET first_seen_ms = ?2,"
							   " last_seen_ms = ?3 WHERE id = ?1");

		if (!f->hosts[i].made)
			continue;
		binder_int(&o.b, f->hosts[i].id);
		binder_int(&o.b, f->hosts[i].first_ms);
		binder_int(&o.b, f->hosts[i].last_ms);
		err = one_shot_run(&o);
	}
	return err;
}

/* --- rows ------------------------------------------------------------------------------- */

enum { COLUMN_HOST = FLOW_N_COLUMNS, COLUMN_FOLLOWS, COLUMN_UNKNOWN };

static int column_of(const char *name)
{
	static const char *const follow[] = {"proto_name", "ip_version", "community_id"};
	int c = flow_column_find(name);

	if (c >= 0)
		return c;
	if (strcmp(name, "host") == 0)
		return COLUMN_HOST;
	for (size_t i = 0; i < sizeof(follow) / sizeof(follow[0]); i++)
		if (strcmp(name, follow[i]) == 0)
			return COLUMN_FOLLOWS;
	return COLUMN_UNKNOWN;
}

static int column_at(struct file_import *f, size_t i, const char *name)
{
	if (strcmp(f->name_texts[i], name) != 0) {
		f->columns[i] = column_of(name);
		(void)snprintf(f->name_texts[i], sizeof(f->name_texts[i]), "%s", name);
		if (strlen(name) >= sizeof(f->name_texts[i]))
			f->name_texts[i][0] = '\0'; /* no column is called so */
	}
	return f->columns[i];
}

static int put_row(struct file_import *f, const struct table_row *row)
{
	const char *host = NULL, *why;
	struct known_host *h = NULL;
	struct record_text t;
	int code, err;

	record_text_begin(&t);
	for (size_t i = 0; i < row->n; i++) {
		int c = column_at(f, i, row->names[i]);

		if (c == COLUMN_UNKNOWN)
			return refuse(f, row->names[i], "is no column of flows");
		if (c == COLUMN_HOST)
			host = row->values[i];
		if (c >= FLOW_N_COLUMNS)
			continue;
		why = t.has[c] ? "comes twice"
			       : record_text_set(&t, (enum flow_column)c, row->values[i]);
		if (why)
			return refuse(f, row->names[i], why);
	}
	why = record_text_end(&t);
	if (why)
		return refuse(f, "", why);
	code = host_of(f, host, &t, &h);
	if (code || !h)
		return code;
	if ((int64_t)t.start_ms < h->first_ms)
		h->first_ms = (int64_t)t.start_ms;
	if ((int64_t)(t.record.end_ns / 1000000) > h->last_ms)
		h->last_ms = (int64_t)(t.record.end_ns / 1000000);
	err = importer_put(f->to, h->id, &t.record);
	if (err == -EBADMSG)
		return refuse(f, "", "or a line before it is a record that no probe makes");
	return err ? fail(f, err) : EXIT_OK;
}

static int put_rows(struct file_import *f, uint64_t size)
{
	struct progress bar = progress_begin("importing", true);
	struct table_row row;
	const char *why = "";
	int found, code = EXIT_OK;

	while ((found = table_file_next(f->file, &row, &why)) > 0 && !code) {
		code = put_row(f, &row);
		progress_show(&bar, table_file_bytes(f->file), size);
	}
	progress_end(&bar);
	if (code)
		return code;
	if (found == -EBADMSG)
		return refuse(f, "", why);
	return found < 0 ? fail(f, found) : EXIT_OK;
}

/* --- the file ----------------------------------------------------------------------------- */

static int hash_file(const char *path, uint8_t ret[IMPORT_HASH_BYTES], uint64_t *ret_size)
{
	cleanup(fclose_p) FILE *in = fopen(path, "re");
	crypto_generichash_state state;
	uint8_t bytes[READ_BYTES];
	uint64_t size = 0;
	size_t n;

	if (!in)
		return -errno;
	(void)crypto_generichash_init(&state, NULL, 0, IMPORT_HASH_BYTES); /* these cannot fail */
	while ((n = fread(bytes, 1, sizeof(bytes), in)) > 0) {
		(void)crypto_generichash_update(&state, bytes, n);
		size += n;
	}
	(void)crypto_generichash_final(&state, ret, IMPORT_HASH_BYTES);
	*ret_size = size;
	return ferror(in) ? -EIO : 0;
}

/* Within a transaction. */
static int import_rows(struct file_import *f, int64_t now_ms, bool *ret_done)
{
	uint8_t hash[IMPORT_HASH_BYTES];
	enum import_state state;
	uint64_t size = 0;
	int err = hash_file(f->path, hash, &size);

	if (!err)
		err = importer_begin(f->to, hash, f->path, now_ms, &state);
	if (err)
		return fail(f, err);
	*ret_done = state == IMPORT_DONE;
	return *ret_done ? EXIT_OK : put_rows(f, size);
}

int import_table_file(struct importer *i, const char *path, int64_t now_ms)
{
	cleanup(table_file_close_p) struct table_file *file = NULL;
	struct file_import f = {.to = i, .path = path};
	bool done = false;
	int code, err = table_file_open(path, &file);

	f.file = file;
	if (!err)
		err = importer_transaction(i);
	if (err)
		return fail(&f, err);
	code = import_rows(&f, now_ms, &done);
	if (!code && !done)
		err = put_seen(&f);
	if (!code && !done && !err)
		err = importer_commit(i, true, now_ms);
	if (err)
		code = err == -EBADMSG ? refuse(&f, "",
						"or a line before it is a record that no "
						"probe makes")
				       : fail(&f, err);
	importer_rollback(i); /* if there is still something of it */
	free(f.hosts);
	if (!code && done)
		log_info("%s: was imported before; nothing to do", path);
	else if (!code)
		log_info("%s: %" PRIu64 " flow records imported", path, importer_rows(i));
	return code;
}
