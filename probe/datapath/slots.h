/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * slots.h - how the probe takes flows out of the kernel's table: the three
 * steps of struct flow_bucket, each of them one that a killed probe may have
 * been in the middle of.
 *
 * Threads: one at a time, while the programs run.
 */
#ifndef WEIR_PROBE_DATAPATH_SLOTS_H
#define WEIR_PROBE_DATAPATH_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

struct datapath_table;

/* Whether the slot holds a flow. */
bool slots_live(const struct datapath_table *t, uint32_t index);

/* Whether the index leads to the slot. */
bool slots_linked(const struct datapath_table *t, uint32_t index);

/* Out of the index: packets to come open another flow. Its counts go on for a grace period. */
void slots_unlink(const struct datapath_table *t, uint32_t index);

/*
 * Clears the slot. It is not a flow from the first step on, and not free
 * before slots_give_back(): what belongs to the slot elsewhere goes in between.
 */
void slots_clear(const struct datapath_table *t, uint32_t index);

/* The programs may use the slot again. */
void slots_give_back(const struct datapath_table *t, uint32_t index);

/* Sets bit i of a byte map for each slot i that is free now. Returns -EBADMSG for a broken ring. */
int slots_free_now(const struct datapath_table *t, uint8_t *free_now);

#endif /* WEIR_PROBE_DATAPATH_SLOTS_H */
