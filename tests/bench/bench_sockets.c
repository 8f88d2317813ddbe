// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * bench_sockets.c - what it costs a host that the probe knows whose its sockets
 * are: connections, datagrams and drops on the loopback of a network namespace,
 * with the programs of probe/stack/stack.h and without, in turn; medians of the
 * rounds. Then what the probe itself spends on it for each flow.
 *
 *	bench_sockets RESULTS_DIR ...
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bpf/flow_abi.h"
#include "bpf/sockets_abi.h"
#include "common/addr.h"
#include "common/clock.h"
#include "probe/datapath/flow_table.h"
#include "probe/stack/owners.h"
#include "probe/stack/stack.h"
#include "tests/bench/results.h"

#define ROUNDS	    11
#define CONNECTIONS 2000
#define DATAGRAMS   5000
#define N_FLOWS	    100000u

struct bench {
	int listener, sink, sender;
	struct sockaddr_in tcp, udp, closed;
};

typedef void (*work_fn)(const struct bench *b);

static int loopback_up(void)
{
	struct ifreq ifr = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM, 0), err;

	err = ioctl(fd, SIOCGIFFLAGS, &ifr);
	ifr.ifr_flags |= IFF_UP;
	if (!err)
		err = ioctl(fd, SIOCSIFFLAGS, &ifr);
	close(fd);
	return err ? -errno : 0;
}

/* A socket bound to a free port of 127.0.0.1, which is in ret. -1 with errno set. */
static int bound(int type, struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, type, 0);
	socklen_t len = sizeof(*ret);

	*ret = (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)ret, len) != 0 ||
	    getsockname(fd, (struct sockaddr *)ret, &len) != 0)
		return -1;
	return fd;
}

static int prepare(struct bench *b)
{
	struct sockaddr_in any;
	int gone;

	b->listener = bound(SOCK_STREAM, &b->tcp);
	b->sink = bound(SOCK_DGRAM, &b->udp);
	b->sender = bound(SOCK_DGRAM, &any);
	gone = bound(SOCK_DGRAM, &b->closed);
	if (b->listener < 0 || b->sink < 0 || b->sender < 0 || gone < 0)
		return -errno;
	close(gone);
	return listen(b->listener, 128) ? -errno : 0;
}

/* --- what a host does --------------------------------------------------------------- */

/* RST at the end: no TIME_WAIT, so the ports last. */
static void connections(const struct bench *b)
{
	static const struct linger now = {.l_onoff = 1};

	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0), peer;

		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		if (connect(fd, (const struct sockaddr *)&b->tcp, sizeof(b->tcp)) != 0)
			perror("connect");
		peer = accept(b->listener, NULL, NULL);
		close(fd);
		close(peer);
	}
}

static void send_to(int fd, const struct sockaddr_in *to)
{
	(void)sendto(fd, "x", 1, 0, (const struct sockaddr *)to, sizeof(*to)); /* it may be full */
}

static void one_shots(const struct bench *b)
{
	for (int i = 0; i < DATAGRAMS; i++) {
		int fd = socket(AF_INET, SOCK_DGRAM, 0);
		char c;

		send_to(fd, &b->udp);
		(void)recv(b->sink, &c, 1, MSG_DONTWAIT);
		close(fd);
	}
}

static void datagrams(const struct bench *b)
{
	for (int i = 0; i < DATAGRAMS; i++) {
		char c;

		send_to(b->sender, &b->udp);
		(void)recv(b->sink, &c, 1, MSG_DONTWAIT);
	}
}

static void drops(const struct bench *b)
{
	for (int i = 0; i < DATAGRAMS; i++)
		send_to(b->sender, &b->closed);
}

/* --- measuring ------------------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof(*values), by_value);
	return values[ROUNDS / 2];
}

/* Of this process, what the kernel does for it included: others on the machine do not count. */
static uint64_t cpu_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* cannot fail */
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static double time_ns(const struct bench *b, work_fn work, int times)
{
	uint64_t began_ns = cpu_ns();

	work(b);
	return (double)(cpu_ns() - began_ns) / times;
}

static int measure(struct results *r, const struct bench *b, const char *name, work_fn work,
		   int times)
{
	double without[ROUNDS], with[ROUNDS];
	char key[64], text[96];

	for (int i = 0; i < ROUNDS; i++) {
		struct stack *stack;
		int err;

		without[i] = time_ns(b, work, times);
		err = stack_open(1024, 1, &stack);
		if (err)
			return err;
		with[i] = time_ns(b, work, times);
		stack_close(stack);
	}
	(void)snprintf(key, sizeof(key), "%s_ns", name);
	(void)snprintf(text, sizeof(text), "ns, %s without the programs", name);
	results_add(r, key, median(without), text);
	(void)snprintf(key, sizeof(key), "%s_told_ns", name);
	(void)snprintf(text, sizeof(text), "ns, %s with them", name);
	results_add(r, key, median(with), text);
	return 0;
}

/* --- the probe's own work --------------------------------------------------------------- */

/* Connection i, and its flow as the egress hook saw it. */
static void make_flow(uint32_t i, struct sock_event *ev, struct flow_slot *slot)
{
	*ev = (struct sock_event){
		.kind = SOCK_CONNECTED,
		.proto = IPPROTO_TCP,
		.flags = SOCK_CLIENT,
		.local_port = (uint16_t)(1024 + i % 60000),
		.remote_port = 443,
		.owner = {.comm = "bench", .pid = 1 + i},
	};
	*slot = (struct flow_slot){
		.key = {.proto = IPPROTO_TCP,
			.port_a = htons(ev->local_port),
			.port_b = htons(ev->remote_port)},
		.half = {{.last_ns = 1, .iface = FLOW_HOOK_EGRESS}},
	};
	(void)addr_parse("10.0.0.1", ev->local);
	(void)addr_parse("10.1.0.0", ev->remote);
	ev->remote[15] = (uint8_t)(i / 60000);
	memcpy(slot->key.addr_a, ev->local, 16);
	memcpy(slot->key.addr_b, ev->remote, 16);
}

enum step { STEP_EVENT, STEP_FIRST_LOOK, STEP_LOOK, STEP_FILL, N_STEPS };

static void do_step(struct owners *o, enum step step, const struct sock_event *events,
		    const struct flow_slot *slots)
{
	struct flow_record r = {0};

	for (uint32_t i = 0; i < N_FLOWS; i++) {
		struct flow_view v = {.index = i, .slot = &slots[i]};

		if (step == STEP_EVENT)
			owners_event(o, &events[i], false);
		else if (step == STEP_FILL)
			owners_fill(o, &v, FLOW_END_ACTIVE, &r);
		else
			(void)owners_look(o, &v);
	}
}

static int measure_owners(struct results *r)
{
	static const char *const keys[N_STEPS] = {"probe_event_ns", "probe_first_look_ns",
						  "probe_look_ns", "probe_record_ns"};
	static const char *const texts[N_STEPS] = {
		"ns of the probe for a connection that it is told of",
		"ns to find the socket of a new flow, of 100,000",
		"ns for a known flow in each pass",
		"ns to fill a record",
	};
	struct sock_event *events = calloc(N_FLOWS, sizeof(*events));
	struct flow_slot *slots = calloc(N_FLOWS, sizeof(*slots));
	double ns[N_STEPS][ROUNDS];
	int err = events && slots ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < N_FLOWS && !err; i++)
		make_flow(i, &events[i], &slots[i]);
	for (int round = 0; round < ROUNDS && !err; round++) {
		struct owners *o;

		err = owners_new(1u << 17, 1, &o);
		for (int step = 0; step < N_STEPS && !err; step++) {
			uint64_t began_ns = cpu_ns();

			do_step(o, (enum step)step, events, slots);
			ns[step][round] = (double)(cpu_ns() - began_ns) / N_FLOWS;
		}
		if (!err)
			owners_free(o);
	}
	for (int step = 0; step < N_STEPS && !err; step++)
		results_add(r, keys[step], median(ns[step]), texts[step]);
	free(events);
	free(slots);
	return err;
}

int main(int argc, char **argv)
{
	struct bench b;
	struct results *r;
	int err;

	if (argc < 2 || geteuid() != 0) {
		fprintf(stderr, "usage, as root: %s RESULTS_DIR\n", argv[0]);
		return 2;
	}
	r = results_open(argv[1], "sockets", 1);
	if (!r)
		return 1;
	err = unshare(CLONE_NEWNET) ? -errno : loopback_up();
	if (!err)
		err = prepare(&b);
	if (!err)
		err = measure(r, &b, "tcp_connection", connections, CONNECTIONS);
	if (!err)
		err = measure(r, &b, "udp_one_shot", one_shots, DATAGRAMS);
	if (!err)
		err = measure(r, &b, "udp_datagram", datagrams, DATAGRAMS);
	if (!err)
		err = measure(r, &b, "udp_dropped", drops, DATAGRAMS);
	if (!err)
		err = measure_owners(r);
	if (err)
		fprintf(stderr, "bench_sockets: %s\n", strerror(-err));
	return results_close(r) || err;
}
