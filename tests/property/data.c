// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "tests/property/data.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/flowstore/compactor.h"
#include "collector/flowstore/flow_writer.h"
#include "collector/flowstore/segment.h"
#include "collector/sqlite/sql_functions.h"
#include "collector/store/db.h"
#include "proto/message.h"
#include "tests/bench-store/fill.h"
#include "tests/property/need.h"
#include "tests/property/row_table.h"
#include "tests/unit/random_flows.h"

#define MAX_BATCH 500
#define START_MS  1700000000000ull

struct making {
	struct data *data;
	const struct kind *kind;
	uint64_t rng, last_id;
	sqlite3 *db;
	struct flow_writer *writer;
	struct fill *fill;
};

struct kind {
	const char *name;
	unsigned hosts;
	unsigned share;	      /* per cent of the questions */
	size_t merged, fresh; /* records in segments, and behind them */
	size_t segment_rows;  /* 0: none are made */
	size_t batch;	      /* records of one, at most */
	bool small_last;      /* what is left over becomes a segment, too */
	bool for_reports;
	void (*flow)(struct making *m, struct flow_record *r); /* NULL: a fleet that could be */
};

/* --- records --------------------------------------------------------------------------- */

static uint32_t draw(struct making *m, uint32_t n)
{
	return (uint32_t)(random_u64(&m->rng) % n);
}

/* Sums of them stay below 2^63. */
static void keep_sums(struct flow_record *r)
{
#define KEEP(name, max, has) r->name &= (UINT64_C(1) << 44) - 1;
	FLOW_COUNTERS(KEEP)
#undef KEEP
}

static void unique_id(struct making *m, struct flow_record *r)
{
	r->flow_id = ++m->last_id * 2654435761u % FLOW_ID_MAX + 1;
}

static void mixed_flow(struct making *m, struct flow_record *r)
{
	static const uint16_t ports[] = {0, 22, 53, 80, 443, 443, 8080, 65535};

	*r = random_flow(&m->rng);
	keep_sums(r);
	unique_id(m, r);
	if (draw(m, 2))
		r->dst_port = ports[draw(m, 8)];
	if (draw(m, 4) == 0)
		r->proto = IPPROTO_UDP;
	if (draw(m, 3) == 0)
		r->vlan = (uint16_t)draw(m, 3);
	if (draw(m, 2)) {
		r->packets = draw(m, 100);
		r->bytes = r->packets * (64 + draw(m, 1400));
	}
}

/* Each column has all or nothing that it may have, and a little between. */
static void extreme_flow(struct making *m, struct flow_record *r)
{
	static const uint64_t little[] = {1, 127, 128, 255, 256, 65535, 65536};

	*r = random_flow(&m->rng);
#define EXTREME(name, max, has)                                                                    \
	switch (draw(m, 4)) {                                                                      \
	case 0:                                                                                    \
		r->name = 0;                                                                       \
		break;                                                                             \
	case 1:                                                                                    \
		r->name = (__typeof__(r->name))(little[draw(m, 7)] % ((max) + UINT64_C(1)));       \
		break;                                                                             \
	default:                                                                                   \
		r->name = (__typeof__(r->name))(max);                                              \
	}
	FLOW_COLUMNS(EXTREME)
#undef EXTREME
#define LONGEST(name, max, has)                                                                    \
	if (draw(m, 2)) {                                                                          \
		memset(r->name, 'x', (max)-1);                                                     \
		r->name[(max)-1] = '\0';                                                           \
	}
	FLOW_TEXTS(LONGEST)
#undef LONGEST
	r->flow_id += r->flow_id == 0;
	if (draw(m, 3))
		r->proto = IPPROTO_TCP;
	memset(r->src_addr, draw(m, 2) ? 0xff : 0, 16);
	memset(r->data_rtt_hist, 0, sizeof(r->data_rtt_hist));
	memset(r->rev_data_rtt_hist, 0, sizeof(r->rev_data_rtt_hist));
	if (r->data_rtt_samples >= UINT16_MAX)
		memset(r->data_rtt_hist, 0xff, sizeof(r->data_rtt_hist));
	if (r->end_reason == FLOW_END_NONE)
		r->end_reason = FLOW_END_IDLE;
	if (!r->tunnel) {
		memset(r->outer_src_addr, 0, 16);
		memset(r->outer_dst_addr, 0, 16);
	}
}

/* UDP of which nothing was measured, and no text. */
static void bare_flow(struct making *m, struct flow_record *r)
{
	*r = (struct flow_record){
		.start_ns = (START_MS + draw(m, 50000)) * 1000000,
		.proto = IPPROTO_UDP,
		.src_port = (uint16_t)draw(m, 4),
		.dst_port = 53,
		.packets = draw(m, 3),
		.end_reason = FLOW_END_IDLE,
	};
	r->end_ns = r->start_ns;
	unique_id(m, r);
	random_addr(&m->rng, r->src_addr);
	random_addr(&m->rng, r->dst_addr);
}

static void catch_all_flow(struct making *m, struct flow_record *r)
{
	mixed_flow(m, r);
	if (draw(m, 10) < 8) {
		*r = (struct flow_record){
			.flow_id = r->flow_id,
			.start_ns = r->start_ns,
			.end_ns = r->end_ns,
			.packets = draw(m, 1000),
			.bytes = draw(m, 1000000),
			.end_reason = FLOW_END_NO_RESOURCES,
			.iface = "eth0",
		};
	}
}

/* No two hosts tell of one conversation. */
static void unique_flow(struct making *m, struct flow_record *r)
{
	mixed_flow(m, r);
	r->src_port = (uint16_t)(1024 + m->last_id % 60000);
	r->dst_port %= 1024;
	r->rtt_us = draw(m, 4) * draw(m, 100000);
	r->response_avg_us = draw(m, 4) * draw(m, 100000);
	if (draw(m, 20) == 0)
		catch_all_flow(m, r);
	if (r->end_reason == FLOW_END_NONE) /* no probe sends it */
		r->end_reason = FLOW_END_ACTIVE;
}

/* IPv6 with addresses that share long prefixes; times of a day, so that zones differ. */
static void v6_flow(struct making *m, struct flow_record *r)
{
	uint64_t at_ms = START_MS + m->last_id * 20 + draw(m, 1000);

	mixed_flow(m, r);
	memset(r->src_addr, 0, 16);
	r->src_addr[0] = 0x20;
	r->src_addr[1] = 0x01;
	r->src_addr[7] = (uint8_t)draw(m, 3);
	r->src_addr[15] = (uint8_t)draw(m, 200);
	memcpy(r->dst_addr, r->src_addr, 16);
	r->dst_addr[14] = (uint8_t)draw(m, 2);
	r->end_ns = r->end_ns - r->start_ns + at_ms * 1000000;
	r->start_ns = at_ms * 1000000;
}

/* --- into both stores ---------------------------------------------------------------------- */

static void put_batch(struct making *m, uint32_t host_id, const struct flow_record *rows, size_t n)
{
	struct column_codec *codec = NULL;
	struct flow_summary summary;
	uint8_t *block = NULL;
	const char *why = "no reason";
	size_t len;

	need(batch_seal_rows(rows, n, &block, &len) == 0, "packing");
	need(column_codec_new(n, &codec) == 0, "memory");
	need(flow_block_check(codec, block, len, &summary, &why) == 0, why);
	need(flow_writer_fresh(m->writer, host_id, block, len, &summary) == 0, "writing");
	column_codec_free(codec);
	free(block);
	for (size_t i = 0; i < n; i++)
		row_table_add(m->data->plain, host_id, &rows[i]);
}

static void put_random_batch(struct making *m, size_t n)
{
	static struct flow_record rows[MAX_BATCH];

	for (size_t i = 0; i < n; i++)
		m->kind->flow(m, &rows[i]);
	put_batch(m, 1 + draw(m, m->kind->hosts), rows, n);
}

static size_t put_fleet_batch(struct making *m, size_t n)
{
	struct fill_batch b;

	need(fill_next(m->fill, n, &b) == 0, "memory");
	put_batch(m, b.host + 1, b.rows, b.n);
	return b.n;
}

static void exec(sqlite3 *db, const char *sql)
{
	need(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

static void put_flows(struct making *m, size_t n)
{
	exec(m->db, "BEGIN");
	exec(row_table_db(m->data->plain), "BEGIN");
	while (n > 0) {
		size_t some = 1 + draw(m, (uint32_t)m->kind->batch);

		some = some < n ? some : n;
		if (m->kind->flow)
			put_random_batch(m, some);
		else
			some = put_fleet_batch(m, some);
		n -= some < n ? some : n;
	}
	exec(row_table_db(m->data->plain), "COMMIT");
	exec(m->db, "COMMIT");
}

static void merge(struct making *m, size_t rows, size_t batches)
{
	struct compactor *c = NULL;
	struct segment *s;
	int found;

	need(compactor_new(m->data->store, rows, batches, &c) == 0, "compactor");
	while ((found = compactor_make(c, &s)) > 0) {
		exec(m->db, "BEGIN IMMEDIATE");
		need(flow_writer_segment(m->writer, s) == 0, "a segment");
		exec(m->db, "COMMIT");
		segment_free(s);
	}
	need(found == 0, "merging");
	compactor_free(c);
}

static void put_hosts(struct making *m)
{
	for (unsigned h = 1; h <= m->kind->hosts; h++) {
		char name[16], *sql;

		/* Two hosts of one name, and one of the name's upper case. */
		(void)snprintf(name, sizeof(name), "%s%u", h == 4 ? "HOST" : "host",
			       h == 3 || h == 4 ? 2 : h);
		sql = sqlite3_mprintf(
			"INSERT INTO host (id, probe_id, name, kernel, build, boot_id, ifaces,"
			" first_seen_ms, last_seen_ms) VALUES (%u, CAST(printf('%%016d', %u) AS"
			" BLOB), %Q, '', '', x'', '', %llu, %llu)",
			h, h, name, START_MS, START_MS);
		exec(m->db, sql);
		sqlite3_free(sql);
		row_table_add_host(m->data->plain, h, name);
	}
}

/* --- the kinds ---------------------------------------------------------------------------------
 */

static const struct kind kinds[] = {
	{"segments, fresh batches", 3, 16, 16000, 1500, 3000, 300, false, false, mixed_flow},
	{"fresh batches", 3, 9, 0, 3000, 0, 120, false, false, mixed_flow},
	{"a small last segment", 4, 13, 7000, 300, 2500, 200, true, false, mixed_flow},
	{"a fleet", 20, 8, 20000, 1000, 6000, 500, false, false, NULL},
	{"many hosts", 200, 7, 9000, 200, 4000, 60, true, false, mixed_flow},
	{"extreme values", 3, 10, 4000, 300, 1500, 200, true, false, extreme_flow},
	{"nothing measured", 3, 5, 4000, 300, 1500, 200, true, false, bare_flow},
	{"catch-all", 3, 6, 4000, 300, 1500, 200, true, false, catch_all_flow},
	{"IPv6, in the order of time", 3, 8, 12000, 300, 2000, 200, true, false, v6_flow},
	{"one record", 3, 2, 0, 1, 0, 1, false, false, mixed_flow},
	{"one in a segment", 3, 2, 1, 0, 10, 1, true, false, mixed_flow},
	{"none", 3, 1, 0, 0, 0, 1, false, false, mixed_flow},
	{"reports", 4, 7, 1800, 200, 700, 200, true, true, unique_flow},
	{"reports of both ends", 8, 6, 1500, 200, 600, 200, true, true, NULL},
};

size_t data_kinds(void)
{
	return sizeof(kinds) / sizeof(kinds[0]);
}

uint64_t data_share(size_t kind, uint64_t n)
{
	uint64_t before = 0;

	for (size_t i = 0; i < kind; i++)
		before += kinds[i].share;
	return n * (before + kinds[kind].share) / 100 - n * before / 100;
}

static void open_store(struct making *m)
{
	struct data *d = m->data;
	const char *why = "no reason";
	char dir[] = "/tmp/weir-property.XXXXXX";

	need(mkdtemp(dir) != NULL, "a folder in /tmp");
	(void)snprintf(d->path, sizeof(d->path), "%s/weir.db", dir);
	need(db_open_writer(d->path, &m->db, &why) == 0, why);
	need(flow_writer_open(m->db, &m->writer) == 0, "a writer");
	need(db_open_reader(d->path, &d->store, &why) == 0, why);
	need(sql_functions_register(d->store) == 0, "functions");
}

struct data *data_new(size_t kind, uint64_t seed)
{
	struct data *d = calloc(1, sizeof(*d));
	struct making m = {.data = d, .kind = &kinds[kind], .rng = seed * 2 + 1};
	const struct fill_settings fleet = {
		.seed = seed, .hosts = m.kind->hosts, .flows_per_s = 100, .start_ms = START_MS};

	need(d != NULL, "memory");
	d->name = m.kind->name;
	d->for_reports = m.kind->for_reports;
	d->plain = row_table_new();
	open_store(&m);
	put_hosts(&m);
	if (!m.kind->flow)
		need(fill_new(&fleet, &m.fill) == 0, "memory");
	put_flows(&m, m.kind->merged);
	/* Segments get the same numbers as the batches to come. */
	exec(m.db, "INSERT INTO sqlite_sequence (name, seq)"
		   " SELECT 'flow_segment', ifnull(max(id), 0) FROM flow_fresh");
	if (m.kind->segment_rows)
		merge(&m, m.kind->segment_rows, 1000000);
	if (m.kind->small_last)
		merge(&m, m.kind->segment_rows, 1);
	put_flows(&m, m.kind->fresh);
	fill_free(m.fill);
	flow_writer_close(m.writer);
	db_close(m.db);
	return d;
}

void data_free(struct data *d)
{
	static const char *const suffixes[] = {"", "-wal", "-shm", "-lock"};
	char path[80];

	if (!d)
		return;
	db_close(d->store);
	row_table_free(d->plain);
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", d->path, suffixes[i]);
		(void)unlink(path); /* not all are there */
	}
	*strrchr(d->path, '/') = '\0';
	need(rmdir(d->path) == 0, "the folder is empty again");
	free(d);
}
