/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sessions.h - the probes that are connected: one session for each, from its
 * HELLO until it has been silent for too long.
 *
 * Bounded: sessions_add() refuses above the maximum.
 * Threads: the receiver's only.
 */
#ifndef WEIR_COLLECTOR_SERVE_SESSIONS_H
#define WEIR_COLLECTOR_SERVE_SESSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/serve/credit.h"
#include "collector/serve/job.h"
#include "common/addr.h"

/* A probe sends what it has of earlier names of its host under their identity. */
#define SESSION_MAX_PROBES 4

struct session {
	struct peer_id peer;
	uint8_t probe_ids[SESSION_MAX_PROBES][PROBE_ID_BYTES]; /* newest HELLO first */
	size_t n_probes;
	char name[PEER_NAME_MAX]; /* a claim */
	char address[ADDR_TEXT_MAX];
	bool welcomed;
	bool heard;	   /* since the last sessions_seen() */
	uint64_t heard_ns; /* CLOCK_MONOTONIC */
	uint64_t ahead_ns; /* its wall clock before ours, at its HELLO; 0: it is not */
	struct credit credit;
	struct session *next; /* sessions.c's own */
};

struct sessions;

/* pool: where the credit of the sessions comes from; borrowed. Returns -ENOMEM. */
int sessions_new(size_t max, struct credit_pool *pool, struct sessions **ret);
/* NULL is a no-op. */
void sessions_free(struct sessions *t);

/* Found sessions belong to t and live until they are removed. NULL: none. */
struct session *sessions_find(struct sessions *t, const struct peer_id *peer);
bool session_has_probe(const struct session *s, const uint8_t *probe_id);
/* Forgets the oldest when there are too many. */
void session_add_probe(struct session *s, const uint8_t *probe_id);
struct session *sessions_find_probe(struct sessions *t, const uint8_t *probe_id);

/* *ret: zero but for its peer and its part in the pool. Returns -ENOSPC at the maximum, -ENOMEM. */
int sessions_add(struct sessions *t, const struct peer_id *peer, struct session **ret);
void sessions_remove(struct sessions *t, struct session *s);

/* Removes a session that was last heard of before before_ns; give() sees it first. */
void sessions_expire(struct sessions *t, uint64_t before_ns, void (*give)(const struct session *));

/* Calls each() for every session; it must not remove any. */
void sessions_each(struct sessions *t, void (*each)(struct session *s, void *arg), void *arg);

/*
 * The sessions heard of since the last call, stamped at_ms, as an array that
 * the caller frees. Returns how many (0: no array), or -ENOMEM.
 */
int sessions_seen(struct sessions *t, int64_t at_ms, struct seen_host **ret);

#endif /* WEIR_COLLECTOR_SERVE_SESSIONS_H */
