// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "probe/dump_file.h"
#include "tests/unit/dump.h"
#include "tests/unit/fail_alloc.h"

/* https://www.tcpdump.org/linktypes.html */
enum { ETHERNET = 1, PPP = 9, RAW = 101, NULL_LINK = 0, LOOP = 108, SLL = 113, SLL2 = 276 };
#define IEEE802_11 105
#define ETH_BYTES  14

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

/* Section header, interface description (Ethernet), enhanced packet: pcapng 4.1 to 4.3. */
static void pcapng_is_read_too(void **state)
{
	static const uint32_t blocks[] = {
		0x0a0d0d0a, 28, 0x1a2b3c4d, 1, 0xffffffff, 0xffffffff, 28, 1, 20, ETHERNET,   0, 20,
		6,	    48, 0,	    0, 3000000,	   16,	       60, 0, 0,  0x45000008, 0, 48,
	};
	struct dump d = dump_new();
	struct only o;

	(void)state;
	dump_put(&d, blocks, sizeof(blocks));
	o = read_only(&d);
	assert_true(o.frame.time_ns == 3000000000);
	assert_int_equal(o.frame.bytes, 60);
	assert_int_equal(o.frame.len, 16);
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
	struct dump empty = dump_new(), text = dump_new(), wifi = dump_start(DUMP_US, IEEE802_11);

	(void)state;
	check_refused(&empty, -EBADMSG, "truncated");
	dump_put(&text, "this is not a capture file at all", 33);
	check_refused(&text, -EBADMSG, "unknown file format");
	check_refused(&wifi, -EPROTONOSUPPORT, "105 (802.11)");
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
		cmocka_unit_test(a_cut_link_header_gives_no_frame),
		cmocka_unit_test(pcapng_is_read_too),
		cmocka_unit_test(a_file_that_ends_too_early_is_damaged),
		cmocka_unit_test(an_impossible_length_is_damage),
		cmocka_unit_test(what_is_no_capture_is_refused),
		cmocka_unit_test(a_file_without_packets_just_ends),
		cmocka_unit_test(no_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
