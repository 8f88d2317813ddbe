/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * distinct_sketch.h - about how many different values there are, in a few KiB.
 *
 * Up to DISTINCT_EXACT values it knows exactly. Beyond, it is a HyperLogLog of
 * 4096 registers with Ertl's estimator (arXiv:1702.01284): the standard error is
 * 1.04 / sqrt(4096) = 1.6 %, whatever the number; two thirds of all answers are
 * within it, 99.7 % within 4.9 %. Sketches of parts make the sketch of the whole,
 * exactly as if all values had been added to one.
 *
 * Packed: 1 byte DISTINCT_PACKED_EXACT and the hashes, 8 bytes each, or
 * DISTINCT_PACKED_REGISTERS and 4096 bytes. Hashes are the same everywhere.
 *
 * Memory: 4 KiB, before it is full up to 16 KiB; from sqlite3_malloc(), so that its limit holds.
 * Threads: none of its own. Errors: -ENOMEM; -EBADMSG for bytes that are no packed sketch.
 */
#ifndef WEIR_COLLECTOR_SQLITE_DISTINCT_SKETCH_H
#define WEIR_COLLECTOR_SQLITE_DISTINCT_SKETCH_H

#include <stddef.h>
#include <stdint.h>

#define DISTINCT_EXACT		  512
#define DISTINCT_PACKED_EXACT	  1
#define DISTINCT_PACKED_REGISTERS 2

/* A zeroed one is empty. */
struct distinct_sketch {
	uint8_t *registers; /* NULL: exact */
	uint64_t *hashes;   /* a table with holes (0) */
	size_t n, size;
};

void distinct_sketch_done(struct distinct_sketch *s);

/* kind: values of different kinds with the same bytes are different. */
uint64_t distinct_hash(uint64_t kind, const void *bytes, size_t len);
int distinct_sketch_add(struct distinct_sketch *s, uint64_t hash);
int distinct_sketch_merge(struct distinct_sketch *s, const uint8_t *packed, size_t len);
uint64_t distinct_sketch_count(const struct distinct_sketch *s);
/* *ret: for sqlite3_free(). */
int distinct_sketch_pack(const struct distinct_sketch *s, uint8_t **ret, size_t *ret_len);

#endif /* WEIR_COLLECTOR_SQLITE_DISTINCT_SKETCH_H */
