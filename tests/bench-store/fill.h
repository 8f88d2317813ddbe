/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fill.h - the records of a fleet that could be: the same for the same seed.
 *
 * Hosts are web, application, database, cache and name servers that talk to
 * each other, and to clients outside whose popularity falls as Zipf's law says.
 * The load follows the hour. A conversation between two hosts of the fleet is
 * reported by both; one that lasts gives a record a minute. Sizes, times and
 * round trips are log-normal; some segments are lost. A few addresses
 * outside try ports of hosts, and nobody answers.
 *
 * Threads: none of its own. Memory: 200 bytes for each flow under way.
 */
#ifndef WEIR_TESTS_BENCH_STORE_FILL_H
#define WEIR_TESTS_BENCH_STORE_FILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/flow_record.h"

struct fill;

struct fill_settings {
	uint64_t seed;
	unsigned hosts;	    /* 1 to 250 */
	double flows_per_s; /* conversations that begin, on average over a day */
	uint64_t start_ms;  /* Unix time of the first */
};

/* What one host reports at one moment. */
struct fill_batch {
	unsigned host; /* 0 to hosts - 1 */
	size_t n;
	const struct flow_record *rows; /* until the next call */
};

/* Returns -ENOMEM. */
int fill_new(const struct fill_settings *settings, struct fill **ret);
void fill_free(struct fill *f);

/* The next batch, of at most max_rows; time goes on as needed. Returns 0 or -ENOMEM. */
int fill_next(struct fill *f, size_t max_rows, struct fill_batch *ret);

/* The two addresses of a host, as proto/flow_record.h has them. */
void fill_host_addrs(unsigned host, uint8_t ret_v4[16], uint8_t ret_v6[16]);

/* Everything of this second has been given: of every conversation all reports, or none. */
bool fill_second_is_over(const struct fill *f);

/* Unix time of what was given last. */
uint64_t fill_now_ms(const struct fill *f);

#endif /* WEIR_TESTS_BENCH_STORE_FILL_H */
