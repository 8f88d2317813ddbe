// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include <zlib.h>

#include "probe/replay/pcap_reader.h"
#include "tests/unit/dump.h"
#include "tests/unit/fail_alloc.h"

enum { INTERFACE = 1, OBSOLETE = 2, SIMPLE = 3, ENHANCED = 6, CUSTOM = 0xbad };

/* Blocks of a pcapng, in either byte order. */
struct ng {
	struct dump d;
	bool swapped;
};

static void put32(struct ng *n, uint32_t v)
{
	v = n->swapped ? __builtin_bswap32(v) : v;
	dump_put(&n->d, &v, sizeof(v));
}

static void put_block(struct ng *n, uint32_t type, const uint32_t *body, size_t words)
{
	uint32_t len = (uint32_t)(12 + 4 * words);

	put32(n, type);
	put32(n, len);
	for (size_t i = 0; i < words; i++)
		put32(n, body[i]);
	put32(n, len);
}
#define BLOCK(n, type, ...)                                                                        \
	put_block(n, type, (const uint32_t[]){__VA_ARGS__},                                        \
		  sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

/* Two 16-bit fields as the word of this byte order. */
static uint32_t halves(const struct ng *n, uint16_t first, uint16_t second)
{
	return n->swapped ? (uint32_t)first << 16 | second : (uint32_t)second << 16 | first;
}

static void begin_section(struct ng *n, bool swapped)
{
	n->swapped = swapped;
	BLOCK(n, 0x0a0d0d0a, 0x1a2b3c4d, halves(n, 1, 0), 0xffffffff, 0xffffffff);
}

static void expect(struct pcap_reader *r, uint32_t link, uint64_t time_ns, uint32_t captured,
		   uint32_t bytes)
{
	struct pcap_packet p;

	assert_int_equal(pcap_reader_next(r, &p), 1);
	assert_int_equal(p.link, link);
	assert_true(p.time_ns == time_ns);
	assert_int_equal(p.captured, captured);
	assert_int_equal(p.bytes, bytes);
}

static struct pcap_reader *open_file(struct dump *d)
{
	struct pcap_reader *r = NULL;
	int64_t link;

	assert_int_equal(pcap_reader_open(dump_end(d), &r, &link), 0);
	return r;
}

static void expect_end(struct pcap_reader *r, const struct dump *d)
{
	struct pcap_packet p;

	assert_int_equal(pcap_reader_next(r, &p), 0);
	pcap_reader_close(r);
	dump_remove(d);
}

/* Other snapshot lengths, links, resolutions; another section, in the other byte order. */
static void sections_and_interfaces_may_differ(void **state)
{
	struct ng n = {.d = dump_new()};
	struct pcap_reader *r;

	(void)state;
	for (int swapped = 0; swapped < 2; swapped++) {
		begin_section(&n, swapped);
		BLOCK(&n, INTERFACE, halves(&n, 1, 0), 65535);
		BLOCK(&n, INTERFACE, halves(&n, 113, 0), 96, halves(&n, 9, 1),
		      swapped ? 9u << 24 : 9, halves(&n, 14, 8), n.swapped ? 0 : 100,
		      n.swapped ? 100 : 0, 0);
		BLOCK(&n, CUSTOM, 1, 2, 3);
		BLOCK(&n, ENHANCED, 0, 0, 5, 8, 60, 1, 2);
		BLOCK(&n, ENHANCED, 1, 0, 7, 4, 1500, 1);
		BLOCK(&n, SIMPLE, 6, 1, 2); /* padded */
		BLOCK(&n, OBSOLETE, halves(&n, 0, 0), 1, 0, 4, 4, 1);
	}
	r = open_file(&n.d);
	for (int swapped = 0; swapped < 2; swapped++) {
		expect(r, 1, 5000, 8, 60);
		expect(r, 113, 100000000007, 4, 1500);
		expect(r, 1, 100000000007, 6, 6); /* the time before */
		expect(r, 1, (1ull << 32) * 1000, 4, 4);
	}
	expect_end(r, &n.d);
}

/* if_tsresol: 2^-1 s, 10^-12 s. */
static void resolutions(void **state)
{
	struct ng n = {.d = dump_new()};
	struct pcap_reader *r;

	(void)state;
	begin_section(&n, false);
	BLOCK(&n, INTERFACE, 1, 0, 9 | 1 << 16, 0x81);
	BLOCK(&n, INTERFACE, 1, 0, 9 | 1 << 16, 12);
	BLOCK(&n, ENHANCED, 0, 0, 7, 4, 4, 0);
	BLOCK(&n, ENHANCED, 1, 1, 0, 4, 4, 0);
	r = open_file(&n.d);
	expect(r, 1, 3500000000, 4, 4);
	expect(r, 1, (1ull << 32) / 1000, 4, 4);
	expect_end(r, &n.d);
}

static void a_pcap_of_the_other_byte_order(void **state)
{
	const uint32_t words[] = {0xd4c3b2a1, 0x02000400, 0,	      0,	  0,
				  0x01000000, /* a packet: */
				  0x01000000, 0x02000000, 0x04000000, 0x08000000, 0};
	struct dump d = dump_new();
	struct pcap_reader *r;

	(void)state;
	dump_put(&d, &words[0], 4);
	dump_put(&d, "\0\2\0\4", 4);
	dump_put(&d, &words[2], sizeof(words) - 8);
	r = open_file(&d);
	expect(r, 1, 1000002000, 4, 8);
	expect_end(r, &d);
}

static void patched_packet_headers_are_longer(void **state)
{
	const uint32_t packet[] = {1, 0, 4, 4, 0, 0, 0};
	struct dump d = dump_start(0xa1b2cd34, 1);
	struct pcap_reader *r;

	(void)state;
	dump_put(&d, packet, sizeof(packet));
	dump_put(&d, packet, sizeof(packet));
	r = open_file(&d);
	expect(r, 1, 1000000000, 4, 4);
	expect(r, 1, 1000000000, 4, 4);
	expect_end(r, &d);
}

static void gzip_is_unpacked(void **state)
{
	static const uint32_t file[] = {DUMP_NS, 2 | 4 << 16, 0, 0, 65535, 1, 1, 2, 4, 4, 0};
	struct dump d = dump_new();
	struct pcap_reader *r;
	gzFile zipped = gzopen(d.path, "wb");

	(void)state;
	assert_int_equal(gzwrite(zipped, file, sizeof(file)), sizeof(file));
	assert_int_equal(gzclose(zipped), Z_OK);
	r = open_file(&d);
	expect(r, 1, 1000000002, 4, 4);
	expect_end(r, &d);
}

/* Only the start of a long packet is kept, its end is skipped. */
static void long_packets(void **state)
{
	static uint8_t data[300000];
	struct dump d = dump_start(DUMP_US, 1);
	struct pcap_packet p;
	struct pcap_reader *r;

	(void)state;
	dump_add(&d, 1, 0, data, sizeof(data), 400000);
	dump_add(&d, 2, 0, data, 60, 60);
	r = open_file(&d);
	assert_int_equal(pcap_reader_next(r, &p), 1);
	assert_int_equal(p.len, PCAP_READER_DATA_MAX);
	assert_int_equal(p.captured, 300000);
	expect(r, 1, 2000000000, 60, 60);
	expect_end(r, &d);
}

static void expect_damage(struct ng *n, const char *why)
{
	struct pcap_packet p;
	struct pcap_reader *r = open_file(&n->d);

	assert_int_equal(pcap_reader_next(r, &p), -EBADMSG);
	assert_non_null(strstr(pcap_reader_error(r), why));
	pcap_reader_close(r);
	dump_remove(&n->d);
}

static void damage_is_told(void **state)
{
	struct ng n;

	(void)state;
	n.d = dump_new();
	begin_section(&n, false);
	BLOCK(&n, ENHANCED, 0, 0, 0, 4, 4, 0);
	expect_damage(&n, "interface that is not described");

	n.d = dump_new();
	begin_section(&n, false);
	BLOCK(&n, INTERFACE, 1, 0);
	BLOCK(&n, ENHANCED, 0, 0, 0, 5, 5, 0);
	expect_damage(&n, "longer than its block");

	n.d = dump_new();
	begin_section(&n, false);
	BLOCK(&n, INTERFACE, 1);
	expect_damage(&n, "interface description that is too short");

	n.d = dump_new();
	begin_section(&n, false);
	BLOCK(&n, INTERFACE, 1, 0);
	BLOCK(&n, OBSOLETE, 1);
	expect_damage(&n, "packet block that is too short");

	n.d = dump_new();
	begin_section(&n, false);
	put32(&n, CUSTOM);
	put32(&n, 0xfffffff0);
	expect_damage(&n, "block of impossible length");

	n.d = dump_new();
	begin_section(&n, false);
	put32(&n, CUSTOM);
	put32(&n, 16);
	put32(&n, 0);
	put32(&n, 20);
	expect_damage(&n, "two lengths differ");

	n.d = dump_new();
	begin_section(&n, false);
	put32(&n, CUSTOM);
	put32(&n, 16);
	expect_damage(&n, "truncated");
}

static void expect_refused(struct dump *d, int err, const char *why)
{
	struct pcap_reader *r;
	int64_t link;

	assert_int_equal(pcap_reader_open(dump_end(d), &r, &link), err);
	assert_non_null(strstr(pcap_reader_error(r), why));
	pcap_reader_close(r);
	dump_remove(d);
}

static void what_is_no_capture_is_refused(void **state)
{
	struct dump d = dump_new();

	(void)state;
	expect_refused(&d, -EBADMSG, "empty");
	d = dump_new();
	dump_put(&d, "ab", 2);
	expect_refused(&d, -EBADMSG, "too short");
	d = dump_new();
	dump_put(&d, "\x0a\x0d\x0d\x0a\x1c\0\0\0abcd", 12);
	expect_refused(&d, -EBADMSG, "byte-order mark");
	d = dump_new();
	dump_put(&d, "\xd4\xc3\xb2\xa1\x02\0", 6);
	expect_refused(&d, -EBADMSG, "truncated");
}

static void a_missing_file_is_an_error(void **state)
{
	struct pcap_reader *r;
	int64_t link;

	(void)state;
	assert_int_equal(pcap_reader_open("/nonexistent/x.pcap", &r, &link), -ENOENT);
	assert_non_null(strstr(pcap_reader_error(r), "No such file"));
	pcap_reader_close(r);
	pcap_reader_close(NULL);
}

static void no_memory_is_an_error(void **state)
{
	struct ng n = {.d = dump_new()};
	struct pcap_packet p;
	struct pcap_reader *r;
	int64_t link;
	int err;

	(void)state;
	begin_section(&n, false);
	for (int i = 0; i < 5; i++)
		BLOCK(&n, INTERFACE, 1, 0);
	(void)dump_end(&n.d);
	for (unsigned at = 1;; at++) {
		fail_alloc_at(at);
		err = pcap_reader_open(n.d.path, &r, &link);
		if (!err)
			err = pcap_reader_next(r, &p);
		if (err)
			assert_string_equal(pcap_reader_error(r), "out of memory");
		pcap_reader_close(r);
		if (!fail_alloc_at(0))
			break;
		assert_int_equal(err, -ENOMEM);
	}
	assert_int_equal(err, 0);
	dump_remove(&n.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sections_and_interfaces_may_differ),
		cmocka_unit_test(resolutions),
		cmocka_unit_test(a_pcap_of_the_other_byte_order),
		cmocka_unit_test(patched_packet_headers_are_longer),
		cmocka_unit_test(gzip_is_unpacked),
		cmocka_unit_test(long_packets),
		cmocka_unit_test(damage_is_told),
		cmocka_unit_test(what_is_no_capture_is_refused),
		cmocka_unit_test(a_missing_file_is_an_error),
		cmocka_unit_test(no_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
