/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * host_names.h - the names of hosts for the virtual table flows: by id, and
 * which ids a name has (several hosts may have one name).
 *
 * Threads: none of its own. Errors are codes of SQLite.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_HOST_NAMES_H
#define WEIR_COLLECTOR_FLOWSTORE_HOST_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "collector/flowstore/predicate.h"

struct host_names {
	size_t n;
	struct host_name {
		int64_t id, same; /* same: the lowest id of that name */
		char *name;
	} * hosts;			  /* in the order of ids */
	const struct host_name **by_name; /* in the order of names */
	struct predicate *ids;		  /* in the order of names: it is that id */
};

/* *n is for host_names_done() whatever is returned. */
int host_names_read(struct host_names *n, sqlite3 *db);
/* Of a zeroed one: a no-op. */
void host_names_done(struct host_names *n);

/* NULL: there is no such host. */
const struct host_name *host_names_entry(const struct host_names *n, int64_t id);
const char *host_names_get(const struct host_names *n, int64_t id);
/* The condition on host_id that a record's host has that name; borrows from n. */
struct predicate host_names_find(const struct host_names *n, const char *name);

#endif /* WEIR_COLLECTOR_FLOWSTORE_HOST_NAMES_H */
