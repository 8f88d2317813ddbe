// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_perf.c - what the programs measure of a flow beside its packets: round
 * trips, retransmissions and their kin, answers, on crafted packets in the
 * kernel. Needs root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/if_ether.h>
#include <linux/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/flow_abi.h"
#include "tests/bpf/harness.h"

#define WINDOW	 1000
#define SLEEP_US 3000

/* A packet of the connection A:1 - B:2 from either end, with an open window. */
static void from_a(void *w, uint16_t flags, uint32_t seq, uint32_t ack, size_t payload)
{
	send_tcp(w, A, B, &(struct craft_tcp){1, 2, flags, seq, ack, payload, WINDOW, 0, 0, 0});
}

static void from_b(void *w, uint16_t flags, uint32_t seq, uint32_t ack, size_t payload)
{
	send_tcp(w, B, A, &(struct craft_tcp){2, 1, flags, seq, ack, payload, WINDOW, 0, 0, 0});
}

static void test_rtt_from_sequence_and_ack(void **state)
{
	struct flow_perf_half p;

	from_a(*state, ACK, 1000, 1, 100);
	harness_wait(*state, SLEEP_US);
	from_a(*state, ACK, 1100, 1, 100); /* one sample in flight: not this one */
	from_b(*state, ACK, 1, 1100, 0);
	p = only_flow(*state).perf.half[0];
	assert_int_equal(p.rtt_count, 1);
	assert_int_equal(p.rtt_min_us, SLEEP_US);
	assert_int_equal(p.rtt_min_us, p.rtt_max_us);
	assert_int_equal(p.rtt_sum_us, p.rtt_min_us);
	assert_int_equal(p.rtt_hist[0], 0);
	for (int i = 1; i < FLOW_RTT_BUCKETS; i++)
		if (p.rtt_hist[i])
			assert_in_range(p.rtt_min_us, 1u << (i + 4), (1u << (i + 5)) - 1);

	from_b(*state, ACK, 1, 1200, 0); /* nothing in flight any more */
	assert_int_equal(only_flow(*state).perf.half[0].rtt_count, 1);
	assert_int_equal(only_flow(*state).perf.half[1].rtt_count, 0);
}

static void test_no_rtt_across_a_retransmission(void **state)
{
	from_a(*state, ACK, 1000, 1, 100);
	from_a(*state, ACK, 1000, 1, 100); /* Karn: the sample is off */
	from_b(*state, ACK, 1, 1100, 0);
	assert_int_equal(only_flow(*state).perf.half[0].retrans_pkts, 1);
	assert_int_equal(only_flow(*state).perf.half[0].rtt_count, 0);
	from_a(*state, ACK, 1100, 1, 100);
	from_b(*state, ACK, 1, 1200, 0);
	assert_int_equal(only_flow(*state).perf.half[0].rtt_count, 1);
}

static void from_a_at(void *w, uint32_t seq, uint32_t ts, size_t payload)
{
	send_tcp(w, A, B, &(struct craft_tcp){1, 2, ACK, seq, 1, payload, WINDOW, 0, ts, 7});
}

static void test_timestamps_tell_which_was_acknowledged(void **state)
{
	struct craft_tcp answer = {2, 1, ACK, 1, 1100, 0, WINDOW, 0, 7, 501};

	from_a_at(*state, 1000, 500, 100);
	harness_wait(*state, SLEEP_US);
	from_a_at(*state, 1000, 501, 100);
	send_tcp(*state, B, A, &answer); /* echoes the second: no time for the first */
	assert_int_equal(only_flow(*state).perf.half[0].rtt_count, 0);

	from_a_at(*state, 1100, 600, 100);
	from_a_at(*state, 1100, 601, 100);
	harness_wait(*state, SLEEP_US);
	answer.ack = 1200;
	answer.ts_echo = 600; /* the first arrived after all */
	send_tcp(*state, B, A, &answer);
	assert_int_equal(only_flow(*state).perf.half[0].rtt_count, 1);
	assert_int_equal(only_flow(*state).perf.half[0].rtt_min_us, SLEEP_US);
}

static void test_retransmissions(void **state)
{
	const uint32_t base = 0xffffff00; /* the sequence numbers wrap on the way */
	struct flow_state_of f;

	from_a(*state, ACK, base, 1, 200);
	from_a(*state, ACK, base + 200, 1, 200);
	from_a(*state, ACK, base + 400, 1, 100);
	assert_int_equal(only_flow(*state).perf.half[0].retrans_pkts, 0);
	from_a(*state, ACK, base + 200, 1, 200); /* seen before */
	from_a(*state, ACK, base + 400, 1, 150); /* in part */
	f = only_flow(*state);
	assert_int_equal(f.perf.half[0].retrans_pkts, 2);
	assert_int_equal(f.perf.half[0].retrans_bytes, 350);
	assert_int_equal(f.slot.half[0].seq_end, base + 550);

	from_a(*state, ACK, base + 549, 1, 1); /* keep-alive */
	from_a(*state, ACK, base, 1, 0);       /* no payload */
	assert_int_equal(only_flow(*state).perf.half[0].retrans_pkts, 2);
}

static void test_late_is_not_retransmitted(void **state)
{
	struct flow_perf_half p;

	from_a(*state, ACK, 1000, 1, 100);
	from_a(*state, ACK, 1300, 1, 100); /* 1100..1300 missing */
	from_a(*state, ACK, 1100, 1, 100); /* reordered */
	p = only_flow(*state).perf.half[0];
	assert_int_equal(p.retrans_pkts, 0);
	assert_int_equal(p.ooo_pkts, 1);
	harness_wait(*state, 20000);
	from_a(*state, ACK, 1200, 1, 100); /* lost, sent again */
	p = only_flow(*state).perf.half[0];
	assert_int_equal(p.retrans_pkts, 1);
	assert_int_equal(p.ooo_pkts, 1);
	assert_int_equal(p.hole_ns, 0);
}

/* With a handshake, what fills a gap within its round trip is late. */
static void test_the_handshake_bounds_lateness(void **state)
{
	struct flow_perf_half p;

	from_a(*state, SYN, 999, 0, 0);
	harness_wait(*state, 30000);
	from_b(*state, SYN | ACK, 0, 1000, 0);
	from_a(*state, ACK, 1000, 1, 0);
	from_a(*state, ACK, 1100, 1, 100); /* 1000..1100 missing */
	harness_wait(*state, 10000);
	from_a(*state, ACK, 1000, 1, 50);
	harness_wait(*state, 30000);
	from_a(*state, ACK, 1050, 1, 50);
	p = only_flow(*state).perf.half[0];
	assert_int_equal(p.ooo_pkts, 1);
	assert_int_equal(p.retrans_pkts, 1);
}

static void test_handshake_of_the_last_syn(void **state)
{
	struct flow_slot s;

	from_a(*state, SYN, 999, 0, 0);
	harness_wait(*state, 30000);
	from_a(*state, SYN, 999, 0, 0);
	harness_wait(*state, SLEEP_US);
	from_b(*state, SYN | ACK, 0, 1000, 0);
	harness_wait(*state, 30000);
	from_a(*state, SYN, 999, 0, 0);	       /* crosses the answer */
	from_b(*state, SYN | ACK, 0, 1000, 0); /* and brings another */
	harness_wait(*state, 30000);
	from_b(*state, SYN | ACK, 0, 1000, 0); /* repeated */
	from_a(*state, ACK, 1000, 1, 0);
	s = only_flow(*state).slot;
	assert_int_equal(s.rtt_server_us, 1); /* at once after the SYN that crossed */
	assert_int_equal(s.rtt_client_us, 1);

	from_b(*state, SYN | ACK, 0, 1000, 0); /* too late to count */
	assert_int_equal(only_flow(*state).slot.rtt_server_us, s.rtt_server_us);
	assert_int_equal(only_flow(*state).slot.synack_ns, s.synack_ns);
}

/* The capture point saw the answer first: there is no time from SYN to SYN-ACK. */
static void test_no_handshake_from_a_reordered_syn(void **state)
{
	from_b(*state, SYN | ACK, 0, 1000, 0);
	from_a(*state, SYN, 999, 0, 0);
	from_a(*state, ACK, 1000, 1, 0);
	assert_int_equal(only_flow(*state).slot.state & FLOW_HANDSHAKE_DONE, 0);
	assert_int_equal(only_flow(*state).slot.initiator, 0);
}

static void test_repeated_syn_is_retransmitted(void **state)
{
	struct flow_perf_half p;

	from_a(*state, SYN, 100, 0, 0);
	from_a(*state, SYN, 100, 0, 0);
	p = only_flow(*state).perf.half[0];
	assert_int_equal(p.retrans_pkts, 1);
	assert_int_equal(p.retrans_bytes, 0);
	from_a(*state, SYN, 0x7f000000, 0, 0); /* another connection */
	assert_int_equal(only_flow(*state).perf.half[0].retrans_pkts, 1);
}

/* Windows tries a refused port twice more, by the same SYN. Another SYN is another connection. */
static void test_refused_syn_is_retransmitted(void **state)
{
	struct flow_state_of f;

	for (int i = 0; i < 3; i++) {
		from_a(*state, SYN, 5000, 0, 0);
		from_b(*state, RST | ACK, 0, 5001, 0);
	}
	from_a(*state, SYN, 90000, 0, 0);
	f = only_flow(*state);
	assert_int_equal(f.perf.half[0].retrans_pkts, 2);
	assert_int_equal(f.perf.half[1].retrans_pkts, 0);
}

static void test_duplicate_acks(void **state)
{
	from_a(*state, ACK, 1000, 1, 100);
	from_a(*state, ACK, 1100, 1, 100);
	from_b(*state, ACK, 1, 1000, 10);
	from_b(*state, ACK, 11, 1000, 0);
	from_b(*state, ACK, 11, 1000, 0);
	from_b(*state, ACK, 11, 1000, 5); /* carries data: none */
	from_b(*state, ACK, 16, 1100, 0); /* moves on: none */
	assert_int_equal(only_flow(*state).perf.half[1].dup_acks, 2);
	from_b(*state, ACK, 16, 1200, 0); /* nothing is outstanding any more */
	from_b(*state, ACK, 16, 1200, 0);
	assert_int_equal(only_flow(*state).perf.half[1].dup_acks, 2);
}

static void test_zero_windows(void **state)
{
	struct craft_tcp shut = {2, 1, ACK, 1, 1000, 0, 0, 0, 0, 0};

	send_tcp(*state, B, A, &shut);
	shut.flags = RST;
	send_tcp(*state, B, A, &shut); /* a reset has no window */
	assert_int_equal(only_flow(*state).perf.half[1].zero_windows, 1);
}

static void test_mss_of_each_side(void **state)
{
	struct craft_tcp syn = {1, 2, SYN, 1, 0, 0, WINDOW, 1460, 0, 0};
	struct flow_state_of f;

	send_tcp(*state, A, B, &syn);
	syn = (struct craft_tcp){2, 1, SYN | ACK, 1, 2, 0, WINDOW, 1380, 0, 0};
	send_tcp(*state, B, A, &syn);
	f = only_flow(*state);
	assert_int_equal(f.slot.half[0].mss, 1460);
	assert_int_equal(f.slot.half[1].mss, 1380);
}

static void test_response_time(void **state)
{
	struct flow_slot s;

	from_a(*state, ACK | PSH, 1000, 1, 50);
	harness_wait(*state, SLEEP_US);
	from_a(*state, ACK | PSH, 1050, 1, 50); /* the request's last byte counts */
	harness_wait(*state, SLEEP_US);
	from_b(*state, ACK, 1, 1100, 0); /* an acknowledgement is no answer */
	from_b(*state, ACK | PSH, 1, 1100, 80);
	from_b(*state, ACK | PSH, 81, 1100, 80);
	s = only_flow(*state).slot;
	assert_int_equal(s.responses, 1);
	assert_in_range(s.response_sum_us, SLEEP_US - 2, SLEEP_US + 2); /* in 1,024 ns */
	assert_int_equal(s.response_max_us, s.response_sum_us);
}

static void test_congestion_marks(void **state)
{
	struct craft_tcp tcp = {1, 2, ACK, 1, 1, 10, WINDOW, 0, 0, 0};
	struct craft c = craft_tcp4(A, B, &tcp);

	c.data[c.ip_at + 1] = 2; /* ECT(0) */
	run_xdp(*state, &c);
	c.data[c.ip_at + 1] = 3;
	run_xdp(*state, &c);
	assert_int_equal(only_flow(*state).perf.half[0].ce_pkts, 1);
}

static void send_echo(void *w, bool reply, uint16_t seq)
{
	struct craft c;

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, reply ? B : A, reply ? A : B, IPPROTO_ICMP, 0, 0);
	craft_icmp(&c, reply ? 0 : 8, 0, 77);
	c.data[c.len - 1] = seq;
	craft_end(&c);
	run_xdp(w, &c);
}

static void test_echo_round_trip(void **state)
{
	struct flow_perf_half p;

	send_echo(*state, false, 1);
	harness_wait(*state, SLEEP_US);
	send_echo(*state, true, 1);
	send_echo(*state, false, 2);
	send_echo(*state, true, 1); /* a duplicate answers nothing */
	p = only_flow(*state).perf.half[0];
	assert_int_equal(p.rtt_count, 1);
	assert_int_equal(p.rtt_min_us, SLEEP_US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		harness_clocked_test(test_rtt_from_sequence_and_ack),
		harness_clocked_test(test_no_rtt_across_a_retransmission),
		harness_clocked_test(test_timestamps_tell_which_was_acknowledged),
		harness_clocked_test(test_retransmissions),
		harness_clocked_test(test_late_is_not_retransmitted),
		harness_clocked_test(test_the_handshake_bounds_lateness),
		harness_clocked_test(test_handshake_of_the_last_syn),
		harness_clocked_test(test_no_handshake_from_a_reordered_syn),
		harness_clocked_test(test_repeated_syn_is_retransmitted),
		harness_clocked_test(test_refused_syn_is_retransmitted),
		harness_clocked_test(test_duplicate_acks),
		harness_clocked_test(test_zero_windows),
		harness_clocked_test(test_mss_of_each_side),
		harness_clocked_test(test_response_time),
		harness_clocked_test(test_congestion_marks),
		harness_clocked_test(test_echo_round_trip),
	};

	if (geteuid() != 0) {
		puts("skipped: loading BPF programs needs root");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
