/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * credit.h - how much each peer may have on its way, so that all of them
 * together fit into the queue of the writer.
 *
 * The pool is shared evenly: a peer may have between CREDIT_FLOOR_BYTES and
 * CREDIT_MAX_BYTES. What a peer has been told counts as given until it is told
 * something else, and a new peer gets no more than is left; so a well-behaved
 * fleet is never refused for want of room. A peer that sends faster than the
 * rate for long gets a credit of 0 until it is within it again.
 *
 * Amounts are in bytes of frames by credit_cost(); times CLOCK_MONOTONIC ns.
 * Threads: the receiver's only.
 */
#ifndef WEIR_COLLECTOR_SERVE_CREDIT_H
#define WEIR_COLLECTOR_SERVE_CREDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CREDIT_MAX_BYTES   (4u << 20)
#define CREDIT_FLOOR_BYTES (64u << 10) /* room for a full batch */

struct credit_pool {
	uint64_t total;	     /* bytes, of all peers */
	uint64_t rate_per_s; /* bytes, of one peer; 0: no limit */
	uint64_t given;	     /* sum of what the peers have been told */
	size_t n;	     /* peers */
};

/* Of one peer; zero until credit_join(). */
struct credit {
	uint64_t told;	  /* what the peer may have on its way */
	uint64_t allowed; /* the same, and a while longer what it was told before */
	uint64_t queued;  /* taken, and not settled yet */
	int64_t tokens;	  /* of the rate; negative: in debt */
	uint64_t filled_ns;
	bool shrunk; /* told is less than allowed since the last tick */
};

void credit_join(struct credit_pool *pool, struct credit *c, uint64_t now_ns);
void credit_leave(struct credit_pool *pool, struct credit *c);

/*
 * A message of len bytes has come. Returns -EBUSY when the peer is far above
 * its rate; then the message shall be dropped.
 */
int credit_count(const struct credit_pool *pool, struct credit *c, size_t len, uint64_t now_ns);

/* A batch goes to the writer. Returns -EDQUOT when that is more than the peer may. */
int credit_take(struct credit *c, size_t len);

/* ... and is answered. */
void credit_settle(struct credit *c, size_t len);

/* What to tell the peer now. */
uint64_t credit_offer(struct credit_pool *pool, struct credit *c, uint64_t now_ns);

/* Once a second. Returns true if the peer shall be told a new credit. */
bool credit_tick(struct credit_pool *pool, struct credit *c, uint64_t now_ns);

#endif /* WEIR_COLLECTOR_SERVE_CREDIT_H */
