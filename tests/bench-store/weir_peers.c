// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * weir_peers.c - the records that weir-fill stores, for other stores (peer.h):
 *
 *	weir-peers --as rows --to rows.db --flows 10M --seed 1
 *	weir-peers --as clickhouse-table | clickhouse-client
 *	weir-peers --as clickhouse --flows 10M | clickhouse-client -q 'INSERT INTO flow FORMAT
 *RowBinary' weir-peers --as ipfix --to 127.0.0.1:9995 --per-second 300k
 *
 * Prints on stderr, as JSON, how many records there were and what putting them
 * took, without making them up.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "proto/message.h"
#include "tests/bench-store/fill_options.h"
#include "tests/bench-store/peer.h"

#define CHUNK_ROWS (2 * BATCH_MAX_ROWS)

struct account {
	uint64_t records, cpu_ns, wall_ns;
};

static const char usage[] = "usage: weir-peers --as KIND [OPTION...]\n"
			    "  --as KIND       rows, clickhouse, clickhouse-table, ipfix\n"
			    "  --to WHERE      rows: a new file; ipfix: ADDR:PORT\n"
			    "  --per-second N  ipfix: not faster\n" FILL_OPTIONS_HELP;

static const struct peer_kind *find_kind(const char *name)
{
	static const struct peer_kind *const kinds[] = {&peer_rows, &peer_clickhouse, &peer_ipfix};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(name, kinds[i]->name) == 0)
			return kinds[i];
	return NULL;
}

/* --- chunks ------------------------------------------------------------------- */

struct chunk {
	struct peer_chunk peer; /* what peers see */
	struct flow_record *rows;
	uint32_t *host_ids;
	uint8_t (*masks)[CHUNK_ROWS];
};

static void chunk_done(struct chunk *k)
{
	free(k->rows);
	free(k->host_ids);
	free(k->masks);
}

static int chunk_init(struct chunk *k)
{
	*k = (struct chunk){.rows = calloc(CHUNK_ROWS, sizeof(*k->rows)),
			    .host_ids = calloc(CHUNK_ROWS, sizeof(*k->host_ids)),
			    .masks = calloc(FLOW_N_COLUMNS, sizeof(*k->masks))};
	if (!k->rows || !k->host_ids || !k->masks) {
		chunk_done(k);
		return -ENOMEM;
	}
	k->peer.rows = k->rows;
	k->peer.host_ids = k->host_ids;
	return 0;
}

/* As many batches as fit, until there are so many records and the second is over. */
static int chunk_fill(struct chunk *k, struct fill *fill, uint64_t flows)
{
	k->peer.n = 0;
	while ((k->peer.n < flows || !fill_second_is_over(fill)) &&
	       k->peer.n + BATCH_MAX_ROWS <= CHUNK_ROWS) {
		struct fill_batch b;
		int err = fill_next(fill, BATCH_MAX_ROWS, &b);

		if (err)
			return err;
		memcpy(k->rows + k->peer.n, b.rows, b.n * sizeof(*b.rows));
		for (size_t i = 0; i < b.n; i++)
			k->host_ids[k->peer.n++] = b.host + 1;
	}
	return 0;
}

static int chunk_make_columns(struct chunk *k)
{
	int err = flow_block_from_rows(k->rows, k->peer.n, &k->peer.block);

	for (unsigned c = 0; !err && c < FLOW_N_COLUMNS; c++)
		k->peer.has[c] = c != FLOW_COLUMN_host_id &&
						 flow_block_has_mask(&k->peer.block, c, k->masks[c])
					 ? k->masks[c]
					 : NULL;
	return err;
}

/* --- to the peer ---------------------------------------------------------------- */

/* One of put() and commit(), timed. */
static int timed(struct account *a, struct peer *p, const struct peer_chunk *k)
{
	uint64_t cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID), wall_ns = clock_mono_ns();
	int err = k ? p->kind->put(p, k) : p->kind->commit(p);

	a->cpu_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
	a->wall_ns += clock_mono_ns() - wall_ns;
	return err;
}

static int put_chunk(struct account *a, struct peer *p, struct chunk *k)
{
	int err = chunk_make_columns(k);

	if (err)
		return err;
	err = timed(a, p, &k->peer);
	a->records += k->peer.n;
	flow_block_done(&k->peer.block);
	return err;
}

static int put_all(const struct fill_options *o, struct peer *p, struct chunk *k, struct account *a)
{
	uint64_t until = FILL_COMMIT_ROWS;
	struct fill *fill;
	int err = fill_new(&o->fleet, &fill);

	if (err)
		return err;
	while (!err && (a->records < o->flows || !fill_second_is_over(fill))) {
		uint64_t missing = a->records < o->flows ? o->flows - a->records : 0;

		err = chunk_fill(k, fill, missing);
		if (!err)
			err = put_chunk(a, p, k);
		if (!err && a->records >= until) {
			err = timed(a, p, NULL);
			until = a->records + FILL_COMMIT_ROWS;
		}
	}
	if (!err)
		err = timed(a, p, NULL);
	fill_free(fill);
	return err;
}

static int run(const struct peer_kind *kind, const struct peer_settings *s,
	       const struct fill_options *o)
{
	struct account a = {0};
	struct chunk k;
	struct peer *p;
	int err = chunk_init(&k);

	if (!err) {
		err = kind->open(s, &p);
		if (!err) {
			err = put_all(o, p, &k, &a);
			kind->close(p);
		}
		chunk_done(&k);
	}
	if (err) {
		fprintf(stderr, "weir-peers: %s: %s\n", kind->name, strerror(-err));
		return 1;
	}
	fprintf(stderr, "{\"records\": %" PRIu64 ", \"cpu_s\": %.3f, \"wall_s\": %.3f}\n",
		a.records, (double)a.cpu_ns / 1e9, (double)a.wall_ns / 1e9);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"as", required_argument, NULL, 'a'},
		{"to", required_argument, NULL, 't'},
		{"per-second", required_argument, NULL, 'p'},
		FILL_LONG_OPTIONS,
		{NULL, 0, NULL, 0},
	};
	struct fill_options o = FILL_OPTIONS_DEFAULT;
	struct peer_settings s = {0};
	const char *as = "";
	const struct peer_kind *kind;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'a') {
			as = optarg;
		} else if (c == 't') {
			s.to = optarg;
		} else if (c == 'p') {
			s.per_second = fill_number(optarg);
		} else if (!fill_options_take(&o, c, optarg)) {
			(void)fputs(usage, stderr);
			return 2;
		}
	}
	if (strcmp(as, "clickhouse-table") == 0) {
		peer_clickhouse_print_table();
		return 0;
	}
	kind = find_kind(as);
	if (!kind || (kind != &peer_clickhouse && !s.to)) {
		(void)fputs(usage, stderr);
		return 2;
	}
	return run(kind, &s, &o);
}
