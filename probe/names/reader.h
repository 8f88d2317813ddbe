/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reader.h - reads nested, length-prefixed messages whose end may not be there
 * yet (TLS, QUIC). All numbers are big-endian. Nothing is copied.
 *
 * Each returns 0, -EBADMSG when the message contradicts itself, or -EAGAIN
 * when what is asked for lies behind the bytes that have come.
 */
#ifndef WEIR_PROBE_NAMES_READER_H
#define WEIR_PROBE_NAMES_READER_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
	const uint8_t *p;
	size_t have; /* bytes at p */
	size_t left; /* bytes that there are to be, have or more */
};

static inline bool reader_whole(const struct reader *r)
{
	return r->have == r->left;
}

/* The next n bytes, as far as they have come, as a reader of their own. */
static inline int reader_sub(struct reader *r, size_t n, struct reader *ret)
{
	size_t have = n < r->have ? n : r->have;

	if (n > r->left)
		return -EBADMSG;
	*ret = (struct reader){r->p, have, n};
	r->p += have;
	r->have -= have;
	r->left -= n;
	return 0;
}

static inline int reader_uint(struct reader *r, unsigned bytes, uint32_t *ret)
{
	uint32_t value = 0;

	if (bytes > r->left)
		return -EBADMSG;
	if (bytes > r->have)
		return -EAGAIN;
	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | r->p[i];
	r->p += bytes;
	r->have -= bytes;
	r->left -= bytes;
	*ret = value;
	return 0;
}

/* A vector: its length in len_bytes, then that many bytes. */
static inline int reader_vector(struct reader *r, unsigned len_bytes, struct reader *ret)
{
	uint32_t n;
	int err = reader_uint(r, len_bytes, &n);

	return err ? err : reader_sub(r, n, ret);
}

#endif /* WEIR_PROBE_NAMES_READER_H */
