/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * compacting.h - the thread that makes segments and rollups.
 *
 * It takes fresh batches from memory, or reads with a connection of its own, works in its own
 * memory, and hands what is finished to the writer as a job. It does not wait for the writer: up to
 * three segments may be on their way. What is not stored within a minute is made
 * again.
 */
#ifndef WEIR_COLLECTOR_SERVE_COMPACTING_H
#define WEIR_COLLECTOR_SERVE_COMPACTING_H

struct fresh_cache;
struct queue;

/* Until stop_fd is readable. fresh: what the writer commits; borrowed, as all else. */
void compacting_run(const char *db_path, struct fresh_cache *fresh, struct queue *jobs,
		    int stop_fd);

#endif /* WEIR_COLLECTOR_SERVE_COMPACTING_H */
