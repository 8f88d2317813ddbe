/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * reader_lease.h - a command that reads the database may not hold up those who
 * write it.
 *
 * A reading transaction that lasts keeps the log from beginning anew
 * (collector/wal.h). Once a second the lease looks: if the command has been
 * reading for lease_ms and the log is crowded, it says so on stderr and
 * ends the process with EXIT_RUNTIME, also while the process waits for whoever
 * reads its output. On a quiet fleet, or while the log is short, a command may
 * take as long as it likes.
 *
 * For programs of one thread that have nothing to tidy up. Uses SIGRTMIN.
 */
#ifndef WEIR_COLLECTOR_READER_LEASE_H
#define WEIR_COLLECTOR_READER_LEASE_H

#include <stdint.h>

#define READER_LEASE_MS 10000 /* of every command */

/*
 * Begins, or begins anew with another transaction. A child of fork() has none
 * until it begins its own. Returns -errno.
 */
int reader_lease_begin(const char *db_path, uint64_t lease_ms);

#endif /* WEIR_COLLECTOR_READER_LEASE_H */
