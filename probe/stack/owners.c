// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/stack/owners.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "bpf/sockets_abi.h"
#include "common/addr.h"
#include "probe/datapath/flow_table.h"
#include "probe/datapath/siphash.h"
#include "probe/names/wire_text.h"

#define MAX_ADDRESSES 65536
#define CGROUP_PROBES 8

/* Both ends; of a socket with any peer, remote and its port are 0. */
struct ends {
	uint8_t local[16], remote[16];
	uint16_t local_port, remote_port;
	uint8_t proto, zero[3];
};

/* Numbers of sockets in lists and chains are plus one; 0: none. */
struct known_socket {
	struct ends ends;
	struct sock_owner owner;
	uint64_t closed_ns;    /* 0: open */
	uint64_t closed_pass;  /* of owners_pass() */
	uint32_t chain;	       /* next with the same hash, or next free */
	uint32_t older, newer; /* in the list of closed ones */
	uint32_t opened;       /* REUSEPORT: so many listen */
	uint32_t flags;	       /* enum sock_flag */
};

struct cgroup_path {
	uint64_t id; /* 0: none here */
	uint64_t told;
	char path[CGROUP_PATH_MAX];
};

/* What was found of the flow in a slot. */
struct flow_owner {
	struct sock_owner owner;
	uint8_t role; /* by the socket */
	uint8_t found;
};

struct owners {
	uint32_t n_slots, n_heads; /* n_heads: a power of two */
	struct siphash_key seed;
	uint32_t *heads;
	struct known_socket *sockets; /* n_slots of them */
	uint32_t n_used, free;
	uint32_t oldest_closed, newest_closed;
	uint64_t pass;
	struct flow_owner *of_slot;
	uint8_t *looks; /* at each of them; beside it, as all are read in each pass */
	struct cgroup_path *cgroups;
	uint64_t cgroups_told;
	uint8_t (*addresses)[16]; /* sorted */
	size_t n_addresses;
	struct owners_stats stats;
};

static uint32_t power_of_two(uint32_t at_least)
{
	uint32_t n = 2;

	while (n < at_least)
		n *= 2;
	return n;
}

int owners_new(uint32_t n_slots, uint64_t seed, struct owners **ret)
{
	struct owners *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->n_slots = n_slots;
	o->n_heads = power_of_two(n_slots);
	o->seed = (struct siphash_key){seed, n_slots};
	o->heads = calloc(o->n_heads, sizeof(*o->heads));
	o->sockets = calloc(n_slots, sizeof(*o->sockets));
	o->of_slot = calloc(n_slots, sizeof(*o->of_slot));
	o->looks = calloc(n_slots, sizeof(*o->looks));
	o->cgroups = calloc(OWNERS_MAX_CGROUPS, sizeof(*o->cgroups));
	if (!o->heads || !o->sockets || !o->of_slot || !o->looks || !o->cgroups) {
		owners_free(o);
		return -ENOMEM;
	}
	*ret = o;
	return 0;
}

void owners_free(struct owners *o)
{
	if (!o)
		return;
	free(o->heads);
	free(o->sockets);
	free(o->of_slot);
	free(o->looks);
	free(o->cgroups);
	free(o->addresses);
	free(o);
}

const struct owners_stats *owners_stats(const struct owners *o)
{
	return &o->stats;
}

/* --- the table of sockets --------------------------------------------------------- */

static uint32_t *head_of(const struct owners *o, const struct ends *ends)
{
	return &o->heads[siphash(&o->seed, ends, sizeof(*ends)) & (o->n_heads - 1)];
}

static struct known_socket *find(const struct owners *o, const struct ends *ends)
{
	for (uint32_t n = *head_of(o, ends); n; n = o->sockets[n - 1].chain)
		if (memcmp(&o->sockets[n - 1].ends, ends, sizeof(*ends)) == 0)
			return &o->sockets[n - 1];
	return NULL;
}

static uint32_t number_of(const struct owners *o, const struct known_socket *s)
{
	return (uint32_t)(s - o->sockets) + 1;
}

static void leave_closed(struct owners *o, struct known_socket *s)
{
	if (!s->closed_ns)
		return;
	*(s->older ? &o->sockets[s->older - 1].newer : &o->oldest_closed) = s->newer;
	*(s->newer ? &o->sockets[s->newer - 1].older : &o->newest_closed) = s->older;
	s->older = s->newer = 0;
	s->closed_ns = 0;
}

static void join_closed(struct owners *o, struct known_socket *s, uint64_t now_ns)
{
	uint32_t number = number_of(o, s);

	leave_closed(o, s);
	s->closed_ns = now_ns ? now_ns : 1;
	s->closed_pass = o->pass;
	s->older = o->newest_closed;
	*(s->older ? &o->sockets[s->older - 1].newer : &o->oldest_closed) = number;
	o->newest_closed = number;
}

static void forget(struct owners *o, struct known_socket *s)
{
	uint32_t number = number_of(o, s), *at = head_of(o, &s->ends);

	leave_closed(o, s);
	while (*at != number)
		at = &o->sockets[*at - 1].chain;
	*at = s->chain;
	*s = (struct known_socket){.chain = o->free};
	o->free = number;
}

static struct known_socket *add(struct owners *o, const struct ends *ends)
{
	uint32_t number, *head = head_of(o, ends);

	if (!o->free && o->n_used == o->n_slots && o->oldest_closed)
		forget(o, &o->sockets[o->oldest_closed - 1]);
	number = o->free;
	if (number) {
		o->free = o->sockets[number - 1].chain;
	} else if (o->n_used < o->n_slots) {
		number = ++o->n_used;
	} else {
		o->stats.full++;
		return NULL;
	}
	o->sockets[number - 1] = (struct known_socket){.ends = *ends, .chain = *head};
	*head = number;
	return &o->sockets[number - 1];
}

void owners_forget_sockets(struct owners *o)
{
	memset(o->heads, 0, o->n_heads * sizeof(*o->heads));
	memset(o->sockets, 0, o->n_used * sizeof(*o->sockets));
	o->n_used = o->free = 0;
	o->oldest_closed = o->newest_closed = 0;
}

void owners_pass(struct owners *o, uint64_t now_ns)
{
	o->pass++;
	while (o->oldest_closed) {
		struct known_socket *s = &o->sockets[o->oldest_closed - 1];

		if (now_ns < s->closed_ns + OWNERS_LINGER_NS || o->pass < s->closed_pass + 3)
			return;
		forget(o, s);
	}
}

/* --- what the kernel tells ---------------------------------------------------------- */

static struct ends ends_of(const struct sock_event *ev)
{
	struct ends ends = {.local_port = ev->local_port, .proto = ev->proto};

	memcpy(ends.local, ev->local, sizeof(ends.local));
	if (ev->remote_port) {
		ends.remote_port = ev->remote_port;
		memcpy(ends.remote, ev->remote, sizeof(ends.remote));
	}
	return ends;
}

static void close_socket(struct owners *o, struct known_socket *s, uint64_t now_ns)
{
	if (s->opened > 1)
		s->opened--;
	else
		join_closed(o, s, now_ns);
}

void owners_event(struct owners *o, const struct sock_event *ev, bool existing)
{
	struct ends ends = ends_of(ev);
	struct known_socket *s = find(o, &ends);
	bool was_open = s && !s->closed_ns;

	if (ev->kind == SOCK_CLOSED) {
		if (was_open)
			close_socket(o, s, ev->now_ns);
		return;
	}
	if (!s)
		s = add(o, &ends);
	if (!s)
		return;
	leave_closed(o, s);
	if (ev->owner.pid || !was_open)
		s->owner = ev->owner;
	s->flags = ev->flags | (was_open && ev->proto == IPPROTO_TCP ? s->flags : 0);
	if (ev->kind == SOCK_LISTENS)
		s->opened = !was_open ? 1 : s->opened + !existing;
	if (ev->flags & SOCK_IS_CLOSED)
		join_closed(o, s, ev->now_ns);
}

/* The entry of a cgroup, or the one that it may have. */
static struct cgroup_path *cgroup_entry(const struct owners *o, uint64_t id)
{
	uint64_t hash = siphash(&o->seed, &id, sizeof(id));
	struct cgroup_path *oldest = NULL;

	for (unsigned i = 0; i < CGROUP_PROBES; i++) {
		struct cgroup_path *c = &o->cgroups[(hash + i) % OWNERS_MAX_CGROUPS];

		if (c->id == id)
			return c;
		if (!oldest || c->told < oldest->told)
			oldest = c;
	}
	return oldest;
}

void owners_cgroup(struct owners *o, const struct sock_cgroup *cgroup)
{
	struct cgroup_path *c = cgroup_entry(o, cgroup->id);
	struct wire_text text = wire_text_start(c->path, sizeof(c->path)); /* cut is fine */
	uint32_t n = cgroup->names < SOCK_CGROUP_NAMES ? cgroup->names : SOCK_CGROUP_NAMES;

	if (c->id && c->id != cgroup->id)
		o->stats.cgroups_replaced++;
	c->id = cgroup->id;
	c->told = ++o->cgroups_told;
	if (n == 0)
		wire_text_char(&text, '/');
	for (; n; n--) {
		const char *name = cgroup->name[n - 1];

		wire_text_char(&text, '/');
		wire_text_name(&text, name, strnlen(name, SOCK_CGROUP_BYTES));
	}
}

static int compare_addresses(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

int owners_set_addresses(struct owners *o, const uint8_t (*addrs)[16], size_t n)
{
	uint8_t(*copy)[16];

	if (n > MAX_ADDRESSES)
		n = MAX_ADDRESSES;
	copy = calloc(n + 1, sizeof(*copy)); /* never for 0 bytes */
	if (!copy)
		return -ENOMEM;
	if (n) {
		memcpy(copy, addrs, n * sizeof(*copy));
		qsort(copy, n, sizeof(*copy), compare_addresses);
	}
	free(o->addresses);
	o->addresses = copy;
	o->n_addresses = n;
	return 0;
}

/* --- flows --------------------------------------------------------------------------- */

/* Whether packets to this address are for this host: its own, multicast, broadcast. */
static bool is_local(const struct owners *o, const uint8_t addr[16])
{
	if (addr[0] == 0xff)
		return true;
	if (addr_is_v4(addr) && addr[12] >= 224)
		return true;
	return o->n_addresses && bsearch(addr, o->addresses, o->n_addresses, 16, compare_addresses);
}

/* A socket that was closed before the flow began is another one's. */
static const struct known_socket *find_for(const struct owners *o, const struct ends *ends,
					   const struct flow_slot *flow)
{
	const struct known_socket *s = find(o, ends);

	return s && s->closed_ns && s->closed_ns < flow->first_ns ? NULL : s;
}

/* The socket with any peer that has the local end. */
static const struct known_socket *find_bound(const struct owners *o, const struct ends *ends,
					     const struct flow_slot *flow)
{
	static const uint8_t any4[16] = {[10] = 0xff, [11] = 0xff};
	struct ends bound = *ends;
	const struct known_socket *s;

	memset(bound.remote, 0, sizeof(bound.remote));
	bound.remote_port = 0;
	s = find_for(o, &bound, flow);
	if (!s && addr_is_v4(ends->local)) {
		memcpy(bound.local, any4, sizeof(bound.local));
		s = find_for(o, &bound, flow);
	}
	if (!s) {
		memset(bound.local, 0, sizeof(bound.local));
		s = find_for(o, &bound, flow);
	}
	return s;
}

static struct ends ends_at(const struct flow_key *key, unsigned local)
{
	struct ends ends = {
		.local_port = ntohs(local ? key->port_b : key->port_a),
		.remote_port = ntohs(local ? key->port_a : key->port_b),
		.proto = key->proto,
	};

	memcpy(ends.local, local ? key->addr_b : key->addr_a, sizeof(ends.local));
	memcpy(ends.remote, local ? key->addr_a : key->addr_b, sizeof(ends.remote));
	return ends;
}

/* Which end of the flow this host is, by where its packets were counted: 0 a, 1 b. */
static unsigned local_end(const struct flow_slot *s)
{
	if (s->half[0].last_ns)
		return s->half[0].iface & FLOW_HOOK_EGRESS ? 0 : 1;
	return s->half[1].iface & FLOW_HOOK_EGRESS ? 1 : 0;
}

static enum flow_role udp_role(const struct known_socket *s, const struct ends *ends,
			       bool spoke_first)
{
	if (!(s->flags & SOCK_EXPLICIT_PORT))
		return spoke_first ? FLOW_ROLE_CLIENT : FLOW_ROLE_UNKNOWN;
	if (s->ends.remote_port || (spoke_first && ends->local_port == ends->remote_port))
		return FLOW_ROLE_UNKNOWN;
	return FLOW_ROLE_SERVER;
}

static enum flow_role role_of(const struct owners *o, const struct known_socket *s,
			      const struct ends *ends, const struct flow_slot *flow,
			      bool spoke_first)
{
	if (ends->proto == IPPROTO_UDP)
		return udp_role(s, ends, spoke_first);
	if (s->flags & SOCK_CLIENT)
		return FLOW_ROLE_CLIENT;
	if (s->flags & SOCK_SERVER || find_bound(o, ends, flow))
		return FLOW_ROLE_SERVER;
	return FLOW_ROLE_UNKNOWN;
}

static void look_for(struct owners *o, const struct flow_slot *flow, struct flow_owner *ret)
{
	unsigned local = local_end(flow);
	struct ends ends = ends_at(&flow->key, local);
	const struct known_socket *s = find_for(o, &ends, flow);

	if (!s && is_local(o, ends.local))
		s = find_bound(o, &ends, flow);
	if (!s) { /* a packet that the host sent round to itself */
		ends = ends_at(&flow->key, !local);
		s = find_for(o, &ends, flow);
		local = !local;
	}
	if (!s)
		return;
	if (s->owner.pid) {
		ret->owner = s->owner;
		ret->found = 1;
	}
	ret->role = (uint8_t)role_of(o, s, &ends, flow, local == (flow->initiator & 1));
}

static bool has_sockets(const struct flow_slot *s)
{
	return s->key.proto == IPPROTO_TCP || s->key.proto == IPPROTO_UDP;
}

bool owners_look(struct owners *o, const struct flow_view *v)
{
	uint8_t *looks = &o->looks[v->index];
	struct flow_owner *f;

	if (*looks >= OWNERS_TRIES)
		return false;
	++*looks;
	f = &o->of_slot[v->index];
	if (has_sockets(v->slot))
		look_for(o, v->slot, f);
	if (f->found || !has_sockets(v->slot))
		*looks = OWNERS_TRIES; /* no need of another one */
	return !f->found && v->slot->key.proto == IPPROTO_UDP && *looks < 3;
}

static void fill_cgroup(const struct owners *o, uint64_t id, struct flow_record *ret)
{
	const struct cgroup_path *c = cgroup_entry(o, id);

	if (id && c->id == id)
		memcpy(ret->cgroup, c->path, sizeof(ret->cgroup));
}

void owners_fill(struct owners *o, const struct flow_view *v, enum flow_end_reason reason,
		 struct flow_record *ret)
{
	struct flow_owner *f = &o->of_slot[v->index];
	struct wire_text process;

	if (has_sockets(v->slot))
		look_for(o, v->slot, f);
	if (f->found) {
		process = wire_text_start(ret->process, sizeof(ret->process)); /* all of it fits */
		wire_text_name(&process, f->owner.comm, strnlen(f->owner.comm, SOCK_COMM_BYTES));
		ret->pid = f->owner.pid;
		ret->uid = f->owner.uid;
		fill_cgroup(o, f->owner.cgroup, ret);
	}
	if (ret->role == FLOW_ROLE_UNKNOWN)
		ret->role = f->role;
	if (reason != FLOW_END_ACTIVE) {
		*f = (struct flow_owner){0};
		o->looks[v->index] = 0;
	}
}
