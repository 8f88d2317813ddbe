// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/flowstore/host_names.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void host_names_done(struct host_names *n)
{
	for (size_t i = 0; i < n->n; i++)
		sqlite3_free(n->hosts[i].name);
	sqlite3_free(n->hosts);
	sqlite3_free(n->by_name);
	sqlite3_free(n->ids);
	*n = (struct host_names){0};
}

static int add(struct host_names *n, sqlite3_stmt *st)
{
	struct host_name *hosts = sqlite3_realloc64(n->hosts, (n->n + 1) * sizeof(*hosts));
	char *name;

	if (!hosts)
		return SQLITE_NOMEM;
	n->hosts = hosts;
	name = sqlite3_mprintf("%s", (const char *)sqlite3_column_text(st, 1));
	if (!name)
		return SQLITE_NOMEM;
	hosts[n->n++] = (struct host_name){.id = sqlite3_column_int64(st, 0), .name = name};
	return SQLITE_OK;
}

static int compare_names(const void *a, const void *b)
{
	const struct host_name *const *x = a, *const *y = b;

	int order = strcmp((*x)->name, (*y)->name);

	return order ? order : ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

static int put_in_order(struct host_names *n)
{
	n->by_name = sqlite3_malloc64((n->n + 1) * sizeof(const struct host_name *));
	n->ids = sqlite3_malloc64((n->n + 1) * sizeof(*n->ids));
	if (!n->by_name || !n->ids)
		return SQLITE_NOMEM;
	for (size_t i = 0; i < n->n; i++)
		n->by_name[i] = &n->hosts[i];
	qsort(n->by_name, n->n, sizeof(const struct host_name *), compare_names);
	for (size_t i = 0; i < n->n; i++) {
		const struct host_name *h = n->by_name[i],
				       *before = i > 0 ? n->by_name[i - 1] : NULL;
		bool same = before && strcmp(before->name, h->name) == 0;

		n->hosts[h - n->hosts].same = same ? before->same : h->id;
		n->ids[i] = (struct predicate){.kind = PREDICATE_RANGE,
					       .column = FLOW_COLUMN_host_id,
					       .low = (uint64_t)h->id,
					       .high = (uint64_t)h->id};
	}
	return SQLITE_OK;
}

int host_names_read(struct host_names *n, sqlite3 *db)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, "SELECT id, name FROM host ORDER BY id", -1, &st, NULL);

	*n = (struct host_names){0};
	while (rc == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		rc = add(n, st);
	if (rc == SQLITE_OK)
		rc = sqlite3_finalize(st);
	else
		(void)sqlite3_finalize(st); /* rc says it already */
	return rc == SQLITE_OK ? put_in_order(n) : rc;
}

static int compare_ids(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = ((const struct host_name *)b)->id;

	return (x > y) - (x < y);
}

const struct host_name *host_names_entry(const struct host_names *n, int64_t id)
{
	return n->n ? bsearch(&id, n->hosts, n->n, sizeof(*n->hosts), compare_ids) : NULL;
}

const char *host_names_get(const struct host_names *n, int64_t id)
{
	const struct host_name *h = host_names_entry(n, id);

	return h ? h->name : NULL;
}

struct predicate host_names_find(const struct host_names *n, const char *name)
{
	struct predicate p = {.kind = PREDICATE_ANY};

	for (size_t i = 0; i < n->n; i++) {
		if (strcmp(n->by_name[i]->name, name) != 0)
			continue;
		if (p.n_children++ == 0)
			p.children = &n->ids[i];
	}
	return p.n_children == 1 ? *p.children : p;
}
