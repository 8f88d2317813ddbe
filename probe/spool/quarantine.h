/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * quarantine.h - batches that a collector would never take, kept for
 * inspection in a folder beside the spool, "SPOOL.refused".
 *
 * Each is a file EPOCH-SEQ.batch: a line that says when and why, then the exact
 * frame. Bounded: QUARANTINE_FILES and QUARANTINE_BYTES, the oldest go first.
 * What they held is told as lost by the spool, whether they can be kept or not.
 *
 * Threads: one at a time. Errors: -errno.
 */
#ifndef WEIR_PROBE_SPOOL_QUARANTINE_H
#define WEIR_PROBE_SPOOL_QUARANTINE_H

#include <stddef.h>
#include <stdint.h>

#define QUARANTINE_FILES 32
#define QUARANTINE_BYTES (4u << 20)
#define QUARANTINE_LINE	 400

struct quarantined {
	uint64_t epoch, seq;
	int64_t at_ms;
	uint64_t bytes;		   /* of the file */
	char why[QUARANTINE_LINE]; /* as the collector said */
};

/*
 * Keeps a batch of the spool at that path, over one of the same number.
 * *ret_dropped: how many older ones had to go.
 */
int quarantine_put(const char *spool, uint64_t epoch, uint64_t seq, const uint8_t *frame,
		   size_t len, const char *why, unsigned *ret_dropped);

/* Calls each() for what is kept, oldest first; a file that is not ours is passed over. */
int quarantine_each(const char *spool, void (*each)(const struct quarantined *q, void *arg),
		    void *arg);

#endif /* WEIR_PROBE_SPOOL_QUARANTINE_H */
