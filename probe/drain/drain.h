/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * drain.h - from the kernel's maps to flow records.
 *
 * drain_run() reads the whole flow table, has the flows that are due reported,
 * and takes those that have ended out of it: out of the index first, and only
 * after an RCU grace period are their counts read for the last time (struct
 * flow_bucket), so no packet falls in between. What the full table refused
 * comes as one record per hook: no addresses, protocol 0, FLOW_END_NO_RESOURCES.
 * The names in a record are from the payloads, see drain_payloads().
 *
 * Threads: one drain belongs to one thread.
 */
#ifndef WEIR_PROBE_DRAIN_DRAIN_H
#define WEIR_PROBE_DRAIN_DRAIN_H

#include <stdint.h>

#include "bpf/flow_abi.h"
#include "probe/datapath/flow_table.h"

struct datapath;
struct drain;
struct flow_view;
struct stack;
struct settlement;
struct spool_settled;
struct wall_clock;

/* view: for what a record does not carry; NULL for the catch-all. Both borrowed. */
typedef void (*drain_emit_fn)(const struct flow_record *record, const struct flow_view *view,
			      void *arg);

enum drain_scope {
	DRAIN_DUE,   /* flows that are due */
	DRAIN_EVERY, /* those, and the ones that go on with or without news */
	DRAIN_FINAL, /* the hooks are detached: every flow, as its last record */
};

struct drain_stats {
	uint64_t records;
	uint64_t flows;	 /* seen in the last run */
	uint64_t errors; /* calls that failed; what they were for comes with a later run */
};

/* d is borrowed until drain_free(). Sets config->n_slots itself. Returns -ENOMEM. */
int drain_new(const struct datapath *d, const struct flow_table_config *config, drain_emit_fn emit,
	      void *arg, struct drain **ret);

/*
 * From now on s says what is reported and stored (probe/datapath/settlement.h), and ended
 * flows keep their slots until drain_settled(). Takes up what an earlier process
 * has left: known is what the spool says. A slot that got lost between the
 * index and the free ones, because that process was killed, is found again. s is
 * borrowed until drain_free(). Call it before the first run. Returns -EBADMSG for
 * a table that contradicts itself, -ENOMEM.
 */
int drain_settle(struct drain *d, struct settlement *s, const struct spool_settled *known);

/*
 * All records so far, and these counters, belong to the group of batches that
 * is committed next: its number. Without a settlement a number, and no more.
 */
uint64_t drain_seal(struct drain *d, const uint64_t counters[FLOW_CNT_MAX]);

/* The number of the group that was sealed last. */
uint64_t drain_group(const struct drain *d);

/* The spool has stored that group, and all before. */
void drain_settled(struct drain *d, uint64_t group);

/* What the counters were when the process before stored them last; zero without one. */
const uint64_t *drain_base_counters(const struct drain *d);

/* NULL is a no-op. */
void drain_free(struct drain *d);

/*
 * One pass. Takes a new sample of the wall clock and logs when it has been set.
 * Returns -errno if the catch-all could not be read this time.
 */
int drain_run(struct drain *d, enum drain_scope scope);

/*
 * The same at another time than now: a capture's. What the full table refused
 * is reported as seen since the run before.
 */
int drain_run_at(struct drain *d, enum drain_scope scope, const struct flow_now *now);

/*
 * From now on records also tell what the host's own stack knows (probe/stack/stack.h).
 * stack is borrowed until drain_free(); NULL, as it is at first: it knows nothing.
 */
void drain_set_stack(struct drain *d, struct stack *stack);

/*
 * Takes the payloads that the programs have copied: names and latencies come
 * from them (probe/names/names.h). drain_run() does it as well, but the ring may be
 * full before: call it whenever the descriptor is readable, which d owns. A
 * replay calls it after every packet.
 */
void drain_payloads(struct drain *d);
int drain_payloads_fd(const struct drain *d);

/* The counters of names.h, NAMES_COUNTER_MAX of them; owned by d. */
const uint64_t *drain_names_counters(const struct drain *d);

const struct drain_stats *drain_stats(const struct drain *d);

/* As drain_run() last saw it; owned by d. */
const struct wall_clock *drain_wall_clock(const struct drain *d);

#endif /* WEIR_PROBE_DRAIN_DRAIN_H */
