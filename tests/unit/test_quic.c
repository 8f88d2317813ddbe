// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifdef WEIR_NETTLE
#include "tests/unit/quic_bytes.h"
#endif

#include "probe/names/assembly.h"
#include "probe/names/quic.h"

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

/* --- headers --------------------------------------------------------------------- */

/* Version 1, 8 and 2 bytes of connection id, 3 of token, 20 of payload. */
static const char initial[] = "\xc3\0\0\0\1\x08"
			      "dcid1234\2sc\3tok\x14"
			      "20 bytes of payload."
			      "another packet";

static void finds_its_way_through_the_header(void **state)
{
	struct quic_initial i;

	(void)state;
	assert_int_equal(quic_parse(BYTES(initial), &i), 0);
	assert_int_equal(i.version, QUIC_V1);
	assert_int_equal(i.dcid_len, 8);
	assert_memory_equal(i.dcid, "dcid1234", 8);
	assert_memory_equal(i.packet + i.pn_offset, "20 bytes", 8);
	assert_memory_equal(i.packet + i.len, "another", 7);
}

static void refuses_every_cut(void **state)
{
	size_t whole = sizeof(initial) - sizeof("another packet");
	struct quic_initial i;

	(void)state;
	for (size_t len = 0; len < whole; len++)
		assert_int_equal(quic_parse((const uint8_t *)initial, len, &i),
				 len < 5 ? -ENOENT : -EBADMSG);
	assert_int_equal(quic_parse((const uint8_t *)initial, whole, &i), 0);
}

static void leaves_other_packets_alone(void **state)
{
	static const struct {
		uint8_t first;
		uint32_t version;
		int err;
	} kinds[] = {
		{0xc0, QUIC_V1, 0},
		{0xd0, QUIC_V1, -ENOENT}, /* 0-RTT */
		{0xe0, QUIC_V1, -ENOENT}, /* Handshake */
		{0x40, QUIC_V1, -ENOENT}, /* short header */
		{0xd0, QUIC_V2, 0},
		{0xc0, QUIC_V2, -ENOENT}, /* Retry */
		{0xc0, QUIC_DRAFT_29, 0},
		{0xc0, QUIC_DRAFT_34, 0},
		{0xc0, QUIC_DRAFT_34 + 1, -ENOENT},
		{0xc0, QUIC_DRAFT_22, 0},
		{0xc0, QUIC_DRAFT_22 - 1, -ENOENT},
		{0xc0, 0xfaceb002, 0},	     /* mvfst */
		{0xc0, 0x54303531, 0},	     /* T051 */
		{0xc0, 0x51303530, -ENOENT}, /* Q050 is another protocol */
		{0xc0, 0, -ENOENT},	     /* version negotiation */
		{0xc0, 0x1a2a3a4a, 0},	     /* forces one */
		{0xc0, 0x1a2a3a4b, -ENOENT},
	};

	(void)state;
	for (size_t n = 0; n < sizeof(kinds) / sizeof(*kinds); n++) {
		uint32_t version = kinds[n].version;
		uint8_t copy[sizeof(initial)];
		struct quic_initial i;

		memcpy(copy, initial, sizeof(copy));
		copy[0] = kinds[n].first;
		for (int b = 0; b < 4; b++)
			copy[1 + b] = (uint8_t)(version >> (24 - 8 * b));
		assert_int_equal(quic_parse(copy, sizeof(copy), &i), kinds[n].err);
	}
}

static void refuses_connection_ids_that_are_too_long(void **state)
{
	uint8_t copy[sizeof(initial) + 20] = {0};
	struct quic_initial i;

	(void)state;
	memcpy(copy, initial, 5);
	copy[5] = 21; /* with zeros behind it: no scid, no token, no payload */
	assert_int_equal(quic_parse(copy, sizeof(copy), &i), -EBADMSG);
}

/* --- frames ---------------------------------------------------------------------- */

static struct assembly a;

static int clear_assembly(void **state)
{
	(void)state;
	memset(&a, 0, sizeof(a));
	return 0;
}

static void collects_crypto_frames_among_others(void **state)
{
	static const char frames[] = "\6\5\5world"
				     "\0\0\1"
				     "\2\x40\x10\1\1\2\3\4"
				     "\3\1\1\0\1\1\2\3"
				     "\6\x40\0\x40\5hello\0\0";

	(void)state;
	assert_int_equal(quic_collect(BYTES(frames), &a), 0);
	assert_int_equal(assembly_prefix(&a), 10);
	assert_memory_equal(a.data, "helloworld", 10);
}

static void refuses_frames_that_have_no_place(void **state)
{
	(void)state;
	assert_int_equal(quic_collect(BYTES("\x08stream"), &a), -EBADMSG);
	assert_int_equal(quic_collect(BYTES("\6\0\5four"), &a), -EBADMSG);
	assert_int_equal(quic_collect(BYTES("\6\xff\xff\xff\xff\xff\xff\xff\xff\1x"), &a), -E2BIG);
	assert_int_equal(quic_collect(BYTES("\2\1\1\xbf\xff\xff\xff\1"), &a), -EBADMSG);
	assert_int_equal(quic_collect(BYTES("\2\1\1\1\1\1"), &a), -EBADMSG);
	assert_int_equal(assembly_prefix(&a), 0);
}

static void a_closed_connection_has_no_more(void **state)
{
	(void)state;
	assert_int_equal(quic_collect(BYTES("\x1c\1\2\3whatever"), &a), 0);
}

/* --- decryption ------------------------------------------------------------------ */

#ifdef WEIR_NETTLE

/* The test's own sealing, against the packets in the RFCs: first 32 and last 16 bytes. */
static void the_test_seals_like_the_rfcs(void **state)
{
	static const struct {
		uint32_t version;
		const char *head, *tail;
	} rfc[] = {
		{QUIC_V1,
		 "\xc0\x00\x00\x00\x01\x08\x83\x94\xc8\xf0\x3e\x51\x57\x08\x00\x00"
		 "\x44\x9e\x7b\x9a\xec\x34\xd1\xb1\xc9\x8d\xd7\x68\x9f\xb8\xec\x11",
		 "\xe2\x21\xaf\x44\x86\x00\x18\xab\x08\x56\x97\x2e\x19\x4c\xd9\x34"},
		{QUIC_V2,
		 "\xd7\x6b\x33\x43\xcf\x08\x83\x94\xc8\xf0\x3e\x51\x57\x08\x00\x00"
		 "\x44\x9e\xa0\xc9\x5e\x82\xff\xe6\x7b\x6a\xbc\xdb\x42\x98\xb4\x85",
		 "\xa1\x8b\x2f\xaa\x74\x5b\x6f\xe1\x89\xcf\x77\x2a\x9f\x84\xcb\xfc"},
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint8_t packet[QUIC_PACKET_BYTES];

		quic_seal(rfc[i].version, quic_rfc_frames, sizeof(quic_rfc_frames) - 1, packet);
		assert_memory_equal(packet, rfc[i].head, 32);
		assert_memory_equal(packet + sizeof(packet) - 16, rfc[i].tail, 16);
	}
}

static void decrypts_every_version(void **state)
{
	static const uint32_t versions[] = {QUIC_V1, QUIC_V2};

	(void)state;
	for (size_t n = 0; n < 2; n++) {
		uint8_t packet[QUIC_PACKET_BYTES], plain[QUIC_PLAIN_MAX];
		struct quic_initial i;
		size_t len;

		quic_seal(versions[n], quic_rfc_frames, sizeof(quic_rfc_frames) - 1, packet);
		assert_int_equal(quic_parse(packet, sizeof(packet), &i), 0);
		assert_int_equal(i.len, sizeof(packet));
		assert_int_equal(quic_decrypt(&i, plain, &len), 0);
		assert_int_equal(len, QUIC_PACKET_BYTES - 22 - 16);
		assert_memory_equal(plain, quic_rfc_frames, sizeof(quic_rfc_frames) - 1);
		for (size_t at = sizeof(quic_rfc_frames) - 1; at < len; at++)
			assert_int_equal(plain[at], 0);
	}
}

static void refuses_what_does_not_authenticate(void **state)
{
	uint8_t packet[QUIC_PACKET_BYTES], plain[QUIC_PLAIN_MAX];
	static const size_t places[] = {6, 30, 600, QUIC_PACKET_BYTES - 1};
	struct quic_initial i;
	size_t len;

	(void)state;
	for (size_t n = 0; n < sizeof(places) / sizeof(*places); n++) {
		quic_seal(QUIC_V1, quic_rfc_frames, sizeof(quic_rfc_frames) - 1, packet);
		packet[places[n]] ^= 1;
		assert_int_equal(quic_parse(packet, sizeof(packet), &i), 0);
		assert_int_equal(quic_decrypt(&i, plain, &len), -EBADMSG);
	}
}

static void refuses_a_packet_past_the_limit(void **state)
{
	static uint8_t packet[QUIC_PLAIN_MAX + 64] = {0xc0, 0, 0, 0, 1, 0, 0, 0, 0x48, 0x10};
	uint8_t plain[QUIC_PLAIN_MAX];
	struct quic_initial i;
	size_t len;

	(void)state;
	assert_int_equal(quic_parse(packet, sizeof(packet), &i), 0);
	assert_int_equal(quic_decrypt(&i, plain, &len), -EMSGSIZE);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_its_way_through_the_header),
		cmocka_unit_test(refuses_every_cut),
		cmocka_unit_test(leaves_other_packets_alone),
		cmocka_unit_test(refuses_connection_ids_that_are_too_long),
		cmocka_unit_test_setup(collects_crypto_frames_among_others, clear_assembly),
		cmocka_unit_test_setup(refuses_frames_that_have_no_place, clear_assembly),
		cmocka_unit_test_setup(a_closed_connection_has_no_more, clear_assembly),
#ifdef WEIR_NETTLE
		cmocka_unit_test(the_test_seals_like_the_rfcs),
		cmocka_unit_test(decrypts_every_version),
		cmocka_unit_test(refuses_what_does_not_authenticate),
		cmocka_unit_test(refuses_a_packet_past_the_limit),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
