// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/serve/router.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "collector/access/porch.h"
#include "common/cleanup.h"
#include "proto/frame.h"
#include "proto/message.h"

#define ENROLL_MAX_BYTES 4096
#define ENDPOINT_MAX	 256

struct router {
	void *socket;
	enum gate_domain domain;
	struct porch *porch;
	uint64_t shown_out; /* as last told */
	zmq_msg_t message;  /* the last one received */
	char endpoint[ENDPOINT_MAX];
};

DEFINE_CLEANUP(struct router *, router_close)

static const struct {
	int option, value;
} options[] = {
	{ZMQ_BACKLOG, 4096}, /* a burst waits here, not for its SYN to be sent again */
	{ZMQ_SNDHWM, 256},
	{ZMQ_LINGER, 500},
	{ZMQ_ROUTER_MANDATORY, 1}, /* tells when a peer has gone */
	{ZMQ_ROUTER_HANDOVER, 0},  /* nobody takes the id of another */
	/* The default of 30 s lets idle connections lock everybody out. */
	{ZMQ_HANDSHAKE_IVL, 2000},
	/* ZMTP's own ping finds dead connections below our sessions. */
	{ZMQ_HEARTBEAT_IVL, 5000},
	{ZMQ_HEARTBEAT_TIMEOUT, 15000},
};

/* IPv6 sockets take IPv4, too, but one bound to an IPv4 address shows it as ::ffff:a.b.c.d. */
static int wants_ipv6(const char *endpoint)
{
	const char *host = strstr(endpoint, "://");

	host = host ? host + 3 : endpoint;
	return host[strspn(host, "0123456789.")] != ':';
}

/*
 * What libzmq keeps for one peer: messages in its queue, the rest waits at the
 * peer, and their size. Strangers get room for their question only.
 */
static const struct room {
	int messages;
	int64_t bytes;
} rooms[] = {[GATE_DATA] = {16, FRAME_MAX_BYTES}, [GATE_ENROLL] = {2, ENROLL_MAX_BYTES}};

static int set_options(void *socket, enum gate_domain domain, const char *endpoint)
{
	const struct room *room = &rooms[domain];
	const int ipv6 = wants_ipv6(endpoint);

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (zmq_setsockopt(socket, options[i].option, &options[i].value, sizeof(int)) != 0)
			return -zmq_errno();
	}
	if (zmq_setsockopt(socket, ZMQ_IPV6, &ipv6, sizeof(ipv6)) != 0 ||
	    zmq_setsockopt(socket, ZMQ_RCVHWM, &room->messages, sizeof(room->messages)) != 0 ||
	    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &room->bytes, sizeof(room->bytes)) != 0)
		return -zmq_errno();
	return 0;
}

int router_open(struct gate *gate, enum gate_domain domain, const char *endpoint,
		size_t max_waiting, struct router **ret)
{
	cleanup(router_close_p) struct router *r = calloc(1, sizeof(*r));
	size_t len = sizeof(r->endpoint);
	int err;

	if (!r)
		return -ENOMEM;
	(void)zmq_msg_init(&r->message); /* always 0 */
	r->domain = domain;
	r->socket = zmq_socket(gate_context(gate), ZMQ_ROUTER);
	if (!r->socket)
		return -zmq_errno();
	err = set_options(r->socket, domain, endpoint);
	if (!err)
		err = gate_guard(gate, r->socket, domain);
	if (!err)
		err = porch_open(gate_context(gate), r->socket, max_waiting, &r->porch);
	if (err)
		return err;
	if (zmq_bind(r->socket, endpoint) != 0 ||
	    zmq_getsockopt(r->socket, ZMQ_LAST_ENDPOINT, r->endpoint, &len) != 0)
		return -zmq_errno();
	*ret = take_ptr(r);
	return 0;
}

void router_close(struct router *r)
{
	if (!r)
		return;
	(void)zmq_msg_close(&r->message); /* fails on a bad message only */
	porch_close(r->porch);
	if (r->socket)
		(void)zmq_close(r->socket);
	free(r);
}

const char *router_endpoint(const struct router *r)
{
	return r->endpoint;
}

void *router_socket(struct router *r)
{
	return r->socket;
}

void *router_porch_socket(struct router *r)
{
	return porch_socket(r->porch);
}

void router_watch(struct router *r)
{
	porch_watch(r->porch);
}

uint64_t router_shown_out(struct router *r)
{
	uint64_t before = r->shown_out;

	r->shown_out = porch_shown_out(r->porch);
	return r->shown_out - before;
}

/* IPv4 peers of an IPv6 socket come as ::ffff:a.b.c.d; an address with a scope stays as it is. */
static void get_address(zmq_msg_t *message, char ret[ADDR_TEXT_MAX])
{
	const char *text = zmq_msg_gets(message, "Peer-Address");
	uint8_t addr[16];

	if (text && addr_parse(text, addr) == 0)
		(void)addr_format(addr, ret);
	else
		(void)snprintf(ret, ADDR_TEXT_MAX, "%s", text ? text : "");
}

static bool get_key(zmq_msg_t *message, uint8_t ret[KEY_BYTES])
{
	const char *text = zmq_msg_gets(message, "User-Id");

	return text && key_parse(text, ret) == 0;
}

/* Drops the parts that follow. ZeroMQ delivers a message whole, so there is no waiting. */
static int drop_rest(void *socket)
{
	zmq_msg_t part;
	int more;

	do {
		(void)zmq_msg_init(&part); /* always 0 */
		if (zmq_msg_recv(&part, socket, ZMQ_DONTWAIT) < 0)
			return -zmq_errno();
		more = zmq_msg_more(&part);
		(void)zmq_msg_close(&part); /* fails on a bad message only */
	} while (more);
	return 0;
}

int router_receive(struct router *r, struct router_message *ret)
{
	struct router_message m = {0};
	int len;

	len = zmq_recv(r->socket, m.peer.bytes, sizeof(m.peer.bytes), ZMQ_DONTWAIT);
	if (len < 0 || zmq_msg_recv(&r->message, r->socket, ZMQ_DONTWAIT) < 0)
		return -zmq_errno();
	m.peer.len = (uint8_t)len;
	m.data = zmq_msg_data(&r->message);
	m.len = zmq_msg_size(&r->message);
	m.many_parts = zmq_msg_more(&r->message);
	get_address(&r->message, m.address);
	m.has_key = get_key(&r->message, m.key);
	if (r->domain == GATE_DATA) /* a stranger stays on the porch, whatever it says */
		porch_spoke(r->porch, zmq_msg_get(&r->message, ZMQ_SRCFD));
	*ret = m;
	return m.many_parts ? drop_rest(r->socket) : 0;
}

static void free_data(void *data, void *hint)
{
	(void)hint;
	free(data);
}

int router_send(struct router *r, const struct peer_id *peer, struct packed *frame)
{
	zmq_msg_t message;

	if (zmq_msg_init_data(&message, frame->data, frame->len, free_data, NULL) != 0) {
		free(frame->data);
		return -ENOMEM;
	}
	if (zmq_send(r->socket, peer->bytes, peer->len, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
	    zmq_msg_send(&message, r->socket, ZMQ_DONTWAIT) < 0) {
		int err = -zmq_errno();

		(void)zmq_msg_close(&message); /* frees the data */
		return err;
	}
	return 0;
}
