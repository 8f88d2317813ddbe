/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * route.h - which collector the probe speaks with, when there are several.
 *
 * They are tried in the order that they are given in. While a later one is in
 * use, a second connection asks those before it, one after the other, every
 * ROUTE_SCOUT_NS, whether they are there again: an answer that is not a refusal
 * is enough.
 *
 * Threads: one. Memory: addresses and folder are borrowed. Errors: -errno.
 */
#ifndef WEIR_PROBE_UPLINK_ROUTE_H
#define WEIR_PROBE_UPLINK_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "probe/uplink/keyring.h"

struct link;

#define ROUTE_SCOUT_NS	  5000000000ull /* between two rounds of questions */
#define ROUTE_PATIENCE_NS 3000000000ull /* for the answer to one */

struct route {
	const char *const *urls;
	size_t n;
	const char *state_dir; /* keyring.h */
	void *zmq;

	size_t at; /* in use */
	/* Of the scout: */
	struct link *scout;
	size_t asked;
	uint64_t asked_ns;
	uint64_t next_ns; /* when the next question is due */
};

/* n is at least 1. */
void route_init(struct route *r, const char *const *urls, size_t n, const char *state_dir,
		void *zmq);
void route_done(struct route *r);

const char *route_url(const struct route *r);

/* A connection to the collector in use. -errno with ret_why. */
int route_connect(const struct route *r, struct link **ret, char ret_why[KEYRING_WHY_BYTES]);

/* It does not answer: the next one. Returns true when that is the first again. */
bool route_next(struct route *r);

/* Asks, and looks for answers; true: one before is there again, as route_return() says then. */
bool route_scout(struct route *r, uint64_t now_ns);

/* Whether a question is on its way: route_scout() is to be called often. */
bool route_scouting(const struct route *r);

/* Puts the one that has answered into use. */
void route_return(struct route *r);

#endif /* WEIR_PROBE_UPLINK_ROUTE_H */
