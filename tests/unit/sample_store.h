/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sample_store.h - a store in a folder of its own, and its flows in segments. */
#ifndef WEIR_TESTS_UNIT_SAMPLE_STORE_H
#define WEIR_TESTS_UNIT_SAMPLE_STORE_H

#include <stdio.h>

#include "collector/flowstore/compactor.h"
#include "collector/flowstore/flow_writer.h"
#include "collector/flowstore/segment.h"
#include "collector/sqlite/sql_functions.h"
#include "collector/store/db.h"
#include "tests/unit/sample_db.h"
#include "tests/unit/sample_jobs.h"

struct sample_store {
	struct sample_dir dir;
	sqlite3 *db, *reader; /* the one that writes; beside it */
	struct flow_writer *writer;
};

/* The hosts 1 to n_hosts are "host1" and so on. */
static inline void sample_store_open(struct sample_store *s, int n_hosts)
{
	const char *why = NULL;
	char name[16];

	sample_dir_make(&s->dir);
	assert_int_equal(db_open_writer(s->dir.path, &s->db, &why), 0);
	assert_int_equal(flow_writer_open(s->db, &s->writer), 0);
	for (int h = 1; h <= n_hosts; h++) {
		(void)snprintf(name, sizeof(name), "host%d", h);
		sample_add_host(s->db, h, name, 1000, 0);
	}
	assert_int_equal(db_open_reader(s->dir.path, &s->reader, &why), 0);
	assert_int_equal(sql_functions_register(s->reader), 0);
}

static inline void sample_store_close(struct sample_store *s)
{
	flow_writer_close(s->writer);
	db_close(s->reader);
	db_close(s->db);
	sample_dir_remove(&s->dir);
}

/* Makes segments of up to rows flows until there is no more to do; returns how many. */
static inline int sample_compact(sqlite3 *db, sqlite3 *reader, size_t rows)
{
	struct flow_writer *writer = NULL;
	struct compactor *c = NULL;
	struct segment *s;
	int made = 0, found;

	assert_int_equal(compactor_new(reader, rows, 1000, &c), 0);
	assert_int_equal(flow_writer_open(db, &writer), 0);
	while ((found = compactor_make(c, &s)) > 0) {
		sample_exec(db, "BEGIN IMMEDIATE");
		assert_int_equal(flow_writer_segment(writer, s), 0);
		sample_exec(db, "COMMIT");
		segment_free(s);
		made++;
	}
	assert_int_equal(found, 0);
	flow_writer_close(writer);
	compactor_free(c);
	return made;
}

#endif /* WEIR_TESTS_UNIT_SAMPLE_STORE_H */
