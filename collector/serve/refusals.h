/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * refusals.h - how many messages were refused, by peer and reason, until the
 * database has the counts.
 *
 * Bounded: REFUSALS_MAX pairs that are not stored yet; what comes above that
 * is counted on one pair of its own, REFUSALS_OTHERS.
 * Threads: the receiver's only.
 */
#ifndef WEIR_COLLECTOR_SERVE_REFUSALS_H
#define WEIR_COLLECTOR_SERVE_REFUSALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/serve/job.h"

#define REFUSALS_MAX	256
#define REFUSALS_OTHERS "(others)"

struct refusals;

/* Returns -ENOMEM. */
int refusals_new(struct refusals **ret);
/* NULL is a no-op. */
void refusals_free(struct refusals *t);

/*
 * Counts one. Returns how many there were of this pair since it was last said
 * so, if that should go to the log now, else 0.
 */
uint64_t refusals_add(struct refusals *t, const char *peer, const char *reason, int64_t now_ms);

/*
 * The counts that are not stored yet, as an array that the caller frees.
 * Returns how many (0: no array), or -ENOMEM. The last one must be settled.
 */
int refusals_take(struct refusals *t, struct refusal **ret);

/* Whether the last refusals_take() is not settled yet. */
bool refusals_with_writer(const struct refusals *t);

/* The counts given by the last refusals_take() are stored, or not: then they are given again. */
void refusals_settle(struct refusals *t, bool stored);

#endif /* WEIR_COLLECTOR_SERVE_REFUSALS_H */
