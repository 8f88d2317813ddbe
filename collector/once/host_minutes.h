/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * host_minutes.h - the minutes of each host in which it has reported, or has lost
 * something (table coverage_minute), and by what clock.
 *
 * Threads: what is loaded is only read. Errors: those of collector/sqlite/db_error.h.
 */
#ifndef WEIR_COLLECTOR_ONCE_HOST_MINUTES_H
#define WEIR_COLLECTOR_ONCE_HOST_MINUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

struct host_minutes;

enum host_minutes_kind {
	HOST_MINUTES_REPORTED, /* something has come that the host read then */
	HOST_MINUTES_LOSSY,    /* it lost records, or counted packets without their flow */
};

/*
 * Every host, with its minutes between since_ms and until_ms. Release with
 * host_minutes_free(); NULL is a no-op.
 */
int host_minutes_load(sqlite3 *db, enum host_minutes_kind kind, int64_t since_ms, int64_t until_ms,
		      struct host_minutes **ret);
void host_minutes_free(struct host_minutes *m);

size_t host_minutes_hosts(const struct host_minutes *m);
/* The host's clock minus the collector's, ms. */
int64_t host_minutes_skew(const struct host_minutes *m, uint32_t host_id);
/* Whether a minute of the host is within slack_ms of that time by the collector's clock. */
bool host_minutes_near(const struct host_minutes *m, uint32_t host_id, int64_t ms,
		       int64_t slack_ms);
enum host_minutes_extent { HOST_MINUTES_NEVER, HOST_MINUTES_SOMETIMES, HOST_MINUTES_ALWAYS };
/* Of how many of the moments with from_ms <= t < to_ms host_minutes_near() is true. */
enum host_minutes_extent host_minutes_extent(const struct host_minutes *m, uint32_t host_id,
					     int64_t from_ms, int64_t to_ms, int64_t slack_ms);
/* Whether one begins between the two, both included, by the host's own clock. */
bool host_minutes_between(const struct host_minutes *m, uint32_t host_id, int64_t from_ms,
			  int64_t to_ms);

#endif /* WEIR_COLLECTOR_ONCE_HOST_MINUTES_H */
