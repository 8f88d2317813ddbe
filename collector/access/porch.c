// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/access/porch.h"

#include <errno.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <zmq.h>

#include "common/cleanup.h"

#define EVENTS	  (ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED)
#define EVENT_MAX 512 /* what an event says of its endpoint is not read */
#define FD_MAX	  (1 << 20)
#define ASK_MAX	  64 /* connections asked whether they have sent a byte, for one that goes */

enum state { AWAY, WAITING, SPOKEN };

/* A connection, by its descriptor. */
struct guest {
	enum state state;
	int prev, next; /* WAITING: in order of arrival; -1: none */
	size_t source;	/* WAITING: of sources */
	struct sockaddr_storage peer;
};

/* An address, and how many of it wait. */
struct source {
	uint8_t addr[16];
	size_t n;
};

struct porch {
	void *socket, *monitor;
	size_t max, waiting;
	uint64_t shown_out;
	int first, last;
	size_t n_guests;
	struct guest *guests;	 /* grows with the highest descriptor */
	struct source sources[]; /* max + 1 */
};

DEFINE_CLEANUP(struct porch *, porch_close)

int porch_open(void *context, void *socket, size_t max, struct porch **ret)
{
	cleanup(porch_close_p) struct porch *p = NULL;
	const int linger = 0, no_limit = 0;
	char endpoint[64];

	p = calloc(1, sizeof(*p) + (max + 1) * sizeof(struct source));
	if (!p)
		return -ENOMEM;
	p->max = max;
	p->first = p->last = -1;
	(void)snprintf(endpoint, sizeof(endpoint), "inproc://porch-%p", socket);
	if (zmq_socket_monitor(socket, endpoint, EVENTS) != 0)
		return -zmq_errno();
	p->socket = socket;
	p->monitor = zmq_socket(context, ZMQ_PAIR);
	/* Without a limit: libzmq's thread would wait for us at it, with all connections. */
	if (!p->monitor ||
	    zmq_setsockopt(p->monitor, ZMQ_RCVHWM, &no_limit, sizeof(no_limit)) != 0 ||
	    zmq_setsockopt(p->monitor, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
	    zmq_connect(p->monitor, endpoint) != 0)
		return -zmq_errno();
	*ret = take_ptr(p);
	return 0;
}

void porch_close(struct porch *p)
{
	if (!p)
		return;
	if (p->socket)
		(void)zmq_socket_monitor(p->socket, NULL, 0); /* fails only for what is none */
	if (p->monitor)
		(void)zmq_close(p->monitor); /* likewise */
	free(p->guests);
	free(p);
}

void *porch_socket(struct porch *p)
{
	return p->monitor;
}

uint64_t porch_shown_out(const struct porch *p)
{
	return p->shown_out;
}

/* --- who waits ------------------------------------------------------------------- */

/* NULL for a descriptor that cannot be, or without memory. */
static struct guest *get_guest(struct porch *p, int fd)
{
	size_t n = p->n_guests ? p->n_guests : 64;
	struct guest *guests;

	if (fd < 0 || fd >= FD_MAX)
		return NULL;
	if ((size_t)fd < p->n_guests)
		return &p->guests[fd];
	while (n <= (size_t)fd)
		n *= 2;
	guests = realloc(p->guests, n * sizeof(*guests));
	if (!guests)
		return NULL;
	memset(guests + p->n_guests, 0, (n - p->n_guests) * sizeof(*guests));
	p->guests = guests;
	p->n_guests = n;
	return &guests[fd];
}

static void get_address(const struct sockaddr_storage *peer, uint8_t ret[16])
{
	memset(ret, 0, 16);
	if (peer->ss_family == AF_INET6)
		memcpy(ret, &((const struct sockaddr_in6 *)peer)->sin6_addr, 16);
	else
		memcpy(ret, &((const struct sockaddr_in *)peer)->sin_addr, 4);
}

/* Of all that wait, and one more, no more than max + 1 addresses can be different. */
static size_t count_source(struct porch *p, const struct sockaddr_storage *peer)
{
	uint8_t addr[16];
	size_t free_one = 0;

	get_address(peer, addr);
	for (size_t i = 0; i <= p->max; i++) {
		if (p->sources[i].n == 0)
			free_one = i;
		else if (memcmp(p->sources[i].addr, addr, sizeof(addr)) == 0) {
			p->sources[i].n++;
			return i;
		}
	}
	memcpy(p->sources[free_one].addr, addr, sizeof(addr));
	p->sources[free_one].n = 1;
	return free_one;
}

static void leave(struct porch *p, int fd, enum state state)
{
	struct guest *g = &p->guests[fd];

	if (g->state == WAITING) {
		*(g->prev < 0 ? &p->first : &p->guests[g->prev].next) = g->next;
		*(g->next < 0 ? &p->last : &p->guests[g->next].prev) = g->prev;
		p->sources[g->source].n--;
		p->waiting--;
	}
	g->state = state;
}

/* Closes only the connection that was meant: the number may be another's by now. */
static void show_out(struct porch *p, int fd)
{
	const struct guest *g = &p->guests[fd];
	struct sockaddr_storage now = {0};
	socklen_t len = sizeof(now);

	if (getpeername(fd, (struct sockaddr *)&now, &len) == 0 &&
	    memcmp(&now, &g->peer, sizeof(now)) == 0)
		(void)shutdown(fd, SHUT_RDWR); /* it has gone, then */
	p->shown_out++;
	leave(p, fd, SPOKEN);
}

/* Not a byte has come, as far as the kernel tells. */
static bool is_silent(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       info.tcpi_bytes_received == 0;
}

static void make_room(struct porch *p)
{
	size_t most = 0;
	int oldest = -1, asked = 0;

	for (size_t i = 1; i <= p->max; i++)
		if (p->sources[i].n > p->sources[most].n)
			most = i;
	for (int fd = p->first; fd >= 0 && asked < ASK_MAX; fd = p->guests[fd].next) {
		if (p->guests[fd].source != most)
			continue;
		if (oldest < 0)
			oldest = fd;
		asked++;
		if (is_silent(fd)) {
			oldest = fd;
			break;
		}
	}
	if (oldest >= 0)
		show_out(p, oldest);
}

static void arrive(struct porch *p, int fd)
{
	struct guest *g = get_guest(p, fd);
	struct sockaddr_storage peer = {0};
	socklen_t len = sizeof(peer);

	if (!g)
		return; /* libzmq's own limit of 2 s has to do */
	leave(p, fd, AWAY);
	if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0)
		return; /* it has gone */
	g->peer = peer;
	g->source = count_source(p, &peer);
	g->prev = p->last;
	g->next = -1;
	*(p->last < 0 ? &p->first : &p->guests[p->last].next) = fd;
	p->last = fd;
	g->state = WAITING;
	if (++p->waiting > p->max)
		make_room(p);
}

/* --- events ------------------------------------------------------------------------ */

struct event {
	uint16_t what;
	int32_t value;
};

/* Returns false when there is none. */
static bool next_event(struct porch *p, struct event *ret)
{
	uint8_t frame[6], endpoint[EVENT_MAX];
	int len = zmq_recv(p->monitor, frame, sizeof(frame), ZMQ_DONTWAIT);

	if (len < 0)
		return false;
	(void)zmq_recv(p->monitor, endpoint, sizeof(endpoint), ZMQ_DONTWAIT); /* comes with it */
	*ret = (struct event){0};
	if (len == (int)sizeof(frame)) {
		memcpy(&ret->what, frame, sizeof(ret->what));
		memcpy(&ret->value, frame + 2, sizeof(ret->value));
	}
	return true;
}

void porch_watch(struct porch *p)
{
	struct event e;

	while (next_event(p, &e)) {
		if (e.what == ZMQ_EVENT_ACCEPTED)
			arrive(p, e.value);
		else if (e.value >= 0 && (size_t)e.value < p->n_guests)
			leave(p, e.value, AWAY);
	}
}

void porch_spoke(struct porch *p, int fd)
{
	if (fd < 0)
		return;
	/* The event of its arrival is there: it was sent before the message. */
	if ((size_t)fd >= p->n_guests || p->guests[fd].state == AWAY)
		porch_watch(p);
	if ((size_t)fd < p->n_guests && p->guests[fd].state == WAITING)
		leave(p, fd, SPOKEN);
}
