/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_words.h - what the codes of a flow record are called in SQL, JSON, CSV
 * and the filter language: FLOW_CODES and FLOW_DNS_CODES of flow_columns.h.
 *
 * DNS: the names of IANA's registries, TYPE123 and RCODE123 for those without.
 */
#ifndef WEIR_PROTO_FLOW_WORDS_H
#define WEIR_PROTO_FLOW_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/flow_block.h"

#define FLOW_WORD_MAX 16 /* a word and its NUL */

/* Whether the values of c are codes. */
bool flow_words_of(enum flow_column c);

/* The word for code, which may be written to ret; NULL: it has none. */
const char *flow_word(enum flow_column c, uint32_t code, char ret[FLOW_WORD_MAX]);

/* The code of a word, whatever its case; false: there is no such word. */
bool flow_word_code(enum flow_column c, const char *word, uint32_t *ret);

#endif /* WEIR_PROTO_FLOW_WORDS_H */
