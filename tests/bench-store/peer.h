/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * peer.h - other stores, which weir is measured beside: what weir-peers fills.
 *
 *	rows        a plain SQLite table `flow`, its columns those of `flows` that are not
 *	            worked out from others; a prepared statement, an index on end_ms
 *	clickhouse  the same as RowBinary on stdout, for clickhouse-client
 *	ipfix       messages over UDP, as many as the receiver takes, for nfcapd
 *
 * Errors: -errno. Threads: one.
 */
#ifndef WEIR_TESTS_BENCH_STORE_PEER_H
#define WEIR_TESTS_BENCH_STORE_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/flow_block.h"

/* Records as they came, of several hosts. */
struct peer_chunk {
	size_t n;
	const struct flow_record *rows;
	const uint32_t *host_ids;
	struct flow_block block;	    /* the same as columns, but for host_id */
	const uint8_t *has[FLOW_N_COLUMNS]; /* by row: 0 where it is NULL; no array: never */
};

static inline bool peer_chunk_has(const struct peer_chunk *c, unsigned column, size_t row)
{
	return !c->has[column] || c->has[column][row];
}

struct peer {
	const struct peer_kind *kind;
};

struct peer_settings {
	const char *to;	     /* rows: path of a new file; ipfix: ADDR:PORT */
	uint64_t per_second; /* ipfix: records; 0: as fast as it goes */
};

struct peer_kind {
	const char *name;
	int (*open)(const struct peer_settings *settings, struct peer **ret);
	int (*put)(struct peer *p, const struct peer_chunk *chunk);
	/* What was put is stored, or sent. */
	int (*commit)(struct peer *p);
	void (*close)(struct peer *p);
};

extern const struct peer_kind peer_rows, peer_clickhouse, peer_ipfix;

/* The statement that makes the table for peer_clickhouse. */
void peer_clickhouse_print_table(void);

#endif /* WEIR_TESTS_BENCH_STORE_PEER_H */
