/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * answers.h - what the collector says to a peer.
 *
 * No answer is waited for or repeated: a probe that misses one asks again. A
 * peer that has gone loses its session.
 * Threads: the receiver's only.
 */
#ifndef WEIR_COLLECTOR_SERVE_ANSWERS_H
#define WEIR_COLLECTOR_SERVE_ANSWERS_H

#include <stdint.h>

#include "proto/message.h"

struct peer_id;
struct router;
struct session;
struct sessions;

/* Both borrowed. */
struct answers {
	struct router *router;
	struct sessions *sessions;
};

void answers_nack(const struct answers *a, const struct peer_id *peer, const struct nack *nack);
void answers_pong(const struct answers *a, const struct peer_id *peer, uint64_t nonce);
void answers_ack(const struct answers *a, const struct peer_id *peer, const struct ack *ack);

/* All up to last_seq of the epoch is committed. May remove s. */
void answers_welcome(const struct answers *a, const struct session *s, uint64_t epoch,
		     uint64_t last_seq, uint64_t credit_bytes);

#endif /* WEIR_COLLECTOR_SERVE_ANSWERS_H */
