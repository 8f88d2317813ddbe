/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dictionary.h - texts by number, each kept once. For batch.c.
 *
 * Threads: none of its own. Memory: two allocations by dictionary_init(), for
 * as many texts as it says. The texts are borrowed.
 */
#ifndef WEIR_PROTO_DICTIONARY_H
#define WEIR_PROTO_DICTIONARY_H

#include <stddef.h>
#include <stdint.h>

struct dictionary {
	char **texts; /* number n is texts[n - 1] */
	size_t n;
	uint32_t *numbers; /* open hash table, 0: empty */
	size_t mask;
};

/* Returns -ENOMEM, and then dictionary_done() may be called all the same. */
int dictionary_init(struct dictionary *d, size_t max_texts);
void dictionary_done(struct dictionary *d);

/* The number of text, which joins if need be; 0 for "". At most max_texts may join. */
uint32_t dictionary_number(struct dictionary *d, const char *text);

#endif /* WEIR_PROTO_DICTIONARY_H */
