/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * wal_file.h - the write-ahead log as a file that is written many pages at a time.
 *
 * SQLite writes each page of it with two system calls. Nobody reads what is
 * behind the last commit, and with synchronous=FULL a commit ends with a sync:
 * so pages wait in memory until then. An error of a write is told by the sync.
 *
 * For the one connection that writes. Threads: those of SQLite.
 * Memory: WAL_FILE_BYTES.
 */
#ifndef WEIR_COLLECTOR_STORE_WAL_FILE_H
#define WEIR_COLLECTOR_STORE_WAL_FILE_H

#define WAL_FILE_BYTES (120u << 10) /* SQLite writes less than 128 KiB at once */

/* The name to give to sqlite3_open_v2(). NULL: out of memory. */
const char *wal_file_vfs(void);

#endif /* WEIR_COLLECTOR_STORE_WAL_FILE_H */
