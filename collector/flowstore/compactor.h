/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * compactor.h - makes segments of fresh batches.
 *
 * When: as soon as fresh batches have SEGMENT_ROWS records, or there are too
 * many batches; then the last segment, if it is a small one, is made new
 * together with them. A batch that is damaged is named, and left where it is.
 *
 * Who stores a segment puts it in the place of what it was made from, in one
 * transaction (flow_writer_segment()), so that at every moment every reader sees
 * each record once. Its id is known before: ids rise from one that is made to the next,
 * and one that could not be stored leaves its own unused.
 *
 * Threads: none of its own.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_COMPACTOR_H
#define WEIR_COLLECTOR_FLOWSTORE_COMPACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#define SEGMENT_ROWS	  65536
#define COMPACT_MAX_FRESH 2048

struct flow_block;
struct flow_columns;
struct fresh_cache;
struct segment;
struct compactor;

/* rows and batches: when a segment is made (0: as above). db is borrowed. Returns -ENOMEM. */
int compactor_new(sqlite3 *db, size_t rows, size_t batches, struct compactor **ret);
/* NULL is a no-op. */
void compactor_free(struct compactor *c);

/*
 * Makes a segment if it is time for one. Returns 1 and *ret, for segment_free();
 * 0 if there is nothing to do; or an error of collector/store/db.h.
 */
int compactor_make(struct compactor *c, struct segment **ret);

/* Where fresh batches may be in memory; borrowed. */
void compactor_use_cache(struct compactor *c, struct fresh_cache *cache);
/* What was made may not have been stored: what there is, the database tells. */
void compactor_forget(struct compactor *c);

/*
 * Columns of numbers and addresses that compactor_block() is to have; they are there
 * anyhow while a segment is made.
 */
void compactor_keep(struct compactor *c, const struct flow_columns *columns);
/* The records of the last segment made, in the order of its rows; until the next is made. */
const struct flow_block *compactor_block(const struct compactor *c);

/* Fresh batches up to this id are on their way into segments, and not taken again; 0: none are. */
void compactor_set_handed_over(struct compactor *c, int64_t fresh_id);
/* Whether the fresh batch is there no longer. */
bool compactor_is_stored(struct compactor *c, int64_t fresh_id);

#endif /* WEIR_COLLECTOR_FLOWSTORE_COMPACTOR_H */
