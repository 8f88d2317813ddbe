/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * compactor.h - the thread that makes segments of fresh batches.
 *
 * It reads with a connection of its own, works in its own memory, and hands a
 * finished segment to the writer as a job: the writer puts it in the place of
 * what it was made from, in one transaction, so that at every moment every
 * reader sees each record once.
 *
 * It does not wait for the writer: up to three segments may be on their way.
 * What is not stored within a minute is made again.
 *
 * When: as soon as fresh batches have SEGMENT_ROWS records, or there are too
 * many batches; then the last segment, if it is a small one, is made new
 * together with them. A batch that is damaged is named, and left where it is.
 *
 * The same thread adds segments to the rollups when it is time (roller.h).
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_COMPACTOR_H
#define WEIR_COLLECTOR_FLOWSTORE_COMPACTOR_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#define SEGMENT_ROWS	  65536
#define COMPACT_MAX_FRESH 2048

struct queue;
struct segment;
struct compactor;

/* rows and batches: when a segment is made (0: as above). db is borrowed. Returns -ENOMEM. */
int compactor_new(sqlite3 *db, size_t rows, size_t batches, struct compactor **ret);
/* NULL is a no-op. */
void compactor_free(struct compactor *c);

/*
 * Makes a segment if it is time for one. Returns 1 and *ret, for segment_free();
 * 0 if there is nothing to do; or an error of collector/db.h.
 */
int compactor_make(struct compactor *c, struct segment **ret);

/* The thread: until stop_fd is readable. */
void compactor_run(const char *db_path, struct queue *jobs, int stop_fd);

#endif /* WEIR_COLLECTOR_FLOWSTORE_COMPACTOR_H */
