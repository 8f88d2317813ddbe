/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * wal.h - the write-ahead log beside the database, and who keeps it from
 * beginning anew.
 *
 * While somebody reads, SQLite cannot reuse the log: a reader that takes its
 * time lets it grow with all that arrives. So readers of weir end themselves
 * when it is crowded (collector/store/reader_lease.h), and when it is full because of
 * somebody else's, the writer takes no more until that one has finished. The
 * probes keep their batches meanwhile.
 *
 * Threads: any. Opens no file of SQLite's: closing one would drop the locks
 * that this process has on it (fcntl(2)).
 */
#ifndef WEIR_COLLECTOR_STORE_WAL_H
#define WEIR_COLLECTOR_STORE_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAL_CROWDED_BYTES (64u << 20)
#define WAL_URGENT_BYTES  (112u << 20) /* readers end at once */
/* One more group of the writer may follow: the log stays below 256 MiB. */
#define WAL_FULL_BYTES (192u << 20)

#define WAL_PATH_MAX 4096

/* "DB-wal" into ret. -ENAMETOOLONG. */
int wal_path(const char *db_path, char ret[WAL_PATH_MAX]);

/* How long the log is. 0 if there is none. path: of wal_path(). */
uint64_t wal_bytes(const char *path);

/* Whether the log is crowded, and has been written to within the last seconds. */
bool wal_crowded(const char *path);

/*
 * Names the processes that read the database, this one left out:
 * "sqlite3 (pid 123), less (pid 9)", as much as fits. Returns how many.
 */
size_t wal_readers(const char *db_path, char *ret, size_t size);

#endif /* WEIR_COLLECTOR_STORE_WAL_H */
