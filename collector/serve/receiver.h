/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * receiver.h - the thread that owns the socket: speaks proto/weir.proto with
 * the probes and checks everything that they say.
 *
 * Who speaks is the key that CURVE has proved: it must be on the allow-list at
 * every message, so that a host that is revoked is deaf and dumb at once, and
 * what it says of itself must be what the list says.
 *
 * HELLOs and batches that are right (intake.h) go to the writer as jobs; what
 * comes back becomes WELCOME, ACK or NACK (answers.h). Limits: sessions, jobs in
 * the queue to the writer, unacknowledged bytes of one peer and of all together
 * (credit.h), bytes a second of one peer. Messages above FRAME_MAX_BYTES never
 * come here: ZeroMQ cuts the connection.
 */
#ifndef WEIR_COLLECTOR_SERVE_RECEIVER_H
#define WEIR_COLLECTOR_SERVE_RECEIVER_H

#include <stddef.h>
#include <stdint.h>

struct allow_list;
struct key_pair;
struct queue;
struct receiver;

struct receiver_settings {
	const char *endpoint; /* "tcp://ADDR:PORT"; a port of * is any free one */
	const char *enroll_endpoint;
	const struct key_pair *key; /* of this collector */
	struct allow_list *allow;   /* borrowed until receiver_free() */
	size_t max_waiting;	    /* connections of each port that have said nothing yet */
	size_t max_peers;
	uint64_t silent_ms;    /* a peer that says nothing for so long has gone */
	uint64_t credit_bytes; /* that all peers may have unacknowledged: fits into jobs */
	uint64_t peer_rate;    /* bytes a second of one peer; 0: no limit */
};

/*
 * Binds the socket. settings and its text are copied; the queues are borrowed.
 * Returns -errno as zmq_bind(3) gives it, for zmq_strerror(); -ENOMEM.
 */
int receiver_new(const struct receiver_settings *settings, struct queue *jobs,
		 struct queue *replies, struct receiver **ret);

/* NULL is a no-op. Waits a moment for answers that are still on their way. */
void receiver_free(struct receiver *r);

/* The addresses that it listens on, with the real ports. Owned by r. */
const char *receiver_endpoint(const struct receiver *r);
const char *receiver_enroll_endpoint(const struct receiver *r);

/*
 * Works until stop_fd (an eventfd) is readable, then closes jobs and answers
 * what is left of them until the writer has closed replies. Returns 0 or
 * -errno. The thread that calls it is the only one that uses r.
 */
int receiver_run(struct receiver *r, int stop_fd);

#endif /* WEIR_COLLECTOR_SERVE_RECEIVER_H */
