/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* spelling.h - the word that somebody may have meant. Threads: no state; any. */
#ifndef WEIR_COMMON_SPELLING_H
#define WEIR_COMMON_SPELLING_H

#include <stddef.h>

/* The best candidate so far: begin with spelling_begin(), offer them all, read best. */
struct spelling {
	const char *word; /* as written; borrowed */
	size_t len;
	const char *best; /* NULL while none is close */
	size_t distance;  /* of best; a candidate has to be closer than this */
};

/* A word of len bytes. Up to four letters allow one slip, longer words two. */
struct spelling spelling_begin(const char *word, size_t len);

/* candidate is borrowed as long as s is used. Words of more than 63 bytes are like none. */
void spelling_offer(struct spelling *s, const char *candidate);

#endif /* WEIR_COMMON_SPELLING_H */
