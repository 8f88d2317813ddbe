// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "probe/replay/dump_file.h"
#include "tests/unit/dump.h"
#include "tests/unit/fail_alloc.h"

/* https://www.tcpdump.org/linktypes.html */
enum {
	NULL_LINK = 0,
	ETHERNET = 1,
	PPP = 9,
	FDDI = 10,
	ATM = 100,
	RAW = 101,
	CISCO_HDLC = 104,
	IEEE802_11 = 105,
	FRAME_RELAY = 107,
	LOOP = 108,
	SLL = 113,
	PFLOG = 117,
	RADIOTAP = 127,
	ARCNET = 129,
	PPI = 192,
	IPNET = 226,
	NFLOG = 239,
	SLL2 = 276
};
#define USB	  189
#define ETH_BYTES 14

static const uint8_t ipv4[] = {0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17};
static const uint8_t ipv6[] = {0x60, 0, 0, 0, 0, 0, 17, 64};

/* The only packet of a file; data is only good until the file is closed. */
struct only {
	struct dump_file *file;
	struct dump_frame frame;
};

static struct only read_only(struct dump *d)
{
	char error[DUMP_FILE_ERROR_BYTES] = "";
	struct only o;

	assert_int_equal(dump_file_open(dump_end(d), &o.file, error), 0);
	assert_int_equal(dump_file_next(o.file, &o.frame), 1);
	return o;
}

static void close_only(struct only *o, const struct dump *d)
{
	struct dump_frame none;

	assert_int_equal(dump_file_next(o->file, &none), 0);
	dump_file_close(o->file);
	dump_remove(d);
}

static void ethernet_frames_come_as_they_are(void **state)
{
	uint8_t frame[60] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x08, 0x00, 0x45};
	struct dump d = dump_start(DUMP_US, ETHERNET);
	struct only o;

	(void)state;
	dump_add(&d, 1700000000, 250, frame, sizeof(frame), sizeof(frame));
	o = read_only(&d);
	assert_true(o.frame.time_ns == 1700000000000250000);
	assert_int_equal(o.frame.bytes, 60);
	assert_int_equal(o.frame.captured, 60);
	assert_int_equal(o.frame.frame_len, 60);
	assert_int_equal(o.frame.len, 60);
	assert_memory_equal(o.frame.data, frame, 60);
	close_only(&o, &d);
}

static void nanoseconds_are_kept(void **state)
{
	struct dump d = dump_start(DUMP_NS, ETHERNET);
	uint8_t frame[60] = {0};
	struct only o;

	(void)state;
	dump_add(&d, 5, 7, frame, sizeof(frame), sizeof(frame));
	o = read_only(&d);
	assert_true(o.frame.time_ns == 5000000007);
	close_only(&o, &d);
}

/* For the datapath 0 ns is "never". */
static void the_epoch_itself_is_one(void **state)
{
	struct dump d = dump_start(DUMP_US, ETHERNET);
	uint8_t frame[60] = {0};
	struct only o;

	(void)state;
	dump_add(&d, 0, 0, frame, sizeof(frame), sizeof(frame));
	o = read_only(&d);
	assert_true(o.frame.time_ns == 1);
	close_only(&o, &d);
}

static void a_long_frame_gives_its_start(void **state)
{
	static uint8_t frame[40000];
	struct dump d = dump_start(DUMP_US, ETHERNET);
	struct only o;

	(void)state;
	dump_add(&d, 1, 0, frame, sizeof(frame), 50000);
	o = read_only(&d);
	assert_int_equal(o.frame.len, DUMP_FILE_FRAME_MAX);
	assert_int_equal(o.frame.captured, sizeof(frame));
	assert_int_equal(o.frame.bytes, 50000);
	assert_int_equal(o.frame.frame_len, 50000);
	close_only(&o, &d);
}

/* head: what the link puts before ip; a capture of more than is in the file. */
static void check_link(uint32_t link, const char *head, size_t head_len, const uint8_t *ip,
		       size_t ip_len, uint16_t ethertype)
{
	struct dump d = dump_start(DUMP_US, link);
	uint8_t packet[64];
	struct only o;

	memcpy(packet, head, head_len);
	memcpy(packet + head_len, ip, ip_len);
	dump_add(&d, 1, 0, packet, (uint32_t)(head_len + ip_len), 1000);
	o = read_only(&d);
	assert_int_equal(o.frame.bytes, 1000); /* the capture's own length */
	assert_int_equal(o.frame.captured, head_len + ip_len);
	assert_int_equal(o.frame.frame_len, 1000 - head_len + ETH_BYTES);
	assert_int_equal(o.frame.len, ETH_BYTES + ip_len);
	assert_int_equal(o.frame.data[12] << 8 | o.frame.data[13], ethertype);
	assert_memory_equal(o.frame.data + ETH_BYTES, ip, ip_len);
	close_only(&o, &d);
}

static void other_links_get_an_ethernet_header(void **state)
{
	(void)state;
	check_link(RAW, "", 0, ipv4, sizeof(ipv4), 0x0800);
	check_link(RAW, "", 0, ipv6, sizeof(ipv6), 0x86dd);
	check_link(SLL, "\0\0\0\1\0\6\1\2\3\4\5\6\0\0\x08\0", 16, ipv4, sizeof(ipv4), 0x0800);
	check_link(SLL, "\0\0\0\1\0\6\1\2\3\4\5\6\0\0\x08\6", 16, ipv4, sizeof(ipv4), 0x0806);
	check_link(SLL2, "\x86\xdd\0\0\0\0\0\2\0\1\0\6\1\2\3\4\5\6\0\0", 20, ipv6, sizeof(ipv6),
		   0x86dd);
	check_link(NULL_LINK, "\2\0\0\0", 4, ipv4, sizeof(ipv4), 0x0800);
	check_link(NULL_LINK, "\0\0\0\x1e", 4, ipv6, sizeof(ipv6), 0x86dd);
	check_link(LOOP, "\0\0\0\x18", 4, ipv6, sizeof(ipv6), 0x86dd);
	check_link(PPP, "\xff\3\0\x21", 4, ipv4, sizeof(ipv4), 0x0800);
	check_link(PPP, "\0\x57", 2, ipv6, sizeof(ipv6), 0x86dd);
	check_link(PPP, "\xc0\x21", 2, ipv4, sizeof(ipv4), 0); /* LCP is not IP */
	check_link(PPP, "\x21", 1, ipv4, sizeof(ipv4), 0x0800);
	check_link(PPP, "\x0f\0\x08\0", 4, ipv4, sizeof(ipv4), 0x0800); /* it is Cisco HDLC */
	check_link(CISCO_HDLC, "\x0f\0\x86\xdd", 4, ipv6, sizeof(ipv6), 0x86dd);
	check_link(FRAME_RELAY, "\x18\x41\3\xcc", 4, ipv4, sizeof(ipv4), 0x0800);
	check_link(FRAME_RELAY, "\x18\x41\x08\0", 4, ipv4, sizeof(ipv4), 0x0800); /* Cisco's */
	check_link(FRAME_RELAY, "\x18\x41\3\0\x80\0\0\0\x86\xdd", 10, ipv6, sizeof(ipv6), 0x86dd);
	check_link(FDDI, "\x50\1\2\3\4\5\6\1\2\3\4\5\6", 13, ipv4, sizeof(ipv4), 4); /* LLC */
	check_link(ATM, "", 0, ipv4, sizeof(ipv4), 0x0800);
	check_link(ARCNET, "\1\2\0\0\xd4\0\0\1", 8, ipv4, sizeof(ipv4), 0x0800);
	check_link(ARCNET, "\1\2\0\0\xf0", 5, ipv4, sizeof(ipv4), 0x0800);
	check_link(NFLOG, "\2\0\0\0\x05\0\x0a\0X\0\0\0\x18\0\x09\0", 16, ipv4, sizeof(ipv4),
		   0x0800);
	check_link(PFLOG, "\3\x02\0\0", 4, ipv4, sizeof(ipv4), 0x0800);
	check_link(IPNET, "\1\x1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, ipv6,
		   sizeof(ipv6), 0x86dd);
	check_link(PPI, "\0\0\x0a\0\x65\0\0\0xx", 10, ipv4, sizeof(ipv4), 0x0800);
}

/* Data frames: what follows is LLC. Length of the header: 24, with QoS 26, between access points
 * 30. What is encrypted or no data holds nothing for us. */
static void wireless_frames_are_read(void **state)
{
	static const char llc[] = "\xaa\xaa\3\0\0\0\x08\0\x45";
	static const struct {
		char control[3];
		uint16_t head, ethertype;
	} cases[] = {
		{"\x08\x01", 24, 4}, {"\x88\x02", 26, 4}, {"\x08\x03", 30, 4}, {"\x88\x83", 36, 4},
		{"\x08\x41", 0, 0},  {"\x80\x00", 0, 0},  {"\x48\x01", 0, 0},
	};
	char head[64] = "\0\0\x0a\0\x02\0\0\0\0\0"; /* radiotap with flags */

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		memcpy(head + 10, cases[i].control, 2);
		check_link(IEEE802_11, head + 10, cases[i].head, (const uint8_t *)llc, sizeof(llc),
			   cases[i].ethertype);
		check_link(RADIOTAP, head, 10 + cases[i].head, (const uint8_t *)llc, sizeof(llc),
			   cases[i].ethertype);
	}
	head[10] = (char)0x88;
	head[11] = 0x02;
	head[8] = 0x20; /* filled up to 28 bytes */
	check_link(RADIOTAP, head, 10 + 28, (const uint8_t *)llc, sizeof(llc), 4);
}

static void a_cut_link_header_gives_no_frame(void **state)
{
	static const uint32_t links[] = {PPP, NULL_LINK, LOOP, SLL, SLL2};

	(void)state;
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++) {
		struct dump d = dump_start(DUMP_US, links[i]);
		struct only o;

		dump_add(&d, 1, 0, "\xff", 1, 100);
		o = read_only(&d);
		assert_int_equal(o.frame.len, 0);
		assert_int_equal(o.frame.bytes, 100);
		close_only(&o, &d);
	}
}

/* Section header, two interfaces (Ethernet, USB), a packet of each: pcapng 4.1 to 4.3. */
static void a_link_that_we_do_not_read_gives_no_frame(void **state)
{
	static const uint32_t blocks[] = {
		0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28, 1, 20, ETHERNET, 0,	20,
		1,	    20, USB,	    0, 20,	   6,	       48, 0, 0,  3000000,  16, 60,
		0,	    0,	0x45000008, 0, 48,	   6,	       48, 1, 0,  3000000,  16, 60,
		0,	    0,	0x45000008, 0, 48,
	};
	struct dump d = dump_new();
	struct dump_frame second;
	struct only o;

	(void)state;
	dump_put(&d, blocks, sizeof(blocks));
	o = read_only(&d);
	assert_true(o.frame.time_ns == 3000000000);
	assert_int_equal(o.frame.bytes, 60);
	assert_int_equal(o.frame.len, 16);
	assert_false(o.frame.unread);
	assert_int_equal(dump_file_next(o.file, &second), 1);
	assert_true(second.unread);
	assert_int_equal(second.link, USB);
	assert_int_equal(second.len, 0);
	close_only(&o, &d);
}

static void a_file_that_ends_too_early_is_damaged(void **state)
{
	struct dump d = dump_start(DUMP_US, ETHERNET);
	uint8_t frame[60] = {0};
	struct dump_frame none;
	struct only o;

	(void)state;
	dump_add(&d, 1, 0, frame, sizeof(frame), sizeof(frame));
	dump_put(&d, frame, 5);
	o = read_only(&d);
	assert_int_equal(dump_file_next(o.file, &none), -EBADMSG);
	assert_non_null(strstr(dump_file_error(o.file), "truncated"));
	dump_file_close(o.file);
	dump_remove(&d);
}

static void an_impossible_length_is_damage(void **state)
{
	const uint32_t head[] = {1, 0, 0x7fffffff, 0x7fffffff};
	struct dump d = dump_start(DUMP_US, ETHERNET);
	char error[DUMP_FILE_ERROR_BYTES];
	struct dump_frame none;
	struct dump_file *f;

	(void)state;
	dump_put(&d, head, sizeof(head));
	assert_int_equal(dump_file_open(dump_end(&d), &f, error), 0);
	assert_int_equal(dump_file_next(f, &none), -EBADMSG);
	dump_file_close(f);
	dump_remove(&d);
}

static void check_refused(struct dump *d, int err, const char *why)
{
	char error[DUMP_FILE_ERROR_BYTES] = "";
	struct dump_file *f = NULL;

	assert_int_equal(dump_file_open(dump_end(d), &f, error), err);
	assert_non_null(strstr(error, why));
	assert_null(f);
	dump_remove(d);
}

static void what_is_no_capture_is_refused(void **state)
{
	struct dump empty = dump_new(), text = dump_new(), usb = dump_start(DUMP_US, USB);

	(void)state;
	check_refused(&empty, -EBADMSG, "empty");
	dump_put(&text, "this is not a capture file at all", 33);
	check_refused(&text, -EBADMSG, "unknown file format");
	check_refused(&usb, -EPROTONOSUPPORT, "189 (USB)");
}

static void a_file_without_packets_just_ends(void **state)
{
	struct dump d = dump_start(DUMP_US, ETHERNET);
	char error[DUMP_FILE_ERROR_BYTES];
	struct dump_frame none;
	struct dump_file *f;

	(void)state;
	assert_int_equal(dump_file_open(dump_end(&d), &f, error), 0);
	assert_int_equal(dump_file_next(f, &none), 0);
	dump_file_close(f);
	dump_file_close(NULL);
	dump_remove(&d);
}

static void no_memory_is_an_error(void **state)
{
	struct dump d = dump_start(DUMP_US, ETHERNET);
	char error[DUMP_FILE_ERROR_BYTES];
	struct dump_file *f;

	(void)state;
	(void)dump_end(&d);
	(void)fail_alloc_at(1);
	assert_int_equal(dump_file_open(d.path, &f, error), -ENOMEM);
	(void)fail_alloc_at(0);
	assert_string_equal(error, "out of memory");
	dump_remove(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ethernet_frames_come_as_they_are),
		cmocka_unit_test(nanoseconds_are_kept),
		cmocka_unit_test(the_epoch_itself_is_one),
		cmocka_unit_test(a_long_frame_gives_its_start),
		cmocka_unit_test(other_links_get_an_ethernet_header),
		cmocka_unit_test(wireless_frames_are_read),
		cmocka_unit_test(a_cut_link_header_gives_no_frame),
		cmocka_unit_test(a_link_that_we_do_not_read_gives_no_frame),
		cmocka_unit_test(a_file_that_ends_too_early_is_damaged),
		cmocka_unit_test(an_impossible_length_is_damage),
		cmocka_unit_test(what_is_no_capture_is_refused),
		cmocka_unit_test(a_file_without_packets_just_ends),
		cmocka_unit_test(no_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
