/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * job.h - what the receiver and the detector ask of the writer.
 *
 * A job goes to the writer through its bounded queue. Those that a peer waits
 * for (HELLO and BATCH) come back to the receiver through a second queue with
 * the outcome filled in, and become WELCOME, ACK or NACK; REFUSALS come back,
 * too, so that no count is lost; the writer frees the others. Whoever holds a job owns it and all
 * that it points to.
 */
#ifndef WEIR_COLLECTOR_SERVE_JOB_H
#define WEIR_COLLECTOR_SERVE_JOB_H

#include <stddef.h>
#include <stdint.h>

#include "common/key.h"
#include "proto/message.h"

struct admin_request;
struct detection;
struct enrollment;
struct rollup;
struct segment;

#define PEER_ID_MAX	   255 /* ZMQ_ROUTING_ID */
#define PEER_NAME_MAX	   (HOST_NAME_MAX_BYTES + 1)
#define REFUSAL_REASON_MAX 64

/* A connection, as ZeroMQ's ROUTER names it. */
struct peer_id {
	uint8_t bytes[PEER_ID_MAX];
	uint8_t len;
};

enum job_kind {
	JOB_HELLO,     /* comes back */
	JOB_BATCH,     /* comes back */
	JOB_SEEN,      /* hosts that were heard of */
	JOB_REFUSALS,  /* messages that were refused; comes back */
	JOB_DETECTION, /* what the detectors found in a bucket of time */
	JOB_ENROLL,    /* a host asks to be admitted; comes back */
	JOB_ORDERS,    /* which orders are due (orders.h); comes back with them */
	JOB_RESULT,    /* what came of one */
	JOB_ADMIN,     /* an administrator asks (control.h); tells him when it is freed */
	JOB_SEGMENT,   /* a segment that takes the place of what it was made from */
	JOB_ROLLUP,    /* what segments add to the rollups */
};

struct seen_host {
	uint8_t probe_id[PROBE_ID_BYTES];
	int64_t at_ms;
};

struct refusal {
	char peer[PEER_NAME_MAX];
	char reason[REFUSAL_REASON_MAX];
	uint64_t count; /* more than before */
	int64_t first_ms, last_ms;
};

/* What became of a HELLO or BATCH; everything but DONE is told by a NACK. */
enum job_outcome {
	JOB_DONE,    /* committed, now or earlier */
	JOB_GAP,     /* batches before this one are missing */
	JOB_UNKNOWN, /* no HELLO of this epoch is committed */
	JOB_INVALID, /* the schema refuses a value of it */
	JOB_STORAGE, /* cannot be written now */
};

struct job {
	enum job_kind kind;
	size_t weight;		/* bytes, for the bounds of the queue */
	struct peer_id peer;	/* HELLO, BATCH, ENROLL */
	uint8_t key[KEY_BYTES]; /* HELLO: of the connection */
	size_t n;		/* SEEN, REFUSALS, ORDERS: how many */
	union {
		struct hello *hello;
		struct batch *batch;
		struct seen_host *seen;
		struct refusal *refusals;
		struct detection *detection;
		struct enrollment *enrollment;
		struct order *orders; /* room for ORDERS_MAX; n of them when it is back */
		struct order_result *result;
		struct admin_request *admin; /* not owned */
		struct segment *segment;
		struct rollup *rollup;
	};
	enum job_outcome outcome;
	int64_t fresh_id; /* BATCH: the records are there under this id and host; 0: they are not */
	int64_t host_id;
	uint64_t last_seq; /* with DONE and GAP only: last committed of the epoch */
};

/*
 * Takes what (the member of the union for kind) on success. weight is what it
 * counts for in the queue. Returns -ENOMEM.
 */
int job_new(enum job_kind kind, void *what, size_t n, size_t weight, struct job **ret);

/* NULL is a no-op. The argument is void * so that queues can call it. */
void job_free(void *job);

#endif /* WEIR_COLLECTOR_SERVE_JOB_H */
