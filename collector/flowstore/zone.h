/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * zone.h - what a segment can hold, known without reading it: its times, hosts,
 * protocols and services. Its dictionary of addresses, read alone, tells the
 * rest of most questions.
 *
 * Threads: none of its own. Errors: -ENOMEM, -EBADMSG.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_ZONE_H
#define WEIR_COLLECTOR_FLOWSTORE_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/flowstore/predicate.h"
#include "proto/flow_block.h"

/* Values of one column that a segment holds; none are known if there are too many. */
#define ZONE_MAX_VALUES 128
struct zone_values {
	size_t n; /* ZONE_MAX_VALUES + 1: too many */
	uint32_t values[ZONE_MAX_VALUES];
};

struct zone {
	uint64_t min_start_ms, min_end_ms, max_end_ms;
	struct zone_values hosts, protos, dst_ports;
};

/* Adds the columns that zone_of() reads. */
void zone_columns(struct flow_columns *columns);
struct zone zone_of(const struct flow_block *b);

/* The values (not the times) as one blob, for free(), and back. */
int zone_pack(const struct zone *z, uint8_t **ret, size_t *ret_len);
bool zone_unpack(const uint8_t *data, size_t len, struct zone *ret);

/* Of the packed values, the times and the number of rows, for the column zone_crc. */
uint32_t zone_crc(const struct zone *z, const uint8_t *data, size_t len, uint64_t n_rows);

/*
 * Whether a row can match, as the zone and, unless NULL, the dictionaries
 * (flow_parts_dictionaries()) tell.
 */
bool zone_admits(const struct zone *zone, const struct predicate *p,
		 const struct flow_block *dictionaries);
/* Whether all rows meet the conditions on end_ms that p requires. */
bool zone_within(const struct zone *zone, const struct predicate *p);
/* Whether dictionaries can tell more than the zone alone. */
bool zone_dictionaries_help(const struct predicate *p);

#endif /* WEIR_COLLECTOR_FLOWSTORE_ZONE_H */
