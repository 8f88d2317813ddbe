/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * desk.h - the enrolment port: takes requests to be admitted, hands them to the
 * writer as JOB_ENROLL, and brings the answers back.
 *
 * Every key may connect here, so what it does for one is bounded: requests a
 * second over all, and the job queue. What is above is told to ask again.
 *
 * Threads: the receiver's only.
 */
#ifndef WEIR_COLLECTOR_SERVE_DESK_H
#define WEIR_COLLECTOR_SERVE_DESK_H

#include <stddef.h>

struct desk;
struct gate;
struct job;
struct queue;
struct refusals;
struct router;

#define DESK_PER_SECOND 200

/* All borrowed until desk_close(). Returns -errno as zmq_bind(3) gives it. */
int desk_open(struct gate *gate, const char *endpoint, size_t max_waiting, struct queue *jobs,
	      struct refusals *refusals, struct desk **ret);
/* NULL is a no-op. */
void desk_close(struct desk *d);

/* The address bound, with the real port. Owned by d. */
const char *desk_endpoint(const struct desk *d);

/* Its socket. Owned by d. */
struct router *desk_router(struct desk *d);

/* Takes at most max requests that have come. Returns -errno of the socket. */
int desk_receive(struct desk *d, int max);

/* Sends the answer of a JOB_ENROLL that came back. */
void desk_answer(struct desk *d, const struct job *job);

#endif /* WEIR_COLLECTOR_SERVE_DESK_H */
