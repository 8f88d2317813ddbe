/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * assembly.h - a message put together from pieces that come in any order,
 * twice or overlapping. What came first stays.
 *
 * Threads: no state; any. Memory: the caller's. Zeroed: nothing has come.
 */
#ifndef WEIR_PROBE_NAMES_ASSEMBLY_H
#define WEIR_PROBE_NAMES_ASSEMBLY_H

#include <stddef.h>
#include <stdint.h>

#define ASSEMBLY_BYTES	16384
#define ASSEMBLY_PIECES 32 /* apart from each other at a time */

struct assembly {
	size_t n; /* pieces, in order of start, none touching the next */
	struct {
		uint32_t start, end;
	} pieces[ASSEMBLY_PIECES];
	uint8_t data[ASSEMBLY_BYTES];
};

/*
 * Returns -E2BIG when the piece would pass ASSEMBLY_BYTES, -ENOSPC when it is
 * one piece too many; both leave a as it was.
 */
int assembly_add(struct assembly *a, uint64_t offset, const uint8_t *data, size_t len);

/* Bytes of a->data that have come without a gap from the start. */
size_t assembly_prefix(const struct assembly *a);

#endif /* WEIR_PROBE_NAMES_ASSEMBLY_H */
