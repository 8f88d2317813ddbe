/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * value_ids.h - different values, numbered from 1 as they come: addresses, texts
 * or numbers of many blocks, so that they can be told apart by a small number.
 *
 * Threads: all may call all functions; each call takes the lock for as many
 * values as it is given. Entries never move or go away.
 * Memory: 16 bytes a value, as much again for the table, and the texts.
 * Errors: -ENOMEM; -EOVERFLOW: more than 2^31 values.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_VALUE_IDS_H
#define WEIR_COLLECTOR_FLOWSTORE_VALUE_IDS_H

#include <stddef.h>
#include <stdint.h>

struct value_ids;

int value_ids_new(struct value_ids **ret);
/* NULL is a no-op. */
void value_ids_free(struct value_ids *v);

/* Of 16 bytes each: n of them, at values[at[i]]. */
int value_ids_addrs(struct value_ids *v, const uint8_t (*values)[16], const uint32_t *at, size_t n,
		    uint32_t *ret);
int value_ids_numbers(struct value_ids *v, const uint64_t *values, size_t n, uint32_t *ret);
/* Copied. */
int value_ids_texts(struct value_ids *v, const char *const *texts, const uint32_t *at, size_t n,
		    uint32_t *ret);

/* By its number. */
const uint8_t *value_ids_addr(struct value_ids *v, uint32_t id);
uint64_t value_ids_number(struct value_ids *v, uint32_t id);
const char *value_ids_text(struct value_ids *v, uint32_t id);

#endif /* WEIR_COLLECTOR_FLOWSTORE_VALUE_IDS_H */
