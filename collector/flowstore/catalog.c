// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/catalog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "collector/sqlite/db_error.h"
#include "common/log.h"

enum { SEGMENT, FRESH, LAST };

/*
 * Out of indexes that have all of it (sql/0013_catalog.sql); SQLite would go by the tables' own
 * ids. The last row is there so that the statement stays open when all others are read.
 */
static const char list_sql[] =
	"SELECT 0, id, 0, n_rows, min_start_ms, min_end_ms, max_end_ms, zone, zone_crc"
	"  FROM flow_segment INDEXED BY flow_segment_zone WHERE id > ?1 AND id <= ?2"
	" UNION ALL SELECT 1, id, host_id, n_rows, min_start_ms, min_end_ms, max_end_ms, NULL, NULL"
	"  FROM flow_fresh INDEXED BY flow_fresh_zone WHERE ?3"
	" UNION ALL SELECT 2, 0, 0, 0, 0, 0, 0, NULL, NULL";

/* The values of a segment; false if they are damaged. */
static bool get_values(sqlite3_stmt *st, struct zone *z)
{
	const uint8_t *data = sqlite3_column_blob(st, 7);
	size_t len = (size_t)sqlite3_column_bytes(st, 7);

	if (sqlite3_column_type(st, 8) == SQLITE_INTEGER &&
	    sqlite3_column_int64(st, 8) !=
		    zone_crc(z, data, len, (uint64_t)sqlite3_column_int64(st, 3)))
		return false;
	return zone_unpack(data, len, z);
}

static struct zone get_zone(sqlite3_stmt *st, uint64_t *n_damaged)
{
	struct zone z = {
		.min_start_ms = (uint64_t)sqlite3_column_int64(st, 4),
		.min_end_ms = (uint64_t)sqlite3_column_int64(st, 5),
		.max_end_ms = (uint64_t)sqlite3_column_int64(st, 6),
	};

	z.hosts.n = z.protos.n = z.dst_ports.n = ZONE_MAX_VALUES + 1;
	if (sqlite3_column_int(st, 0) == FRESH) {
		z.hosts.n = 1;
		z.hosts.values[0] = (uint32_t)sqlite3_column_int64(st, 2);
	} else if (sqlite3_column_int(st, 0) == SEGMENT && !get_values(st, &z)) {
		log_warn("damaged: segment %" PRIi64 ", zone: it is read for every question",
			 (int64_t)sqlite3_column_int64(st, 1));
		++*n_damaged;
		z = (struct zone){.max_end_ms = UINT64_MAX}; /* it rules nothing out, then */
		z.hosts.n = z.protos.n = z.dst_ports.n = ZONE_MAX_VALUES + 1;
	}
	return z;
}

static int add_item(struct catalog *c, const struct catalog_item *item)
{
	if (c->n == c->max) {
		size_t max = c->max ? 2 * c->max : 256;
		struct catalog_item *items = realloc(c->items, max * sizeof(*items));

		if (!items)
			return -ENOMEM;
		c->items = items;
		c->max = max;
	}
	c->items[c->n++] = *item;
	return 0;
}

static int add_row(struct catalog *c, const struct predicate *predicate, bool keep_zones)
{
	struct zone zone = get_zone(c->list, &c->n_damaged), *kept = NULL;
	struct catalog_item item = {
		.id = sqlite3_column_int64(c->list, 1),
		.n_rows = (uint32_t)sqlite3_column_int64(c->list, 3),
		.host_id = (uint32_t)sqlite3_column_int64(c->list, 2),
		.fresh = sqlite3_column_int(c->list, 0) == FRESH,
		.several_hosts = zone.hosts.n != 1,
		.within = !predicate || zone_within(&zone, predicate),
	};
	int err;

	c->n_all++;
	if (predicate && !zone_admits(&zone, predicate, NULL))
		return 0;
	if (keep_zones && !item.fresh) {
		kept = malloc(sizeof(*kept));
		if (!kept)
			return -ENOMEM;
		*kept = zone;
		item.zone = kept;
	}
	err = add_item(c, &item);
	if (err)
		free(kept);
	return err;
}

/* Parameters that are there. */
static void bind_range(sqlite3_stmt *st, const struct catalog_range *r)
{
	(void)sqlite3_bind_int64(st, 1, r ? r->after : 0);
	(void)sqlite3_bind_int64(st, 2, r ? r->until : INT64_MAX);
	(void)sqlite3_bind_int(st, 3, r ? r->fresh : 1);
}

int catalog_open(struct catalog *c, sqlite3 *db, const struct catalog_range *range,
		 const struct predicate *predicate, bool keep_zones)
{
	int err = 0;

	*c = (struct catalog){0};
	if (sqlite3_prepare_v2(db, list_sql, -1, &c->list, NULL) != SQLITE_OK)
		return db_last_errno(db);
	bind_range(c->list, range);
	while (sqlite3_step(c->list) == SQLITE_ROW) {
		if (sqlite3_column_int(c->list, 0) == LAST)
			return 0;
		err = add_row(c, predicate, keep_zones);
		if (err)
			return err;
	}
	return db_last_errno(db);
}

void catalog_close(struct catalog *c)
{
	(void)sqlite3_finalize(c->list); /* repeats an old error at most */
	for (size_t i = 0; i < c->n; i++)
		free((void *)c->items[i].zone);
	free(c->items);
	*c = (struct catalog){0};
}
