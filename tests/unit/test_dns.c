// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "probe/names/dns.h"

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

/* Header: id 0x1234, flags, one question, no records but an OPT. */
#define HEADER(flags, answers) "\x12\x34" flags "\0\1\0" answers "\0\0\0\1"
#define QUERY_FLAGS	       "\x01\0"
#define QUESTION_AAAA	       "\0\x1c\0\1"
#define OPT		       "\0\0\x29\4\xd0\0\0\0\0\0\0"

static const char query[] = HEADER(QUERY_FLAGS, "\0") "\3WwW\7example\3com\0" QUESTION_AAAA OPT;

static void reads_a_query(void **state)
{
	struct dns_message m;

	(void)state;
	assert_int_equal(dns_parse(BYTES(query), &m), 0);
	assert_int_equal(m.id, 0x1234);
	assert_false(m.response);
	assert_int_equal(m.qtype, 28);
	assert_int_equal(m.answers, 0);
	assert_string_equal(m.qname, "www.example.com");
	assert_false(m.cut);
}

static void reads_a_response_whose_records_are_cut_off(void **state)
{
	static const char response[] =
		HEADER("\x81\x83", "\7") "\1x\0" QUESTION_AAAA "\xc0\x0c\0\x05\0\1\0";
	struct dns_message m;

	(void)state;
	assert_int_equal(dns_parse(BYTES(response), &m), 0);
	assert_true(m.response);
	assert_int_equal(m.rcode, 3);
	assert_int_equal(m.answers, 7);
	assert_string_equal(m.qname, "x");
}

static void a_query_has_no_rcode(void **state)
{
	struct dns_message m;

	(void)state;
	assert_int_equal(dns_parse(BYTES(HEADER("\x01\x05", "\0") "\1x\0" QUESTION_AAAA), &m), 0);
	assert_int_equal(m.rcode, 0);
}

static void needs_no_question(void **state)
{
	static const char formerr[] = "\x12\x34\x81\1\0\0\0\0\0\0\0\0";
	struct dns_message m;

	(void)state;
	assert_int_equal(dns_parse(BYTES(formerr), &m), 0);
	assert_int_equal(m.rcode, 1);
	assert_int_equal(m.qtype, 0);
	assert_string_equal(m.qname, "");
}

static void cleans_names(void **state)
{
	static const struct {
		const char *wire;
		size_t len;
		const char *text;
	} names[] = {
		{"\0", 1, "."},
		{"\3a.b\3c\\d\0", 9, "a\\.b.c\\\\d"},
		{"\4\xff\x1b \n\0", 6, "\\255\\027\\032\\010"},
		{"\2\xc3\xa9\0", 4, "\\195\\169"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		uint8_t msg[64] = {0, 1, 1, 0, 0, 1};
		struct dns_message m;

		memcpy(msg + 12, names[i].wire, names[i].len);
		assert_int_equal(dns_parse(msg, 12 + names[i].len + 4, &m), 0);
		assert_string_equal(m.qname, names[i].text);
	}
}

/* A message with a name of n labels of len bytes and one of last bytes. */
static size_t long_name(uint8_t *msg, size_t n, size_t len, size_t last, uint8_t byte)
{
	size_t at = 12;

	memcpy(msg, query, 12);
	for (size_t i = 0; i <= n; i++) {
		size_t bytes = i < n ? len : last;

		msg[at++] = (uint8_t)bytes;
		memset(msg + at, byte, bytes);
		at += bytes;
	}
	memset(msg + at, 0, 5);
	return at + 5;
}

static void takes_the_longest_name_and_no_longer(void **state)
{
	uint8_t msg[400];
	struct dns_message m;

	(void)state;
	assert_int_equal(dns_parse(msg, long_name(msg, 3, 63, 61, 'a'), &m), 0);
	assert_int_equal(strlen(m.qname), 253);
	assert_false(m.cut);
	assert_int_equal(dns_parse(msg, long_name(msg, 3, 63, 62, 'a'), &m), 0);
	assert_true(m.damaged);
}

static void says_that_a_name_was_cut(void **state)
{
	uint8_t msg[400];
	struct dns_message m;

	(void)state;
	assert_int_equal(dns_parse(msg, long_name(msg, 3, 63, 61, 0xff), &m), 0);
	assert_true(m.cut);
	assert_int_equal(strlen(m.qname), 63 * 4 + 1); /* with the dot */
}

static void refuses_compression_and_reserved_labels(void **state)
{
	struct dns_message m;

	(void)state;
	assert_int_equal(dns_parse(BYTES(HEADER("\1\0", "\0") "\xc0\x0c\0\1\0\1"), &m), 0);
	assert_true(m.damaged);
	assert_string_equal(m.qname, DNS_NAME_UNREAD);
	assert_int_equal(dns_parse(BYTES(HEADER("\1\0", "\0") "\1a\xc0\x0c\0\1\0\1"), &m), 0);
	assert_true(m.damaged);
	assert_int_equal(
		dns_parse(BYTES(HEADER("\1\0", "\0") "\x40"
						     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
						     "aaaaaaaaaaaaaaaaaaaaaaaaaaa\0\0\1\0\1"),
			  &m),
		0);
	assert_true(m.damaged);
}

/* A response is one by its number: its question may be cut off. */
static void a_damaged_response_has_no_name(void **state)
{
	struct dns_message m;

	(void)state;
	assert_int_equal(dns_parse(BYTES(HEADER("\x81\0", "\1") "\3ww"), &m), 0);
	assert_true(m.response && m.damaged);
	assert_string_equal(m.qname, "");
}

static void what_no_header_says_is_refused(void **state)
{
	struct dns_message m;

	(void)state;
	assert_int_equal(dns_parse(BYTES(HEADER("\x78\0", "\0") "\1x\0" QUESTION_AAAA), &m),
			 -EBADMSG);
}

static void tells_every_cut_before_the_end_of_the_question(void **state)
{
	size_t question_end = sizeof(query) - 1 - (sizeof(OPT) - 1);
	struct dns_message m;

	(void)state;
	for (size_t len = 0; len < question_end; len++) {
		int err = dns_parse((const uint8_t *)query, len, &m);

		assert_int_equal(err, len < 12 ? -EBADMSG : 0);
		assert_true(err || m.damaged);
	}
	assert_int_equal(dns_parse((const uint8_t *)query, question_end, &m), 0);
}

/* --- streams ------------------------------------------------------------------ */

struct seen {
	size_t n;
	size_t len[8];
	uint8_t first[8];
};

static void on_message(const uint8_t *msg, size_t len, void *arg)
{
	struct seen *seen = arg;

	assert_true(seen->n < 8);
	seen->len[seen->n] = len;
	seen->first[seen->n++] = len ? msg[0] : 0;
}

/* Messages of 20, 1000 and 30 bytes, which consist of 'a', 'b' and 'c'. */
static size_t three_messages(uint8_t *stream)
{
	static const size_t lengths[] = {20, 1000, 30};
	size_t at = 0;

	for (size_t i = 0; i < 3; i++) {
		stream[at++] = (uint8_t)(lengths[i] >> 8);
		stream[at++] = (uint8_t)lengths[i];
		memset(stream + at, 'a' + (int)i, lengths[i]);
		at += lengths[i];
	}
	return at;
}

static void check_three(const struct seen *seen)
{
	assert_int_equal(seen->n, 3);
	assert_memory_equal(seen->first, "abc", 3);
	assert_int_equal(seen->len[0], 20);
	assert_int_equal(seen->len[1], DNS_HEAD_BYTES - 2);
	assert_int_equal(seen->len[2], 30);
}

static void finds_messages_however_they_are_cut(void **state)
{
	uint8_t stream[2048];
	size_t len = three_messages(stream);

	(void)state;
	for (size_t step = 1; step <= len; step += step < 40 ? 1 : 97) {
		uint32_t seq = (uint32_t)-500; /* the numbers wrap */
		struct dns_stream s = {0};
		struct seen seen = {0};

		for (size_t at = 0; at < len; at += step) {
			size_t n = len - at < step ? len - at : step;

			dns_stream_feed(&s, seq + (uint32_t)at, stream + at, n, n, on_message,
					&seen);
		}
		check_three(&seen);
	}
}

static void skips_what_is_sent_again(void **state)
{
	uint8_t stream[2048];
	size_t len = three_messages(stream);
	struct dns_stream s = {0};
	struct seen seen = {0};

	(void)state;
	dns_stream_feed(&s, 0, stream, 22, 22, on_message, &seen);
	dns_stream_feed(&s, 0, stream, 22, 22, on_message, &seen);
	dns_stream_feed(&s, 10, stream + 10, len - 10, len - 10, on_message, &seen);
	check_three(&seen);
}

static void bridges_gaps_inside_of_a_message(void **state)
{
	uint8_t stream[2048];
	size_t len = three_messages(stream);
	struct dns_stream s = {0};
	struct seen seen = {0};

	(void)state;
	dns_stream_feed(&s, 0, stream, 400, 400, on_message, &seen);
	dns_stream_feed(&s, 900, stream + 900, len - 900, len - 900, on_message, &seen);
	check_three(&seen);
}

static void bytes_that_were_not_copied_are_a_gap(void **state)
{
	uint8_t stream[2048];
	size_t len = three_messages(stream);
	struct dns_stream s = {0};
	struct seen seen = {0};

	(void)state;
	dns_stream_feed(&s, 0, stream, 400, 1000, on_message, &seen);
	dns_stream_feed(&s, 1000, stream + 1000, len - 1000, len - 1000, on_message, &seen);
	check_three(&seen);
}

static void starts_anew_behind_a_gap_between_messages(void **state)
{
	uint8_t stream[2048];
	size_t len = three_messages(stream);
	struct dns_stream s = {0};
	struct seen seen = {0};

	(void)state;
	dns_stream_feed(&s, 0, stream, 10, 10, on_message, &seen);
	dns_stream_feed(&s, 22, stream + 22, len - 22, len - 22, on_message, &seen);
	assert_int_equal(seen.n, 2);
	assert_memory_equal(seen.first, "bc", 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_query),
		cmocka_unit_test(reads_a_response_whose_records_are_cut_off),
		cmocka_unit_test(a_query_has_no_rcode),
		cmocka_unit_test(needs_no_question),
		cmocka_unit_test(cleans_names),
		cmocka_unit_test(takes_the_longest_name_and_no_longer),
		cmocka_unit_test(says_that_a_name_was_cut),
		cmocka_unit_test(refuses_compression_and_reserved_labels),
		cmocka_unit_test(tells_every_cut_before_the_end_of_the_question),
		cmocka_unit_test(a_damaged_response_has_no_name),
		cmocka_unit_test(what_no_header_says_is_refused),
		cmocka_unit_test(finds_messages_however_they_are_cut),
		cmocka_unit_test(skips_what_is_sent_again),
		cmocka_unit_test(bridges_gaps_inside_of_a_message),
		cmocka_unit_test(bytes_that_were_not_copied_are_a_gap),
		cmocka_unit_test(starts_anew_behind_a_gap_between_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
