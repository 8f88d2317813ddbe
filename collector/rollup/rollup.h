/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * rollup.h - sums of records by minute and by hour: the tables rollup_minute and
 * rollup_hour (sql/0011_rollup.sql has what each column means).
 *
 * They are made of whole segments, in the order of their ids, each once:
 * rollup_state.segment_id is the last one that is in them, and it is written in
 * the transaction of its rows. So at every moment a reader finds each record in
 * the rollups, or in a segment with a higher id, or in a fresh batch; and a
 * database that has segments but no rollups gets them as it is served.
 *
 * Threads: none of its own. Memory: 200 bytes a row.
 * Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_ROLLUP_ROLLUP_H
#define WEIR_COLLECTOR_ROLLUP_ROLLUP_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#define ROLLUP_MINUTE_MS   60000
#define ROLLUP_HOUR_MS	   3600000
#define ROLLUP_ANY_PORT	   (-1) /* from ROLLUP_SERVICE_MAX on, and no service answered */
#define ROLLUP_SERVICE_MAX 32768
#define ROLLUP_CATCH_ALL   256

#define ROLLUP_CLAIM_NONE    0	  /* each record counts */
#define ROLLUP_CLAIM_ASIDE   (-1) /* none does: who claims them reported all the time */
#define ROLLUP_CLAIM_UNOWNED (-2) /* only the records tell */
/* between: of a host at neither end, which has two that claim it. This is the first. */
#define ROLLUP_CLAIM_OF(host_id, between) ((int64_t)(host_id)*2 + (between))
#define ROLLUP_CLAIM_HOST(claim)	  ((uint32_t)((claim) / 2))
#define ROLLUP_MAX_SEGMENTS		  32 /* of one rollup */

/* The sums and the maxima of a row, in the order of the columns of the tables. */
#define ROLLUP_SUMS(X)                                                                             \
	X(records)                                                                                 \
	X(flows_begun)                                                                             \
	X(flows_ended)                                                                             \
	X(packets)                                                                                 \
	X(bytes)                                                                                   \
	X(rev_packets)                                                                             \
	X(rev_bytes)                                                                               \
	X(retrans_pkts)                                                                            \
	X(rev_retrans_pkts)                                                                        \
	X(kernel_drops)                                                                            \
	X(refused)                                                                                 \
	X(unanswered)                                                                              \
	X(reset)                                                                                   \
	X(handshakes)                                                                              \
	X(rtt_sum_us)                                                                              \
	X(answered)                                                                                \
	X(response_sum_us)
#define ROLLUP_MAXIMA(X) X(rtt_max_us) X(response_max_us)

struct rollup_key {
	int64_t start_ms;
	int64_t peer;  /* peer_group.h; in minutes its sign alone */
	int64_t claim; /* ROLLUP_CLAIM_*, or of address_book.h by ROLLUP_CLAIM_OF */
	uint32_t host_id;
	int32_t dst_port;
	uint16_t proto; /* of catch-all records: and ROLLUP_CATCH_ALL */
	uint8_t direction, role;
	uint32_t ip_version; /* no holes: keys are compared as bytes */
};

/* A sum stops at 2^55, in the tables at 2^62, so that none can run over. */
struct rollup_row {
	struct rollup_key key;
#define ROLLUP_FIELD(name) uint64_t name;
	ROLLUP_SUMS(ROLLUP_FIELD)
	ROLLUP_MAXIMA(ROLLUP_FIELD)
#undef ROLLUP_FIELD
};

/* What a range of segments adds, each list in the order of the tables. */
struct rollup {
	int64_t after, until; /* segments with after < id <= until */
	struct rollup_row *minutes, *hours;
	size_t n_minutes, n_hours;
	struct rollup_gap {
		int64_t segment_id;
		uint64_t n_rows, min_end_ms, max_end_ms;
	} gaps[ROLLUP_MAX_SEGMENTS]; /* damaged: they are left out */
	size_t n_gaps;
};

struct rollup_ready;

/*
 * Makes one of the segments that are in no rollup yet, if there are at least
 * at_least; the last one of all is left alone while it has less than small_rows
 * records, as it may be made new. ready: rows of some of them, NULL if there are
 * none; what is in the tables by now is forgotten there. db is borrowed. Returns 1 and *ret,
 * or 0 if there are too few.
 */
int rollup_make(sqlite3 *db, size_t at_least, size_t small_rows, struct rollup_ready *ready,
		struct rollup **ret);
/* NULL is a no-op. */
void rollup_free(struct rollup *r);

#endif /* WEIR_COLLECTOR_ROLLUP_ROLLUP_H */
