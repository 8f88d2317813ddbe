// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/uplink/link.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zmq.h>

#include "probe/uplink/keyring.h"

/* Frames queued in the socket; more would only wait there instead of in the spool. */
#define SEND_QUEUE_FRAMES 16

struct link {
	void *socket;
	void *monitor; /* tells of handshakes that failed */
	bool refused;
	zmq_msg_t received;
};

int link_check_url(const char *url)
{
	static const char scheme[] = "tcp://";
	const char *host, *colon;
	char *end;
	unsigned long port;

	if (strncmp(url, scheme, strlen(scheme)) != 0)
		return -EINVAL;
	host = url + strlen(scheme);
	colon = strrchr(host, ':');
	if (!colon || colon == host || !isdigit((unsigned char)colon[1]))
		return -EINVAL;
	/* Colons in the host only between brackets; nothing that ZeroMQ reads as more than a host.
	 */
	if (*host == '[' ? colon[-1] != ']' : memchr(host, ':', (size_t)(colon - host)) != NULL)
		return -EINVAL;
	if (strpbrk(host, "/;*@ "))
		return -EINVAL;
	port = strtoul(colon + 1, &end, 10);
	return *end == '\0' && port >= 1 && port <= 65535 ? 0 : -EINVAL;
}

static int set_keys(void *socket, const struct link_keys *keys)
{
	if (zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, keys->server_key, KEY_BYTES) != 0 ||
	    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, keys->own.public_key, KEY_BYTES) != 0 ||
	    zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, keys->own.secret_key, KEY_BYTES) != 0)
		return -errno;
	return 0;
}

static int set_options(void *socket)
{
	static const struct {
		int option, value;
	} options[] = {
		{ZMQ_LINGER, 0},
		{ZMQ_SNDHWM, SEND_QUEUE_FRAMES},
		{ZMQ_RCVHWM, SEND_QUEUE_FRAMES},
		{ZMQ_IPV6, 1},
		{ZMQ_RECONNECT_IVL, 100},
		{ZMQ_RECONNECT_IVL_MAX, 2000}, /* a key that is not admitted asks less and less */
	};
	int64_t max_size = FRAME_MAX_BYTES;

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		if (zmq_setsockopt(socket, options[i].option, &options[i].value, sizeof(int)) != 0)
			return -errno;
	if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max_size, sizeof(max_size)) != 0)
		return -errno;
	return 0;
}

/* Without it a host that is not admitted looks like a collector that is away. */
static int watch(void *context, struct link *l)
{
	const int linger = 0;
	char endpoint[64];

	(void)snprintf(endpoint, sizeof(endpoint), "inproc://link-%p", l->socket);
	if (zmq_socket_monitor(l->socket, endpoint, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) != 0)
		return -errno;
	l->monitor = zmq_socket(context, ZMQ_PAIR);
	if (!l->monitor || zmq_setsockopt(l->monitor, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
	    zmq_connect(l->monitor, endpoint) != 0)
		return -errno;
	return 0;
}

bool link_refused(struct link *l)
{
	char frame[64];

	while (zmq_recv(l->monitor, frame, sizeof(frame), ZMQ_DONTWAIT) >= 0)
		l->refused = true; /* nothing else is told there */
	return l->refused;
}

int link_open(void *context, const char *url, const struct link_keys *keys, struct link **ret)
{
	struct link *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	(void)zmq_msg_init(&l->received); /* always 0 */
	l->socket = zmq_socket(context, ZMQ_DEALER);
	err = l->socket ? set_options(l->socket) : -errno;
	if (!err)
		err = set_keys(l->socket, keys);
	if (!err)
		err = watch(context, l);
	if (!err && zmq_connect(l->socket, url) != 0)
		err = -errno;
	if (err) {
		link_close(l);
		return err;
	}
	*ret = l;
	return 0;
}

void link_close(struct link *l)
{
	if (!l)
		return;
	(void)zmq_msg_close(&l->received); /* fails only for a message that is not one */
	if (l->socket)
		(void)zmq_socket_monitor(l->socket, NULL, 0); /* fails where there is none */
	if (l->monitor)
		(void)zmq_close(l->monitor); /* fails only for what is no socket */
	if (l->socket)
		(void)zmq_close(l->socket); /* fails only for what is no socket */
	free(l);
}

bool link_writable(struct link *l)
{
	int events = 0;
	size_t size = sizeof(events);

	return zmq_getsockopt(l->socket, ZMQ_EVENTS, &events, &size) == 0 && events & ZMQ_POLLOUT;
}

int link_send(struct link *l, const uint8_t *data, size_t len)
{
	return zmq_send(l->socket, data, len, ZMQ_DONTWAIT) < 0 ? -errno : 0;
}

/* Reads the rest of a message in several parts, which our protocol does not have. */
static void skip_parts(struct link *l)
{
	while (zmq_msg_more(&l->received))
		if (zmq_msg_recv(&l->received, l->socket, ZMQ_DONTWAIT) < 0)
			return;
}

int link_recv(struct link *l, struct frame *ret, const char **ret_why)
{
	enum frame_error bad;

	if (zmq_msg_recv(&l->received, l->socket, ZMQ_DONTWAIT) < 0)
		return -errno;
	if (zmq_msg_more(&l->received)) {
		skip_parts(l);
		*ret_why = "more than one part";
		return -EBADMSG;
	}
	bad = frame_open(zmq_msg_data(&l->received), zmq_msg_size(&l->received), ret);
	if (bad) {
		*ret_why = frame_error_text(bad);
		return bad == FRAME_BAD_MAJOR ? -EPROTONOSUPPORT : -EBADMSG;
	}
	return 0;
}

int link_wait(struct link *l, bool want_send, const int *fds, size_t n_fds, int timeout_ms)
{
	zmq_pollitem_t items[1 + LINK_MAX_FDS];
	short events = ZMQ_POLLIN;
	int n = 0;

	if (want_send)
		events |= ZMQ_POLLOUT;
	if (l)
		items[n++] = (zmq_pollitem_t){.socket = l->socket, .events = events};
	for (size_t i = 0; i < n_fds && i < LINK_MAX_FDS; i++)
		items[n++] = (zmq_pollitem_t){.fd = fds[i], .events = ZMQ_POLLIN};
	if (zmq_poll(items, n, timeout_ms) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

const char *link_error(int err)
{
	return zmq_strerror(-err);
}
