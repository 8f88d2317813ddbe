// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * test_replay.c - weir-probe replay on capture files made here: what is printed
 * on stdout and stderr, and the exit status. Needs root.
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
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/exit_code.h"
#include "probe/replay/replay.h"
#include "tests/bpf/harness.h"
#include "tests/unit/capture.h"
#include "tests/unit/dump.h"

#define ETHERNET 1 /* LINKTYPE_ETHERNET */
#define RAW	 101
#define T0	 1700000000

/* Runs replay with up to four arguments; the output is in c. Returns the exit code. */
static int replay(struct capture *c, int stop_fd, char *a, char *b, char *d, char *e)
{
	char name[] = "replay";
	char *argv[] = {name, a, b, d, e, NULL};
	int argc = 1, code;

	while (argv[argc])
		argc++;
	capture_start(c);
	code = replay_main(argc, argv, stop_fd);
	capture_stop(c);
	return code;
}

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("no \"%s\" in: %s", part, text);
}

static unsigned lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void add_tcp(struct dump *d, uint32_t us, const char *src, const char *dst,
		    const struct craft_tcp *tcp)
{
	struct craft c = craft_tcp4(src, dst, tcp);

	dump_add(d, T0 + us / 1000000, us % 1000000, c.data, (uint32_t)c.len, (uint32_t)c.len);
}

static void add_udp(struct dump *d, uint32_t us, uint16_t sport)
{
	struct craft c;

	craft_eth(&c, ETH_P_IP);
	craft_ipv4(&c, A, B, IPPROTO_UDP, 0, 0);
	craft_udp(&c, sport, 53, 10);
	craft_end(&c);
	dump_add(d, T0 + us / 1000000, us % 1000000, c.data, (uint32_t)c.len, (uint32_t)c.len);
}

static void a_conversation_is_one_record(void **state)
{
	struct dump d = dump_start(DUMP_US, ETHERNET);
	struct capture c;

	(void)state;
	/* B opens the connection, days pass between two of its packets. */
	add_tcp(&d, 0, B, A, &(struct craft_tcp){.sport = 2, .dport = 1, .flags = SYN, .seq = 9});
	add_tcp(&d, 3000, A, B,
		&(struct craft_tcp){.sport = 1, .dport = 2, .flags = SYN | ACK, .ack = 10});
	add_tcp(&d, 8000, B, A,
		&(struct craft_tcp){.sport = 2, .dport = 1, .flags = ACK, .seq = 10, .ack = 1});
	add_tcp(&d, 4000000000, B, A,
		&(struct craft_tcp){.sport = 2, .dport = 1, .flags = ACK, .seq = 10, .ack = 1});
	assert_int_equal(replay(&c, -1, dump_end(&d), NULL, NULL, NULL), EXIT_OK);
	assert_int_equal(lines(c.out), 1);
	assert_has(c.out, "\"start_ms\":1700000000000,\"end_ms\":1700004000000,");
	assert_has(c.out, "\"src_addr\":\"" B "\",\"dst_addr\":\"" A "\"");
	assert_has(c.out, "\"src_port\":2,\"dst_port\":1,\"proto\":6");
	assert_has(c.out, "\"packets\":3,\"bytes\":162,\"rev_packets\":1,\"rev_bytes\":54");
	assert_has(c.out, "\"rtt_us\":8000,\"rtt_client_us\":5000,\"rtt_server_us\":3000");
	assert_has(c.out, "\"direction\":\"unknown\",\"role\":\"unknown\"");
	assert_string_equal(c.err, "packets: 4 read = 4 in flows; difference 0\n");
	dump_remove(&d);
}

static void files_share_one_table(void **state)
{
	struct dump one = dump_start(DUMP_US, ETHERNET), two = dump_start(DUMP_NS, ETHERNET);
	char form[] = "-ocsv";
	struct capture c;

	(void)state;
	add_udp(&one, 0, 1000);
	add_udp(&two, 5, 1000);
	add_udp(&two, 6, 1001);
	assert_int_equal(replay(&c, -1, form, dump_end(&one), dump_end(&two), NULL), EXIT_OK);
	assert_int_equal(lines(c.out), 3);
	assert_has(c.err, "packets: 3 read = 3 in flows; difference 0\n");
	dump_remove(&one);
	dump_remove(&two);
}

static void what_is_no_flow_has_a_name(void **state)
{
	struct dump d = dump_start(DUMP_US, ETHERNET);
	struct capture c;
	struct craft p;

	(void)state;
	craft_eth(&p, ETH_P_ARP);
	craft_bytes(&p, 28);
	dump_add(&d, T0, 0, p.data, (uint32_t)p.len, (uint32_t)p.len);
	dump_add(&d, T0, 0, p.data, 13, 13); /* no whole Ethernet header */
	dump_add(&d, T0, 0, p.data, 14, 14); /* not a byte more */
	p = craft_tcp4(A, B, &(struct craft_tcp){.sport = 1, .dport = 2, .flags = SYN});
	dump_add(&d, T0, 0, p.data, ETH_HLEN + 20 + 10, (uint32_t)p.len); /* half a TCP header */
	p.data[ETH_HLEN] = 0x95;					  /* IP version 9 */
	dump_add(&d, T0, 0, p.data, (uint32_t)p.len, (uint32_t)p.len);
	assert_int_equal(replay(&c, -1, dump_end(&d), NULL, NULL, NULL), EXIT_OK);
	assert_has(c.out, "\"src_port\":1,\"dst_port\":2,");
	assert_string_equal(
		c.err, "packets: 5 read = 1 in flows + 2 packets_not_ip + 1 "
		       "packets_truncated + 1 packets_bad_header; difference 0; 1 with a "
		       "transport header cut off; 1 cut short by the capture; not IP: arp 2\n");
	dump_remove(&d);
}

static void bytes_are_those_of_the_wire(void **state)
{
	struct dump d = dump_start(DUMP_US, RAW);
	struct capture c;
	struct craft p;

	(void)state;
	p = craft_tcp4(A, B, &(struct craft_tcp){.sport = 1, .dport = 2, .payload = 1000});
	dump_add(&d, T0, 0, p.data + ETH_HLEN, 40, (uint32_t)p.len - ETH_HLEN);
	assert_int_equal(replay(&c, -1, dump_end(&d), NULL, NULL, NULL), EXIT_OK);
	assert_has(c.out, "\"packets\":1,\"bytes\":1040,");
	assert_has(c.err, "difference 0; 1 cut short by the capture\n");
	dump_remove(&d);
}

static void the_full_table_counts_what_it_refuses(void **state)
{
	struct dump d = dump_start(DUMP_US, ETHERNET);
	char two[] = "--max-flows=2";
	struct capture c;

	(void)state;
	for (uint16_t port = 0; port < 10; port++)
		add_udp(&d, 1000u * port, 1000 + port);
	assert_int_equal(replay(&c, -1, two, dump_end(&d), NULL, NULL), EXIT_OK);
	assert_int_equal(lines(c.out), 3);
	assert_has(c.out, "{\"start_ms\":1700000000000,\"end_ms\":1700000000009,");
	assert_has(c.out, "\"proto_name\":\"catch-all\"");
	assert_has(c.out, "\"packets\":8,\"bytes\":416,");
	assert_has(c.err, "the flow table is full: 8 packets counted without their flow; "
			  "--max-flows is 2\n");
	assert_has(c.err, "packets: 10 read = 2 in flows + 8 packets_catch_all; difference 0\n");
	dump_remove(&d);
}

static void time_may_go_backwards(void **state)
{
	struct dump d = dump_start(DUMP_US, ETHERNET);
	struct capture c;

	(void)state;
	add_udp(&d, 9000, 1000);
	add_udp(&d, 2000, 1000);
	add_udp(&d, 3000, 1000);
	assert_int_equal(replay(&c, -1, dump_end(&d), NULL, NULL, NULL), EXIT_OK);
	assert_has(c.out, "\"start_ms\":1700000000009,\"end_ms\":1700000000009,\"duration_us\":0");
	assert_has(c.out, "\"packets\":3,");
	assert_has(c.err, "difference 0; 1 time stamps that go backwards\n");
	dump_remove(&d);
}

static void a_damaged_file_counts_up_to_the_damage(void **state)
{
	struct dump bad = dump_start(DUMP_US, ETHERNET), good = dump_start(DUMP_US, ETHERNET);
	struct capture c;

	(void)state;
	add_udp(&bad, 0, 1000);
	dump_put(&bad, "\1\2\3", 3);
	add_udp(&good, 0, 1001);
	assert_int_equal(replay(&c, -1, dump_end(&bad), dump_end(&good), NULL, NULL), EXIT_RUNTIME);
	assert_int_equal(lines(c.out), 2);
	assert_has(c.err, bad.path);
	assert_has(c.err, "truncated: the file ends inside");
	assert_has(c.err, "reporting 1 packets before that\n");
	assert_has(c.err, "packets: 2 read = 2 in flows; difference 0\n");
	dump_remove(&bad);
	dump_remove(&good);
}

static void no_file_is_an_error(void **state)
{
	char missing[] = "/nonexistent/weir.pcap";
	struct dump empty = dump_new();
	struct capture c;

	(void)state;
	assert_int_equal(replay(&c, -1, NULL, NULL, NULL, NULL), EXIT_USAGE);
	assert_has(c.err, "no capture file given");
	assert_int_equal(replay(&c, -1, missing, NULL, NULL, NULL), EXIT_RUNTIME);
	assert_has(c.err, "/nonexistent/weir.pcap: No such file or directory\n");
	assert_int_equal(replay(&c, -1, dump_end(&empty), NULL, NULL, NULL), EXIT_RUNTIME);
	assert_has(c.err, "the file is empty");
	assert_has(c.err, "packets: 0 read = 0 in flows; difference 0\n");
	dump_remove(&empty);
}

static void a_call_to_stop_reports_what_was_read(void **state)
{
	struct dump d = dump_start(DUMP_US, ETHERNET);
	int stop_fd = eventfd(1, EFD_CLOEXEC);
	struct capture c;

	(void)state;
	assert_true(stop_fd >= 0);
	for (uint32_t i = 0; i < 5000; i++)
		add_udp(&d, i, 1000);
	assert_int_equal(replay(&c, stop_fd, dump_end(&d), NULL, NULL, NULL), EXIT_RUNTIME);
	assert_int_equal(lines(c.out), 1);
	assert_has(c.err, "stopped, reporting 4096 packets so far");
	assert_has(c.err, "packets: 4096 read = 4096 in flows; difference 0\n");
	close(stop_fd);
	dump_remove(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_conversation_is_one_record),
		cmocka_unit_test(files_share_one_table),
		cmocka_unit_test(what_is_no_flow_has_a_name),
		cmocka_unit_test(bytes_are_those_of_the_wire),
		cmocka_unit_test(the_full_table_counts_what_it_refuses),
		cmocka_unit_test(time_may_go_backwards),
		cmocka_unit_test(a_damaged_file_counts_up_to_the_damage),
		cmocka_unit_test(no_file_is_an_error),
		cmocka_unit_test(a_call_to_stop_reports_what_was_read),
	};

	if (geteuid() != 0) {
		puts("skipped: loading BPF programs needs root");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
