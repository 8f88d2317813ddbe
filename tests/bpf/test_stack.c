// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_stack.c - real sockets on the loopback of a network namespace of our own:
 * what the programs of sockets.bpf.c and drops.bpf.c tell of them. Needs root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/flow_abi.h"
#include "common/addr.h"
#include "common/clock.h"
#include "probe/datapath/flow_table.h"
#include "probe/stack/stack.h"

#define N_SLOTS 64
#define LO	1
#define WAIT_MS 30000

/* --- the fixture ---------------------------------------------------------------------- */

static uint64_t began_ns; /* flows have begun before any socket of the test was closed */

static int open_stack(void **state)
{
	struct stack *s;

	began_ns = clock_mono_ns();
	assert_int_equal(stack_open(N_SLOTS, 7, &s), 0);
	*state = s;
	return 0;
}

static int close_stack(void **state)
{
	stack_close(*state);
	return 0;
}

static void loopback_up(void)
{
	struct ifreq ifr = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &ifr), 0);
	ifr.ifr_flags |= IFF_UP;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	close(fd);
}

/* --- sockets -------------------------------------------------------------------------- */

struct peer {
	int fd;
	uint16_t port;
};

static socklen_t address(int family, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	ret->ss_family = (sa_family_t)family;
	if (family == AF_INET6) {
		v6->sin6_addr = in6addr_loopback;
		v6->sin6_port = htons(port);
		return sizeof(*v6);
	}
	v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	v4->sin_port = htons(port);
	return sizeof(*v4);
}

/* IPv4 has it in the same place. */
static uint16_t port_of(int fd)
{
	struct sockaddr_in6 a = {0};
	socklen_t len = sizeof(a);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	return ntohs(a.sin6_port);
}

/* port 0: any. */
static struct peer bound(int family, int type, uint16_t port)
{
	struct peer p = {.fd = socket(family, type, 0)};
	struct sockaddr_storage a;
	socklen_t len = address(family, port, &a);

	assert_true(p.fd >= 0);
	assert_int_equal(bind(p.fd, (struct sockaddr *)&a, len), 0);
	p.port = port_of(p.fd);
	return p;
}

static struct peer listening(int family)
{
	struct peer p = bound(family, SOCK_STREAM, 0);

	assert_int_equal(listen(p.fd, 8), 0);
	return p;
}

static struct peer connected(int family, int type, uint16_t port)
{
	struct peer p = {.fd = socket(family, type, 0)};
	struct sockaddr_storage a;
	socklen_t len = address(family, port, &a);

	assert_true(p.fd >= 0);
	assert_int_equal(connect(p.fd, (struct sockaddr *)&a, len), 0);
	p.port = port_of(p.fd);
	return p;
}

static void send_to(int fd, int family, uint16_t port)
{
	struct sockaddr_storage a;
	socklen_t len = address(family, port, &a);

	assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&a, len), 1);
}

/* Runs f in a child and gives its pid, when it has ended. */
static pid_t in_child(void (*f)(void *arg), void *arg)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		f(arg);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return pid;
}

/* --- flows ------------------------------------------------------------------------------ */

/* As if lo had shown it: from port to port, seen first where local is: its first end or not. */
static struct flow_record record_of(struct stack *s, int family, uint8_t proto, uint16_t from,
				    uint16_t to, bool local_is_from)
{
	struct flow_slot slot = {
		.key = {.proto = proto, .port_a = htons(from), .port_b = htons(to)},
		.state = FLOW_LIVE,
		.first_ns = began_ns,
	};
	struct flow_half *half = &slot.half[from > to];
	struct flow_view v = {.slot = &slot};
	struct flow_record r = {0};

	assert_int_equal(addr_parse(family == AF_INET6 ? "::1" : "127.0.0.1", slot.key.addr_a), 0);
	memcpy(slot.key.addr_b, slot.key.addr_a, 16);
	if (from > to) { /* as the parser sorts them */
		slot.key.port_a = htons(to);
		slot.key.port_b = htons(from);
	}
	slot.initiator = from > to;
	half->last_ns = slot.first_ns;
	half->packets = 1;
	half->iface = LO << 1 | local_is_from;
	stack_pass(s, clock_mono_ns(), false);
	stack_look(s, &v);
	stack_pass(s, clock_mono_ns(), false);
	stack_look(s, &v);
	stack_fill(s, &v, FLOW_END_IDLE, &r);
	return r;
}

static void check(struct flow_record r, pid_t pid, enum flow_role role)
{
	assert_int_equal(r.pid, pid);
	assert_int_equal(r.role, role);
	assert_int_equal(r.uid, 0);
	if (pid)
		assert_string_equal(r.process, "test_stack");
}

static const int families[] = {AF_INET, AF_INET6};
#define N_FAMILIES 2

/* --- tests: whose ------------------------------------------------------------------------- */

static void connections(void **state)
{
	for (int i = 0; i < N_FAMILIES; i++) {
		int family = families[i];
		struct peer server = listening(family);
		struct peer client = connected(family, SOCK_STREAM, server.port);

		check(record_of(*state, family, IPPROTO_TCP, client.port, server.port, true),
		      getpid(), FLOW_ROLE_CLIENT);
		check(record_of(*state, family, IPPROTO_TCP, client.port, server.port, false),
		      getpid(), FLOW_ROLE_SERVER);
		close(client.fd);
		close(server.fd);
	}
}

static void one_connection(void *arg)
{
	struct peer *p = arg, client = connected(AF_INET, SOCK_STREAM, p[0].port);

	p[1].port = client.port;
}

static void a_client_that_is_gone(void **state)
{
	struct peer *shared = test_malloc(2 * sizeof(*shared));
	struct peer server = listening(AF_INET);
	struct sockaddr_in from = {0};
	socklen_t len = sizeof(from);
	pid_t pid;
	int fd;

	shared[0] = server;
	pid = in_child(one_connection, shared);
	fd = accept(server.fd, (struct sockaddr *)&from, &len);
	assert_true(fd >= 0);
	check(record_of(*state, AF_INET, IPPROTO_TCP, ntohs(from.sin_port), server.port, true), pid,
	      FLOW_ROLE_CLIENT);
	close(fd);
	close(server.fd);
	test_free(shared);
}

static void close_it(void *arg)
{
	close(*(int *)arg);
}

/* A server that forks for each connection. */
static void who_serves_it(void **state)
{
	struct peer server = listening(AF_INET);
	struct peer client = connected(AF_INET, SOCK_STREAM, server.port);
	int fd = accept(server.fd, NULL, NULL), to_child[2];
	pid_t pid;

	assert_true(fd >= 0);
	check(record_of(*state, AF_INET, IPPROTO_TCP, client.port, server.port, false), getpid(),
	      FLOW_ROLE_SERVER);
	assert_int_equal(pipe(to_child), 0);
	pid = fork();
	if (pid == 0) {
		char go;

		close(to_child[1]);
		if (read(to_child[0], &go, 1) != 0)
			_exit(1);
		close_it(&fd);
		_exit(0);
	}
	close(to_child[0]);
	close(fd);
	close(to_child[1]); /* now the child has the last reference */
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	check(record_of(*state, AF_INET, IPPROTO_TCP, client.port, server.port, false), pid,
	      FLOW_ROLE_SERVER);
	close(client.fd);
	close(server.fd);
}

static void refused(void **state)
{
	struct peer nobody = bound(AF_INET, SOCK_STREAM, 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct peer client = bound(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_storage a;
	socklen_t len = address(AF_INET, nobody.port, &a);

	assert_true(fd >= 0);
	assert_int_equal(connect(client.fd, (struct sockaddr *)&a, len), -1);
	check(record_of(*state, AF_INET, IPPROTO_TCP, client.port, nobody.port, true), getpid(),
	      FLOW_ROLE_CLIENT);
	close(fd);
	close(client.fd);
	close(nobody.fd);
}

static void datagrams(void **state)
{
	for (int i = 0; i < N_FAMILIES; i++) {
		int family = families[i], fd = socket(family, SOCK_DGRAM, 0);
		struct peer any = bound(family, SOCK_DGRAM, 0);
		uint16_t asked_for = (uint16_t)(any.port ^ 1);
		struct peer server = bound(family, SOCK_DGRAM, asked_for);
		struct peer client = connected(family, SOCK_DGRAM, server.port);

		send_to(fd, family, server.port); /* gives it a port */
		check(record_of(*state, family, IPPROTO_UDP, client.port, server.port, true),
		      getpid(), FLOW_ROLE_CLIENT);
		check(record_of(*state, family, IPPROTO_UDP, client.port, server.port, false),
		      getpid(), FLOW_ROLE_SERVER);
		check(record_of(*state, family, IPPROTO_UDP, port_of(fd), server.port, true),
		      getpid(), FLOW_ROLE_CLIENT);
		close(fd);
		close(any.fd);
		close(client.fd);
		close(server.fd);
	}
}

static void one_datagram(void *arg)
{
	struct peer server = *(struct peer *)arg;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	send_to(fd, AF_INET, server.port);
}

static void a_datagram_of_one_that_is_gone(void **state)
{
	struct peer server = bound(AF_INET, SOCK_DGRAM, 0);
	pid_t pid = in_child(one_datagram, &server);
	struct pollfd ready = {.fd = server.fd, .events = POLLIN};
	struct sockaddr_in from = {0};
	socklen_t len = sizeof(from);
	char c;

	assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
	assert_int_equal(recvfrom(server.fd, &c, 1, 0, (struct sockaddr *)&from, &len), 1);
	check(record_of(*state, AF_INET, IPPROTO_UDP, ntohs(from.sin_port), server.port, true), pid,
	      FLOW_ROLE_CLIENT);
	close(server.fd);
}

/* Sockets that are older than the probe. */
static void sockets_of_before(void **state)
{
	for (int i = 0; i < N_FAMILIES; i++) {
		int family = families[i];
		struct peer server = listening(family);
		struct peer client = connected(family, SOCK_STREAM, server.port);
		struct peer udp = bound(family, SOCK_DGRAM, 0);
		int fd = accept(server.fd, NULL, NULL);

		close_stack(state);
		open_stack(state);
		check(record_of(*state, family, IPPROTO_TCP, client.port, server.port, true),
		      getpid(), FLOW_ROLE_UNKNOWN);
		check(record_of(*state, family, IPPROTO_TCP, client.port, server.port, false),
		      getpid(), FLOW_ROLE_SERVER);
		check(record_of(*state, family, IPPROTO_UDP, udp.port, 9, true), getpid(),
		      FLOW_ROLE_CLIENT);
		close(fd);
		close(client.fd);
		close(server.fd);
		close(udp.fd);
	}
}

struct counter {
	const char *name;
	uint64_t value;
};

static void note_counter(const char *name, uint64_t value, void *arg)
{
	struct counter *c = arg;

	if (strcmp(name, c->name) == 0)
		c->value = value;
}

/* More connections than the ring holds events, while nobody reads it. */
static void sockets_that_were_not_told(void **state)
{
	static const struct linger reset = {.l_onoff = 1};
	struct counter untold = {.name = "sockets_untold"};
	struct peer server = listening(AF_INET), client;

	for (int i = 0; i < 20000; i++) {
		int fd;

		client = connected(AF_INET, SOCK_STREAM, server.port);
		fd = accept(server.fd, NULL, NULL);
		(void)setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(client.fd);
		close(fd);
	}
	client = connected(AF_INET, SOCK_STREAM, server.port);
	stack_counters(*state, note_counter, &untold);
	assert_true(untold.value > 0);
	check(record_of(*state, AF_INET, IPPROTO_TCP, client.port, server.port, true), getpid(),
	      FLOW_ROLE_CLIENT);
	close(client.fd);
	close(server.fd);
}

static void another_network_namespace(void **state)
{
	struct peer server;

	assert_int_equal(unshare(CLONE_NEWNET), 0); /* the probe stays where it was opened */
	loopback_up();
	server = listening(AF_INET);
	check(record_of(*state, AF_INET, IPPROTO_TCP, 40000, server.port, false), 0,
	      FLOW_ROLE_UNKNOWN);
	close(server.fd);
}

/* --- tests: dropped ------------------------------------------------------------------------- */

static void drops_of_a_flow(void **state)
{
	for (int i = 0; i < N_FAMILIES; i++) {
		int family = families[i];
		struct peer closed = bound(family, SOCK_DGRAM, 0);
		struct peer client = bound(family, SOCK_DGRAM, 0);
		struct flow_record r;

		close(closed.fd);
		for (int n = 0; n < 5; n++)
			send_to(client.fd, family, closed.port);
		r = record_of(*state, family, IPPROTO_UDP, client.port, closed.port, true);
		assert_int_equal(r.kernel_drops, 5);
		assert_string_equal(r.kernel_drop_reason, "no_socket");
		r = record_of(*state, family, IPPROTO_UDP, client.port, closed.port, true);
		assert_int_equal(r.kernel_drops, 0);
		close(client.fd);
	}
}

/* Behind a destination options header (RFC 8200 4.6) of padding. */
static void drops_behind_extension_headers(void **state)
{
	static const uint8_t options[8] = {[2] = 1, [3] = 4};
	struct peer closed = bound(AF_INET6, SOCK_DGRAM, 0);
	struct peer client = bound(AF_INET6, SOCK_DGRAM, 0);
	struct flow_record r;

	close(closed.fd);
	assert_int_equal(
		setsockopt(client.fd, IPPROTO_IPV6, IPV6_DSTOPTS, options, sizeof(options)), 0);
	send_to(client.fd, AF_INET6, closed.port);
	r = record_of(*state, AF_INET6, IPPROTO_UDP, client.port, closed.port, true);
	assert_int_equal(r.kernel_drops, 1);
	close(client.fd);
}

/* IPv4 in IPv4, which nobody takes here: the flow is the inner one. */
static void drops_of_a_tunnel(void **state)
{
	struct {
		struct iphdr outer, inner;
		struct udphdr udp;
	} packet = {
		.outer = {.version = 4,
			  .ihl = 5,
			  .ttl = 64,
			  .protocol = IPPROTO_IPIP,
			  .saddr = htonl(INADDR_LOOPBACK),
			  .daddr = htonl(INADDR_LOOPBACK)},
		.udp = {.source = htons(1111), .dest = htons(2222), .len = htons(8)},
	};
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW); /* the IP header is ours */
	struct sockaddr_storage to;
	socklen_t len = address(AF_INET, 0, &to);
	struct flow_record r;

	assert_true(fd >= 0);
	packet.inner = packet.outer;
	packet.inner.protocol = IPPROTO_UDP;
	packet.inner.tot_len = htons(sizeof(packet.inner) + sizeof(packet.udp));
	assert_int_equal(sendto(fd, &packet, sizeof(packet), 0, (struct sockaddr *)&to, len),
			 sizeof(packet));
	r = record_of(*state, AF_INET, IPPROTO_UDP, 1111, 2222, true);
	assert_int_equal(r.kernel_drops, 1);
	assert_string_equal(r.kernel_drop_reason, "ip_noproto");
	close(fd);
}

static void quiet_traffic_drops_nothing(void **state)
{
	struct peer server = listening(AF_INET);
	struct peer client = connected(AF_INET, SOCK_STREAM, server.port);
	int fd = accept(server.fd, NULL, NULL);
	struct flow_record r;
	char c;

	assert_int_equal(write(client.fd, "x", 1), 1);
	assert_int_equal(read(fd, &c, 1), 1);
	close(client.fd);
	assert_int_equal(read(fd, &c, 1), 0);
	close(fd);
	r = record_of(*state, AF_INET, IPPROTO_TCP, client.port, server.port, true);
	assert_int_equal(r.kernel_drops, 0);
	assert_int_equal(r.kernel_retrans_pkts, 0);
	close(server.fd);
}

#define with_stack(f) cmocka_unit_test_setup_teardown(f, open_stack, close_stack)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_stack(connections),
		with_stack(a_client_that_is_gone),
		with_stack(who_serves_it),
		with_stack(refused),
		with_stack(datagrams),
		with_stack(a_datagram_of_one_that_is_gone),
		with_stack(sockets_of_before),
		with_stack(drops_of_a_flow),
		with_stack(drops_behind_extension_headers),
		with_stack(drops_of_a_tunnel),
		with_stack(quiet_traffic_drops_nothing),
		with_stack(sockets_that_were_not_told),
		with_stack(another_network_namespace), /* last: it stays there */
	};

	if (geteuid() != 0) {
		puts("skipped: loading BPF programs needs root");
		return 0;
	}
	if (unshare(CLONE_NEWNET) != 0) {
		perror("a network namespace");
		return 1;
	}
	loopback_up();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
