/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * roller.h - when a rollup is made: as soon as ROLLER_SEGMENTS segments are in
 * none, or a minute after the last one; not before the last one is stored.
 *
 * Threads: none of its own. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_ROLLUP_ROLLER_H
#define WEIR_COLLECTOR_ROLLUP_ROLLER_H

#include <stdint.h>

#include <sqlite3.h>

#include "collector/rollup/rollup.h"
#include "collector/rollup/rollup_ready.h"

#define ROLLER_SEGMENTS 16

/* Zeroed but for db, which is borrowed. */
struct roller {
	sqlite3 *db;
	int64_t until;			 /* of the one on its way to the writer, 0: none */
	uint64_t at_ns, look_ns, due_ns; /* it was made; look again; even one segment will do */
	struct rollup_ready ready;
};

/* Not the connection. */
void roller_done(struct roller *r);

/*
 * Makes a rollup if it is time for one. Returns 1 and *ret, for the writer and then
 * rollup_free(); or 0. One that is not stored within a minute is made again.
 */
int roller_step(struct roller *r, uint64_t now_ns, struct rollup **ret);

#endif /* WEIR_COLLECTOR_ROLLUP_ROLLER_H */
