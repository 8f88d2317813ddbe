/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_memory.h - what makes blocks of flow_block.h: not for those who read them. */
#ifndef WEIR_PROTO_FLOW_MEMORY_H
#define WEIR_PROTO_FLOW_MEMORY_H

#include "proto/flow_block.h"

/* Bytes of a value. */
size_t flow_width(enum flow_kind kind);

/*
 * One allocation for the columns, b->n_addrs and b->n_texts of b, and
 * text_bytes of text at *ret_text. Nothing in it is set. Returns -ENOMEM.
 */
int flow_memory_alloc(struct flow_block *b, const struct flow_columns *columns, size_t text_bytes,
		      char **ret_text);

/* Addresses by number, each kept once. Number 0 is "::", which has always a place. */
struct addr_table {
	uint8_t (*addrs)[16];
	size_t n;
	uint32_t *numbers; /* open hash table, 0: empty */
	size_t mask;
	uint64_t seed;
};

/* Room for max addresses. Returns -ENOMEM or -EIO, and then addr_table_done() may be called. */
int addr_table_init(struct addr_table *t, size_t max);
void addr_table_done(struct addr_table *t);
uint32_t addr_table_number(struct addr_table *t, const uint8_t addr[16]);

#endif /* WEIR_PROTO_FLOW_MEMORY_H */
