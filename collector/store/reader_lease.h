/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reader_lease.h - a command that reads the database may not hold up those who
 * write it.
 *
 * A reading transaction that lasts keeps the log from beginning anew
 * (collector/store/wal.h). Four times a second the lease looks: if the log is crowded
 * and the command has been reading for lease_ms, or if the log is too long to
 * wait for that, it says so on stderr and ends the process with EXIT_RUNTIME,
 * also while the process waits for whoever reads its output. While the log is
 * short, a command may take as long as it likes. One that comes while the log
 * is crowded waits until those before it have ended, or the log could never
 * begin anew.
 *
 * For programs of one thread that have nothing to tidy up. Uses SIGRTMIN.
 */
#ifndef WEIR_COLLECTOR_STORE_READER_LEASE_H
#define WEIR_COLLECTOR_STORE_READER_LEASE_H

#include <stdint.h>

#define READER_LEASE_MS 5000  /* of every command */
#define READER_WAIT_MS	15000 /* until the log is not crowded */

/*
 * Before the database is opened, or anew before another transaction: waits at
 * most READER_WAIT_MS for a log that is not crowded, then begins. A child of
 * fork() has no lease until it begins its own. Returns -errno.
 */
int reader_lease_begin(const char *db_path, uint64_t lease_ms);

#endif /* WEIR_COLLECTOR_STORE_READER_LEASE_H */
