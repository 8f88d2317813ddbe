/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * settlement.h - which part of the flow table is already in the spool.
 *
 * The counts of a flow only rise; a record takes the difference to what was
 * reported before. For a probe that is killed, what was reported is kept beside
 * the table (`marks`, pinned like it), twice for each slot, and with the number
 * of the group of batches that the record went into:
 *
 *	seal     the records since the last seal become group n: what was reported
 *		 of their slots goes into the older of the two versions, tagged n
 *	commit   the spool stores the batches, and n, in one transaction
 *	         (probe/spool/spool.h); no other group is sealed before
 *	settled  slots of flows that ended in group n are given back
 *
 * After a kill the next probe asks the spool for the last group that it has,
 * and takes for each slot the newest version that is not younger: what was
 * committed is not reported again, what was not is. The same for the counters
 * and what the full table refused (struct settled_sums).
 *
 * Memory: two mapped BPF arrays. Threads: one at a time. Errors: -errno.
 */
#ifndef WEIR_PROBE_DATAPATH_SETTLEMENT_H
#define WEIR_PROBE_DATAPATH_SETTLEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/flow_abi.h"

struct pins;
struct settlement;
struct spool_settled;

/* As last reported. */
struct settled_sums {
	uint64_t counters[FLOW_CNT_MAX];
	struct flow_totals refused[FLOW_HOOK_MAX];
	uint64_t recorded_packets; /* in all records */
};

/* What the table was made with: the next probe's programs need the same. */
struct settled_table {
	uint32_t n_slots;
	uint64_t hash_seed;
};

/*
 * Of a table that pins has, whose layout is reported_bytes for each slot and
 * that of this program. -ENOENT if there is none, -ESTALE if it has another
 * layout or is not complete.
 */
int settlement_find(const struct pins *pins, size_t reported_bytes, struct settlement **ret);

/* Of a new table. Nothing is pinned before settlement_publish(). */
int settlement_new(const struct settled_table *table, size_t reported_bytes,
		   struct settlement **ret);

/* From here on settlement_find() finds it: when all else of the table is pinned. */
int settlement_publish(struct settlement *s, const struct pins *pins);

/* NULL is a no-op. */
void settlement_close(struct settlement *s);

struct settled_table settlement_table(const struct settlement *s);

/* Random, not 0: of this table, as long as it lives. */
uint64_t settlement_instance(const struct settlement *s);

/* --- after a start ---------------------------------------------------------------- */

/*
 * known is what the spool says. Of another table, or of none: whatever was
 * sealed counts as stored. Call it before the three below.
 */
void settlement_resume(struct settlement *s, const struct spool_settled *known);

/* Zero if nothing was ever settled. */
struct settled_sums settlement_sums(const struct settlement *s);

/*
 * What was last reported of the slot, reported_bytes of it; NULL if nothing.
 * *ret_ended: it was the flow's last record. Forgets the other version if it
 * is younger.
 */
const void *settlement_recall(struct settlement *s, uint32_t index, bool *ret_ended);

/* --- running ---------------------------------------------------------------------- */

/* Nothing is reported of the slot: before it is given back. */
void settlement_forget(struct settlement *s, uint32_t index);

/* The number of the group to seal. */
uint64_t settlement_next(const struct settlement *s);

/* One slot of it: reported is its reported_bytes. */
void settlement_mark(struct settlement *s, uint32_t index, const void *reported, bool ended);

/* All of it: then it may be committed. */
void settlement_seal(struct settlement *s, const struct settled_sums *sums);

#endif /* WEIR_PROBE_DATAPATH_SETTLEMENT_H */
