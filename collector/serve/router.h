/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * router.h - a ZeroMQ ROUTER socket behind the guard (gate.h): messages in from
 * peers, frames out to a peer. Knows nothing of what they mean.
 *
 * Threads: one at a time; after router_open() the thread that receives.
 * Errors: -errno as ZeroMQ gives it, for zmq_strerror().
 */
#ifndef WEIR_COLLECTOR_SERVE_ROUTER_H
#define WEIR_COLLECTOR_SERVE_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/access/gate.h"
#include "collector/serve/job.h"
#include "common/addr.h"
#include "common/key.h"

struct packed;
struct router;

struct router_message {
	struct peer_id peer;
	char address[ADDR_TEXT_MAX];	/* of the peer; "" if ZeroMQ does not say */
	uint8_t key[KEY_BYTES];		/* of the peer, as CURVE has proved it */
	bool has_key;			/* always, but for a bug */
	bool admitted;			/* the receiver's: the key is on the allow-list, ... */
	uint8_t probe_id[KEY_ID_BYTES]; /* ... and is this host's */
	const uint8_t *data;		/* owned by the router until the next receive */
	size_t len;
	bool many_parts; /* more than one: data is the first */
};

/*
 * Binds "tcp://ADDR:PORT". gate: borrowed until router_close(*ret). max_waiting:
 * connections that have not sent a message yet (porch.h); of GATE_ENROLL all.
 */
int router_open(struct gate *gate, enum gate_domain domain, const char *endpoint,
		size_t max_waiting, struct router **ret);
/* NULL is a no-op. Gives what was sent a moment to leave. */
void router_close(struct router *r);

/* The address bound, with the real port. Owned by r. */
const char *router_endpoint(const struct router *r);

/* The socket, for zmq_poll(); and the one of its connections, then router_watch(). */
void *router_socket(struct router *r);
void *router_porch_socket(struct router *r);
void router_watch(struct router *r);
/* Connections shown out since the last call. */
uint64_t router_shown_out(struct router *r);

/* Does not wait: -EAGAIN when there is no message. */
int router_receive(struct router *r, struct router_message *ret);

/*
 * Does not wait. -EHOSTUNREACH: the peer has gone; -EAGAIN: it does not read.
 * Takes frame->data in every case.
 */
int router_send(struct router *r, const struct peer_id *peer, struct packed *frame);

#endif /* WEIR_COLLECTOR_SERVE_ROUTER_H */
