// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "bpf/sockets_abi.h"
#include "common/addr.h"
#include "probe/datapath/flow_table.h"
#include "probe/stack/owners.h"
#include "tests/unit/fail_alloc.h"

#define SEC	1000000000ull
#define N_SLOTS 64
#define HERE	"10.0.0.1"
#define THERE	"10.0.0.9"
#define SLOT	3

static int setup(void **state)
{
	uint8_t addrs[2][16];

	assert_int_equal(owners_new(N_SLOTS, 42, (struct owners **)state), 0);
	assert_int_equal(addr_parse(HERE, addrs[0]), 0);
	assert_int_equal(addr_parse("fd77::1", addrs[1]), 0);
	assert_int_equal(owners_set_addresses(*state, addrs, 2), 0);
	return 0;
}

static int teardown(void **state)
{
	owners_free(*state);
	return 0;
}

/* --- what the kernel tells ------------------------------------------------------------ */

static struct sock_event event(enum sock_event_kind kind, uint8_t proto, uint16_t local_port,
			       uint16_t remote_port, unsigned pid, unsigned flags)
{
	struct sock_event ev = {
		.kind = kind,
		.proto = proto,
		.flags = (uint8_t)flags,
		.local_port = local_port,
		.remote_port = remote_port,
		.now_ns = 100 * SEC,
		.owner = {.pid = pid, .uid = 1000 + pid, .cgroup = 7},
	};

	(void)snprintf(ev.owner.comm, sizeof(ev.owner.comm), "app%u", pid);
	if (kind == SOCK_CONNECTED || remote_port) {
		assert_int_equal(addr_parse(HERE, ev.local), 0);
		assert_int_equal(addr_parse(THERE, ev.remote), 0);
	} else {
		assert_int_equal(addr_parse("0.0.0.0", ev.local), 0);
	}
	return ev;
}

static void tell(void **state, enum sock_event_kind kind, uint8_t proto, uint16_t local_port,
		 uint16_t remote_port, unsigned pid, unsigned flags)
{
	struct sock_event ev = event(kind, proto, local_port, remote_port, pid, flags);

	owners_event(*state, &ev, false);
}

/* --- flows ------------------------------------------------------------------------------ */

/* From HERE to THERE; egress: its first packet was seen as it left. */
static struct flow_slot flow(const char *from, const char *to, uint8_t proto, uint16_t from_port,
			     uint16_t to_port, bool egress)
{
	struct flow_slot s = {
		.key = {.proto = proto, .port_a = htons(from_port), .port_b = htons(to_port)},
		.state = FLOW_LIVE,
		.first_ns = 100 * SEC,
		.half = {{.last_ns = 101 * SEC, .packets = 1, .iface = 2u << 1 | egress}},
	};

	assert_int_equal(addr_parse(from, s.key.addr_a), 0);
	assert_int_equal(addr_parse(to, s.key.addr_b), 0);
	return s;
}

static struct flow_record fill_slot(void **state, const struct flow_slot *s, uint32_t index,
				    enum flow_end_reason reason)
{
	struct flow_view v = {.index = index, .slot = s};
	struct flow_record r = {0};

	owners_fill(*state, &v, reason, &r);
	return r;
}

static struct flow_record fill(void **state, const struct flow_slot *s)
{
	return fill_slot(state, s, SLOT, FLOW_END_IDLE);
}

static bool look(void **state, const struct flow_slot *s)
{
	struct flow_view v = {.index = SLOT, .slot = s};

	return owners_look(*state, &v);
}

static void check(const struct flow_record *r, unsigned pid, enum flow_role role)
{
	char name[16] = "";

	if (pid)
		(void)snprintf(name, sizeof(name), "app%u", pid);
	assert_int_equal(r->pid, pid);
	assert_string_equal(r->process, name);
	assert_int_equal(r->uid, pid ? 1000 + pid : 0);
	assert_int_equal(r->role, role);
}

/* --- tests ------------------------------------------------------------------------------- */

static void a_connection_has_its_process(void **state)
{
	struct flow_slot out = flow(HERE, THERE, IPPROTO_TCP, 40000, 443, true);
	struct flow_slot in = flow(THERE, HERE, IPPROTO_TCP, 40001, 80, false);
	struct flow_record r;

	tell(state, SOCK_CONNECTED, IPPROTO_TCP, 40000, 443, 1, SOCK_CLIENT);
	tell(state, SOCK_CONNECTED, IPPROTO_TCP, 80, 40001, 2, SOCK_SERVER);
	r = fill(state, &out);
	check(&r, 1, FLOW_ROLE_CLIENT);
	r = fill(state, &in);
	check(&r, 2, FLOW_ROLE_SERVER);
}

static void the_syn_goes_before_the_socket(void **state)
{
	struct flow_slot out = flow(HERE, THERE, IPPROTO_TCP, 40000, 443, true);
	struct flow_view v = {.index = SLOT, .slot = &out};
	struct flow_record r = {.role = FLOW_ROLE_SERVER};

	tell(state, SOCK_CONNECTED, IPPROTO_TCP, 40000, 443, 1, SOCK_CLIENT);
	owners_fill(*state, &v, FLOW_END_ACTIVE, &r);
	check(&r, 1, FLOW_ROLE_SERVER);
}

static void a_listener_owns_what_nobody_took(void **state)
{
	struct flow_slot in = flow(THERE, HERE, IPPROTO_TCP, 40001, 80, false);
	struct flow_slot v6 = flow("fd77::9", "fd77::1", IPPROTO_TCP, 40001, 80, false);
	struct flow_slot passing = flow(THERE, "10.0.5.5", IPPROTO_TCP, 40001, 80, false);
	struct flow_slot other_way = flow(HERE, THERE, IPPROTO_TCP, 40001, 80, true);
	struct flow_record r;

	tell(state, SOCK_LISTENS, IPPROTO_TCP, 80, 0, 5, 0);
	r = fill(state, &in);
	check(&r, 5, FLOW_ROLE_SERVER);
	r = fill(state, &v6); /* it listens on 0.0.0.0 alone */
	check(&r, 0, FLOW_ROLE_UNKNOWN);
	r = fill(state, &passing);
	check(&r, 0, FLOW_ROLE_UNKNOWN);
	r = fill(state, &other_way); /* port 80 of the other host */
	check(&r, 0, FLOW_ROLE_UNKNOWN);
}

static void a_connection_of_before_is_a_servers_if_its_port_listens(void **state)
{
	struct flow_slot in = flow(THERE, HERE, IPPROTO_TCP, 40001, 80, false);
	struct flow_record r;

	tell(state, SOCK_CONNECTED, IPPROTO_TCP, 80, 40001, 2, 0); /* by the iterator */
	r = fill(state, &in);
	check(&r, 2, FLOW_ROLE_UNKNOWN);
	tell(state, SOCK_LISTENS, IPPROTO_TCP, 80, 0, 5, 0);
	r = fill(state, &in);
	check(&r, 2, FLOW_ROLE_SERVER);
}

static void all_addresses_of_ipv6_are_those_of_ipv4_too(void **state)
{
	struct sock_event ev = event(SOCK_LISTENS, IPPROTO_TCP, 80, 0, 5, 0);
	struct flow_slot in = flow(THERE, HERE, IPPROTO_TCP, 40001, 80, false);
	struct flow_slot v6 = flow("fd77::9", "fd77::1", IPPROTO_TCP, 40001, 80, false);
	struct flow_record r;

	memset(ev.local, 0, sizeof(ev.local));
	owners_event(*state, &ev, false);
	r = fill(state, &in);
	check(&r, 5, FLOW_ROLE_SERVER);
	r = fill(state, &v6);
	check(&r, 5, FLOW_ROLE_SERVER);
}

static void roles_of_udp(void **state)
{
	struct flow_slot asked = flow(THERE, HERE, IPPROTO_UDP, 40001, 53, false);
	struct flow_slot asks = flow(HERE, THERE, IPPROTO_UDP, 40002, 53, true);
	struct flow_slot answered = flow(THERE, HERE, IPPROTO_UDP, 53, 40002, false);
	struct flow_slot peers = flow(HERE, THERE, IPPROTO_UDP, 123, 123, true);
	struct flow_record r;

	tell(state, SOCK_BOUND, IPPROTO_UDP, 53, 0, 1, SOCK_EXPLICIT_PORT);
	tell(state, SOCK_BOUND, IPPROTO_UDP, 40002, 0, 2, 0);
	tell(state, SOCK_BOUND, IPPROTO_UDP, 123, 0, 3, SOCK_EXPLICIT_PORT);
	r = fill(state, &asked);
	check(&r, 1, FLOW_ROLE_SERVER);
	r = fill(state, &asks);
	check(&r, 2, FLOW_ROLE_CLIENT);
	r = fill(state, &answered); /* under way when it was first seen */
	check(&r, 2, FLOW_ROLE_UNKNOWN);
	r = fill(state, &peers);
	check(&r, 3, FLOW_ROLE_UNKNOWN);
}

static void a_closed_socket_is_remembered_for_a_while(void **state)
{
	struct flow_slot s = flow(HERE, THERE, IPPROTO_UDP, 40002, 53, true), later;
	struct flow_record r;

	tell(state, SOCK_CONNECTED, IPPROTO_UDP, 40002, 53, 2, SOCK_IS_CLOSED);
	for (int i = 0; i < 2; i++)
		owners_pass(*state, 200 * SEC); /* long, but the flows were not looked at */
	r = fill(state, &s);
	check(&r, 2, FLOW_ROLE_CLIENT);

	later = s;
	later.first_ns = 102 * SEC; /* the same ends again, of somebody else */
	r = fill(state, &later);
	check(&r, 0, FLOW_ROLE_UNKNOWN);

	owners_pass(*state, 100 * SEC + OWNERS_LINGER_NS - 1);
	r = fill(state, &s);
	check(&r, 2, FLOW_ROLE_CLIENT);
	owners_pass(*state, 100 * SEC + OWNERS_LINGER_NS);
	r = fill(state, &s);
	check(&r, 0, FLOW_ROLE_UNKNOWN);
}

static void a_flow_keeps_what_was_found(void **state)
{
	struct flow_slot s = flow(HERE, THERE, IPPROTO_UDP, 40002, 53, true);
	struct flow_record r;

	assert_true(look(state, &s)); /* UDP, young, unknown */
	tell(state, SOCK_CONNECTED, IPPROTO_UDP, 40002, 53, 2, SOCK_IS_CLOSED);
	assert_false(look(state, &s));
	for (int i = 0; i < 4; i++)
		owners_pass(*state, 500 * SEC);
	r = fill_slot(state, &s, SLOT, FLOW_END_ACTIVE);
	check(&r, 2, FLOW_ROLE_CLIENT);
	r = fill(state, &s);
	check(&r, 2, FLOW_ROLE_CLIENT);
	r = fill(state, &s); /* another flow in the same slot */
	check(&r, 0, FLOW_ROLE_UNKNOWN);
}

static void a_flow_without_a_socket_is_looked_at_a_few_times(void **state)
{
	struct flow_slot s = flow(THERE, "10.0.5.5", IPPROTO_UDP, 40002, 53, false);
	struct flow_slot tcp = flow(THERE, "10.0.5.5", IPPROTO_TCP, 40002, 53, false);
	unsigned wanted = 0;

	for (int i = 0; i < 20; i++)
		wanted += look(state, &s);
	assert_int_equal(wanted, 2);
	assert_int_equal(fill(state, &s).pid, 0);
	assert_false(look(state, &tcp));
}

static void listeners_that_share_a_port(void **state)
{
	struct flow_slot in = flow(THERE, HERE, IPPROTO_TCP, 40001, 80, false);
	struct sock_event ev = event(SOCK_LISTENS, IPPROTO_TCP, 80, 0, 5, 0);

	tell(state, SOCK_LISTENS, IPPROTO_TCP, 80, 0, 5, 0);
	owners_event(*state, &ev, true); /* met again by the iterator: no second one */
	tell(state, SOCK_LISTENS, IPPROTO_TCP, 80, 0, 6, 0);
	tell(state, SOCK_CLOSED, IPPROTO_TCP, 80, 0, 6, 0);
	in.first_ns = 150 * SEC;
	assert_int_equal(fill(state, &in).pid, 6);
	tell(state, SOCK_CLOSED, IPPROTO_TCP, 80, 0, 5, 0);
	assert_int_equal(fill(state, &in).pid, 0);
}

static void who_closes_it_has_served_it(void **state)
{
	struct flow_slot in = flow(THERE, HERE, IPPROTO_TCP, 40001, 80, false);
	struct flow_record r;

	tell(state, SOCK_CONNECTED, IPPROTO_TCP, 80, 40001, 2, SOCK_SERVER);
	assert_false(look(state, &in));
	tell(state, SOCK_CONNECTED, IPPROTO_TCP, 80, 40001, 9, SOCK_SERVER);
	tell(state, SOCK_CLOSED, IPPROTO_TCP, 80, 40001, 9, 0);
	r = fill(state, &in);
	check(&r, 9, FLOW_ROLE_SERVER);
}

static void a_full_table_gives_up_closed_sockets_first(void **state)
{
	struct flow_slot s = flow(HERE, THERE, IPPROTO_TCP, 1, 443, true);

	tell(state, SOCK_CONNECTED, IPPROTO_TCP, 1, 443, 1, SOCK_CLIENT | SOCK_IS_CLOSED);
	for (unsigned i = 2; i <= N_SLOTS + 1; i++)
		tell(state, SOCK_CONNECTED, IPPROTO_TCP, (uint16_t)i, 443, i, SOCK_CLIENT);
	assert_int_equal(owners_stats(*state)->full, 0);
	assert_int_equal(fill(state, &s).pid, 0);
	tell(state, SOCK_CONNECTED, IPPROTO_TCP, 1, 443, 1, SOCK_CLIENT);
	assert_int_equal(owners_stats(*state)->full, 1);
	for (unsigned i = 2; i <= N_SLOTS + 1; i++) {
		s.key.port_a = htons((uint16_t)i);
		assert_int_equal(fill(state, &s).pid, i);
	}
}

static void all_sockets_are_forgotten(void **state)
{
	struct flow_slot s = flow(HERE, THERE, IPPROTO_TCP, 1, 443, true);

	for (int round = 0; round < 3; round++) {
		for (unsigned i = 1; i <= N_SLOTS; i++)
			tell(state, SOCK_CONNECTED, IPPROTO_TCP, (uint16_t)i, 443, i,
			     SOCK_CLIENT | (i % 2 ? SOCK_IS_CLOSED : 0));
		assert_int_equal(fill(state, &s).pid, 1);
		owners_forget_sockets(*state);
		assert_int_equal(fill(state, &s).pid, 0);
		owners_pass(*state, 1000 * SEC);
	}
	assert_int_equal(owners_stats(*state)->full, 0);
}

static void names_of_cgroups(void **state)
{
	struct sock_cgroup c = {.kind = SOCK_CGROUP,
				.names = 2,
				.id = 7,
				.name = {"nginx.service", "system.slice"}};
	struct flow_slot s = flow(HERE, THERE, IPPROTO_TCP, 40000, 443, true);

	tell(state, SOCK_CONNECTED, IPPROTO_TCP, 40000, 443, 1, SOCK_CLIENT);
	assert_string_equal(fill(state, &s).cgroup, "");
	owners_cgroup(*state, &c);
	assert_string_equal(fill(state, &s).cgroup, "/system.slice/nginx.service");
	c.names = 0;
	owners_cgroup(*state, &c);
	assert_string_equal(fill(state, &s).cgroup, "/");
	c.names = SOCK_CGROUP_NAMES;
	for (int i = 0; i < SOCK_CGROUP_NAMES; i++)
		memset(c.name[i], 'x', sizeof(c.name[i])); /* no NUL */
	owners_cgroup(*state, &c);
	assert_int_equal(strlen(fill(state, &s).cgroup), CGROUP_PATH_MAX - 1);
}

static void more_cgroups_than_there_is_room_for(void **state)
{
	for (uint64_t id = 1; id < 10 * OWNERS_MAX_CGROUPS; id++) {
		struct sock_cgroup c = {.names = 1, .id = id, .name = {"x"}};

		owners_cgroup(*state, &c);
	}
	assert_in_range(owners_stats(*state)->cgroups_replaced, 8 * OWNERS_MAX_CGROUPS,
			10 * OWNERS_MAX_CGROUPS);
}

static void names_of_processes_are_printable(void **state)
{
	struct sock_event ev = event(SOCK_CONNECTED, IPPROTO_TCP, 40000, 443, 1, SOCK_CLIENT);
	struct flow_slot s = flow(HERE, THERE, IPPROTO_TCP, 40000, 443, true);

	memset(ev.owner.comm, 0xff, sizeof(ev.owner.comm));
	memcpy(ev.owner.comm, "Web \n", 5);
	owners_event(*state, &ev, false);
	assert_memory_equal(fill(state, &s).process, "Web \\010\\255", 12);
	assert_in_range(strlen(fill(state, &s).process), 40, PROCESS_MAX - 1);
}

static void each_allocation_may_fail(void **state)
{
	(void)state;
	for (unsigned n = 1;; n++) {
		struct owners *o = NULL;
		int err;

		fail_alloc_at(n);
		err = owners_new(N_SLOTS, 1, &o);
		if (!fail_alloc_at(0)) {
			assert_int_equal(err, 0);
			owners_free(o);
			break;
		}
		assert_int_equal(err, -ENOMEM);
	}
	owners_free(NULL);
}

#define with_owners(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_owners(a_connection_has_its_process),
		with_owners(the_syn_goes_before_the_socket),
		with_owners(a_listener_owns_what_nobody_took),
		with_owners(a_connection_of_before_is_a_servers_if_its_port_listens),
		with_owners(all_addresses_of_ipv6_are_those_of_ipv4_too),
		with_owners(roles_of_udp),
		with_owners(a_closed_socket_is_remembered_for_a_while),
		with_owners(a_flow_keeps_what_was_found),
		with_owners(a_flow_without_a_socket_is_looked_at_a_few_times),
		with_owners(listeners_that_share_a_port),
		with_owners(who_closes_it_has_served_it),
		with_owners(a_full_table_gives_up_closed_sockets_first),
		with_owners(all_sockets_are_forgotten),
		with_owners(names_of_cgroups),
		with_owners(more_cgroups_than_there_is_room_for),
		with_owners(names_of_processes_are_printable),
		cmocka_unit_test(each_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
