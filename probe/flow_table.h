/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_table.h - when a flow is due for a record, and the record itself.
 *
 * The flows live in the kernel's map. This table remembers what was last
 * reported of those that have had a record and go on, so that the next record
 * can carry the difference. Flows that end before their first active timeout,
 * the most, never enter it.
 *
 * Threads: one table belongs to one thread. Memory: bounded by max_flows, all
 * of it allocated by flow_table_new() (pages that are never used stay unused).
 * Times: CLOCK_MONOTONIC ns, but for the records, which are Unix UTC ns.
 */
#ifndef WEIR_PROBE_FLOW_TABLE_H
#define WEIR_PROBE_FLOW_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/flow_record.h"

struct flow_entry;
struct flow_key;
struct flow_table;
struct iface_list;

struct flow_table_config {
	size_t max_flows;		 /* 1 to FLOW_TABLE_MAX */
	uint64_t active_ns;		 /* a record at least this often while packets come */
	uint64_t idle_ns;		 /* end after this silence: all but TCP */
	uint64_t tcp_idle_ns;		 /* the same for TCP */
	uint64_t epoch;			 /* random: seeds flow_id and the hash */
	const struct iface_list *ifaces; /* names for records; borrowed */
};

#define FLOW_TABLE_MAX ((size_t)1 << 22)
/* TCP closed by FIN on both sides or RST: stragglers may come this long. */
#define FLOW_CLOSED_GRACE_NS 2000000000ull

/* The moment for which flows are looked at. */
struct flow_now {
	uint64_t mono_ns;
	uint64_t real_offset_ns; /* Unix time minus CLOCK_MONOTONIC */
};

/* Returns -EINVAL for a bad size, -ENOMEM. */
int flow_table_new(const struct flow_table_config *config, struct flow_table **ret);

/* NULL is a no-op. */
void flow_table_free(struct flow_table *t);

/*
 * What is due for a flow as the kernel shows it now: FLOW_END_NONE nothing,
 * FLOW_END_ACTIVE a record, FLOW_END_IDLE and FLOW_END_DETECTED its last one.
 */
enum flow_end_reason flow_table_due(const struct flow_table *t, const struct flow_key *key,
				    const struct flow_entry *e, const struct flow_now *now);

/*
 * Makes the record of what has come since the flow's last one. With
 * FLOW_END_ACTIVE the flow is remembered: -ENOSPC if the table is full, no
 * record then and the next will carry the difference. Any other reason ends
 * the flow: it is forgotten, and the call cannot fail.
 */
int flow_table_report(struct flow_table *t, const struct flow_key *key, const struct flow_entry *e,
		      const struct flow_now *now, enum flow_end_reason reason,
		      struct flow_record *ret);

/* Flows that are remembered. */
size_t flow_table_count(const struct flow_table *t);

#endif /* WEIR_PROBE_FLOW_TABLE_H */
