// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/stack/stack.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "bpf/tally_abi.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "probe/datapath/flow_table.h"
#include "probe/stack/drops.h"
#include "probe/stack/listeners.h"
#include "probe/stack/owners.h"
#include "probe/stack/sockets.h"
#include "probe/stack/tally.h"

#define ADDRESSES_EACH_NS (2 * NS_PER_SEC)
/* With few connections the kernel's whole table is walked: 0.4 ms here. */
#define LISTENERS_EACH_NS (5 * NS_PER_SEC)
#define AGAIN_EACH_NS	  (60 * NS_PER_SEC)
#define COUNTER_BYTES	  48

struct stack {
	struct drops *drops; /* NULL: this kernel does not tell, and drops_error why */
	int drops_error;
	struct sockets *sockets; /* likewise */
	int sockets_error;
	struct owners *owners;
	struct tallies *dropped, *retrans;
	struct listeners listeners;
	bool udp_wanted; /* a flow waits for a socket that has got its port since */
	bool udp_read;	 /* in this pass */
	uint64_t addresses_ns, listeners_ns; /* when they were last read */
	uint64_t untold,
		read_again_ns; /* sockets that were not told, when all were read for that */
};

DEFINE_CLEANUP(struct stack *, stack_close)

int stack_open(uint32_t n_slots, uint64_t seed, struct stack **ret)
{
	cleanup(stack_close_p) struct stack *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	err = owners_new(n_slots, seed, &s->owners);
	if (!err)
		err = tallies_new(seed, &s->dropped);
	if (!err)
		err = tallies_new(seed, &s->retrans);
	if (err)
		return err;
	s->drops_error = drops_open(&s->drops);
	s->sockets_error = sockets_open(s->owners, &s->sockets);
	*ret = take_ptr(s);
	return 0;
}

void stack_close(struct stack *s)
{
	if (!s)
		return;
	sockets_close(s->sockets);
	drops_close(s->drops);
	tallies_free(s->retrans);
	tallies_free(s->dropped);
	owners_free(s->owners);
	free(s);
}

void stack_consume(struct stack *s)
{
	if (s && s->sockets)
		sockets_consume(s->sockets);
}

int stack_fd(const struct stack *s)
{
	return s && s->sockets ? sockets_fd(s->sockets) : -1;
}

/* --- before a pass -------------------------------------------------------------------- */

/* In the form of common/addr.h. Returns whether it is one of IP. */
static bool map_address(const struct sockaddr *from, uint8_t ret[16])
{
	if (!from || (from->sa_family != AF_INET && from->sa_family != AF_INET6))
		return false;
	memset(ret, 0, 16);
	if (from->sa_family == AF_INET6) {
		memcpy(ret, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
		return true;
	}
	ret[10] = ret[11] = 0xff;
	memcpy(ret + 12, &((const struct sockaddr_in *)from)->sin_addr, 4);
	return true;
}

static int read_addresses(struct stack *s)
{
	struct ifaddrs *list, *i;
	uint8_t(*addrs)[16];
	size_t n = 0;
	int err;

	if (getifaddrs(&list) != 0)
		return -errno;
	for (i = list; i; i = i->ifa_next)
		n += 2;
	addrs = calloc(n + 1, sizeof(*addrs));
	if (!addrs) {
		freeifaddrs(list);
		return -ENOMEM;
	}
	n = 0;
	for (i = list; i; i = i->ifa_next) {
		n += map_address(i->ifa_addr, addrs[n]);
		if (i->ifa_flags & IFF_BROADCAST)
			n += map_address(i->ifa_broadaddr, addrs[n]);
	}
	err = owners_set_addresses(s->owners, addrs, n);
	free(addrs);
	freeifaddrs(list);
	return err;
}

static void on_listener(const struct sock_listener *l, void *arg)
{
	listeners_put(arg, l);
}

static int read_listeners(struct stack *s, uint64_t now_ns, bool all)
{
	int err;

	if (s->listeners_ns && !all && now_ns - s->listeners_ns < LISTENERS_EACH_NS)
		return 0;
	s->listeners_ns = now_ns;
	listeners_begin(&s->listeners);
	err = sockets_read_listeners(s->sockets, on_listener, &s->listeners);
	if (!err)
		listeners_end(&s->listeners);
	return err;
}

/*
 * Sockets that were not told, open or closed: all are forgotten and read again,
 * but not all the time.
 */
static int read_again(struct stack *s, uint64_t now_ns)
{
	uint64_t untold = sockets_lost(s->sockets) + sockets_missed(s->sockets);

	if (untold == s->untold || (s->read_again_ns && now_ns - s->read_again_ns < AGAIN_EACH_NS))
		return 0;
	s->untold = untold;
	s->read_again_ns = now_ns;
	sockets_consume(s->sockets);
	owners_forget_sockets(s->owners);
	return sockets_read_all(s->sockets);
}

static void read_sockets(struct stack *s, uint64_t now_ns, bool all)
{
	int err = 0;

	if (!s->addresses_ns || now_ns - s->addresses_ns >= ADDRESSES_EACH_NS) {
		s->addresses_ns = now_ns;
		err = read_addresses(s);
	}
	if (!err)
		err = read_again(s, now_ns);
	s->udp_read = s->udp_wanted || all;
	if (!err && s->udp_read)
		err = sockets_read_udp(s->sockets);
	if (!err)
		err = read_listeners(s, now_ns, all);
	if (!err)
		err = sockets_read_tallies(s->sockets, s->retrans, now_ns);
	if (err)
		log_debug("cannot read the sockets of this host: %s", strerror(-err));
	s->udp_wanted = false;
	owners_pass(s->owners, now_ns);
	sockets_consume(s->sockets);
}

void stack_pass(struct stack *s, uint64_t now_ns, bool all)
{
	int err;

	if (!s)
		return;
	if (s->sockets)
		read_sockets(s, now_ns, all);
	err = s->drops ? drops_read_tallies(s->drops, s->dropped, now_ns) : 0;
	if (err)
		log_debug("cannot read what the kernel has dropped: %s", strerror(-err));
}

/* --- flows ---------------------------------------------------------------------------- */

void stack_look(struct stack *s, const struct flow_view *v)
{
	if (s && s->sockets && owners_look(s->owners, v))
		s->udp_wanted = true;
}

static void fill_drops(struct stack *s, const struct flow_key *key, struct flow_record *ret)
{
	struct tally_sum sum = tallies_take(s->dropped, key);

	if (!sum.packets)
		return;
	ret->kernel_drops = sum.packets;
	(void)snprintf(ret->kernel_drop_reason, sizeof(ret->kernel_drop_reason), "%s",
		       drops_reason(s->drops, sum.most));
}

void stack_fill(struct stack *s, const struct flow_view *v, enum flow_end_reason reason,
		struct flow_record *ret)
{
	if (!s)
		return;
	if (s->drops)
		fill_drops(s, &v->slot->key, ret);
	if (!s->sockets)
		return;
	if (!s->udp_read && owners_look(s->owners, v)) {
		s->udp_read = true;
		(void)sockets_read_udp(s->sockets); /* as in read_sockets(): it may fail */
	}
	owners_fill(s->owners, v, reason, ret);
	if (v->slot->key.proto == IPPROTO_TCP)
		ret->kernel_retrans_pkts = tallies_take(s->retrans, &v->slot->key).packets;
}

/* --- counters --------------------------------------------------------------------------- */

struct counter_visit {
	stack_counter_fn visit;
	void *arg;
};

static void on_drop(const char *reason, uint64_t buffers, void *arg)
{
	const struct counter_visit *v = arg;
	char name[COUNTER_BYTES];

	(void)snprintf(name, sizeof(name), "drop_%s", reason); /* fits: drops.c cuts reasons */
	v->visit(name, buffers, v->arg);
}

static void drop_counters(struct stack *s, struct counter_visit *v)
{
	const struct tally_state *state = drops_tally_state(s->drops);
	int err = drops_read(s->drops, on_drop, v);

	if (err)
		log_debug("cannot read what the kernel has dropped: %s", strerror(-err));
	v->visit("kernel_drops_unparsed", state->unparsed, v->arg);
	v->visit("kernel_drops_no_room", state->full, v->arg);
	v->visit("kernel_drops_missed", drops_missed(s->drops), v->arg);
	v->visit("kernel_drops_unclaimed", tallies_unclaimed(s->dropped), v->arg);
}

static void socket_counters(struct stack *s, struct counter_visit *v)
{
	const struct owners_stats *owners = owners_stats(s->owners);
	const struct listeners *l = &s->listeners;
	char name[COUNTER_BYTES];

	v->visit("sockets_untold", sockets_lost(s->sockets), v->arg);
	v->visit("sockets_missed", sockets_missed(s->sockets), v->arg);
	v->visit("sockets_no_room", owners->full, v->arg);
	v->visit("cgroups_replaced", owners->cgroups_replaced, v->arg);
	v->visit("kernel_retrans_no_room", sockets_tally_state(s->sockets)->full, v->arg);
	v->visit("kernel_retrans_unclaimed", tallies_unclaimed(s->retrans), v->arg);
	for (uint32_t i = 0; i < l->n_named; i++) {
		(void)snprintf(name, sizeof(name), "listen_drop_%s", l->named[i].name); /* fits */
		v->visit(name, l->named[i].drops, v->arg);
	}
	if (l->other)
		v->visit("listen_drop_other", l->other, v->arg);
}

void stack_counters(struct stack *s, stack_counter_fn visit, void *arg)
{
	struct counter_visit v = {visit, arg};

	if (!s)
		return;
	if (s->drops)
		drop_counters(s, &v);
	if (s->sockets)
		socket_counters(s, &v);
}

/* --- in words --------------------------------------------------------------------------- */

static const char *why(int err)
{
	return err == -ENOENT ? "this kernel does not have it" : strerror(-err);
}

void stack_describe(const struct stack *s, stack_word_fn visit, void *arg)
{
	char text[192];
	int udp = s->sockets ? sockets_udp_error(s->sockets) : 0;

	if (s->drops)
		visit("kernel drops", "told by flow, with the kernel's reason", arg);
	else {
		(void)snprintf(text, sizeof(text),
			       "not told: %s (Linux 5.17); records have no kernel_drops",
			       why(s->drops_error));
		visit("kernel drops", text, arg);
	}
	if (!s->sockets)
		(void)snprintf(text, sizeof(text),
			       "not told: %s (Linux 6.2); records have no process, no "
			       "kernel_retrans_pkts, a role only by SYN",
			       why(s->sockets_error));
	else if (udp)
		(void)snprintf(text, sizeof(text), "told, but not of new UDP sockets: %s",
			       udp == -ENOENT  ? "no cgroup2 is mounted"
			       : udp == -EXDEV ? "only the part of cgroup2 that this process is "
						 "in is mounted, they are told of that"
					       : strerror(-udp));
	else
		(void)snprintf(text, sizeof(text), "told by flow: TCP and UDP sockets");
	visit("processes", text, arg);
}
