// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_payload.c - from payloads to the names in a record: which payloads the
 * programs copy, the ring, its reader and the drain together. Needs root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/if_ether.h>
#include <linux/in.h>
#include <stdlib.h>
#include <string.h>

#include "probe/datapath/datapath.h"
#include "probe/datapath/iface.h"
#include "probe/drain/drain.h"
#include "probe/names/names_counter.h"
#include "tests/bpf/harness.h"
#include "tests/unit/hello_bytes.h"

#define MS 1000000ull

static const struct iface_list no_ifaces = {NULL, 0};

struct fixture {
	struct datapath *datapath;
	struct drain *drain;
	uint64_t now_ns;
	struct flow_record record; /* the last one */
	unsigned records;
};

static void on_record(const struct flow_record *r, const struct flow_view *v, void *arg)
{
	struct fixture *f = arg;

	(void)v;
	f->record = *r;
	f->records++;
}

static int setup(void **state)
{
	const struct flow_table_config config = {
		.active_ns = UINT64_MAX,
		.idle_ns = UINT64_MAX,
		.tcp_idle_ns = UINT64_MAX,
		.udp_idle_ns = UINT64_MAX,
		.icmp_idle_ns = UINT64_MAX,
		.ifaces = &no_ifaces,
	};
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->now_ns = 1000 * MS;
	assert_int_equal(datapath_open_replay(HARNESS_SLOTS, &f->datapath), 0);
	assert_int_equal(drain_new(f->datapath, &config, on_record, f, &f->drain), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	drain_free(f->drain);
	datapath_close(f->datapath);
	free(f);
	return 0;
}

/* Sends c, whose last len bytes become payload, a millisecond after the last. */
static void play(struct fixture *f, struct craft *c, const void *payload, size_t len)
{
	struct flow_replay packet = {.now_ns = f->now_ns += MS};

	memcpy(c->data + c->len - len, payload, len);
	packet.wire_len = packet.bytes = (uint32_t)c->len;
	assert_int_equal(datapath_replay(f->datapath, &packet, c->data, c->len), 0);
	drain_payloads(f->drain);
}

static void udp(struct fixture *f, bool back, const void *payload, size_t len)
{
	struct craft c = {0};

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, back ? B : A, back ? A : B, IPPROTO_UDP, 0, 0);
	craft_udp(&c, back ? 53 : 40000, back ? 40000 : 53, len);
	craft_end(&c);
	play(f, &c, payload, len);
}

static void tcp(struct fixture *f, bool back, uint16_t port, uint32_t seq, const void *payload,
		size_t len)
{
	struct craft c = craft_tcp4(back ? B : A, back ? A : B,
				    &(struct craft_tcp){.sport = back ? port : 40000,
							.dport = back ? 40000 : port,
							.flags = ACK | PSH,
							.seq = seq,
							.ack = 1,
							.payload = len});

	play(f, &c, payload, len);
}

static const struct flow_record *only_record(struct fixture *f)
{
	const struct flow_now now = {.mono_ns = f->now_ns};

	assert_int_equal(drain_run_at(f->drain, DRAIN_FINAL, &now), 0);
	assert_int_equal(f->records, 1);
	return &f->record;
}

/* With the length that TCP wants before it. */
#define QUESTION "\0\1\0\0\0\0\0\0\4name\0\0\1\0\1"
static const char query[] = "\0\x16\x12\x34\1\0" QUESTION;
static const char answer[] = "\0\x16\x12\x34\x81\x83" QUESTION;
#define MESSAGE_BYTES (sizeof(query) - 1)

static void check_dns(const struct flow_record *r, uint32_t latency_us)
{
	assert_string_equal(r->dns_qname, "name");
	assert_int_equal(r->dns_qtype, 1);
	assert_int_equal(r->dns_rcode, 3);
	assert_int_equal(r->dns_latency_us, latency_us);
	assert_int_equal(r->dns_queries, 1);
	assert_int_equal(r->dns_unanswered, 0);
}

static void dns_over_udp(void **state)
{
	udp(*state, false, query + 2, MESSAGE_BYTES - 2);
	udp(*state, true, answer + 2, MESSAGE_BYTES - 2);
	check_dns(only_record(*state), 1000);
}

/* Segments of any length are copied, of one byte as well. */
static void dns_over_tcp(void **state)
{
	tcp(*state, false, 53, 1, query, 1);
	tcp(*state, false, 53, 2, query + 1, MESSAGE_BYTES - 1);
	for (uint32_t i = 0; i < MESSAGE_BYTES; i++)
		tcp(*state, true, 53, 1 + i, answer + i, 1);
	check_dns(only_record(*state), 1000 * MESSAGE_BYTES);
}

static void tls_hello_in_segments(void **state)
{
	struct bytes msg = {0}, stream = {0};
	const struct flow_record *r;
	size_t last;

	put_hello(&msg, 2000, "www.example.com");
	put_records(&stream, &msg, 16000);
	last = stream.n - 3;
	tcp(*state, false, 443, 1, stream.data, 1400);
	tcp(*state, false, 443, 1401, stream.data + 1400, last - 1400);
	tcp(*state, true, 443, 1, "\x16\3\3\0\x50\2hello", 11);
	tcp(*state, false, 443, 1 + (uint32_t)last, stream.data + last, 3);
	r = only_record(*state);
	assert_string_equal(r->tls_sni, "www.example.com");
	assert_string_equal(r->tls_alpn, "h2,http/1.1");
	for (int i = 0; i < NAMES_COUNTER_MAX; i++)
		assert_int_equal(drain_names_counters(((struct fixture *)*state)->drain)[i], 0);
}

static void other_payloads_are_left_alone(void **state)
{
	const struct flow_record *r;

	tcp(*state, false, 80, 1, "GET / HTTP/1.1\r\n", 16);
	r = only_record(*state);
	assert_string_equal(r->tls_sni, "");
	assert_string_equal(r->dns_qname, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(dns_over_udp),
		TEST(dns_over_tcp),
		TEST(tls_hello_in_segments),
		TEST(other_payloads_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
