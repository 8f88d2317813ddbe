/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow_related.h - what flow_encode.c and flow_decode.c both know. Not for others. */
#ifndef WEIR_PROTO_FLOW_RELATED_H
#define WEIR_PROTO_FLOW_RELATED_H

#include "proto/flow_block.h"
#include "proto/flow_hist.h"
#include "proto/twins.h"

#define FLOW_ROW_ADDRS		      4 /* as a row may have */
#define FLOW_ROW_TEXT(name, max, has) FLOW_ROW_TEXT_##name,
enum { FLOW_TEXTS(FLOW_ROW_TEXT) FLOW_ROW_TEXTS }; /* likewise */
#undef FLOW_ROW_TEXT

#define FLOW_NONE FLOW_N_COLUMNS

/* Kept as the difference to others, which are often equal to it. */
struct flow_relation {
	enum flow_column column, minus, minus_too;
	bool near; /* like minus where both are there; flow_far_from() and back */
};

/* A number that is small when value is near base, or 0; one for one, if base is not 0. */
static inline uint32_t flow_far_from(uint32_t base, uint32_t value)
{
	uint32_t d = value - base, none = 0 - base;
	uint32_t far = d << 1 ^ (0u - (d >> 31));

	none = none << 1 ^ (0u - (none >> 31));
	if (base == 0)
		return value;
	return value == 0 ? 0 : far + (far < none);
}

static inline uint32_t flow_near_to(uint32_t base, uint32_t far)
{
	uint32_t none = 0 - base, d;

	none = none << 1 ^ (0u - (none >> 31));
	d = far - (far <= none);
	d = d >> 1 ^ (0 - (d & 1));
	if (base == 0)
		return far;
	return far == 0 ? 0 : base + d;
}

/* In an order in which each counts on earlier ones only. */
extern const struct flow_relation flow_relations[];
extern const size_t flow_n_relations;

const struct flow_relation *flow_relation_of(enum flow_column c);

/* The columns, and those that they are worked out from. */
struct flow_columns flow_closure(const struct flow_columns *columns);
bool flow_any_of_kind(const struct flow_columns *s, enum flow_kind kind);

/*
 * From numbers as they are kept to values: adds to each column that is there what it is
 * related to, and makes start_ms, if that is there. Durations stay as they are kept.
 * Returns the or of all starts.
 */
void flow_relate(struct flow_block *b);
uint64_t flow_make_starts(struct flow_block *b);

/* The memory that all columns of zeros share, so that it stays in the cache. */
extern uint64_t flow_zeros[FLOW_BLOCK_MAX_ROWS];

/* Columns that both hosts of a conversation say nearly the same in: twins.h. */
bool flow_is_twinned(enum flow_column c);
bool flow_any_twinned(const struct flow_columns *s);

/*
 * flow_id is what flow_id.h makes of other columns, plus a difference that is
 * near 0: kept with this added, so that it is small whatever its sign.
 */
#define FLOW_ID_OFFSET 32
static inline uint64_t flow_id_from(uint64_t derived, uint64_t difference)
{
	uint64_t id = (difference + derived - FLOW_ID_OFFSET) & FLOW_ID_MAX;

	return id + (id == 0); /* 0 is no id: as in flow_id_of() */
}
/* Returns -ENOMEM. */
int flow_derive_ids(const struct flow_block *b, uint64_t *ret);

struct flow_hists flow_hists_of(const struct flow_block *b, enum flow_column which);

/* --- parts one by one: also for what puts encoded blocks together ------------ */

struct flow_encoder {
	struct column_codec *codec;
	enum column_effort effort;
	struct flow_parts *parts; /* n_rows is set */
	uint8_t *at;
	const struct twins *twins; /* borrowed; NULL: there are none */
};

/* What all parts of a block can need, with dictionaries of so many bytes as they are. */
size_t flow_encoder_bound(size_t n_rows, size_t dictionary_bytes);
/* Memory for all parts. Returns -ENOMEM. */
int flow_encoder_begin(struct flow_encoder *e, struct column_codec *codec,
		       enum column_effort effort, size_t dictionary_bytes,
		       struct flow_parts *parts);
/* The numbers as they are kept: already related. Zeros leave no part. */
void flow_put_u32(struct flow_encoder *e, unsigned part, const uint32_t *values);
void flow_put_u64(struct flow_encoder *e, unsigned part, const uint64_t *values);
void flow_put_constant(struct flow_encoder *e, unsigned part, uint64_t value);
int flow_put_addrs(struct flow_encoder *e, uint8_t (*addrs)[16], size_t n_addrs);
int flow_put_texts(struct flow_encoder *e, const char *const *texts, size_t n);
/* Leaves no part if there is no memory: then no column may count on it. */
bool flow_put_twins(struct flow_encoder *e, const struct twins *twins);
size_t flow_text_bytes(const char *const *texts, size_t n);
void flow_put_hist_values(struct flow_encoder *e, unsigned part, const uint32_t *values, size_t n);
/*
 * Numbers as they are kept, some rows of them; twins: of this block, if it has any.
 * A part that is not there says 0. False if they are not there.
 */
bool flow_get_u32(struct column_codec *c, const struct flow_parts *p, const struct twins *twins,
		  unsigned part, struct column_rows rows, uint32_t *ret);
bool flow_get_u64(struct column_codec *c, const struct flow_parts *p, const struct twins *twins,
		  unsigned part, struct column_rows rows, uint64_t *ret);
/* The twins of a block, none if it has no such part. Returns -ENOMEM or -EBADMSG. */
int flow_get_twins(struct column_codec *c, const struct flow_parts *p, struct twins *ret);
/* n values of a block of n_rows; false if they are not there. */
bool flow_get_hist_values(struct column_codec *c, const struct flow_part *p, size_t n_rows,
			  uint32_t *ret, size_t n);

#endif /* WEIR_PROTO_FLOW_RELATED_H */
