/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * presence.h - when each host has reported (table coverage_minute), and by what
 * clock.
 *
 * Threads: a loaded presence is only read. Errors: those of collector/db.h.
 */
#ifndef WEIR_COLLECTOR_FLOWSTORE_PRESENCE_H
#define WEIR_COLLECTOR_FLOWSTORE_PRESENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

struct presence;

/*
 * Every host, with its minutes between since_ms and until_ms. Release with
 * presence_free(); NULL is a no-op.
 */
int presence_load(sqlite3 *db, int64_t since_ms, int64_t until_ms, struct presence **ret);
void presence_free(struct presence *p);

size_t presence_hosts(const struct presence *p);
/* The host's clock minus the collector's, ms. */
int64_t presence_skew(const struct presence *p, uint32_t host_id);
/* Whether something of the host has come that it read within slack_ms of that time (collector's
 * clock). */
bool presence_has(const struct presence *p, uint32_t host_id, int64_t ms, int64_t slack_ms);

#endif /* WEIR_COLLECTOR_FLOWSTORE_PRESENCE_H */
