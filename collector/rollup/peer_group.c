// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "collector/rollup/peer_group.h"

#include <stdbool.h>
#include <stddef.h>

#include "common/addr.h"

#define ULA_BASE (INT64_C(1) << 24)
#define ULA_MASK ((INT64_C(1) << 57) - 1)

static bool is_private_v4(uint32_t a)
{
	static const struct {
		uint32_t net, mask;
	} nets[] = {
		{0x0a000000, 0xff000000}, {0xac100000, 0xfff00000}, {0xc0a80000, 0xffff0000},
		{0x64400000, 0xffc00000}, {0xa9fe0000, 0xffff0000}, {0x7f000000, 0xff000000},
	};

	for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++)
		if ((a & nets[i].mask) == nets[i].net)
			return true;
	return false;
}

static uint64_t big_endian(const uint8_t *bytes, size_t n)
{
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		value = value << 8 | bytes[i];
	return value;
}

int64_t peer_group(uint32_t owner, const uint8_t addr[16])
{
	if (owner)
		return owner;
	if (addr_is_v4(addr)) {
		uint32_t a = (uint32_t)big_endian(addr + 12, 4);

		return is_private_v4(a) ? -(int64_t)(a >> 8) : 0;
	}
	if ((addr[0] & 0xfe) == 0xfc)
		return -(ULA_BASE + ((int64_t)big_endian(addr, 8) & ULA_MASK));
	return 0;
}
