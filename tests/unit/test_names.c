// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/flow_abi.h"
#include "probe/names/dns_log.h"
#include "probe/names/hello.h"
#include "probe/names/names.h"
#include "tests/unit/fail_alloc.h"
#include "tests/unit/hello_bytes.h"
#ifdef WEIR_NETTLE
#include "tests/unit/quic_bytes.h"
#endif

#define MS	1000000ull
#define SEC	1000000000ull
#define N_SLOTS 1024
#define SLOT	7u

enum { AAAA = 28 };
enum { NOERROR = 0, SERVFAIL = 2, NXDOMAIN = 3 };
enum { CLIENT, SERVER };

static int setup(void **state)
{
	return names_new(N_SLOTS, (struct names **)state);
}

static int teardown(void **state)
{
	names_free(*state);
	return 0;
}

static uint64_t counter(const struct names *n, enum names_counter c)
{
	return names_counters(n)[c];
}

static struct flow_record fill(struct names *n, uint32_t slot, enum flow_end_reason reason)
{
	struct flow_record r = {0};

	names_fill(n, slot, reason, &r);
	return r;
}

/* One payload of slot, all of it copied. */
static void feed(struct names *n, const struct flow_payload *about, const void *data, size_t len)
{
	struct flow_payload *p = malloc(sizeof(*p));

	assert_non_null(p);
	*p = *about;
	assert_true(len <= sizeof(p->data));
	memcpy(p->data, data, len);
	p->len = (uint16_t)len;
	if (!p->whole)
		p->whole = (uint32_t)len;
	names_consume(n, p);
	free(p);
}

/* --- DNS -------------------------------------------------------------------------- */

static size_t dns_bytes(uint8_t *msg, uint16_t id, int rcode, const char *label, uint8_t qtype)
{
	size_t len = strlen(label), at = 12;

	memset(msg, 0, 12);
	msg[0] = (uint8_t)(id >> 8);
	msg[1] = (uint8_t)id;
	if (rcode >= 0) {
		msg[2] = 0x80;
		msg[3] = (uint8_t)rcode;
	}
	msg[5] = 1;
	msg[at++] = (uint8_t)len;
	memcpy(msg + at, label, len + 1);
	at += len;
	memset(msg + at, 0, 5);
	msg[at + 4] = 1;
	msg[at + 2] = qtype;
	return at + 5;
}

static void dns(struct names *n, uint32_t slot, uint64_t now_ns, unsigned dir, uint16_t id,
		int rcode, const char *label)
{
	struct flow_payload about = {.now_ns = now_ns,
				     .slot = slot,
				     .kind = PAYLOAD_DNS,
				     .dir = (uint8_t)dir,
				     .key.proto = IPPROTO_UDP};
	uint8_t msg[300] = {0};

	feed(n, &about, msg, dns_bytes(msg, id, rcode, label, AAAA));
}

static void query(struct names *n, uint64_t now_ns, uint16_t id, const char *label)
{
	dns(n, SLOT, now_ns, CLIENT, id, -1, label);
}

static void answer(struct names *n, uint64_t now_ns, uint16_t id, int rcode, const char *label)
{
	dns(n, SLOT, now_ns, SERVER, id, rcode, label);
}

static void check_dns(const struct flow_record *r, const char *qname, unsigned rcode,
		      uint32_t latency_us, uint32_t queries, uint32_t unanswered)
{
	assert_string_equal(r->dns_qname, qname);
	assert_int_equal(r->dns_rcode, rcode);
	assert_int_equal(r->dns_latency_us, latency_us);
	assert_int_equal(r->dns_queries, queries);
	assert_int_equal(r->dns_unanswered, unanswered);
}

static void an_answer_gives_rcode_and_latency(void **state)
{
	struct flow_record r;

	query(*state, SEC, 1, "Host");
	answer(*state, SEC + 20 * MS, 1, NXDOMAIN, "host");
	r = fill(*state, SLOT, FLOW_END_IDLE);
	check_dns(&r, "host", NXDOMAIN, 20000, 1, 0);
	assert_int_equal(r.dns_qtype, AAAA);
}

static void counts_are_since_the_record_before(void **state)
{
	struct flow_record r;

	query(*state, SEC, 1, "one");
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	check_dns(&r, "one", DNS_RCODE_NONE, 0, 1, 0); /* may still be answered */
	answer(*state, SEC + MS, 1, NOERROR, "one");
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	check_dns(&r, "one", NOERROR, 1000, 0, 0);
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	check_dns(&r, "", 0, 0, 0, 0);
}

static void unanswered_after_five_seconds(void **state)
{
	struct flow_record r;

	query(*state, SEC, 1, "lost");
	names_expire(*state, SEC + DNS_TIMEOUT_NS - 1);
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	check_dns(&r, "lost", DNS_RCODE_NONE, 0, 1, 0);
	names_expire(*state, SEC + DNS_TIMEOUT_NS);
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	check_dns(&r, "lost", DNS_RCODE_NONE, 0, 0, 1);
}

static void a_late_answer_is_none(void **state)
{
	struct flow_record r;

	query(*state, SEC, 1, "late");
	answer(*state, SEC + DNS_TIMEOUT_NS, 1, NOERROR, "late");
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	check_dns(&r, "late", DNS_RCODE_NONE, 0, 1, 1);
}

static void the_end_of_a_flow_ends_the_wait(void **state)
{
	struct flow_record r;

	query(*state, SEC, 1, "gone");
	r = fill(*state, SLOT, FLOW_END_DETECTED);
	check_dns(&r, "gone", DNS_RCODE_NONE, 0, 1, 1);
	query(*state, SEC, 1, "stopped");
	r = fill(*state, SLOT, FLOW_END_FORCED); /* the probe's fault, not the server's */
	check_dns(&r, "stopped", DNS_RCODE_NONE, 0, 1, 0);
	r = fill(*state, SLOT, FLOW_END_IDLE);
	check_dns(&r, "", 0, 0, 0, 0);
}

static void a_record_tells_of_the_worst_query(void **state)
{
	struct flow_record r;

	query(*state, SEC, 1, "fast");
	query(*state, SEC, 2, "slow");
	query(*state, SEC, 3, "fails");
	query(*state, SEC, 4, "lost");
	answer(*state, SEC + 1 * MS, 1, NOERROR, "fast");
	answer(*state, SEC + 9 * MS, 2, NOERROR, "slow");
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	check_dns(&r, "slow", NOERROR, 9000, 4, 0);
	answer(*state, SEC + 2 * MS, 3, SERVFAIL, "fails");
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	check_dns(&r, "fails", SERVFAIL, 2000, 0, 0);
	names_expire(*state, 9 * SEC);
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	check_dns(&r, "lost", DNS_RCODE_NONE, 0, 0, 1);
}

static void of_equals_the_first_is_told(void **state)
{
	struct flow_record r;

	query(*state, SEC, 1, "one");
	query(*state, SEC, 2, "two");
	names_expire(*state, 9 * SEC);
	r = fill(*state, SLOT, FLOW_END_IDLE);
	check_dns(&r, "one", DNS_RCODE_NONE, 0, 2, 2);
}

static void a_query_sent_again_waits_since_the_first(void **state)
{
	struct flow_record r;

	query(*state, SEC, 1, "again");
	query(*state, 2 * SEC, 1, "again");
	answer(*state, 3 * SEC, 1, NOERROR, "again");
	r = fill(*state, SLOT, FLOW_END_IDLE);
	check_dns(&r, "again", NOERROR, 2000000, 2, 0);
}

static void an_id_used_anew_leaves_the_first_unanswered(void **state)
{
	struct flow_record r;

	query(*state, SEC, 1, "first");
	query(*state, 2 * SEC, 1, "second");
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	check_dns(&r, "first", DNS_RCODE_NONE, 0, 2, 1);
	answer(*state, 2 * SEC + MS, 1, NOERROR, "second");
	r = fill(*state, SLOT, FLOW_END_IDLE);
	check_dns(&r, "second", NOERROR, 1000, 0, 0);
}

static void other_answers_do_not_count(void **state)
{
	struct flow_record r;

	query(*state, SEC, 1, "mine");
	answer(*state, SEC + MS, 2, NOERROR, "mine");		 /* another id */
	answer(*state, SEC + MS, 1, NOERROR, "forged");		 /* another question */
	dns(*state, SLOT, SEC + MS, CLIENT, 1, NOERROR, "mine"); /* from the client itself */
	dns(*state, SLOT + 1, SEC + MS, SERVER, 1, NOERROR, "mine");
	r = fill(*state, SLOT, FLOW_END_IDLE);
	check_dns(&r, "mine", DNS_RCODE_NONE, 0, 1, 1);
}

static void an_answer_without_its_query_has_no_latency(void **state)
{
	struct flow_record r;

	answer(*state, SEC, 1, SERVFAIL, "missed");
	r = fill(*state, SLOT, FLOW_END_IDLE);
	check_dns(&r, "missed", SERVFAIL, 0, 0, 0);
}

static void dns_over_tcp_is_the_same(void **state)
{
	struct flow_payload about = {.now_ns = SEC,
				     .slot = SLOT,
				     .kind = PAYLOAD_DNS,
				     .key.proto = IPPROTO_TCP,
				     .tcp_seq = 1000};
	uint8_t stream[600] = {0};
	struct flow_record r;
	size_t len;

	len = dns_bytes(stream + 2, 1, -1, "tcp", AAAA);
	stream[1] = (uint8_t)len;
	feed(*state, &about, stream, 1);
	about.tcp_seq++;
	feed(*state, &about, stream + 1, len + 1);
	about = (struct flow_payload){.now_ns = SEC + 3 * MS,
				      .slot = SLOT,
				      .kind = PAYLOAD_DNS,
				      .dir = SERVER,
				      .key.proto = IPPROTO_TCP,
				      .tcp_seq = 5000,
				      .whole = 502};
	(void)dns_bytes(stream + 2, 1, NOERROR, "tcp", AAAA);
	stream[0] = 500 >> 8;
	stream[1] = 500 & 0xff;
	feed(*state, &about, stream, 300);
	r = fill(*state, SLOT, FLOW_END_IDLE);
	check_dns(&r, "tcp", NOERROR, 3000, 1, 0);
}

static void counts_what_it_cannot_read(void **state)
{
	struct flow_payload about = {.slot = SLOT, .kind = PAYLOAD_DNS, .key.proto = IPPROTO_UDP};
	struct flow_record r;

	feed(*state, &about, "not DNS", 7);
	assert_int_equal(counter(*state, NAMES_DNS_MALFORMED), 1);
	r = fill(*state, SLOT, FLOW_END_IDLE);
	check_dns(&r, "", 0, 0, 0, 0);
}

static void waits_for_so_many_and_no_more(void **state)
{
	struct flow_record r;

	for (uint16_t id = 0; id < DNS_FLOW_WAITING_MAX + 3; id++)
		query(*state, SEC, id, "many");
	assert_int_equal(counter(*state, NAMES_DNS_UNTRACKED), 3);
	answer(*state, SEC + MS, 0, NOERROR, "many");
	query(*state, SEC, 999, "many"); /* there is room again */
	assert_int_equal(counter(*state, NAMES_DNS_UNTRACKED), 3);
	r = fill(*state, SLOT, FLOW_END_IDLE);
	assert_int_equal(r.dns_queries, DNS_FLOW_WAITING_MAX + 4);
	assert_int_equal(r.dns_unanswered, DNS_FLOW_WAITING_MAX);
	for (uint32_t i = 0; i <= DNS_WAITING_MAX; i++) /* of all flows */
		dns(*state, i % (N_SLOTS / 2), SEC, CLIENT, (uint16_t)i, -1, "all");
	assert_int_equal(counter(*state, NAMES_DNS_UNTRACKED), 4);
}

/* --- TLS -------------------------------------------------------------------------- */

static struct flow_payload tls_segment(uint32_t slot, uint32_t seq)
{
	return (struct flow_payload){
		.slot = slot, .kind = PAYLOAD_TLS, .key.proto = IPPROTO_TCP, .tcp_seq = seq};
}

static struct bytes hello_stream(size_t filler)
{
	struct bytes msg = {0}, stream = {0};

	put_hello(&msg, filler, "www.example.com");
	put_records(&stream, &msg, 16000);
	return stream;
}

static void feed_tls(struct names *n, uint32_t slot, const struct bytes *s, size_t from, size_t to)
{
	struct flow_payload about = tls_segment(slot, (uint32_t)(0xfffffff0u + from));

	feed(n, &about, s->data + from, to - from);
}

static void check_tls(const struct flow_record *r)
{
	assert_string_equal(r->tls_sni, "www.example.com");
	assert_string_equal(r->tls_alpn, "h2,http/1.1");
	assert_int_equal(r->quic_version, 0);
	assert_string_equal(r->dns_qname, "");
}

static void a_hello_is_told_in_every_record(void **state)
{
	struct bytes s = hello_stream(0);
	struct flow_record r;

	feed_tls(*state, SLOT, &s, 0, s.n);
	for (int i = 0; i < 2; i++) {
		r = fill(*state, SLOT, FLOW_END_ACTIVE);
		check_tls(&r);
	}
	r = fill(*state, SLOT, FLOW_END_DETECTED);
	check_tls(&r);
	r = fill(*state, SLOT, FLOW_END_DETECTED); /* the slot's next flow */
	assert_string_equal(r.tls_sni, "");
}

static void a_hello_comes_in_segments_of_any_order(void **state)
{
	struct bytes s = hello_stream(4000);
	struct flow_record r;

	feed_tls(*state, SLOT, &s, 0, 1400);
	feed_tls(*state, SLOT, &s, 2800, s.n);
	feed_tls(*state, SLOT, &s, 0, 1400);
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	assert_string_equal(r.tls_sni, "");
	feed_tls(*state, SLOT, &s, 1400, 2800);
	r = fill(*state, SLOT, FLOW_END_DETECTED);
	check_tls(&r);
	assert_int_equal(counter(*state, NAMES_HELLO_PARTIAL), 0);
}

static void the_other_side_adds_nothing_to_a_hello(void **state)
{
	struct flow_payload reply = tls_segment(SLOT, 0xfffffff0u + 3000);
	struct bytes s = hello_stream(4000);
	struct flow_record r;

	reply.dir = SERVER;
	feed_tls(*state, SLOT, &s, 0, 1400);
	feed(*state, &reply, s.data, 2000);
	feed_tls(*state, SLOT, &s, 1400, 2800);
	feed_tls(*state, SLOT, &s, 2800, s.n);
	r = fill(*state, SLOT, FLOW_END_DETECTED);
	check_tls(&r);
}

static void a_hello_that_stays_partial_is_counted(void **state)
{
	struct bytes s = hello_stream(4000);

	feed_tls(*state, SLOT, &s, 0, 1400);
	(void)fill(*state, SLOT, FLOW_END_DETECTED);
	assert_int_equal(counter(*state, NAMES_HELLO_PARTIAL), 1);
}

static void bytes_that_were_not_copied_make_it_partial(void **state)
{
	struct bytes s = hello_stream(4000);
	struct flow_payload about = tls_segment(SLOT, 0);

	about.whole = (uint32_t)s.n;
	feed(*state, &about, s.data, 2000);
	assert_int_equal(counter(*state, NAMES_HELLO_PARTIAL), 1);
	(void)fill(*state, SLOT, FLOW_END_DETECTED);
	assert_int_equal(counter(*state, NAMES_HELLO_PARTIAL), 1);
}

static void too_many_hellos_in_segments_are_counted(void **state)
{
	struct bytes s = hello_stream(4000);
	struct flow_record r;

	for (uint32_t slot = 0; slot < HELLO_ASSEMBLIES_MAX + 2; slot++)
		feed_tls(*state, slot, &s, 0, 1400);
	assert_int_equal(counter(*state, NAMES_HELLO_NO_ROOM), 2);
	(void)fill(*state, 0, FLOW_END_DETECTED); /* makes room */
	feed_tls(*state, 0, &s, 0, 2000);
	feed_tls(*state, 0, &s, 2000, 4000);
	feed_tls(*state, 0, &s, 4000, s.n);
	r = fill(*state, 0, FLOW_END_DETECTED);
	check_tls(&r);
	assert_int_equal(counter(*state, NAMES_HELLO_NO_ROOM), 2);
}

static void a_malformed_hello_is_counted_once(void **state)
{
	struct bytes s = hello_stream(0);

	s.data[5] = 2;
	feed_tls(*state, SLOT, &s, 0, s.n);
	feed_tls(*state, SLOT, &s, 0, s.n);
	assert_int_equal(counter(*state, NAMES_TLS_MALFORMED), 1);
}

/* --- QUIC ------------------------------------------------------------------------- */

#ifdef WEIR_NETTLE

static void feed_quic(struct names *n, unsigned dir, const void *frames, size_t len)
{
	struct flow_payload about = {
		.slot = SLOT, .kind = PAYLOAD_QUIC, .dir = (uint8_t)dir, .key.proto = IPPROTO_UDP};
	uint8_t packet[QUIC_PACKET_BYTES];

	quic_seal(1, frames, len, packet);
	feed(n, &about, packet, sizeof(packet));
}

static void quic_tells_version_and_names(void **state)
{
	struct flow_record r;

	feed_quic(*state, CLIENT, quic_rfc_frames, sizeof(quic_rfc_frames) - 1);
	r = fill(*state, SLOT, FLOW_END_IDLE);
	assert_int_equal(r.quic_version, 1);
	assert_string_equal(r.tls_sni, "example.com");
	assert_string_equal(r.tls_alpn, "alpn");
}

/* A CRYPTO frame with bytes from..to of msg. */
static void put_crypto(struct bytes *b, const struct bytes *msg, size_t from, size_t to)
{
	put(b, 1, 6);
	put(b, 2, 0x4000 | from);
	put(b, 2, 0x4000 | (to - from));
	memcpy(b->data + b->n, msg->data + from, to - from);
	b->n += to - from;
}

static void quic_hellos_come_in_packets_and_frames_of_any_order(void **state)
{
	struct bytes msg = {0}, first = {0}, second = {0};
	struct flow_record r;

	put_hello(&msg, 1500, "www.example.com");
	put_crypto(&first, &msg, 900, 1300);
	put_crypto(&first, &msg, 0, 300);
	put_crypto(&first, &msg, 600, 900);
	put_crypto(&second, &msg, 1300, msg.n);
	put_crypto(&second, &msg, 300, 600);
	feed_quic(*state, CLIENT, second.data, second.n);
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	assert_int_equal(r.quic_version, 1);
	assert_string_equal(r.tls_sni, "");
	feed_quic(*state, CLIENT, first.data, first.n);
	r = fill(*state, SLOT, FLOW_END_IDLE);
	assert_string_equal(r.tls_sni, "www.example.com");
	assert_int_equal(counter(*state, NAMES_HELLO_PARTIAL), 0);
	assert_int_equal(counter(*state, NAMES_QUIC_MALFORMED), 0);
}

static void packets_may_share_a_datagram(void **state)
{
	static const uint8_t unknown[] = "\xc0\0\0\0\1\0\0\0\x14"
					 "20 bytes of payload.";
	struct flow_payload about = {.slot = SLOT, .kind = PAYLOAD_QUIC, .key.proto = IPPROTO_UDP};
	uint8_t both[sizeof(unknown) - 1 + QUIC_PACKET_BYTES];
	struct flow_record r;

	memcpy(both, unknown, sizeof(unknown) - 1);
	quic_seal(1, quic_rfc_frames, sizeof(quic_rfc_frames) - 1, both + sizeof(unknown) - 1);
	feed(*state, &about, both, sizeof(both));
	r = fill(*state, SLOT, FLOW_END_IDLE);
	assert_string_equal(r.tls_sni, "example.com");
}

static void what_was_not_copied_of_two_datagrams_is_missing(void **state)
{
	struct flow_payload about = {.slot = SLOT, .kind = PAYLOAD_QUIC, .key.proto = IPPROTO_UDP};
	struct bytes msg = {0}, first = {0}, second = {0};
	uint8_t both[2 * QUIC_PACKET_BYTES];
	struct flow_record r;

	put_hello(&msg, 500, "www.example.com");
	put_crypto(&first, &msg, 300, msg.n);
	put_crypto(&second, &msg, 0, 300);
	quic_seal(1, first.data, first.n, both);
	quic_seal(1, second.data, second.n, both + QUIC_PACKET_BYTES);
	/* PAYLOAD_BYTES has no room for both whole: the second is lost. */
	about.whole = sizeof(both);
	feed(*state, &about, both, PAYLOAD_BYTES);
	r = fill(*state, SLOT, FLOW_END_ACTIVE);
	assert_int_equal(r.quic_version, 1);
	assert_string_equal(r.tls_sni, "");
	assert_int_equal(counter(*state, NAMES_QUIC_MALFORMED), 0);
	(void)fill(*state, SLOT, FLOW_END_IDLE);
	assert_int_equal(counter(*state, NAMES_HELLO_PARTIAL), 1);
}

#endif

/* --- the table -------------------------------------------------------------------- */

static void flows_beyond_the_table_are_counted(void **state)
{
	struct flow_record r;

	for (uint32_t slot = 0; slot < N_SLOTS; slot++)
		dns(*state, slot, SEC, SERVER, 1, NOERROR, "x");
	assert_int_equal(counter(*state, NAMES_TABLE_FULL), N_SLOTS / 2);
	r = fill(*state, N_SLOTS - 1, FLOW_END_IDLE);
	check_dns(&r, "", 0, 0, 0, 0);
	r = fill(*state, 0, FLOW_END_IDLE);
	check_dns(&r, "x", NOERROR, 0, 0, 0);
	dns(*state, N_SLOTS - 1, SEC, SERVER, 1, NOERROR, "y");
	r = fill(*state, N_SLOTS - 1, FLOW_END_IDLE);
	check_dns(&r, "y", NOERROR, 0, 0, 0);
}

static void payloads_without_a_slot_are_counted(void **state)
{
	dns(*state, UINT32_MAX, SEC, CLIENT, 1, -1, "x");
	assert_int_equal(counter(*state, NAMES_TABLE_FULL), 1);
}

static void every_failed_allocation_is_reported(void **state)
{
	struct names *n;

	(void)state;
	for (unsigned nth = 1;; nth++) {
		int err;

		fail_alloc_at(nth);
		err = names_new(N_SLOTS, &n);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
	}
	names_free(n);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_answer_gives_rcode_and_latency),
		TEST(counts_are_since_the_record_before),
		TEST(unanswered_after_five_seconds),
		TEST(a_late_answer_is_none),
		TEST(the_end_of_a_flow_ends_the_wait),
		TEST(a_record_tells_of_the_worst_query),
		TEST(of_equals_the_first_is_told),
		TEST(a_query_sent_again_waits_since_the_first),
		TEST(an_id_used_anew_leaves_the_first_unanswered),
		TEST(other_answers_do_not_count),
		TEST(an_answer_without_its_query_has_no_latency),
		TEST(dns_over_tcp_is_the_same),
		TEST(counts_what_it_cannot_read),
		TEST(waits_for_so_many_and_no_more),
		TEST(a_hello_is_told_in_every_record),
		TEST(a_hello_comes_in_segments_of_any_order),
		TEST(the_other_side_adds_nothing_to_a_hello),
		TEST(a_hello_that_stays_partial_is_counted),
		TEST(bytes_that_were_not_copied_make_it_partial),
		TEST(too_many_hellos_in_segments_are_counted),
		TEST(a_malformed_hello_is_counted_once),
#ifdef WEIR_NETTLE
		TEST(quic_tells_version_and_names),
		TEST(quic_hellos_come_in_packets_and_frames_of_any_order),
		TEST(packets_may_share_a_datagram),
		TEST(what_was_not_copied_of_two_datagrams_is_missing),
#endif
		TEST(flows_beyond_the_table_are_counted),
		TEST(payloads_without_a_slot_are_counted),
		cmocka_unit_test(every_failed_allocation_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
