/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * wall_clock.h - from CLOCK_MONOTONIC, which stamps packets, to Unix time, which
 * stamps records.
 *
 * The difference of the two is taken anew each time, so that records follow a
 * clock that is corrected, slowly or at once. A change of more than
 * WALL_CLOCK_STEP_NS since the sample before is a step and is kept: somebody has
 * set the clock, or the machine was suspended (CLOCK_MONOTONIC stood still).
 *
 * Threads: one wall_clock belongs to one thread.
 */
#ifndef WEIR_PROBE_DRAIN_WALL_CLOCK_H
#define WEIR_PROBE_DRAIN_WALL_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define WALL_CLOCK_STEP_NS 1000000000

struct wall_clock {
	uint64_t offset_ns; /* Unix time minus CLOCK_MONOTONIC, of the last sample */
	bool sampled;
	/* since the first sample */
	uint64_t steps;
	uint64_t forward_ms, back_ms; /* sums of them */
	int64_t last_step_ms;
};

/* Takes the sample (mono_ns, real_ns) and says whether the clock was set since the one before. */
bool wall_clock_sample(struct wall_clock *c, uint64_t mono_ns, uint64_t real_ns);

/* The clocks at one moment, as near as we get: mono_ns is not later than real_ns was read. */
void wall_clock_read(uint64_t *ret_mono_ns, uint64_t *ret_real_ns);

#endif /* WEIR_PROBE_DRAIN_WALL_CLOCK_H */
