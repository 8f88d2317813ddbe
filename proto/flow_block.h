/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * flow_block.h - flow records as columns: in memory, on the wire and on disk.
 *
 * In memory (struct flow_block) every column is an array of n_rows values:
 *
 *	FLOW_U32, FLOW_U64  numbers, as in struct flow_record
 *	FLOW_ADDR           u32: number of an address in addrs[]
 *	FLOW_TEXT           u32: number of a text in texts[]; texts[0] is ""
 *	FLOW_HIST           u16[RTT_BUCKETS]
 *
 * Addresses and texts are in dictionaries of the block: group by the number and
 * look the value up once per group. Columns that were not asked for are NULL.
 * A decoded block is only read: columns of zeros share their memory.
 * Whether a value is measured at all (NULL in SQL) follows from other columns:
 * the third argument of the lists of proto/flow_columns.h.
 *
 * Encoded (struct flow_parts), a column is one part of its own, so that any of
 * them is decoded without the rest. A column of zeros has none. What follows
 * from other columns is not kept: see encode_related() in flow_block.c. Parts
 * are known by a code made from the column's name, so the order of the lists
 * may change, and parts with an unknown code are left alone. Only in a block of several
 * hosts, which no peer may send: one part tells which rows are twins (twins.h), and of
 * a column that counts on it the part is not one of column.h.
 *
 * A sealed block is one blob: parts, directory and a CRC-32C:
 *
 *	1 byte    FLOW_BLOCK_VERSION, or FLOW_BLOCK_PLACED
 *	varint    n_rows
 *	varint    n_parts
 *	per part  u16 code, varint (length * 2 + elsewhere); elsewhere: the part's
 *	          bytes are not in this blob (segments of the collector);
 *	          FLOW_BLOCK_PLACED: varint, its place among those elsewhere
 *	          the parts, one after another
 *	u32       CRC-32C of all before
 *
 * Times: end_ms and duration_us are kept, start_ms = end_ms - duration_us / 1000.
 * Durations from 1 s on are kept in whole ms. end_ms may so be 1 below the true one.
 *
 * Nothing from outside is trusted: all bounds, the range of each value (max of
 * proto/flow_columns.h), every number of an address or text are checked, and
 * memory is proportional to n_rows, which is at most FLOW_BLOCK_MAX_ROWS.
 *
 * Threads: a codec belongs to one thread; blocks may be read by several.
 * Errors: -ENOMEM; -EBADMSG with a constant text in *ret_why (may be NULL).
 */
#ifndef WEIR_PROTO_FLOW_BLOCK_H
#define WEIR_PROTO_FLOW_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/column.h"
#include "proto/flow_columns.h"
#include "proto/flow_record.h"

#define FLOW_BLOCK_VERSION     2
#define FLOW_BLOCK_PLACED      3
#define FLOW_BLOCK_MAX_ROWS    (1u << 17)
#define FLOW_TIME_MAX_MS       (UINT64_C(1) << 43) /* the year 2248; in ns it fits 63 bits */
#define FLOW_DURATION_EXACT_US 1000000		   /* longer ones are kept in ms */

enum flow_kind { FLOW_U32, FLOW_U64, FLOW_ADDR, FLOW_TEXT, FLOW_HIST };

/* Every column of a block. host_id comes from the collector, never from a peer. */
enum flow_column {
	FLOW_COLUMN_host_id,
	FLOW_COLUMN_start_ms, /* worked out from the two below */
	FLOW_COLUMN_end_ms,
	FLOW_COLUMN_duration_us,
	FLOW_COLUMN_src_addr,
	FLOW_COLUMN_dst_addr,
	FLOW_COLUMN_outer_src_addr,
	FLOW_COLUMN_outer_dst_addr,
	FLOW_COLUMN_data_rtt_hist,
	FLOW_COLUMN_rev_data_rtt_hist,
#define FLOW_COLUMN_ID(name, max, has) FLOW_COLUMN_##name,
	FLOW_COLUMNS(FLOW_COLUMN_ID) FLOW_TEXTS(FLOW_COLUMN_ID)
#undef FLOW_COLUMN_ID
		FLOW_N_COLUMNS,
};

struct flow_column_info {
	const char *name;
	enum flow_kind kind;
	uint64_t max; /* largest number; FLOW_TEXT: size with its NUL */
};
extern const struct flow_column_info flow_column_info[FLOW_N_COLUMNS];

/* The column of that name, or -1. */
int flow_column_find(const char *name);

/*
 * What flow_block_ids() works ids out from, instead of the column flow_id: for those
 * who need the ids of few rows. Only in sets of columns.
 */
#define FLOW_COLUMN_ID_OF_FEW ((enum flow_column)FLOW_N_COLUMNS)
/* What of that is no column. */
#define FLOW_COLUMN_ID_DIFFERENCES ((enum flow_column)(FLOW_N_COLUMNS + 1))

/* A set of columns. */
struct flow_columns {
	uint64_t bits[(FLOW_N_COLUMNS + 1) / 64 + 1];
};

static inline void flow_columns_add(struct flow_columns *s, enum flow_column c)
{
	s->bits[c / 64] |= UINT64_C(1) << c % 64;
}

static inline bool flow_columns_has(const struct flow_columns *s, enum flow_column c)
{
	return s->bits[c / 64] >> c % 64 & 1;
}

static inline void flow_columns_remove(struct flow_columns *s, enum flow_column c)
{
	s->bits[c / 64] &= ~(UINT64_C(1) << c % 64);
}

/* Puts what it stands for in the place of FLOW_COLUMN_ID_OF_FEW. */
void flow_columns_expand_id(struct flow_columns *s);
/* All of them. */
struct flow_columns flow_columns_all(void);
/* Adds a column and what tells whether it has a value: see flow_block_has(). */
void flow_columns_add_needed(struct flow_columns *s, enum flow_column c);

/* --- in memory -------------------------------------------------------------- */

struct flow_block {
	size_t n_rows;
	union flow_array {
		uint32_t *u32;
		uint64_t *u64;
		uint16_t (*hist)[RTT_BUCKETS];
		void *any;
	} column[FLOW_N_COLUMNS]; /* NULL: not decoded */
	uint8_t (*addrs)[16];	  /* common/addr.h form */
	size_t n_addrs;
	const char **texts;
	size_t n_texts;
	uint64_t *id_differences; /* of FLOW_COLUMN_ID_DIFFERENCES; private */
	void *memory;		  /* all of the above, but columns of zeros */
};

#define FLOW_COL_U32(b, name) ((b)->column[FLOW_COLUMN_##name].u32)
#define FLOW_COL_U64(b, name) ((b)->column[FLOW_COLUMN_##name].u64)

/* A block of rows, with every column but host_id. Release with flow_block_done(). */
int flow_block_from_rows(const struct flow_record *rows, size_t n, struct flow_block *ret);
/* Row i of a block with every column; host_id is not in a record. */
void flow_block_row(const struct flow_block *b, size_t i, struct flow_record *ret);
/* Whether rows can lack a value in column c: NULL in SQL. */
bool flow_column_may_be_null(enum flow_column c);
/* Whether row i has a value in column c, else it is NULL: needs flow_columns_add_needed(). */
bool flow_block_has(const struct flow_block *b, enum flow_column c, size_t i);
/* The same of every row, 1 or 0; false, and no mask, if all of them have one. */
bool flow_block_has_mask(const struct flow_block *b, enum flow_column c, uint8_t *mask);
/* The flow_id of those rows, of a block with FLOW_COLUMN_ID_OF_FEW or flow_id. */
void flow_block_ids(const struct flow_block *b, const uint32_t *rows, size_t n, uint64_t *ret);
/* Leaves those n rows in it, which rise, and no others. */
void flow_block_keep(struct flow_block *b, const uint32_t *rows, size_t n);
void flow_block_done(struct flow_block *b);

/* --- encoded ---------------------------------------------------------------- */

/* A part is a column, a dictionary or what belongs to a histogram. */
enum {
	FLOW_PART_ADDRS = FLOW_N_COLUMNS,
	FLOW_PART_TEXTS,
	FLOW_PART_HIST_VALUES, /* beside data_rtt_hist */
	FLOW_PART_REV_HIST_VALUES,
	FLOW_PART_TWINS, /* in blocks of several hosts: twins.h */
	FLOW_N_PARTS,
};

struct flow_parts {
	size_t n_rows;
	struct flow_part {
		const uint8_t *data;
		uint32_t len;
		bool present;	/* else: all zeros */
		bool elsewhere; /* present, but data is to be fetched */
		uint16_t place; /* elsewhere: counted from 1; 0: it goes by its code */
	} part[FLOW_N_PARTS];
	uint8_t *memory; /* of flow_block_encode(); else NULL: borrowed */
};

uint16_t flow_part_code(unsigned part);

/* Encodes every column that is there. Release with flow_parts_done(). */
int flow_block_encode(struct column_codec *c, const struct flow_block *b, enum column_effort effort,
		      struct flow_parts *ret);
void flow_parts_done(struct flow_parts *p);

/* Which parts decoding these columns reads. */
void flow_parts_needed(const struct flow_columns *columns, bool ret[FLOW_N_PARTS]);

/*
 * Decodes columns; every part that they need must be fetched. All their values
 * are checked. Release with flow_block_done().
 */
int flow_parts_decode(struct column_codec *c, const struct flow_parts *p,
		      const struct flow_columns *columns, struct flow_block *ret,
		      const char **ret_why);

/* The same of some rows, which rise: only their values are checked; dictionaries are whole. */
int flow_parts_decode_rows(struct column_codec *c, const struct flow_parts *p,
			   const struct flow_columns *columns, struct column_rows rows,
			   struct flow_block *ret, const char **ret_why);

/* The dictionaries alone: a block without columns. Release with flow_block_done(). */
int flow_parts_dictionaries(struct column_codec *c, const struct flow_parts *p, bool addrs,
			    bool texts, struct flow_block *ret, const char **ret_why);

/*
 * Checks all of that for every column, but decodes only those whose bits alone
 * do not tell; *ret has these, and the times. Release with flow_block_done().
 */
int flow_parts_check(struct column_codec *c, const struct flow_parts *p, struct flow_block *ret,
		     const char **ret_why);

/* One blob of all parts that are not elsewhere; *ret is for free(). */
int flow_parts_seal(const struct flow_parts *p, uint8_t **ret, size_t *ret_len);
/* Opens a sealed block: checks all but the parts. data is borrowed. */
int flow_parts_open(const uint8_t *data, size_t len, struct flow_parts *ret, const char **ret_why);

/* Checks a sealed block from a peer, which has no host_id. */
int flow_block_check(struct column_codec *c, const uint8_t *data, size_t len,
		     struct flow_summary *ret, const char **ret_why);

#endif /* WEIR_PROTO_FLOW_BLOCK_H */
