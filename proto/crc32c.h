/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * crc32c.h - CRC-32C (RFC 3720 B.4, Castagnoli). crc32c() of frame.h picks the
 * faster of the two; they are here for the test that they agree.
 */
#ifndef WEIR_PROTO_CRC32C_H
#define WEIR_PROTO_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Anywhere. */
uint32_t crc32c_portable(const uint8_t *data, size_t len);

/* With the processor's instruction: only where crc32c_has_hw(). */
bool crc32c_has_hw(void);
uint32_t crc32c_hw(const uint8_t *data, size_t len);

#endif /* WEIR_PROTO_CRC32C_H */
