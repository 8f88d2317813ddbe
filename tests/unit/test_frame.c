/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "proto/crc32c.h"
#include "proto/frame.h"

#define BODY_LEN 4
#define WHOLE	 (FRAME_HEADER_BYTES + BODY_LEN)

static const uint8_t body[BODY_LEN] = {1, 2, 3, 4};

/* RFC 3720 B.4, and the check value of the CRC catalogue. */
static void check_vectors(uint32_t (*crc)(const uint8_t *, size_t))
{
	uint8_t buf[32];

	memset(buf, 0, sizeof(buf));
	assert_int_equal(crc(buf, 32), 0x8a9136aa);
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(crc(buf, 32), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++)
		buf[i] = i;
	assert_int_equal(crc(buf, 32), 0x46dd794e);
	for (uint8_t i = 0; i < 32; i++)
		buf[i] = 31 - i;
	assert_int_equal(crc(buf, 32), 0x113fdb5c);
	assert_int_equal(crc((const uint8_t *)"123456789", 9), 0xe3069283);
	assert_int_equal(crc(buf, 0), 0);
}

static void crc_is_castagnoli(void **state)
{
	(void)state;
	check_vectors(crc32c);
	check_vectors(crc32c_portable);
	if (crc32c_has_hw())
		check_vectors(crc32c_hw);
	else
		print_message("no SSE4.2 or no PCLMULQDQ here: crc32c_hw() is not tested\n");
}

static void both_crcs_agree(void **state)
{
	uint8_t buf[1700]; /* twice three lanes, and more */

	(void)state;
	if (!crc32c_has_hw())
		skip();
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 167 + (i >> 3));
	for (size_t start = 0; start < 9; start++)
		for (size_t len = 0; len <= sizeof(buf) - start; len++)
			assert_int_equal(crc32c_hw(buf + start, len),
					 crc32c_portable(buf + start, len));
}

static void seal(uint8_t buf[WHOLE])
{
	memcpy(buf + FRAME_HEADER_BYTES, body, BODY_LEN);
	frame_seal(buf, FRAME_BATCH, BODY_LEN);
}

/* The bytes of frame.h's table, so that a change of layout is noticed. */
static void header_is_as_written(void **state)
{
	static const uint8_t expected[12] = {0x45, 0x57, 1, FRAME_BATCH, BODY_LEN};
	uint8_t buf[WHOLE];
	uint32_t crc;

	(void)state;
	seal(buf);
	assert_memory_equal(buf, expected, 8);
	crc = crc32c(body, BODY_LEN);
	for (int i = 0; i < 4; i++)
		assert_int_equal(buf[8 + i], (crc >> 8 * i) & 0xff);
	assert_memory_equal(buf + 12, "\0\0\0\0", 4);
}

static void opens_what_was_sealed(void **state)
{
	struct frame f;
	uint8_t buf[WHOLE];

	(void)state;
	seal(buf);
	assert_int_equal(frame_open(buf, sizeof(buf), &f), FRAME_OK);
	assert_int_equal(f.type, FRAME_BATCH);
	assert_ptr_equal(f.body, buf + FRAME_HEADER_BYTES);
	assert_int_equal(f.body_len, BODY_LEN);

	frame_seal(buf, FRAME_PING, 0);
	assert_int_equal(frame_open(buf, FRAME_HEADER_BYTES, &f), FRAME_OK);
	assert_int_equal(f.body_len, 0);
}

static void names_every_fault(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		enum frame_error expected;
	} faults[] = {
		{0, 0, FRAME_BAD_MAGIC},  {1, 0, FRAME_BAD_MAGIC},
		{2, 2, FRAME_BAD_MAJOR},  {2, 0, FRAME_BAD_MAJOR},
		{3, 0, FRAME_BAD_TYPE},	  {3, FRAME_TYPE_MAX + 1, FRAME_BAD_TYPE},
		{4, 5, FRAME_BAD_LENGTH}, {7, 0x80, FRAME_BAD_LENGTH},
		{8, 0, FRAME_BAD_CRC},	  {WHOLE - 1, 5, FRAME_BAD_CRC},
		{12, 1, FRAME_BAD_FLAGS}, {15, 0x80, FRAME_BAD_FLAGS},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct frame f = {.body_len = 77};
		uint8_t buf[WHOLE];

		seal(buf);
		buf[faults[i].at] = faults[i].value;
		assert_int_equal(frame_open(buf, sizeof(buf), &f), faults[i].expected);
		assert_int_equal(f.body_len, 77);
		assert_string_not_equal(frame_error_text(faults[i].expected), "ok");
	}
}

static void refuses_every_other_length(void **state)
{
	uint8_t buf[WHOLE + 1] = {0};
	struct frame f;

	(void)state;
	seal(buf);
	for (size_t len = 0; len < WHOLE; len++)
		assert_int_equal(frame_open(buf, len, &f),
				 len < FRAME_HEADER_BYTES ? FRAME_SHORT : FRAME_BAD_LENGTH);
	assert_int_equal(frame_open(buf, WHOLE + 1, &f), FRAME_BAD_LENGTH);
}

static void refuses_every_flipped_bit(void **state)
{
	struct frame f;
	uint8_t buf[WHOLE];

	(void)state;
	for (size_t bit = 0; bit < 8 * sizeof(buf); bit++) {
		seal(buf);
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		/* The CRC covers the body: another known type is the body's problem. */
		if (frame_open(buf, sizeof(buf), &f) == FRAME_OK)
			assert_int_equal(bit / 8, 3);
	}
}

static void refuses_frames_past_the_limit(void **state)
{
	size_t len = FRAME_MAX_BYTES + 1;
	uint8_t *buf = calloc(1, len);
	struct frame f;

	(void)state;
	assert_non_null(buf);
	frame_seal(buf, FRAME_BATCH, len - FRAME_HEADER_BYTES);
	assert_int_equal(frame_open(buf, len, &f), FRAME_BAD_LENGTH);
	frame_seal(buf, FRAME_BATCH, len - 1 - FRAME_HEADER_BYTES);
	assert_int_equal(frame_open(buf, len - 1, &f), FRAME_OK);
	free(buf);
}

static void names_types(void **state)
{
	(void)state;
	assert_string_equal(frame_type_name(FRAME_HELLO), "HELLO");
	assert_string_equal(frame_type_name(FRAME_COMMAND_RESULT), "COMMAND_RESULT");
	for (int t = FRAME_HELLO; t <= FRAME_TYPE_MAX; t++)
		assert_non_null(frame_type_name((enum frame_type)t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc_is_castagnoli),
		cmocka_unit_test(both_crcs_agree),
		cmocka_unit_test(header_is_as_written),
		cmocka_unit_test(opens_what_was_sealed),
		cmocka_unit_test(names_every_fault),
		cmocka_unit_test(refuses_every_other_length),
		cmocka_unit_test(refuses_every_flipped_bit),
		cmocka_unit_test(refuses_frames_past_the_limit),
		cmocka_unit_test(names_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
