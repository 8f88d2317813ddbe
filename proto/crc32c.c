/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "proto/crc32c.h"

#ifdef __x86_64__
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif
#include <string.h>

#include "proto/frame.h"

#define POLYNOMIAL 0x82f63b78u /* 0x1edc6f41, bits reversed */

/* CRC of four bits, shifted out one by one. */
#define STEP(c)	  ((c) >> 1 ^ ((c)&1 ? POLYNOMIAL : 0))
#define NIBBLE(n) STEP(STEP(STEP(STEP((uint32_t)(n)))))

uint32_t crc32c_portable(const uint8_t *data, size_t len)
{
	static const uint32_t table[16] = {
		NIBBLE(0),  NIBBLE(1),	NIBBLE(2),  NIBBLE(3),	NIBBLE(4),  NIBBLE(5),
		NIBBLE(6),  NIBBLE(7),	NIBBLE(8),  NIBBLE(9),	NIBBLE(10), NIBBLE(11),
		NIBBLE(12), NIBBLE(13), NIBBLE(14), NIBBLE(15),
	};
	uint32_t crc = ~0u;

	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

#ifdef __x86_64__
bool crc32c_has_hw(void)
{
	return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

#define HW	    __attribute__((target("sse4.2,pclmul")))
#define LANE_BYTES  256
#define AFTER_LANE  0xb9e02b86 /* x^(8 * LANE_BYTES - 33), bits reversed */
#define AFTER_LANES 0xdd7e3b0c /* x^(16 * LANE_BYTES - 33) */

/* The CRC when zeros follow, as many as the factor stands for. */
HW static uint64_t shift(uint64_t crc, uint64_t factor)
{
	__m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)crc),
					       _mm_cvtsi64_si128((int64_t)factor), 0);

	return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

HW static uint64_t step(uint64_t crc, const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return _mm_crc32_u64(crc, word);
}

/* Three lanes side by side: an instruction takes three cycles, and one can begin in each. */
HW uint32_t crc32c_hw(const uint8_t *data, size_t len)
{
	uint64_t crc = ~0u;

	for (; len >= 3 * LANE_BYTES; data += 3 * LANE_BYTES, len -= 3 * LANE_BYTES) {
		uint64_t second = 0, third = 0;

		for (const uint8_t *at = data; at < data + LANE_BYTES; at += 8) {
			crc = step(crc, at);
			second = step(second, at + LANE_BYTES);
			third = step(third, at + 2 * LANE_BYTES);
		}
		crc = shift(crc, AFTER_LANES) ^ shift(second, AFTER_LANE) ^ third;
	}
	for (; len >= 8; data += 8, len -= 8)
		crc = step(crc, data);
	for (; len > 0; data++, len--)
		crc = _mm_crc32_u8((uint32_t)crc, *data);
	return ~(uint32_t)crc;
}
#else
bool crc32c_has_hw(void)
{
	return false;
}

uint32_t crc32c_hw(const uint8_t *data, size_t len)
{
	return crc32c_portable(data, len);
}
#endif

uint32_t crc32c(const uint8_t *data, size_t len)
{
	return crc32c_has_hw() ? crc32c_hw(data, len) : crc32c_portable(data, len);
}
