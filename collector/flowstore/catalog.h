/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * catalog.h - the segments and fresh blocks that a scan has to read: all that
 * there are at one moment, without those whose zone map rules them out.
 *
 * While a catalog is open, db stays in the transaction that it was read in (its
 * own, or the one that was open), so that what it names can be read.
 *
 * Memory: 32 bytes for each; there may be 100,000 fresh blocks.
 *
 * Threads: none of its own. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_CATALOG_H
#define WEIR_COLLECTOR_FLOWSTORE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "collector/flowstore/zone.h"

struct catalog_item {
	int64_t id;
	uint32_t n_rows;
	uint32_t host_id; /* of a fresh block; else 0 */
	bool fresh;
	bool several_hosts;	 /* it may have rows of more than one */
	bool within;		 /* all rows meet what the predicate requires of end_ms */
	const struct zone *zone; /* NULL: not kept */
};

struct catalog {
	sqlite3_stmt *list; /* not stepped to its end: keeps the transaction open */
	struct catalog_item *items;
	size_t n, max;
	uint64_t n_all;	    /* with those that were ruled out */
	uint64_t n_damaged; /* segments whose zone is damaged: named in the log, not ruled out */
};

/* Some of the blocks: segments with after < id <= until, and the fresh ones or none. */
struct catalog_range {
	int64_t after, until; /* ids start at 1 */
	bool fresh;
};

/*
 * Reads all of range (NULL: everything) that predicate (NULL: anything) admits. keep_zones: of
 * segments, for another look when the dictionaries are known. *c is for catalog_close(), whatever
 * is returned.
 */
int catalog_open(struct catalog *c, sqlite3 *db, const struct catalog_range *range,
		 const struct predicate *predicate, bool keep_zones);
/* Of a zeroed one: a no-op. */
void catalog_close(struct catalog *c);

#endif /* WEIR_COLLECTOR_FLOWSTORE_CATALOG_H */
