/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * export.h - collects flow records into batches for the spool.
 *
 * Every batch carries all counters, cumulative since the run began, and when
 * they were true. Numbers of batches count from 1 without a hole in each epoch;
 * when the sender asks for a new epoch, the next batch begins it. Records that
 * could not be packed are counted as lost in the spool, never silently.
 *
 * Threads: one at a time. Memory: one batch of rows.
 */
#ifndef WEIR_PROBE_UPLINK_EXPORT_H
#define WEIR_PROBE_UPLINK_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/message.h"

struct export;
struct spool;

/* With no record this long, a batch with the counters alone says that all is well. */
#define EXPORT_QUIET_NS 10000000000ull

/* epoch: of the spool, and that of the run. spool is borrowed until export_free(). Returns
 * -ENOMEM. */
int export_new(const uint8_t probe_id[PROBE_ID_BYTES], uint64_t epoch, struct spool *spool,
	       struct export **ret);

/* Records that were not flushed are discarded. NULL is a no-op. */
void export_free(struct export *x);

/* Copies the record. A full batch goes to the spool. */
void export_record(struct export *x, const struct flow_record *record);

/*
 * Sets the value that the batches to come carry under that name; copies it.
 * Returns -ENOSPC past BATCH_MAX_COUNTERS names, -EINVAL for a name too long.
 */
int export_set_counter(struct export *x, const char *name, uint64_t value);

/*
 * Sends what was collected. Without records it sends the counters, if always
 * is set or the last batch is EXPORT_QUIET_NS before now_ns (monotonic).
 */
void export_flush(struct export *x, uint64_t now_ns, bool always);

/* Records given to export_record() since the start. */
uint64_t export_records(const struct export *x);

#endif /* WEIR_PROBE_UPLINK_EXPORT_H */
