// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * A bit that is not what it was, anywhere in the blobs of a database: what is damaged is named,
 * and every answer is that of the rest, or of all, or an error. Never another one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/db/db_command.h"
#include "collector/flowstore/scan.h"
#include "common/exit_code.h"
#include "tests/unit/capture_command.h"
#include "tests/unit/random_flows.h"
#include "tests/unit/sample_store.h"

#define N_HOSTS	  3
#define PER_BLOCK 60
#define N_BLOCKS  80
#define N_ROUNDS  200
#define N_CHECKS  25 /* of the rounds: db check, which reads everything */

struct fixture {
	struct sample_store store;
	uint64_t rng;
	struct capture said;
};

/* A bit of a blob. */
struct place {
	const char *table, *column;
	int64_t id, unit; /* unit: of the flows that hang on it */
	int at;
	uint8_t bit;
};

static void put_blocks(struct fixture *f, int n)
{
	for (int b = 0; b < n; b++) {
		struct flow_record rows[PER_BLOCK];

		for (size_t i = 0; i < PER_BLOCK; i++)
			rows[i] = random_flow(&f->rng);
		sample_add_records(f->store.db, 1 + b % N_HOSTS, rows, PER_BLOCK);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	f->rng = 0x2545f4914f6cdd1dull;
	sample_store_open(&f->store, N_HOSTS);
	put_blocks(f, N_BLOCKS);
	(void)sample_compact(f->store.db, f->store.reader, 1000);
	put_blocks(f, 3);
	/* The truth, with the segment or batch that each row is of. */
	sample_exec(f->store.reader,
		    "CREATE TEMP TABLE plain AS SELECT rowid >> 17 AS unit, * FROM flows");
	sample_exec(f->store.reader, "CREATE TEMP TABLE hit (unit)");
	sample_exec(f->store.reader, "CREATE TEMP VIEW rest AS SELECT * FROM plain"
				     " WHERE unit NOT IN (SELECT unit FROM hit)");
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sample_store_close(&f->store);
	free(f);
	return 0;
}

/* --- a bit --------------------------------------------------------------------------- */

static int64_t pick_id(struct fixture *f, const char *table)
{
	char sql[128];

	(void)snprintf(sql, sizeof(sql),
		       "SELECT id FROM %s ORDER BY id LIMIT 1 OFFSET %llu %% (SELECT count(*)"
		       " FROM %s)",
		       table, (unsigned long long)(random_u64(&f->rng) >> 1), table);
	return sample_number(f->store.db, sql);
}

static struct place pick(struct fixture *f)
{
	static const struct {
		const char *table, *column;
	} blobs[] = {
		{"flow_segment", "head"}, {"flow_segment", "zone"}, {"flow_column", "data"},
		{"flow_column", "data"},  {"flow_fresh", "data"},
	};
	size_t which = random_u64(&f->rng) % 5;
	struct place p = {.table = blobs[which].table, .column = blobs[which].column};
	char sql[128];

	p.id = pick_id(f, p.table);
	p.unit = which == 4 ? p.id << 1 | 1 : (which < 2 ? p.id : p.id >> 16) << 1;
	(void)snprintf(sql, sizeof(sql), "SELECT length(%s) FROM %s WHERE id = %lld", p.column,
		       p.table, (long long)p.id);
	p.at = (int)(random_u64(&f->rng) % (uint64_t)sample_number(f->store.db, sql));
	p.bit = (uint8_t)(1 << random_u64(&f->rng) % 8);
	return p;
}

/* A zone is in an index, too, which alone is read. */
static void flip_zone(struct fixture *f, const struct place *p)
{
	uint8_t zone[4096];
	sqlite3_stmt *st;
	int len;

	assert_int_equal(sqlite3_prepare_v2(f->store.db,
					    "SELECT zone FROM flow_segment WHERE id = ?", -1, &st,
					    NULL),
			 SQLITE_OK);
	sqlite3_bind_int64(st, 1, p->id);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	len = sqlite3_column_bytes(st, 0);
	assert_in_range(len, p->at + 1, sizeof(zone));
	memcpy(zone, sqlite3_column_blob(st, 0), (size_t)len);
	sqlite3_finalize(st);
	zone[p->at] ^= p->bit;
	assert_int_equal(sqlite3_prepare_v2(f->store.db,
					    "UPDATE flow_segment SET zone = ? WHERE id = ?", -1,
					    &st, NULL),
			 SQLITE_OK);
	sqlite3_bind_blob(st, 1, zone, len, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, p->id);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
}

static void flip(struct fixture *f, const struct place *p)
{
	sqlite3_blob *blob = NULL;
	uint8_t byte;

	if (strcmp(p->column, "zone") == 0) {
		flip_zone(f, p);
		return;
	}
	assert_int_equal(
		sqlite3_blob_open(f->store.db, "main", p->table, p->column, p->id, 1, &blob),
		SQLITE_OK);
	assert_int_equal(sqlite3_blob_read(blob, &byte, 1, p->at), SQLITE_OK);
	byte ^= p->bit;
	assert_int_equal(sqlite3_blob_write(blob, &byte, 1, p->at), SQLITE_OK);
	assert_int_equal(sqlite3_blob_close(blob), SQLITE_OK);
}

/* --- answers ---------------------------------------------------------------------------- */

#define ANSWER_MAX 16384

/* All rows and cells of a question about that table, which it calls @. Returns an SQLite code. */
static int ask(sqlite3 *db, const char *question, const char *table, char ret[ANSWER_MAX])
{
	char sql[600];
	sqlite3_stmt *st = NULL;
	size_t len = 0;
	int rc;

	(void)snprintf(sql, sizeof(sql), "%.*s%s%s", (int)strcspn(question, "@"), question, table,
		       strchr(question, '@') + 1);
	ret[0] = '\0';
	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sqlite3_errmsg(db), sql);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		for (int i = 0; i < sqlite3_column_count(st) && len < ANSWER_MAX - 1; i++)
			len += (size_t)snprintf(ret + len, ANSWER_MAX - len, "%s|",
						(const char *)sqlite3_column_text(st, i));
	sqlite3_finalize(st);
	assert_true(len < ANSWER_MAX);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static const char *const questions[] = {
	"SELECT count(*) FROM @",
	"SELECT count(*), sum(bytes), sum(packets) FROM @",
	"SELECT src_addr, sum(rev_bytes) FROM @ GROUP BY 1 ORDER BY 1",
	"SELECT host, count(*), max(end_ms), min(start_ms) FROM @ GROUP BY 1 ORDER BY 1",
	"SELECT count(*), sum(flow_id % 1000003) FROM @ WHERE host = 'host2' AND proto = 6",
	"SELECT count(*), total(rtt_us) FROM @ WHERE in_prefix(dst_addr, '10.0.0.0/29')",
	"SELECT dst_port, count(*) FROM @ WHERE dst_port BETWEEN 1 AND 1000 GROUP BY 1 ORDER BY 1",
	"SELECT iface, verdict, sum(mss) FROM @ GROUP BY 1, 2 ORDER BY 1, 2",
	"SELECT dns_qname, count(*), sum(dns_latency_us) FROM @ GROUP BY 1 ORDER BY 1",
	"SELECT sum(length(data_rtt_hist)), count(process), count(community_id) FROM @",
	"SELECT count(*) FROM @ WHERE end_ms < 1700000050000",
};
#define N_QUESTIONS (sizeof(questions) / sizeof(questions[0]))

struct counts {
	int all, rest, errors, named;
};

static void check_question(struct fixture *f, const struct place *p, const char *question,
			   struct counts *n)
{
	static char got[ANSWER_MAX], all[ANSWER_MAX], rest[ANSWER_MAX];
	bool named;
	int rc;

	capture_start(&f->said);
	rc = ask(f->store.reader, question, "flows", got);
	capture_stop(&f->said);
	named = strstr(f->said.err, "damaged: ") != NULL;
	n->named += named;
	if (rc != SQLITE_OK) {
		n->errors++;
		if (!named)
			fail_msg("error %d, and nothing is named", rc);
		return;
	}
	assert_int_equal(ask(f->store.reader, question, "temp.plain", all), SQLITE_OK);
	assert_int_equal(ask(f->store.reader, question, "temp.rest", rest), SQLITE_OK);
	if (strcmp(got, all) == 0)
		n->all++;
	else if (strcmp(got, rest) == 0 && named)
		n->rest++;
	else
		fail_msg("%s %lld, byte %d of %s, bit %d: %s\nis %s\nnot %s\nnor %s", p->table,
			 (long long)p->id, p->at, p->column, p->bit, question, got, all, rest);
}

/* Columns in C: never an error. */
static void check_scan(struct fixture *f, const struct place *p)
{
	struct flow_columns columns = {{0}};
	struct scan_rows *rows = NULL;
	struct scan_totals t;
	struct scan *scan;
	int64_t n = 0, of_unit;
	char sql[100];
	int found;

	for (int i = 0; i < 4; i++)
		flow_columns_add_needed(&columns,
					(enum flow_column)(random_u64(&f->rng) % FLOW_N_COLUMNS));
	capture_start(&f->said);
	assert_int_equal(scan_open(f->store.reader, NULL, &columns, &scan), 0);
	while ((found = scan_next(scan, &rows)) > 0)
		n += (int64_t)rows->n_selected;
	capture_stop(&f->said);
	t = scan_totals(scan);
	scan_rows_free(rows);
	scan_close(scan);
	assert_int_equal(found, 0);
	(void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM plain WHERE unit = %lld",
		       (long long)p->unit);
	of_unit = sample_number(f->store.reader, sql);
	assert_int_equal(n + (int64_t)t.damaged_rows,
			 sample_number(f->store.reader, "SELECT count(*) FROM plain"));
	assert_true(t.damaged_rows == 0 || t.damaged_rows == (uint64_t)of_unit);
	assert_int_equal(t.damaged_rows > 0 || t.damaged_zones > 0,
			 strstr(f->said.err, "damaged: ") != NULL);
}

/* It names the one that is damaged. */
static void check_check(struct fixture *f, const struct place *p)
{
	char name[64];

	assert_int_equal(capture_command(&f->said, &db_check_command, f->store.dir.path,
					 (const char *const[CAPTURE_MAX_WORDS]){NULL}),
			 EXIT_CHECK);
	(void)snprintf(name, sizeof(name), "damaged: %s %lld",
		       p->unit & 1 ? "fresh block" : "segment", (long long)(p->unit >> 1));
	if (!strstr(f->said.err, name))
		fail_msg("no \"%s\" in: %s", name, f->said.err);
}

static void test_any_bit(void **state)
{
	struct fixture *f = *state;
	struct counts n = {0};
	char sql[100];

	assert_true(sample_number(f->store.db, "SELECT count(*) FROM flow_segment") > 3);
	assert_true(sample_number(f->store.db, "SELECT count(*) FROM flow_column") > 60);
	assert_true(sample_number(f->store.db, "SELECT count(*) FROM flow_fresh") > 2);
	for (int round = 0; round < N_ROUNDS; round++) {
		struct place p = pick(f);

		flip(f, &p);
		(void)snprintf(sql, sizeof(sql), "DELETE FROM hit; INSERT INTO hit VALUES (%lld)",
			       (long long)p.unit);
		sample_exec(f->store.reader, sql);
		for (int i = 0; i < 3; i++)
			check_question(f, &p, questions[random_u64(&f->rng) % N_QUESTIONS], &n);
		check_scan(f, &p);
		if (round % (N_ROUNDS / N_CHECKS) == 0)
			check_check(f, &p);
		flip(f, &p); /* back */
	}
	print_message("%d answers of all, %d of the rest, %d errors\n", n.all, n.rest, n.errors);
	assert_true(n.rest > 50);
	assert_true(n.all > 50);
	for (size_t i = 0; i < N_QUESTIONS; i++) {
		const struct place none = {0};

		check_question(f, &none, questions[i], &n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_any_bit, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
