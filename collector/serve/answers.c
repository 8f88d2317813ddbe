// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/answers.h"

#include <errno.h>
#include <zmq.h>

#include "collector/serve/router.h"
#include "collector/serve/sessions.h"
#include "common/clock.h"
#include "common/log.h"
#include "proto/frame.h"

#define HEARTBEAT_MS 2000

/* err and frame are of packing the answer. */
static void answer(const struct answers *a, const struct peer_id *peer, int err,
		   struct packed *frame)
{
	struct session *s;

	if (!err)
		err = router_send(a->router, peer, frame);
	if (err == -EHOSTUNREACH) {
		s = sessions_find(a->sessions, peer);
		if (s) {
			log_info("host %s disconnected", s->name);
			sessions_remove(a->sessions, s);
		}
	} else if (err) {
		log_debug("an answer could not be sent: %s", zmq_strerror(-err));
	}
}

void answers_nack(const struct answers *a, const struct peer_id *peer, const struct nack *nack)
{
	struct packed frame;
	int err = nack_pack(nack, &frame);

	answer(a, peer, err, &frame);
}

void answers_pong(const struct answers *a, const struct peer_id *peer, uint64_t nonce)
{
	struct packed frame;
	int err = ping_pack(FRAME_PONG, nonce, &frame);

	answer(a, peer, err, &frame);
}

void answers_ack(const struct answers *a, const struct peer_id *peer, const struct ack *ack)
{
	struct packed frame;
	int err = ack_pack(ack, &frame);

	answer(a, peer, err, &frame);
}

void answers_welcome(const struct answers *a, const struct session *s, uint64_t epoch,
		     uint64_t last_seq, uint64_t credit_bytes)
{
	const struct welcome w = {
		.version_major = PROTO_VERSION_MAJOR,
		.version_minor = PROTO_VERSION_MINOR,
		.epoch = epoch,
		.last_seq = last_seq,
		.credit_bytes = credit_bytes,
		.max_batch_bytes = FRAME_MAX_BYTES,
		.heartbeat_ms = HEARTBEAT_MS,
		.real_ns = clock_real_ns(),
	};
	struct packed frame;
	int err = welcome_pack(&w, &frame);

	answer(a, &s->peer, err, &frame);
}
