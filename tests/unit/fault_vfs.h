/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fault_vfs.h - makes one change of a file, or one allocation, of SQLite fail.
 *
 * A layer over SQLite's own VFS and allocator, for all connections that are
 * opened after fault_vfs_install(). A change is a write, a sync, a truncation,
 * a deletion, the making of a file, or growth of the WAL's index.
 *
 * A sync does not reach the disk, so that tests are fast; the layer knows what
 * would have been lost without it, for fault_vfs_cut_power().
 *
 *	for (unsigned n = 1;; n++) {
 *		fault_vfs_at(FAULT_WRITE, n, FAULT_ONCE);
 *		... the code under test; it must cope ...
 *		if (!fault_vfs_at(FAULT_WRITE, 0, FAULT_ONCE))
 *			break;		// fewer than n: all have failed once
 *	}
 *
 * Threads: one.
 */
#ifndef WEIR_TESTS_UNIT_FAULT_VFS_H
#define WEIR_TESTS_UNIT_FAULT_VFS_H

#include <stdbool.h>

enum fault_kind {
	FAULT_WRITE, /* as on a full disk: SQLITE_FULL, or SQLITE_IOERR where that is not said */
	FAULT_ALLOCATION, /* SQLite's memory */
};

enum fault_span {
	FAULT_ONCE,
	FAULT_FROM_THEN_ON, /* that one, and all that follow */
};

/* Before SQLite is used for the first time. */
void fault_vfs_install(void);

/*
 * Makes the n-th from now fail; 0: none. True if the failure that was asked
 * for before has happened.
 */
bool fault_vfs_at(enum fault_kind kind, unsigned n, enum fault_span span);

/*
 * Takes back what was written since the last sync of each file, but for every
 * keep-th write, which had reached the disk (0: none had). All connections are
 * closed. Deletions and new files are not taken back.
 */
void fault_vfs_cut_power(unsigned keep);

/* Forgets what was not synced, as if it all had been. */
void fault_vfs_sync_all(void);

#endif /* WEIR_TESTS_UNIT_FAULT_VFS_H */
