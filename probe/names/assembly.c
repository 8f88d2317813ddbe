// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "probe/names/assembly.h"

#include <errno.h>
#include <string.h>

/* Copies what of [start, end) lies in none of the pieces. */
static void fill_gaps(struct assembly *a, uint32_t start, uint32_t end, const uint8_t *data)
{
	uint32_t at = start;

	for (size_t i = 0; i < a->n && at < end; i++) {
		uint32_t stop = a->pieces[i].start < end ? a->pieces[i].start : end;

		if (stop > at)
			memcpy(a->data + at, data + (at - start), stop - at);
		if (a->pieces[i].end > at)
			at = a->pieces[i].end;
	}
	if (at < end)
		memcpy(a->data + at, data + (at - start), end - at);
}

int assembly_add(struct assembly *a, uint64_t offset, const uint8_t *data, size_t len)
{
	uint32_t start, end;
	size_t first, last;

	if (offset > ASSEMBLY_BYTES || len > ASSEMBLY_BYTES - offset)
		return -E2BIG;
	if (len == 0)
		return 0;
	start = (uint32_t)offset;
	end = start + (uint32_t)len;
	/* pieces[first..last) touch the new one and become one with it. */
	for (first = 0; first < a->n && a->pieces[first].end < start; first++)
		;
	for (last = first; last < a->n && a->pieces[last].start <= end; last++)
		;
	if (first == last && a->n == ASSEMBLY_PIECES)
		return -ENOSPC;
	fill_gaps(a, start, end, data);
	if (first < last && a->pieces[first].start < start)
		start = a->pieces[first].start;
	if (first < last && a->pieces[last - 1].end > end)
		end = a->pieces[last - 1].end;
	memmove(&a->pieces[first + 1], &a->pieces[last], (a->n - last) * sizeof(*a->pieces));
	a->pieces[first].start = start;
	a->pieces[first].end = end;
	a->n = a->n - (last - first) + 1;
	return 0;
}

size_t assembly_prefix(const struct assembly *a)
{
	return a->n > 0 && a->pieces[0].start == 0 ? a->pieces[0].end : 0;
}
