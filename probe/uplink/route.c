// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/uplink/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "probe/uplink/link.h"
#include "proto/message.h"

void route_init(struct route *r, const char *const *urls, size_t n, const char *state_dir,
		void *zmq)
{
	*r = (struct route){.urls = urls, .n = n, .state_dir = state_dir, .zmq = zmq};
}

void route_done(struct route *r)
{
	link_close(take_ptr(r->scout));
}

const char *route_url(const struct route *r)
{
	return r->urls[r->at];
}

static int connect_to(const struct route *r, const char *url, struct link **ret,
		      char ret_why[KEYRING_WHY_BYTES])
{
	struct link_keys keys;
	int err = keyring_for(r->state_dir, url, &keys, ret_why);

	if (err)
		return err;
	err = link_open(r->zmq, url, &keys, ret);
	key_forget(&keys.own);
	if (err)
		(void)snprintf(ret_why, KEYRING_WHY_BYTES, "%s", link_error(err));
	return err;
}

int route_connect(const struct route *r, struct link **ret, char ret_why[KEYRING_WHY_BYTES])
{
	return connect_to(r, route_url(r), ret, ret_why);
}

static void recall(struct route *r, uint64_t next_ns)
{
	link_close(take_ptr(r->scout));
	r->next_ns = next_ns;
}

bool route_next(struct route *r)
{
	recall(r, 0);
	r->asked = 0;
	r->at = (r->at + 1) % r->n;
	return r->at == 0;
}

/* --- the scout ---------------------------------------------------------------------- */

static void ask(struct route *r, uint64_t now_ns)
{
	char why[KEYRING_WHY_BYTES];
	struct packed frame;
	int err = connect_to(r, r->urls[r->asked], &r->scout, why);

	r->asked_ns = now_ns;
	if (err) {
		log_debug("collector %s: %s", r->urls[r->asked], why);
		return;
	}
	if (ping_pack(FRAME_PING, now_ns, &frame) != 0)
		return;					  /* silence, then */
	(void)link_send(r->scout, frame.data, frame.len); /* likewise */
	free(frame.data);
}

/* A collector that does not know us says so; that is an answer. */
static bool is_welcoming(const struct frame *f)
{
	struct nack n;

	if (f->type == FRAME_PONG)
		return true;
	return f->type == FRAME_NACK && nack_unpack(f->body, f->body_len, &n, NULL) == 0 &&
	       n.code == NACK_NO_HELLO;
}

bool route_scout(struct route *r, uint64_t now_ns)
{
	const char *why;
	struct frame f;

	if (r->at == 0 || now_ns < r->next_ns)
		return false;
	if (!r->next_ns) { /* just arrived: the others have not answered a moment ago */
		r->next_ns = now_ns + ROUTE_SCOUT_NS;
		return false;
	}
	if (!r->scout)
		ask(r, now_ns);
	if (r->scout && link_recv(r->scout, &f, &why) == 0) {
		if (is_welcoming(&f))
			return true;
	} else if (r->scout && now_ns - r->asked_ns < ROUTE_PATIENCE_NS) {
		return false;
	}
	r->asked = (r->asked + 1) % r->at;
	recall(r, r->asked ? now_ns : now_ns + ROUTE_SCOUT_NS);
	return false;
}

bool route_scouting(const struct route *r)
{
	return r->scout != NULL;
}

void route_return(struct route *r)
{
	recall(r, 0);
	r->at = r->asked;
	r->asked = 0;
}
