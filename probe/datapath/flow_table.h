/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_table.h - when a flow is due for a record, and the record itself.
 *
 * The flows live in the slots that the BPF programs write. This table
 * remembers, slot by slot, what was last reported, so that the next record can
 * carry the difference.
 *
 * Threads: one table belongs to one thread. Memory: all of it allocated by
 * flow_table_new() (pages that are never used stay unused).
 * Times: CLOCK_MONOTONIC ns, but for the records, which are Unix UTC ns.
 */
#ifndef WEIR_PROBE_DATAPATH_FLOW_TABLE_H
#define WEIR_PROBE_DATAPATH_FLOW_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/flow_record.h"

struct flow_slot;
struct flow_perf;
struct flow_table;
struct iface_list;

struct flow_table_config {
	uint32_t n_slots;   /* as many as the kernel's table has */
	uint64_t active_ns; /* a record at least this often while packets come */
	uint64_t idle_ns;   /* end after this silence: protocols not named below */
	uint64_t tcp_idle_ns, udp_idle_ns, icmp_idle_ns;
	uint64_t epoch;			 /* random, of the kernel's table: seeds flow_id */
	const struct iface_list *ifaces; /* names for records; borrowed */
};

/* TCP closed by FIN on both sides or RST: stragglers may come this long. */
#define FLOW_CLOSED_GRACE_NS 2000000000ull

/* The moment for which flows are looked at. */
struct flow_now {
	uint64_t mono_ns;
	uint64_t real_offset_ns; /* Unix time minus CLOCK_MONOTONIC */
};

/* A slot as flow_slot_read() gives it, with its number. perf may still change: it is copied field
 * by field. */
struct flow_view {
	uint32_t index;
	const struct flow_slot *slot;
	const struct flow_perf *perf;
};

/*
 * Copies a slot with what other CPUs have counted beside it (struct flow_lane):
 * the only way to read counts. The programs may go on meanwhile.
 */
void flow_slot_read(const struct flow_slot *slot, const struct flow_perf *perf,
		    struct flow_slot *ret);

/* Returns -ENOMEM. */
int flow_table_new(const struct flow_table_config *config, struct flow_table **ret);

/* NULL is a no-op. */
void flow_table_free(struct flow_table *t);

/*
 * What is due for a flow, by a slot that the programs go on to write (it is not
 * copied: most flows are not due, and of one that was looked at lately only the
 * first line is read): FLOW_END_NONE nothing, FLOW_END_ACTIVE a record,
 * FLOW_END_IDLE and FLOW_END_DETECTED its last one.
 */
enum flow_end_reason flow_table_due(struct flow_table *t, const struct flow_view *v,
				    const struct flow_now *now);

/*
 * Makes the record of what has come since the flow's last one. Any reason but
 * FLOW_END_ACTIVE ends the flow: what is remembered of the slot is forgotten.
 */
void flow_table_report(struct flow_table *t, const struct flow_view *v, const struct flow_now *now,
		       enum flow_end_reason reason, struct flow_record *ret);

/*
 * What is remembered of a slot, as bytes that mean something to this build
 * alone: for probe/datapath/settlement.h. Owned by t, to be read and written.
 */
size_t flow_table_reported_bytes(void);
void *flow_table_reported(struct flow_table *t, uint32_t index);

#endif /* WEIR_PROBE_DATAPATH_FLOW_TABLE_H */
