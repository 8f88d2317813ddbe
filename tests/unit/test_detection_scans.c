/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Port scans and host sweeps: what must raise, and what looks like one and must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/detection_fixture.h"

static struct flow_record ping(const char *src, const char *dst, uint64_t end_ms)
{
	struct flow_record r = refused(src, dst, 0, end_ms);

	r.proto = 1;
	r.icmp_type = 8;
	r.src_port = r.tcp_flags = r.rev_tcp_flags = 0;
	return r;
}

/* --- what must raise ------------------------------------------------------------ */

static void test_port_scan(void **state)
{
	struct fixture *f = *state;

	for (uint16_t port = 1; port <= 100; port++) {
		struct flow_record r = refused("10.0.0.9", "10.0.0.2", port, BUCKET + 10 * port);
		struct flow_record other_end = as_sender(r);

		add(f, 1, &r);
		add(f, 2, &other_end);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
	sample_assert_text(
		f->reader,
		"SELECT kind || ' ' || src_addr || ' ' || dst_addr || ' ' || value || ' '"
		" || threshold || ' ' || unit || ' ' || hosts || ' ' || proto || ' ' ||"
		" minutes || ' ' || ifnull(baseline, 'NULL') FROM incident",
		"port_scan 10.0.0.9 10.0.0.2 100.0 15.0 ports host1,host2 6 1 NULL");
	assert_int_equal(sample_int(f->reader, "SELECT start_ms FROM incident"), BUCKET);
	assert_int_equal(sample_int(f->reader, "SELECT end_ms FROM incident"), BUCKET + MINUTE);
	assert_evidence(f, 200);
}

/* Each port is seen by both ends: 14 are 14. */
static void test_ports_are_not_counted_twice(void **state)
{
	struct fixture *f = *state;

	for (uint16_t port = 1; port <= 14; port++) {
		struct flow_record r = refused("10.0.0.9", "10.0.0.2", port, BUCKET);
		struct flow_record other_end = as_sender(r);

		add(f, 1, &r);
		add(f, 2, &other_end);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

static void test_udp_scan(void **state)
{
	struct fixture *f = *state;

	for (uint16_t port = 1; port <= 20; port++) {
		struct flow_record r = refused("10.0.0.9", "10.0.0.2", port, BUCKET);

		r.proto = 17;
		r.rev_packets = r.rev_total_packets = r.tcp_flags = r.rev_tcp_flags = 0;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
	sample_assert_text(f->reader, "SELECT kind || proto FROM incident", "port_scan17");
}

/* FIN, NULL and XMAS scans have no SYN. */
static void test_scan_without_syn(void **state)
{
	static const uint16_t flags[] = {0x01, 0x00, 0x29};
	struct fixture *f = *state;

	for (uint16_t port = 1; port <= 15; port++) {
		struct flow_record r = refused("10.0.0.9", "10.0.0.2", port, BUCKET);

		r.tcp_flags = flags[port % 3];
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
}

/* Cut by the edge of a bucket into parts that are too small each. */
static void test_scan_across_two_buckets(void **state)
{
	struct fixture *f = *state;

	for (uint16_t port = 1; port <= 30; port++) {
		struct flow_record r =
			refused("10.0.0.9", "10.0.0.2", port, BUCKET - 10 + (uint64_t)port);

		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET - MINUTE), 0);
	assert_int_equal(judge_minute(f, BUCKET), 1);
	assert_int_equal(sample_int(f->reader, "SELECT value FROM incident"), 30);
	assert_int_equal(sample_int(f->reader, "SELECT start_ms FROM incident"), BUCKET - MINUTE);
	assert_evidence(f, 30);
	assert_int_equal(judge_minute(f, BUCKET + MINUTE), 1); /* nothing new: it is over */
	assert_int_equal(sample_int(f->reader, "SELECT minutes FROM incident"), 2);
}

static void test_incident_that_goes_on_is_one_row(void **state)
{
	static const uint16_t ports[] = {20, 60, 30};
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		for (uint16_t port = 1; port <= ports[i]; port++) {
			struct flow_record r =
				refused("10.0.0.9", "10.0.0.2", (uint16_t)(1000 * i + port),
					BUCKET + (uint64_t)i * MINUTE);

			if (i == 2) {
				r.proto = 17;
				r.rev_packets = r.rev_total_packets = 0;
			}
			add(f, 1, &r);
		}
		assert_int_equal(judge_minute(f, BUCKET + i * MINUTE), 1);
	}
	assert_int_equal(sample_int(f->reader, "SELECT minutes FROM incident"), 3);
	assert_int_equal(sample_int(f->reader, "SELECT value FROM incident"), 90); /* 60 + 30 */
	assert_int_equal(sample_int(f->reader, "SELECT end_ms - start_ms FROM incident"),
			 3 * MINUTE);
	assert_evidence(f, 110);
	for (uint16_t port = 1; port <= 20; port++) {
		struct flow_record r = refused("10.0.0.9", "10.0.0.2", port, BUCKET + 10 * MINUTE);

		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET + 10 * MINUTE), 2); /* much later: another one */
}

/* 20 hosts report one attempt each: only together it is a sweep. */
static void test_sweep_is_seen_across_hosts(void **state)
{
	struct fixture *f = *state;

	for (uint8_t host = 1; host <= 20; host++) {
		struct flow_record r = refused("10.0.0.9", addr(host), 22, BUCKET + host);

		add(f, host, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
	sample_assert_text(
		f->reader,
		"SELECT kind || ' ' || src_addr || ' ' || dst_port || ' ' || proto || ' '"
		" || value || ' ' || ifnull(dst_addr, 'NULL') FROM incident",
		"host_sweep 10.0.0.9 22 6 20.0 NULL");
	assert_evidence(f, 20);
}

static void test_ping_sweep(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 15; n++) {
		struct flow_record r = as_sender(ping("10.0.0.9", addr(n), BUCKET + n));

		r.rev_packets = r.rev_total_packets = n % 3 == 0;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 1);
	sample_assert_text(f->reader,
			   "SELECT kind || ' ' || proto || ' ' || ifnull(dst_port, 'NULL')"
			   " FROM incident",
			   "host_sweep 1 NULL");
	assert_evidence(f, 15);
}

/* --- what must not --------------------------------------------------------------- */

/* 30 connections to one server, as many to as many servers, DNS for all of them. */
static void test_browser(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 30; n++) {
		struct flow_record one =
			as_sender(sample_flow("10.0.0.9", "10.0.0.2", 443, BUCKET));
		struct flow_record each = as_sender(sample_flow("10.0.0.9", addr(n), 443, BUCKET));
		struct flow_record dns = as_sender(refused("10.0.0.9", "10.0.0.53", 53, BUCKET));

		dns.proto = 17;
		dns.tcp_flags = dns.rev_tcp_flags = 0;
		add(f, 1, &one);
		add(f, 1, &each);
		add(f, 1, &dns);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

/* A resolver asks many servers one question each, and is answered. */
static void test_resolver(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 50; n++) {
		struct flow_record r = as_sender(refused("10.0.0.53", addr(n), 53, BUCKET));

		r.proto = 17;
		r.tcp_flags = r.rev_tcp_flags = 0;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

static void test_traceroute(void **state)
{
	struct fixture *f = *state;

	for (uint16_t n = 0; n < 90; n++) {
		struct flow_record r =
			as_sender(refused("10.0.0.9", "10.0.0.2", 33434 + n, BUCKET));

		r.proto = 17;
		r.rev_packets = r.rev_total_packets = r.tcp_flags = r.rev_tcp_flags = 0;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

/* A management server with an idle connection to each of 40 hosts: one keep-alive a minute. */
static void test_idle_connections(void **state)
{
	struct fixture *f = *state;

	for (unsigned n = 0; n < 40; n++) {
		struct flow_record r = as_sender(sample_flow("10.0.0.9", addr(n), 22, BUCKET));

		r.packets = r.rev_packets = 1;
		r.total_packets = r.rev_total_packets = 500;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

/* The probe has started in the middle of connections and takes the server for their source. */
static void test_connections_seen_from_the_middle(void **state)
{
	struct fixture *f = *state;

	for (uint16_t n = 0; n < 100; n++) {
		struct flow_record r =
			as_sender(refused("10.0.0.2", "10.0.0.9", 40000 + n, BUCKET));

		r.src_port = 443;
		r.tcp_flags = r.rev_tcp_flags = 0x10;
		add(f, 1, &r);
	}
	assert_int_equal(judge_minute(f, BUCKET), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_port_scan),
		TEST(test_ports_are_not_counted_twice),
		TEST(test_udp_scan),
		TEST(test_scan_without_syn),
		TEST(test_scan_across_two_buckets),
		TEST(test_incident_that_goes_on_is_one_row),
		TEST(test_sweep_is_seen_across_hosts),
		TEST(test_ping_sweep),
		TEST(test_browser),
		TEST(test_resolver),
		TEST(test_traceroute),
		TEST(test_idle_connections),
		TEST(test_connections_seen_from_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
