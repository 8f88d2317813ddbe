// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * weir_fill.c - a database of a fleet that could be (fill.h), without a network,
 * and what each step of storing it took.
 *
 *	weir-fill --db big.db --flows 10M --hosts 50 --rate 2000 --seed 1
 *
 * Prints, as ns of CPU a record: packing (the probe's), checking, committing,
 * merging, and the rollups; and bytes a record on the wire and on disk, by column
 * with --columns.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "collector/cli/heap.h"
#include "collector/flowstore/compactor.h"
#include "collector/flowstore/flow_writer.h"
#include "collector/flowstore/segment.h"
#include "collector/rollup/roller.h"
#include "collector/rollup/rollup.h"
#include "collector/rollup/rollup_writer.h"
#include "collector/sqlite/one_shot.h"
#include "collector/store/db.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "proto/message.h"
#include "tests/bench-store/fill_options.h"
#include "tests/bench-store/once_cost.h"

struct times {
	uint64_t pack_ns, check_ns, commit_ns, merge_ns, swap_ns, sum_ns, put_ns;
};

struct filling {
	sqlite3 *db, *reader;
	struct flow_writer *writer;
	struct rollup_writer *rollups;
	struct compactor *compactor;
	struct fill *fill;
	struct times t;
	uint64_t rows, merged, wire_bytes, batches, rolled_up, rollup_rows, covered_rows, start_ms;
};

static const char usage[] =
	"usage: weir-fill [OPTION...]\n"
	"  --db FILE       made new; it must not be there (fill.db)\n"
	"  --columns       bytes of each column\n"
	"  --once          what counting each conversation once costs\n" FILL_OPTIONS_HELP;

static uint64_t cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static int exec(struct filling *f, const char *sql)
{
	return sqlite3_exec(f->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_last_errno(f->db);
}

static int put_addr(struct filling *f, unsigned host_id, const uint8_t addr[16])
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		f->db, "INSERT INTO host_addr (host_id, addr, since_ms) VALUES (?, ?, 0)");

	binder_int(&o.b, host_id);
	binder_blob(&o.b, addr, 16);
	return one_shot_run(&o);
}

static int put_hosts(struct filling *f, unsigned n)
{
	int err = exec(f, "BEGIN");

	for (unsigned h = 1; !err && h <= n; h++) {
		uint8_t addrs[2][16];
		char sql[300];

		(void)snprintf(
			sql, sizeof(sql),
			"INSERT INTO host (id, probe_id, name, kernel, build, boot_id, ifaces,"
			" first_seen_ms, last_seen_ms) VALUES (%u, CAST(printf('%%016d', %u)"
			" AS BLOB), 'host%02u', '', '', x'', '', 0, 0)",
			h, h, h);
		err = exec(f, sql);
		fill_host_addrs(h - 1, addrs[0], addrs[1]);
		for (int i = 0; !err && i < 2; i++)
			err = put_addr(f, h, addrs[i]);
	}
	return err ? err : exec(f, "COMMIT");
}

/* Every host has reported in every minute, as a collector would have noted. */
static int put_coverage(struct filling *f)
{
	cleanup(one_shot_end) struct one_shot o = one_shot_begin(
		f->db, "WITH RECURSIVE m (ms) AS (SELECT ?1 UNION ALL SELECT ms + 60000 FROM m"
		       " WHERE ms + 60000 <= ?2) INSERT OR IGNORE INTO coverage_minute"
		       " (host_id, minute_ms, batches) SELECT id, ms, 1 FROM host, m");

	binder_count(&o.b, f->start_ms - f->start_ms % 60000);
	binder_count(&o.b, fill_now_ms(f->fill));
	return one_shot_run(&o);
}

static int put_batch(struct filling *f, const struct fill_batch *b)
{
	struct column_codec *codec;
	struct flow_summary summary;
	uint8_t *block;
	size_t len;
	uint64_t t0 = cpu_ns(), t1, t2;
	int err = batch_seal_rows(b->rows, b->n, &block, &len);

	if (err)
		return err;
	t1 = cpu_ns();
	err = column_codec_new(b->n, &codec);
	if (!err) {
		err = flow_block_check(codec, block, len, &summary, NULL);
		column_codec_free(codec);
	}
	t2 = cpu_ns();
	if (!err)
		err = flow_writer_fresh(f->writer, b->host + 1, block, len, &summary);
	free(block);
	f->t.pack_ns += t1 - t0;
	f->t.check_ns += t2 - t1;
	f->t.commit_ns += cpu_ns() - t2;
	f->rows += b->n;
	f->wire_bytes += len;
	f->batches++;
	return err;
}

/* Everything that is due to be merged. */
static int compact(struct filling *f)
{
	struct segment *s = NULL;
	uint64_t t0 = cpu_ns(), t1;
	int found;

	while ((found = compactor_make(f->compactor, &s)) > 0) {
		int err;

		t1 = cpu_ns();
		f->t.merge_ns += t1 - t0;
		f->merged += s->n_rows;
		err = exec(f, "BEGIN IMMEDIATE");
		if (!err)
			err = flow_writer_segment(f->writer, s);
		if (!err)
			err = exec(f, "COMMIT");
		segment_free(s);
		if (err)
			return err;
		t0 = cpu_ns();
		f->t.swap_ns += t0 - t1;
	}
	return found;
}

static bool is_full(const struct filling *f, uint64_t flows)
{
	return f->rows >= flows && fill_second_is_over(f->fill);
}

/* What the roller would do. */
static int roll_up(struct filling *f, size_t at_least)
{
	struct rollup *r = NULL;
	uint64_t t0 = cpu_ns(), t1;
	int found;

	while ((found = rollup_make(f->reader, at_least, SEGMENT_ROWS / 2, NULL, &r)) > 0) {
		int err;

		t1 = cpu_ns();
		f->t.sum_ns += t1 - t0;
		f->rollup_rows += r->n_minutes + r->n_hours;
		err = exec(f, "BEGIN IMMEDIATE");
		if (!err)
			err = rollup_writer_add(f->rollups, r);
		if (!err)
			err = exec(f, "COMMIT");
		rollup_free(r);
		if (err)
			return err;
		t0 = cpu_ns();
		f->t.put_ns += t0 - t1;
	}
	return found;
}

static int fill_all(struct filling *f, uint64_t flows)
{
	int err = 0;

	while (!err && !is_full(f, flows)) {
		uint64_t until = f->rows + FILL_COMMIT_ROWS, t0;

		err = exec(f, "BEGIN IMMEDIATE");
		while (!err && f->rows < until && !is_full(f, flows)) {
			struct fill_batch b;

			err = fill_next(f->fill, BATCH_MAX_ROWS, &b);
			if (!err)
				err = put_batch(f, &b);
		}
		t0 = cpu_ns();
		if (!err)
			err = exec(f, "COMMIT");
		f->t.commit_ns += cpu_ns() - t0;
		if (!err)
			err = compact(f);
		if (!err && f->rows > f->covered_rows + 60000) {
			f->covered_rows = f->rows;
			err = put_coverage(f);
		}
		if (!err)
			err = roll_up(f, ROLLER_SEGMENTS);
		(void)fprintf(stderr, "\r%" PRIu64 " records", f->rows);
	}
	(void)fputc('\n', stderr);
	return err ? err : roll_up(f, 1);
}

static double read_number(struct filling *f, const char *sql)
{
	sqlite3_stmt *st = NULL;
	double n = 0;

	if (sqlite3_prepare_v2(f->db, sql, -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		n = sqlite3_column_double(st, 0);
	(void)sqlite3_finalize(st);
	return n;
}

static int by_bytes(const void *a, const void *b)
{
	uint64_t x = ((const uint64_t *)a)[1], y = ((const uint64_t *)b)[1];

	return (x < y) - (x > y);
}

static const char *part_name(uint64_t part)
{
	static const char *const others[] = {"(addresses)", "(texts)", "(histogram)",
					     "(rev histogram)", "(twins)"};

	return part < FLOW_N_COLUMNS ? flow_column_info[part].name : others[part - FLOW_N_COLUMNS];
}

static void print_columns(struct filling *f)
{
	uint64_t bytes[FLOW_N_PARTS][2] = {{0}}; /* part, bytes */
	struct flow_parts parts;
	sqlite3_stmt *st;

	if (sqlite3_prepare_v2(f->db, "SELECT head FROM flow_segment", -1, &st, NULL) != SQLITE_OK)
		return;
	for (size_t p = 0; p < FLOW_N_PARTS; p++)
		bytes[p][0] = p;
	while (sqlite3_step(st) == SQLITE_ROW)
		if (flow_parts_open(sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0),
				    &parts, NULL) == 0)
			for (size_t p = 0; p < FLOW_N_PARTS; p++)
				bytes[p][1] += parts.part[p].len;
	(void)sqlite3_finalize(st);
	qsort(bytes, FLOW_N_PARTS, sizeof(bytes[0]), by_bytes);
	for (size_t p = 0; p < FLOW_N_PARTS && bytes[p][1]; p++)
		printf("  %-24s %6.3f bytes\n", part_name(bytes[p][0]),
		       (double)bytes[p][1] / (double)f->merged);
}

static void print_result(struct filling *f, const char *path, bool columns)
{
	double rows = (double)f->rows, merged = f->merged ? (double)f->merged : 1;
	double rolled_up, rollup_bytes;
	struct stat file = {0};

	(void)sqlite3_wal_checkpoint_v2(f->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	(void)stat(path, &file);
	printf("%" PRIu64 " records in %" PRIu64 " batches, %.1f a batch; %" PRIu64
	       " in segments\n",
	       f->rows, f->batches, rows / (double)f->batches, f->merged);
	printf("ns of CPU a record: pack %.0f, check %.0f, commit %.0f, merge %.0f, swap %.0f\n",
	       (double)f->t.pack_ns / rows, (double)f->t.check_ns / rows,
	       (double)f->t.commit_ns / rows, (double)f->t.merge_ns / merged,
	       (double)f->t.swap_ns / merged);
	f->rolled_up = (uint64_t)read_number(f, "SELECT sum(n_rows) FROM flow_segment WHERE id <="
						" (SELECT segment_id FROM rollup_state)");
	rolled_up = f->rolled_up ? (double)f->rolled_up : 1;
	rollup_bytes = read_number(f, "SELECT sum(pgsize) FROM dbstat WHERE name GLOB 'rollup_*'");
	printf("rollups: ns of CPU a record: sum %.1f, put %.1f; %.4f rows written a record\n",
	       (double)f->t.sum_ns / rolled_up, (double)f->t.put_ns / rolled_up,
	       (double)f->rollup_rows / rolled_up);
	printf("bytes a record: wire %.2f, file %.2f, of which rollups %.2f\n",
	       (double)f->wire_bytes / rows, (double)file.st_size / rows, rollup_bytes / rows);
	if (columns)
		print_columns(f);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"db", required_argument, NULL, 'd'},
		FILL_LONG_OPTIONS,
		{"columns", no_argument, NULL, 'c'},
		{"once", no_argument, NULL, 'o'},
		{NULL, 0, NULL, 0},
	};
	struct fill_options o = FILL_OPTIONS_DEFAULT;
	const char *path = "fill.db", *why = NULL;
	struct filling f = {0};
	bool columns = false, once = false;
	int c, err;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd') {
			path = optarg;
		} else if (c == 'c') {
			columns = true;
		} else if (c == 'o') {
			once = true;
		} else if (!fill_options_take(&o, c, optarg)) {
			(void)fputs(usage, stderr);
			return 2;
		}
	}
	heap_begin(); /* as the collector has it */
	f.start_ms = o.fleet.start_ms;
	err = db_open_writer(path, &f.db, &why);
	if (!err)
		err = db_open_reader(path, &f.reader, &why);
	if (!err)
		err = flow_writer_open(f.db, &f.writer);
	if (!err)
		err = rollup_writer_open(f.db, &f.rollups);
	if (!err)
		err = compactor_new(f.reader, 0, 0, &f.compactor);
	if (!err)
		err = fill_new(&o.fleet, &f.fill);
	if (!err)
		err = put_hosts(&f, o.fleet.hosts);
	if (!err)
		err = fill_all(&f, o.flows);
	if (!err)
		err = put_coverage(&f);
	if (err)
		(void)fprintf(stderr, "weir-fill: %s: %s\n", path, why ? why : strerror(-err));
	else
		print_result(&f, path, columns);
	if (!err && once)
		err = once_cost_print(f.reader);
	compactor_free(f.compactor);
	flow_writer_close(f.writer);
	rollup_writer_close(f.rollups);
	fill_free(f.fill);
	db_close(f.reader);
	db_close(f.db);
	return err ? 1 : 0;
}
