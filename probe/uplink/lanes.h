/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lanes.h - which epochs of the spool are being sent: the live one, and beside
 * it the oldest of the others. Those that an earlier key of this host has left
 * come last: a collector may not take them.
 *
 * Threads: the sender's only.
 */
#ifndef WEIR_PROBE_UPLINK_LANES_H
#define WEIR_PROBE_UPLINK_LANES_H

#include <stdbool.h>
#include <stdint.h>

struct hello;
struct spool;

enum { LIVE, BACKLOG, N_LANES };

struct lane {
	uint64_t epoch;	   /* 0: there is none */
	uint64_t hello_ns; /* when its last HELLO was sent, 0: not on this link */
	uint64_t hold_ns;  /* nothing before */
	bool welcomed;
};

struct lanes {
	struct lane lane[N_LANES];
};

/* Epochs begin and end: what is sent now. Returns how many batches of the live one wait. */
uint64_t lanes_assign(struct lanes *l, struct spool *spool, const struct hello *own);

/* NULL: it is not being sent. */
struct lane *lanes_find(struct lanes *l, uint64_t epoch);

/* Nothing of the epoch (0: of all) before until_ns; a HELLO without a WELCOME is said again. */
void lanes_hold(struct lanes *l, uint64_t epoch, uint64_t until_ns);

/* The collector does not know the epoch (0: any of them). */
void lanes_forget(struct lanes *l, uint64_t epoch);

/* The earliest hold that is still to come, or before_ns. */
uint64_t lanes_held_until(const struct lanes *l, uint64_t now_ns, uint64_t before_ns);

/* Whether the epoch has lost batches that a collector with last_seq still waits for. */
bool lanes_is_ahead(struct spool *spool, uint64_t epoch, uint64_t last_seq);

/* What is on its way of the epoch (0: of all) is sent again. */
void lanes_rewind(struct spool *spool, uint64_t epoch);

/* The HELLO of the lane; own: what stays the same of it. */
void lanes_hello(const struct lane *lane, struct spool *spool, const struct hello *own,
		 struct hello *ret);

#endif /* WEIR_PROBE_UPLINK_LANES_H */
