/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sim_batch.h - batches of a simulated probe, made once and stamped for every
 * use, so that a fleet in one process is faster than the collector.
 *
 * Each row of each batch is another one: its flow_id is made of the number of
 * the probe, of the batch and of the row.
 */
#ifndef WEIR_TESTS_TORTURE_SIM_BATCH_H
#define WEIR_TESTS_TORTURE_SIM_BATCH_H

#include <stdint.h>

#include "proto/message.h"

#define SIM_PROBES_MAX                                                                             \
	2047 /* a flow_id has 53 bits: 11 of the probe, 30 of the batch, 12 of the row */

struct sim_batch;

/* A batch of n_rows flows as busy hosts have them. Returns -errno. Release with sim_batch_free().
 */
int sim_batch_new(unsigned n_rows, uint32_t seed, struct sim_batch **ret);
void sim_batch_free(struct sim_batch *t);

struct sim_stamp {
	const uint8_t *probe_id; /* PROBE_ID_BYTES */
	uint64_t epoch, seq;
	unsigned number;  /* of the probe, below SIM_PROBES_MAX */
	uint64_t real_ns; /* when the flows ended, about */
};

/* The whole frame; borrowed until the next call. */
struct packed sim_batch_stamp(struct sim_batch *t, const struct sim_stamp *stamp);

#endif /* WEIR_TESTS_TORTURE_SIM_BATCH_H */
