/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "proto/crc32c.h"

#ifdef __x86_64__
#include <nmmintrin.h>
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
	return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) uint32_t crc32c_hw(const uint8_t *data, size_t len)
{
	uint64_t crc = ~0u;

	for (; len >= 8; data += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, data, sizeof(word));
		crc = _mm_crc32_u64(crc, word);
	}
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
