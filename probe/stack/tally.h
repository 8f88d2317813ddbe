/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * tally.h - what the kernel's stack did to packets, by flow: the differences
 * since it was last asked (bpf/tally_abi.h has the kernel's side).
 *
 * The kernel's map is read when something was added to it. What no flow has
 * taken for a while (TALLY_KEEP_NS) is removed from the map, and counted as
 * unclaimed: packets that the hooks never saw, or that changed on their way.
 *
 * Threads: one struct tallies belongs to one thread. Memory: for two readings
 * of a full map. Errors: -errno.
 */
#ifndef WEIR_PROBE_STACK_TALLY_H
#define WEIR_PROBE_STACK_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/tally_abi.h"

struct tallies;

/* Longer than any interval between two records of a flow with packets, by default. */
#define TALLY_KEEP_NS 180000000000ull

/* seed: random. Returns -ENOMEM. */
int tallies_new(uint64_t seed, struct tallies **ret);

/* NULL is a no-op. */
void tallies_free(struct tallies *t);

/* A reading: begin, every entry of the map, end. */
void tallies_begin(struct tallies *t);
void tallies_put(struct tallies *t, const struct tally_key *key, const struct tally *value);
void tallies_end(struct tallies *t);

/*
 * All of it from the map behind fd, unless state->added is as the last time and
 * no old entry waits to be removed. Returns -errno of the map.
 */
int tallies_read(struct tallies *t, int fd, const struct tally_state *state, uint64_t now_ns);

struct tally_sum {
	uint32_t packets;
	uint32_t most;	       /* what most of them are for: tally_key.what */
	uint32_t most_packets; /* as many of them */
};

/* What has come for the flow with this key since the last call. */
struct tally_sum tallies_take(struct tallies *t, const struct flow_key *flow);

/* Packets of removed entries that nobody took. */
uint64_t tallies_unclaimed(const struct tallies *t);

#endif /* WEIR_PROBE_STACK_TALLY_H */
