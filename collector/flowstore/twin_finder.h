/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * twin_finder.h - finds, among the rows of a segment, those of a conversation that
 * another host has told of: proto/twins.h.
 *
 * It may miss some, and may take one for another: then their difference is
 * larger, and nothing else.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_TWIN_FINDER_H
#define WEIR_COLLECTOR_FLOWSTORE_TWIN_FINDER_H

#include <stddef.h>
#include <stdint.h>

#include "proto/twins.h"

/* A conversation and the host that tells of it, as one number. */
#define TWIN_HOST_BITS 12
static inline uint64_t twin_key(uint64_t conversation_hash, uint32_t host)
{
	return conversation_hash << TWIN_HOST_BITS | (host & ((1u << TWIN_HOST_BITS) - 1));
}

/* Bytes of memory that finding among n rows takes: 11 to 22 a row. */
size_t twin_finder_room(size_t n);

/*
 * Row i has keys[order[i]]. room: so many bytes, the caller's, aligned to 8. Release
 * with twins_done(). Returns -ENOMEM.
 */
int twin_finder_find(const uint64_t *keys, const uint32_t *order, size_t n, void *room,
		     struct twins *ret);

#endif /* WEIR_COLLECTOR_FLOWSTORE_TWIN_FINDER_H */
